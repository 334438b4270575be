"""Runs on real nodes, in a real process: what they leave in the scene, on the disk and in the process table."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import slicer

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.model import load_model
from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.panel.runs import RunOptions, SegmentationRun
from SpineContextSegLib.panel.words import TimeLeft, done_text, duration, progress_text
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.volume import Grid
from Testing.processes import kill_workers, working_on
from Testing.scene_nodes import add_segmentation, add_transform, add_volume, draw, mask_of

VERTEBRAE, SACRUM = 1, 26
SEGMENT = "SpineContextSeg_1"


@dataclass
class Recorder:
    """Starts runs and keeps what they say."""

    root: Path
    model: str
    wait_until: object
    statuses: list[str] = field(default_factory=list)
    counts: list[tuple[int, int, float | None]] = field(default_factory=list)
    ends: list = field(default_factory=list)

    def start(self, volume_node, segmentation_node=None, **options):
        run = SegmentationRun(
            volume_node,
            RunOptions(**{"model": self.model, "threads": 1} | options),
            segmentation_node=segmentation_node,
            temporary_root=self.root,
            on_status=self.statuses.append,
            on_progress=lambda *count: self.counts.append(count),
            on_end=self.ends.append,
        )
        run.start()
        return run

    def finish(self, volume_node, segmentation_node=None, **options):
        """Starts a run, waits for its end and returns that."""
        before = len(self.ends)
        self.start(volume_node, segmentation_node, **options)
        return self.end(before)

    def end(self, before: int = 0):
        self.wait_until(lambda: len(self.ends) > before, 60)
        assert len(self.ends) == before + 1
        self.assert_clean()
        return self.ends[-1]

    def assert_clean(self):
        assert not working_on(self.root)
        assert list(self.root.iterdir()) == []


@pytest.fixture
def runs(application, scene, wait_until, tiny_model, tmp_path) -> Recorder:
    root = tmp_path / "временная папка"
    root.mkdir()
    return Recorder(root, str(tiny_model), wait_until)


@pytest.fixture
def slow_runs(runs, slow_model) -> Recorder:
    runs.model = str(slow_model)
    return runs


@pytest.fixture
def ct(scene, sample_scan):
    return add_volume(sample_scan.volume.grid, "Wirbelsäule ü", sample_scan.volume.array)


def state_of(scene) -> list[tuple[str, str, int]]:
    """Every node with its name and the time of its last change."""
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return [(node.GetID(), node.GetName(), node.GetMTime()) for node in nodes]


def labels_of(node, volume_node) -> np.ndarray:
    labels = np.zeros(slicer.util.arrayFromVolume(volume_node).shape, np.uint8)
    for value, segment_id in our_values(node).items():
        labels[mask_of(node, segment_id, volume_node)] = value
    return labels


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


def add_region(center, size):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetCenter(*center)
    node.SetSize(*size)
    return node


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


def bad_volumes(scan):
    """Name of the case -> maker of the node."""

    def label_map():
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
        slicer.util.updateVolumeFromArray(node, scan.bone.astype(np.uint8))
        return node

    def color():
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
        slicer.util.updateVolumeFromArray(node, np.zeros((5, 6, 7, 3), np.uint8))
        return node

    def bent():
        node = add_volume(scan.volume.grid, "bent", scan.volume.array)
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "warp")
        node.SetAndObserveTransformNodeID(transform.GetID())
        return node

    return {
        "no volume": (lambda: None, "No volume is selected"),
        "label map": (label_map, "label map"),
        "color": (color, "3 values per voxel"),
        "2D": (lambda: add_volume(Grid((1, 200, 200), np.eye(4)), "flat"), "too few slices"),
        "empty": (lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "void"), "no voxels"),
        "non-linear": (bent, "non-linear transform 'warp'"),
    }


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


def started(slow_runs, volume_node, segmentation_node=None, **options):
    """A run whose network has begun to work."""
    run = slow_runs.start(volume_node, segmentation_node, **options)
    slow_runs.wait_until(lambda: slow_runs.counts or slow_runs.ends, 60)
    assert run.is_running and working_on(slow_runs.root)
    return run


def test_cancel_ends_within_a_second(slow_runs, ct):
    before = state_of(slicer.mrmlScene)
    run = started(slow_runs, ct)
    clock = time.monotonic()
    run.cancel()
    assert time.monotonic() - clock < 0.1
    end = slow_runs.end()
    assert time.monotonic() - clock < 1.2
    assert end.kind == "cancelled" and state_of(slicer.mrmlScene) == before


def test_cancel_can_wait(slow_runs, ct):
    run = started(slow_runs, ct)
    clock = time.monotonic()
    run.cancel(wait=True)
    assert time.monotonic() - clock < 1.2
    slow_runs.assert_clean()
    assert slow_runs.ends[0].kind == "cancelled"


def test_cancel_at_once(slow_runs, ct):
    slow_runs.start(ct).cancel()
    assert slow_runs.end().kind == "cancelled"


@pytest.mark.parametrize("what", ["volume", "segmentation", "scene"])
def test_a_run_ends_with_what_it_needs(slow_runs, ct, what):
    node = add_segmentation(ct, np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8))
    started(slow_runs, ct, node)
    if what == "scene":
        slicer.mrmlScene.Clear(False)
        slow_runs.assert_clean()
    else:
        slicer.mrmlScene.RemoveNode(ct if what == "volume" else node)
    end = slow_runs.end()
    assert end.kind == "cancelled"
    assert {"volume": "input volume was removed", "segmentation": "output segmentation was removed",
            "scene": "scene was closed"}[what] in end.message  # fmt: skip


def test_a_run_ends_with_the_application(slow_runs, ct, application):
    started(slow_runs, ct)
    application.aboutToQuit.emit()
    slow_runs.assert_clean()
    assert slow_runs.ends[0].kind == "cancelled"


def test_removing_another_node_changes_nothing(slow_runs, ct, sample_scan):
    other = add_volume(sample_scan.volume.grid, "other")
    run = started(slow_runs, ct)
    slicer.mrmlScene.RemoveNode(other)
    assert run.is_running
    run.cancel(wait=True)


def test_a_killed_process_becomes_one_sentence(slow_runs, ct):
    before = state_of(slicer.mrmlScene)
    started(slow_runs, ct)
    kill_workers(slow_runs.root)
    end = slow_runs.end()
    assert end.kind == "failed" and end.message.count(".") <= 2 and "memory" in end.message
    assert state_of(slicer.mrmlScene) == before


def test_an_unknown_model_is_refused(runs, ct):
    end = runs.finish(ct, model="none-such")
    assert end.kind == "refused" and "none-such" in end.message


def test_no_room_for_the_request_becomes_one_sentence(runs, ct, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    runs.root = blocked / "folder"
    runs.start(ct)
    assert runs.ends[0].kind == "failed" and runs.ends[0].log


@pytest.mark.parametrize(
    "options, words",
    [
        ({"runtime": "abacus"}, "runtime named abacus"),
        ({"device": "tpu"}, "device named tpu"),
        ({"structures": "ribs"}, "structures named ribs"),
        ({"threads": 0}, "at least 1"),
        ({"only": frozenset()}, "at least one"),
        ({"only": frozenset({77})}, "label value 77"),
    ],
)
def test_impossible_options_are_refused(application, options, words):
    with pytest.raises(InputRefused, match=words):
        RunOptions(**options)


def test_words_count_windows_and_time():
    assert progress_text(7, 27, 12.3) == "Window 7 of 27, about 12 s left"
    assert progress_text(1, 27, None) == "Window 1 of 27"
    assert progress_text(3, 9, 130, frame=(2, 5)) == "Frame 2 of 5, window 3 of 9, about 2 min left"
    assert "grid" in progress_text(27, 27, 0.0)
    assert duration(0.2) == "1 s" and duration(89) == "89 s" and duration(3900) == "1 h 5 min"
    assert done_text("CT spine", ["Vertebrae", "Sacrum"], 8.0) == "Done in 8 s: Vertebrae, Sacrum in 'CT spine'."

    times = iter([0.0, 2.0, 6.0])
    time_left = TimeLeft(lambda: next(times))
    # Ten windows hold nothing and were counted at once.
    assert time_left.update(10, 30) is None
    assert time_left.update(12, 30) == pytest.approx(18.0)
    assert time_left.update(16, 30) == pytest.approx(14.0)


def add_sequence(scan, shifts=(0, 4, 8)):
    """The scan as a sequence whose frames are moved along k; the proxy of its first frame."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "4D")
    for number, shift in enumerate(shifts):
        frame = add_volume(scan.volume.grid, f"phase {number}", np.roll(scan.volume.array, shift, axis=0))
        sequence.SetDataNodeAtValue(frame, str(number))
        slicer.mrmlScene.RemoveNode(frame)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser.GetProxyNode(sequence), browser


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
        assert 2 * np.count_nonzero(mask & bone) / (mask.sum() + bone.sum()) > 0.8
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


def test_cancel_between_frames_changes_nothing(slow_runs, sample_scan):
    volume_node, _ = add_sequence(sample_scan)
    before = state_of(slicer.mrmlScene)
    run = started(slow_runs, volume_node, all_frames=True)
    run.cancel()
    assert slow_runs.end().kind == "cancelled"
    assert state_of(slicer.mrmlScene) == before


def test_frames_are_asked_for_where_there_are_none(runs, ct):
    end = runs.finish(ct, all_frames=True)
    assert end.kind == "refused" and "not part of a sequence" in end.message
