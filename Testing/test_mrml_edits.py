"""Whether a person has edited a result, told by its voxels: real edits through Segment Editor's own logic."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation
from Testing.geometry import GRIDS

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.edits import edited_values, fingerprints, is_edited  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from SpineContextSegLib.mrml.segmentations import write_result  # noqa: E402
from Testing.scene_nodes import add_transform, add_volume, draw, mask_of, oriented_image  # noqa: E402
from Testing.scene_results import (  # noqa: E402
    NO_LEVELS,
    ROTATED,
    SMALL,
    add_result,
    blocks,
    edit,
    editor,
    scattered,
    segments,
)

THIRD = "SpineContextSeg_22"


@pytest.fixture
def volume(scene):
    return add_volume(SMALL)


@pytest.fixture
def node(volume):
    node = add_result(volume, blocks(20, 21, 22))
    assert not is_edited(node) and edited_values(node) == set()
    return node


def voxel(k: int, j: int, i: int) -> np.ndarray:
    mask = np.zeros(SMALL.shape, bool)
    mask[k, j, i] = True
    return mask


@pytest.mark.parametrize("name", GRIDS)
def test_one_voxel_tells_on_every_grid(scene, name):
    grid = GRIDS[name]
    labels = scattered(grid)
    volume = add_volume(grid)
    node = write_result(volume, labels, NO_LEVELS)
    assert not is_edited(node)
    place = tuple(np.argwhere(labels.array == 26)[1234])
    image = segments(node)["SpineContextSeg_26"].GetRepresentation("Binary labelmap")
    scalars = image.GetPointData().GetScalars()
    at = np.ravel_multi_index(place, labels.array.shape)
    assert scalars.GetTuple1(at) == 26
    for value, edited in ((0, {26}), (200, {26, 200}), (26, set())):
        scalars.SetTuple1(at, value)
        assert edited_values(node) == edited


def test_painted_undone_and_redone(node, volume):
    logic = editor(node, volume)
    stroke = voxel(5, 10, 3)
    edit(logic, node, THIRD, stroke, volume)
    assert edited_values(node) == {22}
    logic.Undo()
    assert not is_edited(node)
    logic.Redo()
    assert edited_values(node) == {22}


def test_erased(node, volume):
    logic = editor(node, volume)
    logic.SetCurrentSegmentID(THIRD)
    inside = voxel(*np.argwhere(blocks(20, 21, 22) == 22)[3])
    image = oriented_image(inside.astype(np.uint8), volume)
    logic.ModifySegmentByLabelmap(node, THIRD, image, logic.ModificationModeRemove, False, False)
    assert edited_values(node) == {22}


def test_shortened_in_a_place_that_no_bounding_box_tells_of(node, volume):
    shorter = blocks(20, 21, 22) == 22
    k, j = np.argwhere(shorter)[0][:2]
    shorter[k, j, np.flatnonzero(shorter[k, j])[-1]] = False
    draw(node, THIRD, shorter, volume)
    assert edited_values(node) == {22}


def test_painted_over_a_neighbor(node, volume):
    """Segment Editor takes the voxels from the neighbor: both have changed."""
    edit(editor(node, volume), node, THIRD, voxel(*np.argwhere(blocks(20) == 20)[0]), volume)
    assert edited_values(node) == {20, 22}


def test_smoothed(node, volume):
    smooth = gaussian_filter((blocks(20, 21, 22) == 22).astype(float), 1.5) > 0.4
    draw(node, THIRD, smooth, volume)
    np.testing.assert_array_equal(mask_of(node, THIRD, volume), smooth)
    assert edited_values(node) == {22}


def test_replaced_by_the_same_voxels(node, volume):
    """What an effect does that finds nothing to do."""
    draw(node, THIRD, blocks(20, 21, 22) == 22, volume)
    assert not is_edited(node)


def test_emptied(node, volume):
    assert slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(node, THIRD)
    assert edited_values(node) == {22}


def test_removed_and_brought_back(node, volume):
    logic = editor(node, volume)
    logic.SetCurrentSegmentID(THIRD)
    logic.RemoveSelectedSegment()
    assert THIRD not in segments(node)
    assert edited_values(node) == {22}
    logic.Undo()
    assert THIRD in segments(node) and not is_edited(node)


def test_all_removed(node):
    node.GetSegmentation().RemoveAllSegments()
    assert edited_values(node) == {20, 21, 22}


@pytest.mark.parametrize("where", [blocks(0, 0, 0, 0, 7) == 7, blocks(20) == 20], ids=["beside", "over ours"])
def test_segment_of_another_is_no_edit_of_ours(node, volume, where):
    draw(node, "Implant", where, volume)
    assert mask_of(node, "Implant", volume).any() and not is_edited(node)
    node.GetSegmentation().RemoveSegment("Implant")
    assert not is_edited(node)


def test_segment_of_another_that_takes_our_voxels_is_one(node, volume):
    logic = editor(node, volume)
    assert node.GetSegmentation().AddEmptySegment("Tumor", "Tumor") == "Tumor"
    assert not is_edited(node)
    edit(logic, node, "Tumor", blocks(20) == 20, volume)
    assert edited_values(node) == {20}


def test_name_color_code_and_order_are_no_edits(node):
    segments(node)[THIRD].SetName("Lendenwirbel")
    segments(node)[THIRD].SetColor(0.0, 0.0, 1.0)
    segments(node)[THIRD].SetTag("TerminologyEntry", "")
    node.GetSegmentation().SetSegmentIndex(THIRD, 0)
    assert list(segments(node))[0] == THIRD
    assert not is_edited(node)


def test_layers_are_no_edit(node, volume):
    """Slicer parts segments to let them overlap and joins them again, with other labels in the labelmaps."""
    segmentation = node.GetSegmentation()
    segmentation.SeparateSegmentLabelmap(THIRD)
    assert segmentation.GetNumberOfLayers() == 2 and segments(node)[THIRD].GetLabelValue() == 1
    assert not is_edited(node)
    segmentation.CollapseBinaryLabelmaps(True)
    assert segmentation.GetNumberOfLayers() == 1
    assert {s.GetLabelValue() for s in segments(node).values()} == {1, 2, 3}
    assert not is_edited(node)


def test_surface_is_no_edit(node):
    assert node.CreateClosedSurfaceRepresentation()
    assert not is_edited(node)


def test_made_of_surfaces_is_one(node):
    node.SetSourceRepresentationToClosedSurface()
    assert edited_values(node) == {20, 21, 22}


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0)])
def test_same_shape_in_another_place(node, volume, shift):
    draw(node, THIRD, np.roll(blocks(20, 21, 22) == 22, shift, (0, 1, 2)), volume)
    assert edited_values(node) == {22}


def test_transform(node):
    transform = add_transform(ROTATED)
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert not is_edited(node), "a transform above moves the voxels in the world, not in the node"
    node.HardenTransform()
    assert edited_values(node) == {20, 21, 22}


def test_hardened_shift_by_a_tenth_of_a_millimeter(node):
    shift = np.eye(4)
    shift[0, 3] = 0.1
    node.SetAndObserveTransformNodeID(add_transform(shift).GetID())
    node.HardenTransform()
    assert edited_values(node) == {20, 21, 22}


def test_run_over_edits_makes_them_ours(node, volume):
    edit(editor(node, volume), node, THIRD, voxel(5, 10, 3), volume)
    node.GetSegmentation().RemoveSegment("SpineContextSeg_20")
    assert edited_values(node) == {20, 22}
    add_result(volume, blocks(21, 22), segmentation_node=node)
    assert not is_edited(node)


def test_a_run_over_a_removed_segment_that_it_does_not_find_ends_the_matter(node, volume):
    """Else each later run would ask about edits again."""
    node.GetSegmentation().RemoveSegment("SpineContextSeg_20")
    add_result(volume, blocks(0, 21, 22), segmentation_node=node, only={20, 21, 22})
    assert edited_values(node) == set()


def test_file_of_the_command_line_counts_as_edited(scene, volume, tmp_path):
    """It may come from a person who edited it elsewhere: it carries no fingerprints."""
    path = tmp_path / "spine.seg.nrrd"
    write_segmentation(Volume(blocks(20, 26), SMALL.affine), path)
    node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "Loaded")
    assert our_values(node) == {20: "SpineContextSeg_20", 26: "SpineContextSeg_26"}
    assert edited_values(node) == {20, 26}
    add_result(volume, blocks(20, 26), segmentation_node=node)
    assert not is_edited(node) and set(segments(node)) == {"SpineContextSeg_20", "SpineContextSeg_26"}


def test_foreign_segmentation_is_not_edited(scene, volume):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert not is_edited(node)
    draw(node, "Mine", blocks(5) == 5, volume)
    assert not is_edited(node) and our_values(node) == {}


def test_fingerprints_tell_of_edits_since_a_moment(node, volume):
    """For a run that takes minutes: has somebody edited meanwhile, edited before or not?"""
    edit(editor(node, volume), node, THIRD, voxel(5, 10, 3), volume)
    before = fingerprints(node.GetSegmentation())
    segments(node)[THIRD].SetName("Lendenwirbel")
    assert fingerprints(node.GetSegmentation()) == before
    edit(editor(node, volume), node, THIRD, voxel(5, 10, 2), volume)
    after = fingerprints(node.GetSegmentation())
    assert {value for value in after if after[value] != before[value]} == {22}
