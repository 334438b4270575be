"""The worklist in use: entries, their states and what was written of them, and which scan an entry stands for."""

import os
import shutil

import numpy as np
import pytest

from SpineContextSegLib.dicom_seg import find_images, network_segments, write_dicom_seg
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import SeriesWriter
from Testing.store_use import NAMES, SMALL, needs_posix, some_labels, write_scan
from Testing.worklist_use import *  # noqa: F403
from Testing.worklist_use import save
from Workbench.store.entries import Entry, State
from Workbench.store.versions import Versions
from Workbench.store.worklist import Worklist


def test_a_folder_becomes_a_worklist_that_is_there_again(folder):
    added = Worklist.open(folder, "anna").add([folder])
    again = Worklist.open(folder, "ben")
    assert again.entries() == added and again.folder == folder
    assert [(e.number, e.name, e.state, e.reason, e.notes, e.by) for e in added] == [
        (n + 1, f"scan{n}.nii.gz", State.NEW, None, "", "anna") for n in range(3)
    ]
    assert all(entry.scan == folder / entry.name and entry.changed.tzinfo for entry in added)
    again.set_notes(2, "Metall in L4 ✓")
    again.set_state(3, State.REJECTED, " moved ")
    first, second, third = Worklist.open(folder, "tester").entries()
    assert first == added[0]
    assert (second.notes, second.by) == ("Metall in L4 ✓", "ben") and (third.state, third.reason) == (
        State.REJECTED, "moved",
    )  # fmt: skip
    again.set_state(3, State.NEW)
    assert again.entry(3).reason is None


def test_results_and_corrections_from_outside_are_noticed(folder):
    """Of the program's other users, or of a data folder whose worklist is gone."""
    for n, kind in enumerate(("model", "correction", "autosave")):
        Versions(folder / f"scan{n}.nii.gz", folder).save(some_labels(n), NAMES, kind=kind, by="ben")
    worklist = Worklist.open(folder, "anna")
    states = [State.SEGMENTED, State.IN_CORRECTION, State.NEW]
    assert [entry.state for entry in worklist.add([folder])] == states
    Versions(folder / "scan2.nii.gz", folder).save(some_labels(2), NAMES, kind="model", by="ben")
    worklist.set_state(1, State.REJECTED, "moved")
    (folder / "scan1.nii.gz").unlink()
    worklist.note_versions([1, 2, 3])
    assert [entry.state for entry in worklist.entries()] == [State.REJECTED, State.IN_CORRECTION, State.SEGMENTED]


def test_next_previous_and_progress(worklist):
    assert worklist.progress() == {state: 3 * (state is State.NEW) for state in State}
    worklist.set_state(1, State.SEGMENTED)
    worklist.set_state(2, State.REJECTED, "no spine")
    worklist.set_state(3, State.IN_CORRECTION)
    assert [worklist.next_open(after).number for after in (None, 1, 2)] == [1, 3, 3]
    assert worklist.next_open(3) is None and worklist.previous(1) is None
    assert worklist.previous(3).number == 2 and worklist.previous(99).number == 3
    save(worklist, 3)
    worklist.set_state(3, State.DONE)
    assert worklist.next_open(1) is None
    assert list(worklist.progress().values()) == [0, 1, 0, 1, 1]


def test_nothing_that_anybody_wrote_is_gone(worklist, folder):
    worklist.set_notes(1, "first look")
    Worklist.open(folder, "ben").set_notes(1, "second look")
    worklist.set_state(1, State.REJECTED, "blurred")
    assert [(c.what, c.before, c.after, c.by) for c in worklist.history(1)] == [
        ("notes", "", "first look", "anna"), ("notes", "first look", "second look", "ben"),
        ("state", "new", "rejected", "anna"), ("reason", None, "blurred", "anna"),
    ]  # fmt: skip


def test_what_can_not_be_is_refused_and_changes_nothing(worklist, folder, tmp_path):
    before = worklist.entries()
    (tmp_path / "empty").mkdir()
    for act, words in (
        (lambda: worklist.set_state(1, State.REJECTED, "  "), "with a reason"),
        (lambda: worklist.set_state(1, State.DONE), "Nothing was saved"),
        (lambda: worklist.set_state(9, State.NEW), "no entry 9"),
        (lambda: worklist.set_notes(9, ""), "no entry 9"),
        (lambda: worklist.entry(0), "no entry 0"),
        (lambda: worklist.add([write_scan(tmp_path / "new.nii.gz", 7), tmp_path / "none.nii.gz"]), "does not exist"),
        (lambda: worklist.add([tmp_path / "empty"]), "no scan"),
        (lambda: Worklist.open(tmp_path / "none", "tester"), "does not exist"),
    ):
        with pytest.raises(InputRefused, match=words):
            act()
    assert worklist.entries() == before


def test_what_can_not_be_added_is_told_and_the_rest_is_added(worklist, tmp_path):
    told = []
    (added,) = worklist.add([tmp_path / "none", write_scan(tmp_path / "new.nii.gz", 7)], told.append)
    assert added.number == 4 and len(told) == 1 and "does not exist" in told[0]


def test_done_is_what_was_saved_last_and_stays_that(worklist):
    save(worklist, 1, "model")
    save(worklist, 1, "autosave")
    with pytest.raises(InputRefused, match="only saved in passing"):
        worklist.set_state(1, State.DONE)
    versions = worklist.versions(1)
    versions.set_aside(versions.unsaved_autosave())
    correction = save(worklist, 1)
    worklist.set_state(1, State.DONE)
    save(worklist, 1, "model")
    assert worklist.accepted(1) == correction
    worklist.set_state(1, State.DONE)
    assert worklist.accepted(1).number == 4
    worklist.set_state(1, State.IN_CORRECTION)
    assert worklist.accepted(1) is None


def test_what_is_opened_again_is_what_was_saved_of_it(worklist, folder):
    save(worklist, 2, "model")
    save(worklist, 3, "model")
    save(worklist, 3)
    for number in (1, 2, 3):
        worklist.set_state(number, State.REJECTED, "misclick")
    assert [worklist.reopen(number).state for number in (1, 2, 3)] == [
        State.NEW, State.SEGMENTED, State.IN_CORRECTION,
    ]  # fmt: skip
    worklist.set_state(2, State.REJECTED, "misclick")
    (folder / "scan1.nii.gz").unlink()
    with pytest.raises(InputRefused, match="is gone"):
        worklist.reopen(2)
    assert worklist.entry(2).state is State.REJECTED


def test_a_version_that_was_done_and_is_missing_is_said(worklist):
    correction = save(worklist, 1)
    worklist.set_state(1, State.DONE)
    shutil.rmtree(correction.folder)
    with pytest.raises(InputRefused, match=f"{correction.folder.name}.*missing"):
        worklist.accepted(1)


def test_a_scan_is_listed_once_whatever_it_is_called(worklist, folder, tmp_path):
    copy = shutil.copy(folder / "scan0.nii.gz", tmp_path / "copy.nii.gz")
    (entry,) = worklist.add([copy])
    assert entry.number == 1 and entry.scan == folder / "scan0.nii.gz"  # it is still there
    moved = (folder / "scan1.nii.gz").rename(tmp_path / "moved.nii.gz")
    with pytest.raises(InputRefused, match="scan1.nii.gz' is gone"):
        worklist.locate(2)
    (entry,) = worklist.add([moved, moved])
    assert entry.number == 2 and worklist.locate(2) == moved and len(worklist.entries()) == 3
    assert [change.what for change in worklist.history(2)] == ["scan"]


def test_another_scan_in_its_place_is_not_taken_for_it(worklist, folder):
    save(worklist, 1)
    worklist.set_state(1, State.DONE)
    write_scan(folder / "scan0.nii.gz", 99)
    for act in (worklist.locate, worklist.versions, worklist.accepted, lambda n: worklist.set_state(n, State.DONE)):
        with pytest.raises(InputRefused, match="scan0.nii.gz' is not the scan that was added as number 1"):
            act(1)
    (entry,) = worklist.add([folder / "scan0.nii.gz"])
    assert entry.number == 4 and entry.state is State.NEW and worklist.versions(4).list() == []


def test_the_data_folder_can_be_moved_as_a_whole(worklist, folder, tmp_path):
    save(worklist, 2)
    worklist.set_state(2, State.DONE)
    moved = Worklist.open(folder.rename(tmp_path / "other disk"), "tester")
    assert moved.locate(2) == tmp_path / "other disk" / "scan1.nii.gz"
    assert moved.accepted(2).number == 1


def test_dicom_series_are_entries_and_what_the_workbench_saves_is_none(worklist, folder):
    array = np.random.default_rng(0).integers(-1000, 900, SMALL.shape).astype(np.int16)
    for name in ("anna", "ben"):
        SeriesWriter(folder / "dicom" / name).write(Volume(array, SMALL.affine))
    write_volume(some_labels(1), folder / "scan0_labels.nii.gz")
    save(worklist, 1)
    added = worklist.add([folder])
    assert [entry.name for entry in added] == ["scan0.nii.gz", "scan1.nii.gz", "scan2.nii.gz", "anna", "ben"]
    assert len(worklist.entries()) == 5 and worklist.locate(4) == folder / "dicom" / "anna"


def test_a_dicom_seg_in_the_folder_of_its_series_leaves_the_entry_as_it_is(worklist, folder):
    pytest.importorskip("highdicom")
    series = folder / "series"
    volume = Volume(np.random.default_rng(1).integers(0, 900, SMALL.shape).astype(np.int16), SMALL.affine)
    SeriesWriter(series).write(volume)
    [entry] = worklist.add([series])
    save(worklist, entry.number)
    done = worklist.set_state(entry.number, State.DONE)
    images = find_images(series, volume.grid, "CT")
    labels = some_labels(1)
    write_dicom_seg(labels, images, network_segments(labels.array), "tiny 1", series / "spine.dcm")
    assert worklist.add([series]) == [done] and worklist.locate(entry.number) == series
    assert worklist.accepted(entry.number) is not None


def test_entries_that_an_earlier_workbench_took_with_all_files_are_found(worklist, folder, monkeypatch):
    series = folder / "series"
    volume = Volume(np.zeros(SMALL.shape, np.int16), SMALL.affine)
    SeriesWriter(series).write(volume)
    SeriesWriter(series, modality="SR", instance=100).write(volume, [0])
    with monkeypatch.context() as earlier:
        earlier.setattr("Workbench.store.fingerprint._NO_IMAGES", ())
        [entry] = worklist.add([series])
        save(worklist, entry.number)
        done = worklist.set_state(entry.number, State.DONE)
    assert worklist.add([series]) == [done]
    assert worklist.versions(entry.number).list() == [worklist.accepted(entry.number)]
    assert save(worklist, entry.number).number == 2
    assert [version.number for version in worklist.versions(entry.number).list()] == [1, 2]
    moved = series.rename(folder / "moved")
    assert worklist.add([moved])[0].number == entry.number and worklist.locate(entry.number) == moved


def test_entries_that_an_earlier_workbench_took_by_the_header_alone_are_found(worklist, folder, monkeypatch):
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
        "ElementDataFile = LIST\n1.raw\n2.raw\n"
    )
    anna, ben = folder / "anna" / "ct.mhd", folder / "ben" / "ct.mhd"
    for n, scan in enumerate((anna, ben)):
        scan.parent.mkdir()
        scan.write_text(header)
        for slice_name in ("1.raw", "2.raw"):
            (scan.parent / slice_name).write_bytes(bytes([n] * 16))
    with monkeypatch.context() as earlier:
        earlier.setattr("Workbench.store.fingerprint.data_files", lambda header: [])
        [entry] = worklist.add([anna])
        save(worklist, entry.number)
        done = worklist.set_state(entry.number, State.DONE)
    assert worklist.add([anna]) == [done] and worklist.accepted(entry.number) is not None
    # Which earlier workbenches took for the same scan.
    [other] = worklist.add([ben])
    assert other.number != entry.number and other.scan == ben and worklist.versions(other.number).list() == []
    assert worklist.locate(entry.number) == anna
    moved = anna.parent.rename(folder / "moved") / anna.name
    assert worklist.add([moved])[0].number == entry.number and worklist.locate(entry.number) == moved


def test_a_worklist_in_a_folder_with_an_odd_name(tmp_path):
    folder = tmp_path / "Müller #1 50%20?& 脊柱"
    write_scan(folder / "a'b;--.nii.gz", 1)
    (entry,) = Worklist.open(folder, "tester").add([folder])
    assert isinstance(entry, Entry) and Worklist.open(folder, "tester").locate(1) == folder / "a'b;--.nii.gz"


@needs_posix
def test_a_name_that_is_no_text_is_refused(worklist, folder):
    os.rename(folder / "scan0.nii.gz", os.fsencode(folder / "x\udcff.nii.gz"))
    with pytest.raises(InputRefused, match="rename it"):
        worklist.add([folder / "x\udcff.nii.gz"])
