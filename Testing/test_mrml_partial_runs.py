"""A run that fills chosen segments only, or a region only: the others stay to the voxel, edited or not."""

import gc

import numpy as np
import pytest

from SpineContextSegLib.labels import BINARY_SPINE, DISCS, structure
from SpineContextSegLib.roi import Box, inside
from Testing.geometry import rotation

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.edits import edited_values  # noqa: E402
from SpineContextSegLib.mrml.labelmaps import voxels_of  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from Testing.scene_nodes import add_transform, add_volume, draw, mask_of  # noqa: E402
from Testing.scene_results import (  # noqa: E402
    NO_LEVELS,
    SMALL,
    add_result,
    blocks,
    edit,
    editor,
    labels_in,
    scattered,
    segments,
    tag,
)

RANDOM = np.random.default_rng(11)
OLD = scattered(SMALL, (20, 21, 22, 26)).array
NEW = RANDOM.permuted(OLD)


@pytest.fixture
def volume(scene):
    return add_volume(SMALL)


@pytest.fixture
def node(volume):
    return add_result(volume, OLD)


def masks(node, volume) -> dict[str, np.ndarray]:
    return {segment_id: mask_of(node, segment_id, volume) for segment_id in segments(node)}


def test_chosen_segments_are_filled_where_the_others_leave_room(node, volume):
    add_result(volume, NEW, segmentation_node=node, only={21, 26})
    gc.collect()
    kept = np.where(np.isin(OLD, (20, 22)), OLD, 0)
    expected = np.where((kept == 0) & np.isin(NEW, (21, 26)), NEW, kept)
    np.testing.assert_array_equal(labels_in(node, volume), expected)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert list(our_values(node)) == [20, 21, 22, 26]
    assert edited_values(node) == set()


def test_a_chosen_segment_that_was_not_there_is_added_in_its_place(volume):
    node = add_result(volume, blocks(20, 0, 26))
    add_result(volume, blocks(9, 61, 9), segmentation_node=node, only={61})
    assert list(our_values(node)) == [20, 26, 61]
    np.testing.assert_array_equal(labels_in(node, volume), blocks(20, 61, 26))
    add_result(volume, blocks(0, 0, 0, 9), segmentation_node=node, only={9, 200})
    assert list(our_values(node)) == [9, 20, 26, 61]
    np.testing.assert_array_equal(labels_in(node, volume), blocks(20, 61, 26, 9))


def test_a_chosen_segment_that_was_not_found_stays(node, volume):
    add_result(volume, np.where(NEW == 26, 0, NEW), segmentation_node=node, only={20, 26})
    np.testing.assert_array_equal(mask_of(node, "SpineContextSeg_26", volume), OLD == 26)
    assert edited_values(node) == set()


def test_without_a_segmentation_only_the_chosen_are_written(volume):
    node = add_result(volume, OLD, only={26, 61})
    np.testing.assert_array_equal(labels_in(node, volume), np.where(OLD == 26, OLD, 0))


def test_edits_in_the_others_are_kept_and_remembered(node, volume):
    stroke = np.zeros(SMALL.shape, bool)
    stroke[4:9, 2:12] = True
    edit(editor(node, volume), node, "SpineContextSeg_20", stroke, volume)
    segments(node)["SpineContextSeg_20"].SetTag("Segmentation.Status", "completed")
    before = masks(node, volume)
    assert edited_values(node) == {20, 21, 22, 26}
    add_result(volume, NEW, segmentation_node=node, only={26})
    for segment_id in ("SpineContextSeg_20", "SpineContextSeg_21", "SpineContextSeg_22"):
        np.testing.assert_array_equal(mask_of(node, segment_id, volume), before[segment_id])
    assert edited_values(node) == {20, 21, 22}
    assert tag(segments(node)["SpineContextSeg_20"], "Segmentation.Status") == "completed"
    kept = before["SpineContextSeg_20"] | before["SpineContextSeg_21"] | before["SpineContextSeg_22"]
    np.testing.assert_array_equal(mask_of(node, "SpineContextSeg_26", volume), (NEW == 26) & ~kept)


def test_segments_of_others_stay_whether_they_share_a_layer_or_overlap(node, volume):
    assert node.GetSegmentation().AddEmptySegment("Tumor", "Tumor") == "Tumor"
    tumor = np.zeros(SMALL.shape, bool)
    tumor[2:12, 3:12, 5:9] = True
    edit(editor(node, volume), node, "Tumor", tumor, volume)
    implant = RANDOM.random(SMALL.shape) < 0.5
    draw(node, "Implant", implant, volume)
    before = masks(node, volume)
    np.testing.assert_array_equal(before["Tumor"], tumor)
    add_result(volume, NEW, segmentation_node=node, only={21})
    gc.collect()
    after = masks(node, volume)
    for segment_id in before.keys() - {"SpineContextSeg_21"}:
        np.testing.assert_array_equal(after[segment_id], before[segment_id])
    kept = np.logical_or.reduce([before[f"SpineContextSeg_{value}"] for value in (20, 22, 26)])
    np.testing.assert_array_equal(after["SpineContextSeg_21"], (NEW == 21) & ~kept)


def test_others_of_ours_that_overlap_each_other_stay(node, volume):
    """Segment Editor lets segments overlap if told so."""
    wide = (OLD == 20) | (OLD == 21) | (RANDOM.random(SMALL.shape) < 0.2)
    draw(node, "SpineContextSeg_20", wide, volume)
    before = masks(node, volume)
    assert (before["SpineContextSeg_20"] & before["SpineContextSeg_21"]).any()
    for _ in range(2):
        add_result(volume, NEW, segmentation_node=node, only={26})
        gc.collect()
        after = masks(node, volume)
        for value in (20, 21, 22):
            np.testing.assert_array_equal(after[f"SpineContextSeg_{value}"], before[f"SpineContextSeg_{value}"])
        kept = np.logical_or.reduce([before[f"SpineContextSeg_{value}"] for value in (20, 21, 22)])
        np.testing.assert_array_equal(after["SpineContextSeg_26"], (NEW == 26) & ~kept)
    assert edited_values(node) == {20}


def test_a_kept_segment_without_voxels_stays(node, volume):
    slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(node, "SpineContextSeg_20")
    add_result(volume, NEW, segmentation_node=node, only={26})
    assert "SpineContextSeg_20" in segments(node) and not mask_of(node, "SpineContextSeg_20", volume).any()
    assert edited_values(node) == {20}


@pytest.mark.parametrize("with_box", [False, True])
def test_a_segment_that_a_person_removed_is_not_forgotten(node, volume, with_box):
    node.GetSegmentation().RemoveSegment("SpineContextSeg_20")
    options = {"box": BOX} if with_box else {"only": {26}}
    add_result(volume, np.where(NEW == 20, 0, NEW), segmentation_node=node, **options)
    assert edited_values(node) == {20}
    add_result(volume, NEW, segmentation_node=node, only={20})
    assert edited_values(node) == set() and 20 in our_values(node)


@pytest.mark.parametrize("part", [False, True], ids=["all", "a part that as many voxels of the volume could hold"])
def test_segments_on_a_finer_lattice_stay_there(node, volume, part):
    """After "Specify geometry" in Segment Editor: voxels half as large, drawn upon."""
    segmentation = node.GetSegmentation()
    fine_affine = SMALL.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
    fine = slicer.vtkOrientedImageData()
    fine.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(fine_affine))
    fine.SetExtent([bound for n in SMALL.shape[::-1] for bound in (0, 2 * n - 1)])
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(fine)
    segmentation.SetConversionParameter("Reference image geometry", geometry)
    if part:
        fine.SetExtent(4, 15, 6, 13, 2, 11)
    image = segments(node)["SpineContextSeg_20"].GetRepresentation("Binary labelmap")
    moved = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, fine, moved)
    for segment in segments(node).values():
        segment.AddRepresentation("Binary labelmap", moved)
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    other.SetAndObserveSegmentation(segmentation)
    drawn = voxels_of(moved).array
    drawn[5, 5, ::2] = 20
    expected = drawn.copy()
    assert np.isin((20, 21, 22), expected).all()
    affine = voxels_of(moved).affine
    add_result(volume, NEW, segmentation_node=node, only={26})
    # The last to hold the old voxels: they are wiped as it goes, and must not be the new ones.
    slicer.mrmlScene.RemoveNode(other)
    del other, segmentation
    gc.collect()
    for value in (20, 21, 22):
        kept = voxels_of(segments(node)[f"SpineContextSeg_{value}"].GetRepresentation("Binary labelmap"))
        np.testing.assert_array_equal(kept.array == value, expected == value)
        np.testing.assert_allclose(kept.affine, affine, atol=1e-9)
    np.testing.assert_array_equal(mask_of(node, "SpineContextSeg_26", volume), NEW == 26)
    assert node.GetSegmentation().GetConversionParameter("Reference image geometry") == geometry, (
        "Slicer saves segments in this geometry: the coarser one would lose what was drawn"
    )
    add_result(volume, NEW, segmentation_node=node)
    np.testing.assert_array_equal(labels_in(node, volume), NEW)
    assert node.GetSegmentation().GetConversionParameter("Reference image geometry") != geometry


def test_segment_that_reaches_out_of_the_volume_stays(node, volume):
    part = voxels_of(segments(node)["SpineContextSeg_20"].GetRepresentation("Binary labelmap"))
    larger = np.pad(part.array == 20, 3, constant_values=True)
    image = slicer.vtkOrientedImageData()
    affine = part.affine.copy()
    affine[:3, 3] = part.grid.world([-3, -3, -3])
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    image.SetExtent([bound for n in larger.shape[::-1] for bound in (0, n - 1)])
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels_of(image).array[:] = larger
    segments(node)["SpineContextSeg_20"].SetLabelValue(1)
    segments(node)["SpineContextSeg_20"].AddRepresentation("Binary labelmap", image)
    add_result(volume, NEW, segmentation_node=node, only={26})
    kept = voxels_of(segments(node)["SpineContextSeg_20"].GetRepresentation("Binary labelmap"))
    np.testing.assert_array_equal(kept.array == 1, larger)


def test_hardened_segments_stay_where_they_were_put(node, volume):
    turned = np.eye(4)
    turned[:3, :3] = rotation(12, 1)
    node.SetAndObserveTransformNodeID(add_transform(turned).GetID())
    node.HardenTransform()
    before = voxels_of(segments(node)["SpineContextSeg_20"].GetRepresentation("Binary labelmap"))
    before = (before.array == 20, before.affine)
    add_result(volume, NEW, segmentation_node=node, only={26})
    after = voxels_of(segments(node)["SpineContextSeg_20"].GetRepresentation("Binary labelmap"))
    np.testing.assert_array_equal(after.array == 20, before[0])
    np.testing.assert_allclose(after.affine, before[1], atol=1e-9)
    assert edited_values(node) == {20, 21, 22}


# --- kinds that are chosen whole --------------------------------------------------------------------------------------

TOLD_APART = blocks(26, 24, 23, 22)
AS_ONE = np.where((TOLD_APART > 0) & (TOLD_APART < 26), 1, TOLD_APART)


@pytest.mark.parametrize("with_box", [False, True])
def test_vertebrae_that_are_told_apart_now_replace_those_that_were_not(volume, with_box):
    node = add_result(volume, AS_ONE, NO_LEVELS)
    box = {"box": Box(TURNED, (500.0, 500.0, 500.0))} if with_box else {}
    add_result(volume, TOLD_APART, segmentation_node=node, only=BINARY_SPINE, **box)
    np.testing.assert_array_equal(labels_in(node, volume), TOLD_APART)
    assert edited_values(node) == set()


def test_vertebrae_that_are_not_told_apart_any_more_replace_those_that_were(volume):
    node = add_result(volume, TOLD_APART)
    add_result(volume, AS_ONE, NO_LEVELS, segmentation_node=node, only=BINARY_SPINE)
    np.testing.assert_array_equal(labels_in(node, volume), AS_ONE)
    assert segments(node)["SpineContextSeg_1"].GetName() == "Vertebrae"


@pytest.mark.parametrize("with_box", [False, True])
def test_a_false_vertebra_that_is_not_found_any_more_goes(volume, with_box):
    node = add_result(volume, TOLD_APART)
    fewer = np.where(TOLD_APART == 22, 0, TOLD_APART)
    box = {"box": Box(TURNED, (500.0, 500.0, 500.0))} if with_box else {}
    add_result(volume, fewer, segmentation_node=node, only=BINARY_SPINE, **box)
    np.testing.assert_array_equal(labels_in(node, volume), fewer)
    assert list(our_values(node)) == [23, 24, 26] and edited_values(node) == set()


def test_levels_of_another_run_are_taken(volume):
    """Nothing of the old levels stays, and nobody has put them right."""
    node = add_result(volume, TOLD_APART)
    lower = np.where((TOLD_APART > 0) & (TOLD_APART < 26), TOLD_APART - 1, TOLD_APART)
    add_result(volume, lower, segmentation_node=node, only=BINARY_SPINE)
    np.testing.assert_array_equal(labels_in(node, volume), lower)


def test_a_kind_of_which_nothing_was_found_stays(volume):
    node = add_result(volume, TOLD_APART)
    add_result(volume, np.where(TOLD_APART == 26, 26, 0), segmentation_node=node, only=BINARY_SPINE)
    np.testing.assert_array_equal(labels_in(node, volume), TOLD_APART)


def test_discs_of_an_unchosen_kind_stay_beside_new_vertebrae(volume):
    old = blocks(26, 124, 24, 200, 23)
    node = add_result(volume, old)
    found = np.where(old == 23, 0, old)
    add_result(volume, found, segmentation_node=node, only=BINARY_SPINE)
    np.testing.assert_array_equal(labels_in(node, volume), found)
    add_result(volume, np.where(old == 200, 0, found), segmentation_node=node, only=DISCS)
    assert list(our_values(node)) == [24, 26, 124]


def test_what_is_left_around_the_region_is_called_as_before(volume):
    """Vertebrae that nobody told apart don't become C1."""
    node = add_result(volume, np.where(OLD == 20, 1, 0).astype(np.uint8), NO_LEVELS)
    segments(node)["SpineContextSeg_1"].SetTag("Segmentation.Status", "completed")
    found = np.where(FOUND == 21, 21, 0).astype(np.uint8)
    add_result(volume, found, segmentation_node=node, box=BOX, only=BINARY_SPINE)
    np.testing.assert_array_equal(labels_in(node, volume), np.where(WITHIN, found, OLD == 20))
    rest = segments(node)["SpineContextSeg_1"]
    assert rest.GetName() == "Vertebrae" and tag(rest, "Segmentation.Status") is None


# --- a region ---------------------------------------------------------------------------------------------------------

TURNED = np.vstack([np.c_[rotation(25, 2), SMALL.corners().mean(axis=0)], [0, 0, 0, 1]])
BOX = Box(TURNED, (9.0, 11.0, 13.0))
WITHIN = inside(SMALL, BOX)
FOUND = np.where(WITHIN, NEW, 0)


def test_outside_of_the_region_everything_stays(node, volume):
    assert 50 < WITHIN.sum() < WITHIN.size / 2
    add_result(volume, FOUND, segmentation_node=node, box=BOX)
    gc.collect()
    np.testing.assert_array_equal(labels_in(node, volume), np.where(WITHIN, NEW, OLD))
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert edited_values(node) == set()


def test_labels_outside_of_the_region_are_not_written(node, volume):
    add_result(volume, NEW, segmentation_node=node, box=BOX)
    np.testing.assert_array_equal(labels_in(node, volume), np.where(WITHIN, NEW, OLD))


def test_region_and_chosen_segments(node, volume):
    add_result(volume, FOUND, segmentation_node=node, box=BOX, only={20, 26})
    kept = np.where(np.isin(OLD, (21, 22)) | ~WITHIN, OLD, 0)
    expected = np.where((kept == 0) & np.isin(FOUND, (20, 26)), FOUND, kept)
    np.testing.assert_array_equal(labels_in(node, volume), expected)


def test_structure_that_lay_in_the_region_alone_and_is_not_found_goes(volume):
    old = np.where(WITHIN & (OLD == 20), 22, np.where(OLD == 21, 21, 0)).astype(np.uint8)
    node = add_result(volume, old)
    add_result(volume, np.where(WITHIN & (NEW == 26), 26, 0).astype(np.uint8), segmentation_node=node, box=BOX)
    assert list(our_values(node)) == [21, 26]
    assert edited_values(node) == set()


def test_edits_outside_of_the_region_are_remembered(node, volume):
    stroke = ~WITHIN & (OLD == 20) & (RANDOM.random(SMALL.shape) < 0.3)
    edit(editor(node, volume), node, "SpineContextSeg_22", stroke, volume)
    edited = np.where(stroke, 22, OLD)
    assert edited_values(node) == {20, 22}
    add_result(volume, FOUND, segmentation_node=node, box=BOX)
    np.testing.assert_array_equal(labels_in(node, volume), np.where(WITHIN, NEW, edited))
    assert edited_values(node) == {20, 22}


def test_region_where_ours_overlap(node, volume):
    wide = (OLD == 20) | (OLD == 21)
    draw(node, "SpineContextSeg_20", wide, volume)
    add_result(volume, FOUND, segmentation_node=node, box=BOX)
    after = masks(node, volume)
    np.testing.assert_array_equal(after["SpineContextSeg_20"], np.where(WITHIN, NEW == 20, wide))
    for value in (21, 22, 26):
        np.testing.assert_array_equal(after[f"SpineContextSeg_{value}"], np.where(WITHIN, NEW, OLD) == value)


def test_region_on_segments_of_another_lattice(node, volume):
    """What lies outside is brought to the volume's voxels, as Slicer does it."""
    shifted = np.eye(4)
    shifted[:3, 3] = SMALL.affine[:3, :3] @ (2.3, 0.0, 0.0)
    node.SetAndObserveTransformNodeID(add_transform(shifted).GetID())
    node.HardenTransform()
    add_result(volume, FOUND, segmentation_node=node, box=BOX)
    moved = np.zeros_like(OLD)
    moved[:, :, 2:] = OLD[:, :, :-2]
    np.testing.assert_array_equal(labels_in(node, volume), np.where(WITHIN, NEW, moved))


def test_region_without_levels_keeps_the_names(volume):
    node = add_result(volume, np.where(OLD == 20, 1, 0).astype(np.uint8), NO_LEVELS)
    add_result(volume, np.where(FOUND == 21, 1, 0).astype(np.uint8), NO_LEVELS, segmentation_node=node, box=BOX)
    assert segments(node)["SpineContextSeg_1"].GetName() == structure(1, levels_known=False).name
    np.testing.assert_array_equal(labels_in(node, volume) == 1, np.where(WITHIN, NEW == 21, OLD == 20))


def test_levels_in_a_region_are_those_around_it(volume):
    """A part of a scan shows little to count from."""
    column = np.repeat(np.array([22, 21, 20, 19], np.uint8), SMALL.shape[0] // 4)
    node = add_result(volume, np.ones(SMALL.shape, np.uint8) * column[:, None, None])
    before = labels_in(node, volume)
    add_result(volume, np.where(WITHIN, before - 1, 0).astype(np.uint8), segmentation_node=node, box=BOX)
    np.testing.assert_array_equal(labels_in(node, volume), before)
