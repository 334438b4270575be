"""Clicks while a scan is being opened, saved or segmented: each scan keeps what is its own."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.store_use import *  # noqa: F403
from Testing.workbench_use import paint, play
from Workbench.store.entries import State
from Workbench.store.versions import Versions
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")


@pytest.fixture
def scans(data, sample_scan):
    """Three of 30, 40 and 50 slices."""
    paths = [data / f"{slices}.nii.gz" for slices in (30, 40, 50)]
    for slices, path in zip((30, 40, 50), paths, strict=True):
        write_volume(Volume(sample_scan.volume.array[:slices], sample_scan.volume.affine), path)
    Worklist.open(data, "tester").add(paths)
    return paths


async def refusals(*clicks) -> list[str]:
    """What several clicks at once are answered; "" where they are done."""
    answers = await asyncio.gather(*clicks, return_exceptions=True)
    assert all(answer is None or isinstance(answer, InputRefused) for answer in answers), answers
    return [str(answer or "") for answer in answers]


async def paint_while_another_opens(bench):
    from Workbench import workbench

    await bench.open_entry(1)
    paint(bench, 3)
    read, reading, painted = workbench.read_volume, threading.Event(), threading.Event()

    def slow(path):
        reading.set()
        assert painted.wait(30)
        return read(path)

    workbench.read_volume = slow
    opening = asyncio.create_task(bench.open_entry(2))
    await asyncio.to_thread(reading.wait)
    assert bench.state.opening
    paint(bench, 9)
    painted.set()
    await opening
    assert bench.state.entry == 2 and not bench.state.opening and not bench.saving.is_unsaved


def test_strokes_while_another_scan_opens_are_kept(scans, data):
    play(paint_while_another_opens, data)
    versions = Versions(scans[0], data)
    kept = versions.load(versions.unsaved_autosave()).array
    assert kept[3].any() and kept[9].any()
    assert Versions(scans[1], data).list() == []


async def type_while_one_opens(bench, number):
    from Workbench import workbench

    await bench.open_entry(1)
    read = workbench.read_volume

    def slow(path):
        # Later than a pause of typing.
        time.sleep(2)
        return read(path)

    workbench.read_volume = slow
    opening = asyncio.create_task(bench.open_entry(int(number)))
    for text in ("metal", "metal at L3"):
        bench.state.notes = text
        bench.clicks.start(bench.worklist_actions.keep_typed_notes())
        await asyncio.sleep(1.5 if text == "metal" else 0)
    await opening
    assert bench.state.notes == ("metal at L3" if number == "1" else "")


@pytest.mark.parametrize("number", [1, 2], ids=["the same", "another"])
def test_notes_that_are_typed_while_a_scan_opens_are_kept(scans, data, number):
    play(type_while_one_opens, data, "", number)
    assert [entry.notes for entry in Worklist.open(data, "tester").entries()] == ["metal at L3", "", ""]


async def go_on_while_another_takes_notes(bench, data):
    await bench.open_entry(1)
    Worklist.open(Path(data), "Bob").set_notes(1, "ask radiology")
    await bench.open_entry(2)


def test_notes_of_another_workbench_are_kept(scans, data):
    play(go_on_while_another_takes_notes, data, "", data)
    assert [entry.notes for entry in Worklist.open(data, "tester").entries()] == ["ask radiology", "", ""]


async def click_on_two(bench):
    await bench.open_entry(1)
    # So that there is something to be saved first.
    paint(bench, 3)
    first, second = await refusals(bench.open_entry(2), bench.open_entry(3))
    assert first == "" and "Wait" in second
    assert bench.state.entry == 2 and bench.scene.volume().array.shape[0] == 40
    paint(bench, 39)
    await bench.save()
    # Refused and failed ones leave the way free.
    await refusals(bench.open_entry(77))
    await bench.open_entry(3)
    assert bench.state.entry == 3


def test_of_two_scans_that_are_clicked_at_once_the_first_opens(scans, data):
    play(click_on_two, data)
    assert [len(Versions(scan, data).list()) for scan in scans] == [1, 1, 0]
    assert Versions(scans[1], data).latest().kind == "correction"


async def segment_and_open(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    first, second = await refusals(bench.segment(replace=True), bench.open_entry(2))
    assert first == "" and "Wait" in second and bench.state.entry == 1
    paint(bench, 4)
    first, second = await refusals(bench.open_entry(2), bench.segment(replace=True))
    assert first == "" and "Wait" in second and bench.state.entry == 2


def test_a_result_is_saved_with_its_own_scan(scans, data, tiny_model):
    play(segment_and_open, data, tiny_model)
    assert [version.kind for version in Versions(scans[0], data).list()] == ["correction", "model", "autosave"]
    assert Versions(scans[1], data).list() == []


async def save_and_open(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.save()
    save = bench.saving._versions.save

    def slow(*arguments, **options):
        time.sleep(2)
        return save(*arguments, **options)

    bench.saving._versions.save = slow
    assert await refusals(bench.save(), bench.open_entry(2)) == ["", ""]
    assert bench.state.entry == 2


def test_a_save_changes_the_state_of_its_own_scan(scans, data):
    play(save_and_open, data)
    entries = Worklist.open(data, "tester").entries()
    assert [entry.state for entry in entries] == [State.IN_CORRECTION, State.NEW, State.NEW]


async def correct_while_all_are_segmented(bench):
    loop, keep = asyncio.get_running_loop(), bench.all_new._keep
    await bench.open_entry(1)

    async def correct():
        paint(bench, 3)
        await bench.save()

    def keep_later(entry, *rest):
        if entry.number == 1:
            asyncio.run_coroutine_threadsafe(correct(), loop).result(30)
        keep(entry, *rest)

    bench.all_new._keep = keep_later
    await bench.segment_all()


def test_a_correction_during_the_run_on_all_new_scans_stays_the_latest(scans, data, tiny_model):
    play(correct_while_all_are_segmented, data, tiny_model)
    worklist = Worklist.open(data, "tester")
    assert [entry.state for entry in worklist.entries()] == [State.IN_CORRECTION, State.SEGMENTED, State.SEGMENTED]
    assert [version.kind for version in worklist.versions(1).list()] == ["correction", "model"]
    worklist.set_state(1, State.DONE)
    assert worklist.accepted(1).kind == worklist.versions(1).latest().kind == "correction"


async def go_on_after_a_look_back(bench):
    await bench.open_entry(1)
    for k in (3, 9):
        paint(bench, k)
        await bench.save()
    bench.version_list.show()
    newest, oldest = (item["name"] for item in bench.state.versions)
    await bench.bring_back(oldest)
    await bench.open_entry(2)
    await bench.open_entry(1)
    assert "kept when you left it" in bench.state.recovery
    await bench.recover()
    assert bench.scene.labels()[0].array.any(axis=(1, 2)).nonzero()[0].tolist() == [3]
    await bench.save()
    # Who has only looked isn't asked.
    await bench.bring_back(newest)
    await bench.saving.autosave()
    await bench.bring_back(bench.saving.latest().folder.name)
    await bench.open_entry(2)
    await bench.open_entry(1)
    assert bench.state.recovery is None and not bench.state.unsaved


def test_a_version_that_was_brought_back_is_kept_in_passing(scans, data):
    play(go_on_after_a_look_back, data)
    kinds = [version.kind for version in Versions(scans[0], data).list()]
    assert [kind for kind in kinds if kind == "correction"] == ["correction"] * 3
