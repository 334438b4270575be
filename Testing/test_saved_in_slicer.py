"""Files of the command line that somebody opened in Slicer, changed or not, and saved there in the ordinary way."""

import numpy as np
import pytest

from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation
from Testing.geometry import GRIDS
from Testing.levels_use import run

slicer = pytest.importorskip("slicer")


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
