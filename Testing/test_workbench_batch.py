"""What `spinecontextseg batch` has segmented goes on in the workbench."""

import json
from dataclasses import replace

import numpy as np
import pytest

from SpineContextSegLib.checksums import file_digest
from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.label_boxes import bounding_box
from SpineContextSegLib.labels import Segment, structure
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.cohorts import record
from Testing.dicom_series import SeriesWriter
from Testing.workbench_use import play
from Workbench.store.batch_results import take_over
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist


@pytest.fixture
def results(tmp_path, sample_scan, tiny_model):
    """The output folder of a batch over two scans and something that is none."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for name, slices in (("a", 60), ("b", 50)):
        write_volume(Volume(sample_scan.volume.array[:slices], sample_scan.volume.affine), scans / f"{name}.nii.gz")
    (scans / "letter.nii.gz").write_text("no scan")
    main(["batch", str(scans), str(tmp_path / "out"), "--model", str(tiny_model), "--no-preview"])
    return tmp_path / "out"


def test_results_become_versions_once(results, tmp_path):
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    changed = read_labels(results / "b.seg.nrrd")
    changed.array[0, 0, 0] = 1
    write_volume(changed, results / "b.seg.nrrd")
    assert take_over(worklist, results, pytest.fail) == 2
    a, b = worklist.entries()
    assert (a.name, a.state) == ("a.nii.gz", State.SEGMENTED) and (b.name, b.state) == ("b.nii.gz", State.IN_CORRECTION)
    for entry, kind in ((a, "model"), (b, "correction")):
        [version] = worklist.versions(entry.number).list()
        assert version.kind == kind and version.report["model"].startswith("tiny") and "warnings" in version.report
        labels = worklist.versions(entry.number).load(version)
        result = read_labels(results / entry.name.replace("nii.gz", "seg.nrrd"))
        np.testing.assert_array_equal(labels.array, result.array)
        assert version.names == {1: "Vertebrae"}
    assert take_over(worklist, results, pytest.fail) == 0
    assert [len(worklist.versions(entry.number).list()) for entry in worklist.entries()] == [1, 1]


def test_a_rejection_stays(results, tmp_path):
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    [entry] = worklist.add([tmp_path / "scans" / "a.nii.gz"])
    worklist.set_state(entry.number, State.REJECTED, "moved")
    assert take_over(worklist, results, pytest.fail) == 2
    a, b = worklist.entries()
    assert (a.state, a.reason, b.state) == (State.REJECTED, "moved", State.SEGMENTED)
    # There for whoever opens it again.
    [version] = worklist.versions(a.number).list()
    assert version.kind == "model"


def test_after_a_change_of_format_the_newer_result_is_taken(results, tmp_path, tiny_model):
    newer = ["--model", str(tiny_model), "--no-preview", "--format", "nii.gz", "--structures", "all"]
    main(["batch", str(tmp_path / "scans"), str(results), *newer])
    older = read_labels(results / "a.seg.nrrd")
    write_volume(Volume(older.array * 0, older.affine), results / "a.seg.nrrd")
    # As the earlier run's model made it.
    told = record(results / "a.json")
    told["written"].append(file_digest(results / "a.seg.nrrd"))
    (results / "a.json").write_text(json.dumps(told))
    moved = results.rename(tmp_path / "moved")
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    assert take_over(worklist, moved, pytest.fail) == 2
    for entry in worklist.entries():
        [version] = worklist.versions(entry.number).list()
        assert (version.kind, entry.state) == ("model", State.SEGMENTED)
        labels = worklist.versions(entry.number).load(version)
        np.testing.assert_array_equal(labels.array, read_labels(moved / entry.name).array)


@pytest.mark.parametrize("kept", ["both", "correction"])
def test_of_a_result_and_a_correction_in_another_format_one_is_to_be_kept(results, tmp_path, kept):
    """As `measure` and `evaluate` have it."""
    labels = read_labels(results / "a.seg.nrrd")
    labels.array[0, 0, 0] = 1
    write_volume(labels, results / "a.nii.gz")
    if kept == "correction":
        (results / "a.seg.nrrd").unlink()
    (tmp_path / "data").mkdir()
    worklist, said = Worklist.open(tmp_path / "data", "tester"), []
    assert take_over(worklist, results, said.append) == (1 if kept == "both" else 2)
    if kept == "both":
        assert said == [
            "'a.json' was not taken over: 'a.seg.nrrd' and 'a.nii.gz' belong to the same scan ('a.nii.gz' changed by "
            "hand): keep one."
        ]
    else:
        [version] = worklist.versions(1).list()
        assert said == [] and version.kind == "correction"
        np.testing.assert_array_equal(worklist.versions(1).load(version).array, labels.array)


def test_results_may_lie_beside_their_scans(results, tmp_path):
    for path in results.glob("?.*"):
        path.rename(tmp_path / "scans" / path.name)
    (tmp_path / "data").mkdir()
    assert take_over(Worklist.open(tmp_path / "data", "tester"), tmp_path / "scans", pytest.fail) == 2


def test_a_scan_that_was_put_in_the_place_of_another_does_not_get_its_result(results, tmp_path, sample_scan):
    write_volume(Volume(sample_scan.volume.array[:60] + 1, sample_scan.volume.affine), tmp_path / "scans" / "a.nii.gz")
    (tmp_path / "data").mkdir()
    worklist, said = Worklist.open(tmp_path / "data", "tester"), []
    assert take_over(worklist, results, said.append) == 1
    assert said == [
        "'a.json' was not taken over: 'a.nii.gz' isn't the scan any more that was segmented: run the batch again."
    ]
    assert [entry.state for entry in worklist.entries()] == [State.NEW, State.SEGMENTED]


def test_the_scans_may_have_moved_between_two_runs(results, tmp_path, tiny_model):
    moved = (tmp_path / "scans").rename(tmp_path / "moved")
    main(["batch", str(moved), str(results), "--model", str(tiny_model), "--no-preview"])
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    assert take_over(worklist, results, pytest.fail) == 2
    assert {entry.scan.parent for entry in worklist.entries()} == {moved}


def test_what_can_not_be_taken_over_is_said(results, tmp_path):
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    (tmp_path / "scans" / "a.nii.gz").unlink()
    (results / "b.seg.nrrd").unlink()
    said = []
    assert take_over(worklist, results, said.append) == 0
    assert [sentence.split()[0] for sentence in said] == ["'a.json'", "'b.json'"]
    with pytest.raises(InputRefused, match="holds no results"):
        take_over(worklist, tmp_path / "data", said.append)


def test_of_several_series_in_a_folder_the_result_of_the_one_that_is_shown_is_taken(tmp_path, sample_scan, tiny_model):
    scan, folder = sample_scan.volume, tmp_path / "scans" / "patient"
    thin = Volume(np.rint(scan.array[:60]).astype(np.int16), scan.affine)
    thick = Volume(thin.array[::2], scan.affine @ np.diag([1.0, 1.0, 2.0, 1.0]))
    soft = SeriesWriter(folder, "Soft thick")
    soft.write(thick)
    SeriesWriter(folder, "Thin", instance=soft.instance).write(thin)
    main(["batch", str(tmp_path / "scans"), str(tmp_path / "out"), "--model", str(tiny_model), "--no-preview"])
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    said = []
    assert take_over(worklist, tmp_path / "out", said.append) == 1
    [sentence] = said
    assert sentence.startswith("'Soft_thick.json'") and '("Thin")' in sentence
    [entry] = worklist.entries()
    [version] = worklist.versions(entry.number).list()
    labels = worklist.versions(entry.number).load(version)
    assert labels.grid.same_as(read_volume(entry.scan)[0].grid)
    np.testing.assert_array_equal(labels.array, read_labels(tmp_path / "out" / "patient" / "Thin.seg.nrrd").array)


def cropped(labels: Volume) -> Volume:
    """To what is there, as Slicer does."""
    box = bounding_box(labels.array != 0)
    return Volume(labels.array[box], labels.grid.crop(box).affine)


async def open_the_second(bench):
    await bench.open_entry(2)
    print(np.count_nonzero(bench.scene.labels()[0].array), bench.state.status, bench.state.notice)


def test_a_result_that_slicer_cropped_is_opened(results, tmp_path):
    pytest.importorskip("trame_slicer")
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    whole = read_labels(results / "b.seg.nrrd")
    write_segmentation(cropped(whole), results / "b.seg.nrrd")
    assert take_over(worklist, results, pytest.fail) == 2
    versions = worklist.versions(2)
    stored = versions.load(versions.latest())
    assert stored.grid.same_as(whole.grid)
    np.testing.assert_array_equal(stored.array, whole.array)
    # As earlier workbenches took it over.
    versions.save(cropped(whole), {1: "Vertebrae"}, kind="correction", by="tester")
    assert play(open_the_second, tmp_path / "data").split()[:2] == [str(np.count_nonzero(whole.array)), "Opened"]


def test_names_and_colors_of_what_a_person_drew_are_taken_over(results, tmp_path):
    (tmp_path / "data").mkdir()
    worklist = Worklist.open(tmp_path / "data", "tester")
    labels = read_labels(results / "b.seg.nrrd")
    labels.array[0, :3, :3] = 2  # as Slicer numbers it
    drawn = {
        1: replace(Segment.of(structure(1, levels_known=False)), name="Spine, checked"),
        2: Segment(2, "Segment_1", "Lesion", (0.0, 0.5, 1.0), {}),
    }
    write_segmentation(labels, results / "b.seg.nrrd", drawn)
    assert take_over(worklist, results, pytest.fail) == 2
    versions = worklist.versions(2)
    version = versions.latest()
    assert version.names == {1: "Spine, checked", 300: "Lesion"} and version.colors[300] == "#0080ff"
    assert np.count_nonzero(versions.load(version).array == 300) == 9


def test_a_result_on_another_grid_is_not_taken_over(results, tmp_path):
    (tmp_path / "data").mkdir()
    worklist, said = Worklist.open(tmp_path / "data", "tester"), []
    labels = read_labels(results / "b.seg.nrrd")
    write_segmentation(Volume(labels.array, labels.affine @ np.diag([1, 1, 2, 1.0])), results / "b.seg.nrrd")
    assert take_over(worklist, results, said.append) == 1
    assert len(said) == 1 and said[0].startswith("'b.json'") and "'b.seg.nrrd' and 'b.nii.gz' don't lie on" in said[0]
    # As earlier workbenches took it over.
    versions = worklist.versions(2)
    other = Volume(labels.array[::2], labels.affine @ np.diag([1, 1, 2, 1.0]))
    versions.save(other, {1: "Vertebrae"}, kind="model", by="tester")
    assert "don't lie on the same grid" in play(open_the_second, tmp_path / "data")


def test_the_command_line_lists_them(results, tmp_path):
    pytest.importorskip("trame_slicer")
    from Testing.test_workbench_start import FOLDER, started

    started("--results", results, home=tmp_path)
    entries = Worklist.open(tmp_path / FOLDER, "tester").entries()
    assert [entry.state for entry in entries] == [State.SEGMENTED, State.SEGMENTED]
