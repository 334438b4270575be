"""What `spinecontextseg levels` refuses, in one line: wrong calls, and files without levels that it could put right."""

import os

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import slicerio

from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.labels import CANAL, SACRUM
from SpineContextSegLib.numbering import CONVERT
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume, to_sitk
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.geometry import GRIDS, SHEARED, centered_grid
from Testing.level_values import L1, L2
from Testing.levels_use import *  # noqa: F403
from Testing.levels_use import GRID, levels_in, refused, run, stack


def test_wrong_calls_are_answered_with_one_line(spine, tmp_path, capsys):
    before = spine.read_bytes()
    output = tmp_path / "out.nii.gz"
    for arguments, word in {
        ("--this", "L9=L1"): "'L9' is no vertebra",
        ("--this", "L4=Sacrum"): "'Sacrum' is no vertebra",
        ("--this", "27=L1"): "'27' is no vertebra",
        ("--this", "=L1"): "'' is no vertebra",
        ("--this", "L4"): "L4=L5",
        ("--this", "L5=L1"): "L5 is not there: choose one that is (T12, L1, L2, L3, L4)",
        ("--this", "L3=L5"): "some vertebrae below it",
        ("--this", "L4=C1"): "some vertebrae above it",
        ("--this", "L1=T13", "--thoracic", 12): "T13 is no level of a column of 12 thoracic",
        ("--shift", 2): "left for L4",
        ("--shift", -50): "left for T12",
        ("--shift", "one"): "invalid int",
        ("--swap", "L1", "L1"): "two different",
        ("--swap", "L1", "L5"): "L5 is not there",
        ("--swap", "L1", "Sacrum"): "'Sacrum' is no vertebra",
        ("--swap", "L1"): "expected 2",
        ("--merge", "L1", "L1"): "two different",
        ("--merge", "T12", "L4"): "T12 and L4 can't be merged, as L1 to L3 lie between them: choose two neighbors",
        ("--merge", "L3", "L1"): "L3 and L1 can't be merged, as L2 lies between them",
        ("--merge", "Sacrum", "L3"): "as L4 lies between them",
        ("--merge", "L1", "T11"): "T11 is not there",
        ("--merge", "L1", "Sacrum"): "Sacrum can't become part of L1",
        ("--split", "L1", 1, 2): "expected 4",
        ("--split", "L1", 1, 2, "x"): "must be numbers",
        ("--split", "X1", 1, 2, 3): "'X1' is no vertebra",
        ("--split", "L5", 1, 2, 3): "L5 is not there",
        ("--split", "L1", 1, 2, 9999): "doesn't cut L1",
        ("--split", "L1", 1, 2, "nan"): "numbers",
        ("--shift", 1, "--thoracic", 10): "11, 12 or 13 thoracic",
        ("--shift", 1, "--lumbar", 7): "4, 5 or 6 lumbar",
        ("--swap", "L1", "L2", "--lumbar", 6): "--lumbar only go with",
        ("--shift", 1, "--swap", "L1", "L2"): "not allowed with",
    }.items():
        assert word in refused(capsys, spine, *arguments), arguments
        assert word in refused(capsys, spine, "-o", output, *arguments)
    for alone in ((), ("--thoracic", 13)):
        assert "say what to put right" in refused(capsys, spine, "-o", output, *alone)
    assert "--lumbar only go with" in refused(capsys, spine, "--thoracic", 13)
    for name, word in {"out.png": ".seg.nrrd", "none/out.nrrd": "create it", ".nii.gz": "without a name"}.items():
        assert word in refused(capsys, spine, "--shift", 1, "-o", tmp_path / name)
    assert os.listdir(tmp_path) == [spine.name] and spine.read_bytes() == before


def test_files_without_levels_are_refused(tmp_path, capsys):
    cases = {
        "unknown": ((1, 1, SACRUM, 200, CANAL), "doesn't tell its vertebrae apart"),
        "one class": ((1,), "doesn't tell its vertebrae apart"),
        "sacrum": ((SACRUM, CANAL), "holds no vertebra"),
        "empty": ((0,), "holds no vertebra"),
        "total": ((27, 29, 30, 31, 32, 33), "holds 29, 30, 31, 32, 33, which VerSe's numbering does not have"),
        "many": (tuple(range(29, 45)), "29, 30, 31, 32, 33, 34, 35, 36, ...,"),
    }
    for name, (values, word) in cases.items():
        path = tmp_path / f"{name}.nii.gz"
        write_volume(stack(*values), path)
        for call in ([], ["--shift", 1, "-o", path]):
            assert word in refused(capsys, path, *call), name
    scan = tmp_path / "scan.nii.gz"
    write_volume(Volume(np.full(GRID.shape, -1000, np.int16), GRID.affine), scan)
    assert "holds -1000" in refused(capsys, scan)
    write_volume(Volume(np.full(GRID.shape, 70000, np.int32), GRID.affine), scan)
    assert "holds 70000" in refused(capsys, scan)
    write_volume(Volume(np.full(GRID.shape, 0.5, np.float32), GRID.affine), scan)
    assert "fractions" in refused(capsys, scan)
    scan.write_bytes(scan.read_bytes()[:500])
    assert scan.name in refused(capsys, scan)
    assert "no file" in refused(capsys, tmp_path)
    assert "does not exist" in refused(capsys, tmp_path / "none.nii.gz")


@pytest.mark.parametrize(
    ("values", "below"), [((28, 27, 26), 26), ((28, 27, 25), 25), ((28, 27, CANAL, 26, 26), 26)],
    ids=["L4 L5 S1", "L4 L5 sacrum", "canal"],
)  # fmt: skip
def test_a_pelvis_in_totalsegmentators_numbering_has_no_t13(values, below, tmp_path, capsys):
    """Each of its values is one of VerSe's, too: only their places tell."""
    path, scan = tmp_path / "total.nii.gz", tmp_path / "ct.nii.gz"
    write_volume(stack(*values), path)
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID.affine), scan)
    sentence = (
        f"'total.nii.gz' holds 27 above {below}, as TotalSegmentator's L5 would be, but not VerSe's coccyx: {CONVERT}"
    )
    assert refused(capsys, path) == sentence
    assert main(["measure", str(scan), str(path)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_coccyx_below_the_sacrum_is_left_alone(tmp_path, capsys):
    path = tmp_path / "whole.nii.gz"
    for values in ((L1, L2, SACRUM, 27), (28, L1, 27), (28, 25, 27)):
        write_volume(stack(*values), path)
        shown, _ = run(capsys, path)
        assert len(levels_in(shown)) == len(values) - 1


def test_nobody_is_sent_back_to_a_model_that_can_name_no_more_of_so_little(tmp_path, capsys):
    """As after a run on a head whose scan ends in C2, or of C1 alone."""
    path = tmp_path / "head.seg.nrrd"
    write_segmentation(stack(1, CANAL), path)
    assert refused(capsys, path) == (
        "'head.seg.nrrd' doesn't tell its vertebrae apart (all of them are 1), as it was made by a model that doesn't, "
        "too little of the spine was in view to name them, or it shows C1 alone: give labels in which each vertebra "
        "has a value of its own."
    )


def test_a_file_that_would_tell_no_level_is_not_made(tmp_path, capsys):
    path = tmp_path / "one.nii.gz"
    write_volume(stack(2, CANAL), path)
    before = path.read_bytes()
    for repair in (("--this", "C2=C1"), ("--shift", -1)):
        assert "C1 can't be the only vertebra" in refused(capsys, path, *repair, "-o", path)
    assert path.read_bytes() == before


def test_segments_that_slicer_numbered_anew_are_refused(tmp_path, capsys):
    """Slicer's save dialog after its layers were collapsed: the names are right, the values run from 1 on."""
    path, theirs = tmp_path / "ours.seg.nrrd", tmp_path / "theirs.seg.nrrd"
    write_segmentation(stack(L1, L2, SACRUM), path)
    content = slicerio.read_segmentation(str(path))
    renumbered = np.zeros_like(content["voxels"])
    for number, item in enumerate(content["segments"], start=1):
        renumbered[content["voxels"] == item["labelValue"]] = number
        item["labelValue"] = number
    slicerio.write_segmentation(str(theirs), content | {"voxels": renumbered})
    assert "in VerSe's numbering: export it" in refused(capsys, theirs)
    with pytest.raises(InputRefused, match="in VerSe's numbering: export it"):
        evaluate(theirs, path)


def test_overlapping_segments_are_refused(tmp_path, capsys):
    image = to_sitk(stack(L1, L2))
    sitk.WriteImage(sitk.Compose(image, image), str(tmp_path / "layers.seg.nrrd"))
    assert "overlapping" in refused(capsys, tmp_path / "layers.seg.nrrd")


@pytest.mark.parametrize("name", SHEARED)
def test_a_tilted_gantry_needs_nrrd(name, tmp_path, capsys):
    grid = centered_grid((1, 1, 1), (60, 54, 66), GRIDS[name].directions)
    path = tmp_path / "spine.seg.nrrd"
    write_segmentation(stack(L1, L2, grid=grid), path)
    assert "tilted" in refused(capsys, path, "--shift", 1, "-o", tmp_path / "spine.nii.gz")
    run(capsys, path, "--shift", 1, "-o", path)
    assert read_labels(path).grid.same_as(grid)


def test_labels_upside_down_are_told_and_not_turned_round(tmp_path, capsys):
    """As labels whose file doesn't state how the patient lies: the slices of many run from the head down."""
    column = stack(20, 21, 22, 23).array.astype(np.uint8)
    path, output = tmp_path / "labels.nii.gz", tmp_path / "out.nii.gz"
    labels = nibabel.Nifti1Image(column[::-1].transpose(2, 1, 0), None)
    labels.header["pixdim"][1:4] = GRID.spacing_mm
    nibabel.save(labels, path)
    _, warnings = run(capsys, path)
    assert "Warning: 'labels.nii.gz': The file does not state how the patient lies" in warnings[0]
    refusal = refused(capsys, path, "--this", "L2=L1", "-o", output)
    assert "its levels run from the feet to the head: give labels that state it" in refusal
    assert not output.exists()
