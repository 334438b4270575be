"""A result written into a segmentation that is there: nothing of a person's own is lost, and undo starts clean."""

import gc

import numpy as np
import pytest

from SpineContextSegLib.labels import structure

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from Testing.scene_nodes import add_volume, draw, mask_of  # noqa: E402
from Testing.scene_results import (  # noqa: E402
    LEVELS,
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


def test_undo_starts_clean(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 21, 26))
    logic = editor(node, volume)
    assert not logic.CanUndo()
    stroke = np.zeros(SMALL.shape, bool)
    stroke[0, :3] = True
    edit(logic, node, "SpineContextSeg_20", stroke, volume)
    assert logic.CanUndo()

    add_result(volume, blocks(21, 22), segmentation_node=node)
    assert not logic.CanUndo() and not logic.CanRedo()
    logic.Undo()
    np.testing.assert_array_equal(labels_in(node, volume), blocks(21, 22))
    # And from here on undo works again, down to the result and not below it.
    edit(logic, node, "SpineContextSeg_22", stroke, volume)
    assert mask_of(node, "SpineContextSeg_22", volume)[0, 0, 0]
    assert logic.CanUndo()
    logic.Undo()
    np.testing.assert_array_equal(labels_in(node, volume), blocks(21, 22))
    assert not logic.CanUndo()


def test_undo_of_another_segmentation_is_left_alone(scene):
    volume = add_volume(SMALL)
    other, node = add_result(volume, blocks(20)), add_result(volume, blocks(21))
    logic = editor(other, volume)
    edit(logic, other, "SpineContextSeg_20", np.ones(SMALL.shape, bool), volume)
    add_result(volume, blocks(22), segmentation_node=node)
    add_result(volume, blocks(23))
    assert logic.CanUndo()


def test_whoever_watches_hears_of_it_once(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 21))
    heard = []
    segmentation = slicer.vtkSegmentation
    for event in (vtk.vtkCommand.ModifiedEvent, node.SegmentationChangedEvent, segmentation.SegmentAdded):
        node.AddObserver(event, lambda caller, _, event=event: heard.append((event, len(segments(caller)))))
    add_result(volume, blocks(20, 22, 23), segmentation_node=node)
    assert sorted(heard) == sorted(
        (event, 3) for event in (vtk.vtkCommand.ModifiedEvent, node.SegmentationChangedEvent, segmentation.SegmentAdded)
    )


def test_scene_hears_of_a_new_node_in_one_batch(scene):
    volume = add_volume(SMALL)
    seen = []
    scene.AddObserver(scene.EndBatchProcessEvent, lambda *_: seen.append([
        len(segments(node)) for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    ]))  # fmt: skip
    nodes_before = scene.GetNumberOfNodes()
    add_result(volume, blocks(20, 21))
    assert seen == [[2]]
    assert scene.GetNumberOfNodes() == nodes_before + 2, "the segmentation and its display node, nothing left over"


def test_slicer_offers_to_save_a_result_that_replaced_another(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20))
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(tmp_path / "a.seg.nrrd"))
    assert node.GetStorageNode().WriteData(node)
    assert not node.GetModifiedSinceRead()
    add_result(volume, blocks(21), segmentation_node=node)
    assert node.GetModifiedSinceRead()


def test_what_is_no_longer_found_goes(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 21, 26, 61))
    add_result(volume, blocks(24, 21), segmentation_node=node)
    assert list(our_values(node)) == [21, 24]
    np.testing.assert_array_equal(labels_in(node, volume), blocks(24, 21))
    gc.collect()  # the old vtkSegmentation, which wipes its labelmaps when it goes
    np.testing.assert_array_equal(labels_in(node, volume), blocks(24, 21))


def test_a_person_s_names_colors_and_codes_survive(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(1, 26), NO_LEVELS)
    sacrum = segments(node)["SpineContextSeg_26"]
    sacrum.SetName("Kreuzbein")
    sacrum.SetColor(0.1, 0.2, 0.3)
    code = structure(20).terminology_entry
    sacrum.SetTerminology(code)
    sacrum.SetTag("Segmentation.Status", "completed")
    sacrum.SetTag("Reviewer", "Zoë")
    add_result(volume, blocks(1, 26, 61), LEVELS, segmentation_node=node)
    sacrum = segments(node)["SpineContextSeg_26"]
    assert (sacrum.GetName(), sacrum.GetColor(), sacrum.GetTerminology()) == ("Kreuzbein", (0.1, 0.2, 0.3), code)
    assert tag(sacrum, "Reviewer") == "Zoë"
    assert tag(sacrum, "Segmentation.Status") is None, "nobody has looked at the new voxels"
    # What nobody changed follows the result: the levels are known now.
    c1 = segments(node)["SpineContextSeg_1"]
    assert (c1.GetName(), c1.GetTerminology()) == ("C1 vertebra", structure(1).terminology_entry)
    np.testing.assert_allclose(c1.GetColor(), structure(1).color)


def test_what_was_hidden_stays_hidden(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 21))
    node.GetDisplayNode().SetSegmentVisibility("SpineContextSeg_21", False)
    node.GetDisplayNode().SetSegmentOpacity3D("SpineContextSeg_20", 0.25)
    add_result(volume, blocks(20, 21, 22), segmentation_node=node)
    display = node.GetDisplayNode()
    assert [display.GetSegmentVisibility(f"SpineContextSeg_{value}") for value in (20, 21, 22)] == [True, False, True]
    assert display.GetSegmentOpacity3D("SpineContextSeg_20") == 0.25


def test_surface_that_was_shown_follows_the_voxels(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20))
    add_result(volume, blocks(20), segmentation_node=node)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface"), "not made unasked"
    assert node.CreateClosedSurfaceRepresentation()
    add_result(volume, blocks(0, 0, 20, 21), segmentation_node=node)
    surface = vtk.vtkPolyData()
    assert node.GetClosedSurfaceRepresentation("SpineContextSeg_20", surface)
    middle = SMALL.world(np.argwhere(blocks(0, 0, 20, 21) == 20)[:, ::-1]).mean(axis=0)
    np.testing.assert_allclose(np.reshape(surface.GetBounds(), (3, 2)).mean(axis=1), middle, atol=1.0)


def test_segments_of_others_stay_to_the_voxel(scene):
    """One in the labelmap that ours share, as Segment Editor adds it, and one that overlaps ours."""
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 21))
    logic = editor(node, volume)
    tumor = np.zeros(SMALL.shape, bool)
    tumor[1:6, 5:20, 5:12] = True
    assert node.GetSegmentation().AddEmptySegment("Tumor", "Tumor", (0.0, 1.0, 0.0)) == "Tumor"
    edit(logic, node, "Tumor", tumor, volume)
    implant = np.random.default_rng(0).random(SMALL.shape) < 0.4
    draw(node, "Implant", implant, volume)
    segments(node)["Tumor"].SetTag("Grade", "II")
    assert not (labels_in(node, volume) != 0)[tumor].any(), "the tumor was cut out of the vertebrae"
    for labels in (blocks(20, 21), scattered(SMALL, (19, 21, 26)).array):
        add_result(volume, labels, segmentation_node=node)
        gc.collect()
        np.testing.assert_array_equal(labels_in(node, volume), labels)
        np.testing.assert_array_equal(mask_of(node, "Tumor", volume), tumor)
        np.testing.assert_array_equal(mask_of(node, "Implant", volume), implant)
    assert list(segments(node))[-2:] == ["Tumor", "Implant"]
    assert segments(node)["Tumor"].GetName() == "Tumor" and segments(node)["Tumor"].GetColor() == (0.0, 1.0, 0.0)
    assert tag(segments(node)["Tumor"], "Grade") == "II"


@pytest.mark.parametrize("only", [None, {21}], ids=["whole", "chosen"])
def test_old_voxels_that_another_node_shows_too(scene, only):
    """As the data node of a sequence does: it keeps them, and when it goes it takes nothing of ours along."""
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 21))
    logic = editor(node, volume)
    for n, name in enumerate(("Implant", "Screw")):
        node.GetSegmentation().AddEmptySegment(name, name)
        edit(logic, node, name, blocks(0, 0, *[0] * n, 7) == 7, volume)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    del logic  # and with it the history, which holds the segmentation
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    other.SetAndObserveSegmentation(node.GetSegmentation())
    add_result(volume, blocks(20, 0, 0, 21, 22), segmentation_node=node, only=only)
    np.testing.assert_array_equal(labels_in(other, volume), blocks(20, 21))
    scene.RemoveNode(other)
    del other
    gc.collect()
    expected = blocks(20, 0, 0, 21, 22 if only is None else 0)
    np.testing.assert_array_equal(labels_in(node, volume), expected)
    np.testing.assert_array_equal(mask_of(node, "Implant", volume), blocks(0, 0, 7) == 7)
    np.testing.assert_array_equal(mask_of(node, "Screw", volume), blocks(0, 0, 0, 7) == 7)


def test_empty_segment_of_another_stays(scene):
    volume = add_volume(SMALL)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    node.GetSegmentation().AddEmptySegment("Later", "Later")
    add_result(volume, blocks(20), segmentation_node=node)
    assert node.GetName() == "Mine" and list(segments(node)) == ["SpineContextSeg_20", "Later"]
    assert not mask_of(node, "Later", volume).any()


def test_duplicate_of_our_segment_is_the_person_s(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 21))
    copy = slicer.vtkSegment()
    copy.DeepCopy(segments(node)["SpineContextSeg_20"])
    assert node.GetSegmentation().AddSegment(copy, "Copy", "SpineContextSeg_20")
    add_result(volume, blocks(0, 0, 20), segmentation_node=node)
    assert our_values(node) == {20: "SpineContextSeg_20"}
    np.testing.assert_array_equal(mask_of(node, "Copy", volume), blocks(20) == 20)
    np.testing.assert_array_equal(mask_of(node, "SpineContextSeg_20", volume), blocks(0, 0, 20) == 20)


def test_segment_id_that_someone_else_has(scene):
    volume = add_volume(SMALL)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    draw(node, "SpineContextSeg_20", blocks(7) == 7, volume)
    segments(node)["SpineContextSeg_20"].SetTag("SpineContextSeg.Value", "9999")
    add_result(volume, blocks(0, 20), segmentation_node=node)
    np.testing.assert_array_equal(mask_of(node, "SpineContextSeg_20", volume), blocks(7) == 7)
    (segment_id,) = our_values(node).values()
    assert segment_id != "SpineContextSeg_20"
    np.testing.assert_array_equal(mask_of(node, segment_id, volume), blocks(0, 20) == 20)
    add_result(volume, blocks(0, 0, 20), segmentation_node=node)
    assert our_values(node) == {20: segment_id}
