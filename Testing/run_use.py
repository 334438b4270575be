"""Runs as the panel starts them, for tests: on real nodes, in a real process, with all that they say kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import slicer

from SpineContextSegLib.panel.runs import RunOptions, SegmentationRun
from SpineContextSegLib.volume import Grid
from Testing.processes import working_on
from Testing.scene_nodes import add_volume

# The fixtures, for `from Testing.run_use import *`.
__all__ = ["ct", "runs", "slow_runs"]

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


def add_region(center, size):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetCenter(*center)
    node.SetSize(*size)
    return node


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
