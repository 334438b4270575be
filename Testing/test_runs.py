"""Runs on real nodes, in a real process: what they leave in the scene, and which volumes they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_runtime
from Testing.panel_use import labels_of
from Testing.run_use import *  # noqa: F403
from Testing.run_use import SACRUM, SEGMENT, VERTEBRAE, add_region, add_sequence, bad_volumes, state_of
from Testing.scene_nodes import add_segmentation, add_transform, add_volume, draw, mask_of


def test_result_is_that_of_the_pipeline(runs, ct, sample_scan, tiny_model):
    end = runs.finish(ct)

    model = load_model(tiny_model)
    expected = segment(sample_scan.volume, model, choose_runtime(model, threads=1))
    assert end.kind == "done" and end.warnings == expected.warnings
    np.testing.assert_array_equal(labels_of(end.segmentation_node, ct), expected.labels.array)
    assert end.segmentation_node.GetName() == "Wirbelsäule ü spine"
    assert "Vertebrae" in end.message and "Wirbelsäule ü spine" in end.message
    assert runs.counts and runs.counts[-1][0] == runs.counts[-1][1]
    assert any(status.startswith("Window") for status in runs.statuses)


def test_the_volume_is_only_read(runs, ct):
    before = slicer.util.arrayFromVolume(ct).copy()
    changed = ct.GetMTime(), ct.GetImageData().GetMTime()
    runs.finish(ct)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(ct), before)
    assert (ct.GetMTime(), ct.GetImageData().GetMTime()) == changed


def test_the_own_grid_is_segmented_under_any_linear_transform(runs, ct):
    plain = labels_of(runs.finish(ct).segmentation_node, ct)
    turn = np.array([[0.0, -1, 0, 40], [1, 0, 0, -7], [0, 0, -1, 3], [0, 0, 0, 1]])
    transform = add_transform(turn)
    ct.SetAndObserveTransformNodeID(transform.GetID())

    end = runs.finish(ct)

    assert end.segmentation_node.GetParentTransformNode() is transform
    np.testing.assert_array_equal(labels_of(end.segmentation_node, ct), plain)


def test_a_second_run_takes_the_place_of_the_first(runs, ct):
    first = runs.finish(ct).segmentation_node
    expected = labels_of(first, ct)
    second = runs.finish(ct, first)
    assert second.kind == "done" and second.segmentation_node is first
    np.testing.assert_array_equal(labels_of(first, ct), expected)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_edits_are_kept_and_the_result_goes_beside_them(runs, ct):
    node = runs.finish(ct).segmentation_node
    fresh = labels_of(node, ct)
    edited = mask_of(node, SEGMENT, ct)
    edited[:30] = False
    draw(node, SEGMENT, edited, ct)

    end = runs.finish(ct, node)

    assert end.segmentation_node is not node
    assert any("holds edits" in warning and node.GetName() in warning for warning in end.warnings)
    np.testing.assert_array_equal(mask_of(node, SEGMENT, ct), edited)
    np.testing.assert_array_equal(labels_of(end.segmentation_node, ct), fresh)


def test_edits_are_replaced_when_asked(runs, ct):
    node = runs.finish(ct).segmentation_node
    fresh = labels_of(node, ct)
    draw(node, SEGMENT, np.zeros(fresh.shape, bool), ct)

    end = runs.finish(ct, node, overwrite_edits=True)

    assert end.segmentation_node is node
    np.testing.assert_array_equal(labels_of(node, ct), fresh)


@pytest.mark.parametrize("overwrite", [False, True])
def test_edits_during_the_run_are_kept(runs, ct, overwrite):
    node = runs.finish(ct).segmentation_node
    edited = mask_of(node, SEGMENT, ct)
    edited[:, :20] = True

    runs.start(ct, node, overwrite_edits=overwrite)
    draw(node, SEGMENT, edited, ct)
    end = runs.end(1)

    assert end.segmentation_node is not node
    assert any("edited during the run" in warning for warning in end.warnings)
    np.testing.assert_array_equal(mask_of(node, SEGMENT, ct), edited)


def test_only_the_chosen_structures_are_written(runs, ct):
    node = add_segmentation(ct, np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8))
    by_hand = np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8)
    by_hand[10:20, 10:40, 10:40] = SACRUM
    node = add_segmentation(ct, by_hand)

    end = runs.finish(ct, node, only=frozenset({VERTEBRAE}))

    assert end.segmentation_node is node and end.kind == "done"
    np.testing.assert_array_equal(mask_of(node, f"SpineContextSeg_{SACRUM}", ct), by_hand == SACRUM)
    assert mask_of(node, SEGMENT, ct).any()


def test_nothing_found_leaves_the_scene_as_it_is(runs, ct, sample_scan):
    soft = add_volume(sample_scan.volume.grid, "soft", np.minimum(sample_scan.volume.array, 210))
    node = runs.finish(ct).segmentation_node
    before = state_of(slicer.mrmlScene)
    end = runs.finish(soft, node)
    assert end.kind == "nothing_found" and end.segmentation_node is None
    assert end.message.startswith("No spine was found")
    assert state_of(slicer.mrmlScene) == before


def test_none_of_the_chosen_structures_found(runs, ct):
    before = state_of(slicer.mrmlScene)
    end = runs.finish(ct, only=frozenset({SACRUM}))
    assert end.kind == "nothing_found" and "chosen structures" in end.message
    assert state_of(slicer.mrmlScene) == before


def test_a_region_limits_the_run(runs, ct, sample_scan):
    whole = labels_of(runs.finish(ct).segmentation_node, ct)
    grid = sample_scan.volume.grid
    center = grid.world(np.array(grid.shape[::-1]) / 2 - 0.5)
    region = add_region(center, (500.0, 500.0, 40.0))

    end = runs.finish(ct, region=region)

    found = labels_of(end.segmentation_node, ct)
    height = grid.world(np.stack([np.zeros(60), np.zeros(60), np.arange(60)], axis=-1))[:, 2]
    inside = np.abs(height - center[2]) <= 20
    assert found[inside].any() and not found[~inside].any()
    assert not any("touches" in warning for warning in end.warnings)
    # The crop's own network grid lies elsewhere by less than a voxel.
    assert np.mean(found[inside] != whole[inside]) < 0.01


def test_a_region_keeps_what_lies_outside(runs, ct, sample_scan):
    node = runs.finish(ct).segmentation_node
    before = labels_of(node, ct)
    grid = sample_scan.volume.grid
    center = grid.world(np.array(grid.shape[::-1]) / 2 - 0.5)
    end = runs.finish(ct, node, region=add_region(center, (500.0, 500.0, 40.0)))
    assert end.segmentation_node is node
    after = labels_of(node, ct)
    np.testing.assert_array_equal(after[:20], before[:20])
    np.testing.assert_array_equal(after[-20:], before[-20:])


def test_a_region_beside_the_volume_is_refused(runs, ct):
    region = add_region((5000.0, 0.0, 0.0), (40.0, 40.0, 40.0))
    before = state_of(slicer.mrmlScene)
    end = runs.finish(ct, region=region)
    assert end.kind == "refused" and "region of interest" in end.message and not end.forcible
    assert state_of(slicer.mrmlScene) == before


@pytest.mark.parametrize("case", ["no volume", "label map", "color", "2D", "empty", "non-linear"])
def test_a_bad_volume_is_refused_in_words(runs, sample_scan, case):
    make, words = bad_volumes(sample_scan)[case]
    volume_node = make()
    before = state_of(slicer.mrmlScene)
    end = runs.finish(volume_node)
    assert end.kind == "refused" and words in end.message
    assert end.message.endswith(".") and not end.forcible
    assert state_of(slicer.mrmlScene) == before


def test_an_mr_is_refused_and_can_be_forced(runs, sample_scan):
    mr = add_volume(sample_scan.volume.grid, "MR", np.clip(sample_scan.volume.array + 1000, 0, None))
    mr_array = slicer.util.arrayFromVolume(mr)
    mr_array[:] = np.where(mr_array > 900, mr_array // 2 + 100, 0)
    slicer.util.arrayFromVolumeModified(mr)

    end = runs.finish(mr)
    assert end.kind == "refused" and end.forcible and "Hounsfield" in end.message

    end = runs.finish(mr, force=True)
    assert end.kind == "done" and any("look at the result with care" in warning for warning in end.warnings)


def test_the_frame_that_is_shown_is_segmented(runs, sample_scan):
    volume_node, browser = add_sequence(sample_scan)
    browser.SetSelectedItemNumber(1)
    end = runs.finish(volume_node)
    assert end.kind == "done" and slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1
    assert mask_of(end.segmentation_node, SEGMENT, volume_node)[6].any()


def test_all_frames_of_a_sequence(runs, sample_scan):
    volume_node, browser = add_sequence(sample_scan)

    end = runs.finish(volume_node, all_frames=True)

    assert end.kind == "done" and browser.GetSelectedItemNumber() == 0
    found = []
    for number in range(3):
        browser.SetSelectedItemNumber(number)
        found.append(mask_of(end.segmentation_node, SEGMENT, volume_node))
    expected = [np.roll(sample_scan.bone, shift, axis=0) for shift in (0, 4, 8)]
    for mask, bone in zip(found, expected):
        np.testing.assert_array_equal(mask, bone)
    # One bar for all: it never goes back, and ends full.
    done = [count[0] for count in runs.counts]
    assert done == sorted(done) and runs.counts[-1][0] == runs.counts[-1][1]
    assert any(status.startswith("Frame 2 of 3, window") for status in runs.statuses)


def test_edits_in_any_frame_are_kept(runs, sample_scan):
    volume_node, browser = add_sequence(sample_scan, (0, 4))
    node = runs.finish(volume_node, all_frames=True).segmentation_node
    browser.SetSelectedItemNumber(1)
    empty = np.zeros(sample_scan.bone.shape, bool)
    draw(node, SEGMENT, empty, volume_node)
    browser.SetSelectedItemNumber(0)

    end = runs.finish(volume_node, node, all_frames=True)

    assert end.segmentation_node is not node and any("holds edits" in warning for warning in end.warnings)
    browser.SetSelectedItemNumber(1)
    assert not mask_of(node, SEGMENT, volume_node).any()
    assert mask_of(end.segmentation_node, SEGMENT, volume_node).any()


def test_frames_are_asked_for_where_there_are_none(runs, ct):
    end = runs.finish(ct, all_frames=True)
    assert end.kind == "refused" and "not part of a sequence" in end.message
