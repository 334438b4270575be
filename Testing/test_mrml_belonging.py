"""Which volume a segmentation belongs to, also after a file or a copy that don't tell."""

import numpy as np
import pytest

from SpineContextSegLib.volume import Grid, Volume
from SpineContextSegLib.writing import write_segmentation

slicer = pytest.importorskip("slicer")

from SpineContextSegLib.mrml.belonging import adopt, volume_of  # noqa: E402
from SpineContextSegLib.mrml.export import export_segmentation  # noqa: E402
from Testing.scene_nodes import add_volume  # noqa: E402
from Testing.scene_results import SMALL, add_result, blocks  # noqa: E402

MOVED = Grid(SMALL.shape, SMALL.affine + np.diag([0.5], 3))


def reopened(path):
    return slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "Loaded")


@pytest.fixture(params=["exported", "of the command line", "copy"])
def node(request, scene, tmp_path):
    """A segmentation whose volume is not known."""
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(26, 24, 23))
    if request.param == "exported":
        (path,) = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"]).files
        node = reopened(path)
    elif request.param == "of the command line":
        path = tmp_path / "spine.seg.nrrd"
        write_segmentation(Volume(blocks(26, 24, 23), SMALL.affine), path)
        node = reopened(path)
    else:
        original, node = node, scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.CopyContent(original)
    assert volume_of(node) is None
    return node


def test_the_volume_on_whose_grid_it_was_made(node):
    volume = add_volume(SMALL)
    adopt(node, volume)
    assert volume_of(node) is volume


@pytest.mark.parametrize("other", [SMALL.crop((slice(0, 3), slice(None), slice(None))), MOVED])
def test_no_other_volume(node, other):
    adopt(node, add_volume(other))
    assert volume_of(node) is None


def test_a_volume_that_is_known_stays(scene):
    first = add_volume(SMALL)
    node = add_result(first, blocks(26, 24, 23))
    adopt(node, add_volume(SMALL))
    assert volume_of(node) is first


def test_where_there_is_none(node):
    adopt(None, add_volume(SMALL))
    adopt(node, None)
    assert volume_of(node) is None
