"""Files of the command line that somebody opened in Slicer, changed or not, and saved there in the ordinary way."""

import csv

import numpy as np
import pytest

from SpineContextSegLib.cli import main
from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.reading import read_labels, read_segments
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.geometry import GRIDS
from Testing.level_values import L1, L2, L3, L4
from Testing.levels_use import GRID, run, stack

slicer = pytest.importorskip("slicer")

from Testing.scene_nodes import add_volume, paint  # noqa: E402


def opened(path):
    node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "Opened")
    assert node is not None
    return node


def saved(node, path):
    """Through Slicer's save dialog, which takes the storage node as it is."""
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


def small_column(grid) -> Volume:
    """Two vertebrae far from all borders."""
    array = np.zeros(grid.shape, np.uint8)
    middle = [n // 2 for n in grid.shape]
    array[middle[0] - 1, middle[1] : middle[1] + 3, middle[2] - 3 : middle[2]] = 23
    array[middle[0] + 1, middle[1] : middle[1] + 2, middle[2] : middle[2] + 2] = 22
    return Volume(array, grid.affine)


@pytest.mark.parametrize(
    "name", ["upright", "lps", "left_handed", "sagittal_thick", "oblique_thick", "sheared_oblique"]
)
def test_the_whole_grid_stays(scene, name, tmp_path):
    labels = small_column(GRIDS[name])
    write_segmentation(labels, tmp_path / "spine.seg.nrrd")
    found = read_labels(saved(opened(tmp_path / "spine.seg.nrrd"), tmp_path / "saved.seg.nrrd"))
    assert found.grid.same_as(labels.grid)
    np.testing.assert_array_equal(found.array, labels.array)


def test_the_whole_grid_stays_of_what_levels_wrote(scene, tmp_path, capsys):
    labels = small_column(GRIDS["oblique_thick"])
    write_segmentation(labels, tmp_path / "spine.seg.nrrd")
    run(capsys, tmp_path / "spine.seg.nrrd", "--shift", "-1", "-o", tmp_path / "put_right.seg.nrrd")
    found = read_labels(saved(opened(tmp_path / "put_right.seg.nrrd"), tmp_path / "saved.seg.nrrd"))
    assert found.grid.same_as(labels.grid)
    np.testing.assert_array_equal(found.array != 0, labels.array != 0)


LESIONS = {"Lesion A": np.s_[40:44, 2:9, 2:9], "Lesion B": np.s_[20:30, 45:50, 5:9]}


@pytest.fixture
def with_lesions(scene, tmp_path):
    """A result with two segments of a person's own, without terminology, as Slicer saves it."""
    write_segmentation(stack(L1, L2, L3), tmp_path / "result.seg.nrrd")
    node, volume = opened(tmp_path / "result.seg.nrrd"), add_volume(GRID)
    for name, where in LESIONS.items():
        segment_id = node.GetSegmentation().AddEmptySegment("", name, (0.25, 0.5, 1.0))
        mask = np.zeros(GRID.shape, bool)
        mask[where] = True
        paint(node, segment_id, mask, volume)
    path = saved(node, tmp_path / "lesions.seg.nrrd")
    stated = {node.GetSegmentation().GetSegment(s).GetLabelValue() for s in node.GetSegmentation().GetSegmentIDs()}
    assert {1, 2} < stated, "Slicer gives them the values of C1 and C2"
    return path


def test_what_a_person_drew_beside_ours_is_a_persons(with_lesions):
    labels, named = read_labels(with_lesions).array, {segment.name: segment for segment in read_segments(with_lesions)}
    assert set(np.unique(labels)) == {0, L1, L2, L3, 300, 301}
    assert {name: segment.value for name, segment in named.items() if segment.value > 299} == {
        "Lesion A": 300, "Lesion B": 301,
    }  # fmt: skip
    assert named["Lesion A"].color == pytest.approx((0.25, 0.5, 1.0))
    expected = stack(L1, L2, L3).array
    for value, where in enumerate(LESIONS.values(), 300):
        expected[where] = value
    np.testing.assert_array_equal(labels, expected)


def test_commands_take_it_for_no_vertebra(with_lesions, tmp_path, capsys):
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID.affine), tmp_path / "ct.nii.gz")
    assert main(["measure", str(tmp_path / "ct.nii.gz"), str(with_lesions), "--table", str(tmp_path / "t.csv")]) == 0
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        assert [row["level"] for row in csv.DictReader(file)] == ["L1", "L2", "L3"]
    found = evaluate(with_lesions, tmp_path / "result.seg.nrrd")
    assert found.values("Spine (binary)", "dice") == [1.0]
    assert "somebody's own (300, 301)" in found.notes[0]
    capsys.readouterr()
    shown, _ = run(capsys, with_lesions, "--shift", 1, "-o", tmp_path / "shifted.seg.nrrd")
    assert not [line for line in shown if line.startswith("C")]
    names = {segment.value: segment.name for segment in read_segments(tmp_path / "shifted.seg.nrrd")}
    assert names.keys() == {L2, L3, L4, 300, 301} and (names[300], names[301]) == ("Lesion A", "Lesion B")
