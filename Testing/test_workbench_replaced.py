"""What takes the place of work that wasn't saved doesn't end it: it stays as a version, and can be brought back."""

import asyncio
import errno
import threading

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from Testing.one_scan import *  # noqa: F403
from Testing.store_use import *  # noqa: F403
from Testing.store_use import NAMES
from Testing.workbench_use import paint, play
from Workbench.store.entries import State
from Workbench.store.versions import Versions

pytest.importorskip("trame_slicer")

from Workbench.shortcuts import press  # noqa: E402


def drawn(bench) -> np.ndarray:
    return bench.scene.labels()[0].array != 0


async def segment_again(bench):
    await bench.open_entry(1)
    painted = paint(bench, 3)
    # "Segment anyway" is not forgotten over the question.
    await bench.segment(force=True)
    assert bench.state.ask_replace and bench.state.replace_forced
    await bench.segment()
    assert bench.state.ask_replace and not bench.state.replace_forced and not bench.state.running
    await bench.segment(replace=True)
    assert bench.state.notice == "" and not bench.saving.is_unsaved
    # As much as lets go of what was saved in passing.
    for k in range(5):
        paint(bench, k)
        await bench.saving.autosave()
    newest = drawn(bench)
    await bench.save()

    bench.version_list.show()
    titles = [item["title"].split(": ")[1] for item in bench.state.versions]
    assert titles == ["correction", "result of the network", "correction"]
    paint(bench, 9)
    also = drawn(bench)
    await bench.bring_back(bench.state.versions[-1]["name"])
    np.testing.assert_array_equal(drawn(bench), painted)
    assert bench.state.unsaved and not bench.state.opening
    # Looking at versions makes no others, but what was painted before the look is one.
    for item in bench.state.versions:
        await bench.bring_back(item["name"])
    versions = bench.saving.versions()
    assert [version.kind for version in versions] == ["correction", "model", "correction", "correction"]
    for version, expected in ((versions[2], newest), (versions[3], also)):
        np.testing.assert_array_equal(bench.saving._versions.load(version).array != 0, expected)


def test_work_that_a_run_replaces_can_be_brought_back(scan, data, tiny_model):
    play(segment_again, data, tiny_model)


async def paint_while_it_runs(bench):
    """Something is painted while what was there before is saved."""
    await bench.open_entry(1)
    paint(bench, 3)
    loop, save = asyncio.get_running_loop(), bench.saving._versions.save

    def slow(*arguments, **options):
        if options["kind"] == "correction":
            bench.saving._versions.save = save
            done = threading.Event()
            loop.call_soon_threadsafe(lambda: (paint(bench, 9), done.set()))
            done.wait(10)
        return save(*arguments, **options)

    bench.saving._versions.save = slow
    await bench.segment(replace=True)
    assert bench.state.notice == ""


def test_strokes_until_the_very_replacement_are_kept(scan, data, tiny_model):
    play(paint_while_it_runs, data, tiny_model)
    versions = Versions(scan, data)
    *_, last, result = versions.list()
    assert (last.kind, result.kind) == ("correction", "model")
    assert versions.load(last).array[9].any() and versions.load(last).array[3].any()


async def save_while_it_is_offered(bench):
    await bench.open_entry(1)
    assert bench.state.recovery
    bench.state.notice = ""
    # As Ctrl+S does.
    press(bench, "save")
    await until(lambda: bench.state.notice)
    assert "Unsaved work was found" in bench.state.notice and bench.state.recovery
    # Also after the page was closed and opened again, and in spite of what is saved in passing meanwhile.
    await bench.open_entry(1)
    paint(bench, 9)
    await bench.saving.autosave()
    await bench.recover()
    np.testing.assert_array_equal(np.flatnonzero(drawn(bench).any(axis=(1, 2))), [5])
    assert bench.state.recovery is None and bench.saving.is_unsaved
    # The stroke has become a correction.
    assert bench.worklist.entry(1).state is State.IN_CORRECTION
    await bench.save()
    assert "Saved as version" in bench.state.status


async def until(holds):
    while not holds():
        await asyncio.sleep(0.05)


def test_found_work_is_offered_until_it_is_brought_back(scan, data, sample_scan):
    array = np.zeros(sample_scan.volume.array.shape, np.uint8)
    for kind, k in (("model", 4), ("autosave", 5)):
        array[:] = 0
        array[k, 2:4, 2:4] = 20
        labels = Volume(array, sample_scan.volume.affine)
        versions = Versions(scan, data)
        versions.save(labels, NAMES, kind=kind, by="anna")
        versions.end()
    play(save_while_it_is_offered, data)


async def segment_what_was_emptied(bench):
    await bench.open_entry(1)
    await bench.segment()
    bench.segments.remove(bench.state.segments[0]["id"])
    assert (await bench.saving.autosave()).kind == "autosave"
    await bench.segment(replace=True)
    assert bench.state.notice == "" and not bench.state.unsaved
    await bench.open_entry(1)
    assert bench.state.recovery is None
    await bench.worklist_actions.finish()
    assert bench.worklist.accepted(1).kind == "model"


def test_a_result_after_an_emptied_segmentation_is_no_correction(scan, data, tiny_model):
    play(segment_what_was_emptied, data, tiny_model)
    assert [version.kind for version in Versions(scan, data).list()] == ["model", "autosave", "model"]


async def segment_on_a_full_disk(bench):
    await bench.open_entry(1)
    versions = bench.saving._versions
    write = versions._write

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    versions._write = full
    await bench.clicks.guarded(bench.segment())
    said = "The result is shown but not saved: The disk is full (or a quota is used up): make room and try again."
    assert bench.state.notice == f"{said} Then press Save."
    assert drawn(bench).any() and bench.state.unsaved and not bench.state.running
    versions._write = write
    # In passing by itself, once the hand has rested.
    assert (await bench.saving.autosave()).kind == "autosave"
    assert bench.state.unsaved
    await bench.save()
    assert not bench.state.unsaved


def test_a_result_that_could_not_be_saved_is_unsaved(scan, data, tiny_model):
    play(segment_on_a_full_disk, data, tiny_model)
    [version] = Versions(scan, data).list()
    assert version.kind == "correction"


async def give_names_and_colors(bench):
    await bench.open_entry(1)
    before = {item["name"]: item["color"] for item in bench.state.segments}
    assert list(before) == ["L1 vertebra"]
    # One of ours, and one of the user's own.
    bench.segments.choose(bench.state.segments[0]["id"])
    rename(bench, "First", "#12ab34")
    await bench.save()
    bench.segments.add()
    bench.segments.choose(bench.state.segments[-1]["id"])
    mask = np.zeros(bench.scene.volume().array.shape, np.uint8)
    mask[9, 3:6, 3:6] = 1
    bench.scene.editor.active_segment_modifier.set_segment_labelmap(bench.state.active_segment, mask)
    rename(bench, "Mine", "#fedc01")
    await bench.save()
    await bench.open_entry(1)
    after = {item["name"]: item["color"] for item in bench.state.segments}
    assert after == {"First": "#12ab34", "Mine": "#fedc01"}
    assert not bench.state.unsaved
    bench.version_list.show()
    # Of an earlier workbench, which wrote no colors.
    await bench.bring_back(bench.state.versions[-1]["name"])
    assert {item["name"]: item["color"] for item in bench.state.segments} == before


def rename(bench, name: str, color: str) -> None:
    bench.segments.edit(bench.state.active_segment)
    bench.state.update({"new_name": name, "new_color": color})
    bench.segments.apply_name()


def test_names_and_colors_stay(scan, data, sample_scan):
    array = np.zeros(sample_scan.volume.array.shape, np.uint8)
    array[4, 20:24, 20:24] = 20
    Versions(scan, data).save(Volume(array, sample_scan.volume.affine), NAMES, kind="model", by="anna")
    play(give_names_and_colors, data)
