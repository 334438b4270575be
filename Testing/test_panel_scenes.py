"""Scenes that are closed, opened and added while the panel is there: nothing stays behind, nothing is chosen anew."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest
import slicer

from Testing.panel_use import *  # noqa: F403
from Testing.run_use import add_region
from Testing.scene_nodes import add_volume
from Testing.scene_results import add_result


def names_of(parameters) -> list[str]:
    """Of the nodes that are chosen."""
    return [node.GetName() for node in (parameters.inputVolume, parameters.outputSegmentation, parameters.region)]


@pytest.fixture
def choose(user, sample_scan):
    """Adds volume, result and region to the scene, and chooses them; none of them is the first of its kind."""

    def choose() -> list[str]:
        labels = np.zeros(sample_scan.volume.array.shape, np.uint8)
        labels[20:30], labels[35:45] = 24, 23
        for name in ("a", "b", "c"):
            volume = add_volume(sample_scan.volume.grid, f"CT {name}", sample_scan.volume.array)
            region = add_region((0.0, 0.0, 0.0), (50.0, 50.0, 50.0))
            region.SetName(f"R {name}")
            result = add_result(volume, labels)
            if name == "b":
                chosen = volume, result, region
        user.parameters.inputVolume, user.parameters.outputSegmentation, user.parameters.region = chosen
        return names_of(user.parameters)

    return choose


def elsewhere(user) -> None:
    """Shows another module."""
    slicer.util.selectModule("SegmentEditor")
    user.wait_until(lambda: not slicer.modules.SpineContextSegWidget.parent.isEntered)


def watch_deletion() -> tuple[dict[str, Callable], list[str]]:
    """The names of all volumes and segmentations in the scene, with what observes each, and, as time goes by, the names
    of those that are freed."""
    # The observers are kept: one that is collected together with its node has lost its default when it is called.
    observers, freed = {}, []
    for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"):
        for node in slicer.util.getNodesByClass(kind):
            observers[node.GetName()] = lambda *_, name=node.GetName(): freed.append(name)
            node.AddObserver("DeleteEvent", observers[node.GetName()])
    return observers, freed


@pytest.mark.parametrize("shown", [True, False])
def test_nothing_of_a_closed_scene_stays_in_memory(user, choose, shown):
    choose()
    user.ui.shiftUpButton.click()
    names, freed = watch_deletion()
    assert len(names) == 6
    for name in ("CT a", "CT c", "CT b"):
        user.parameters.inputVolume = slicer.util.getNode(name)
    if not shown:
        elsewhere(user)
    slicer.mrmlScene.Clear(0)
    gc.collect()
    assert sorted(freed) == sorted(names)
    assert user.ui.segmentsTable.segmentationNode() is None and user.ui.show3DButton.segmentationNode() is None


def test_nothing_of_a_removed_node_stays_in_memory(user, choose):
    choose()
    user.ui.shiftUpButton.click()
    names, freed = watch_deletion()
    for node in (user.parameters.outputSegmentation, user.parameters.inputVolume):
        slicer.mrmlScene.RemoveNode(node)
    del node
    gc.collect()
    assert sorted(freed) == ["CT b", "CT b spine"]


@pytest.mark.parametrize("shown", [True, False])
def test_a_scene_with_several_volumes_is_opened_as_it_was_saved(user, choose, tmp_path, shown):
    chosen = choose()
    file = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(file)
    slicer.mrmlScene.Clear(False)
    if not shown:
        elsewhere(user)
    assert slicer.mrmlScene.ReadFromMRB(file)
    assert names_of(user.parameters) == chosen
    slicer.util.selectModule("SpineContextSeg")
    assert names_of(user.parameters) == chosen
    ui = user.ui
    for selector, name in zip((ui.inputVolumeSelector, ui.outputSegmentationSelector, ui.regionSelector), chosen):
        assert selector.currentNode().GetName() == name


@pytest.mark.parametrize("shown", [True, False])
def test_a_scene_that_knows_nothing_of_the_panel_leaves_it_as_it_is(user, choose, tmp_path, shown):
    chosen = choose()
    file = tmp_path / "empty.mrml"
    file.write_text('<MRML version="Slicer4.4.0"></MRML>')
    if not shown:
        elsewhere(user)
    slicer.mrmlScene.SetURL(str(file))
    assert slicer.mrmlScene.Import()
    slicer.util.selectModule("SpineContextSeg")
    assert names_of(user.parameters) == chosen
    # The selectors are heard again.
    user.ui.inputVolumeSelector.setCurrentNode(slicer.util.getNode("CT a"))
    assert user.parameters.inputVolume.GetName() == "CT a"


def test_of_a_scene_that_knows_nothing_of_the_panel_a_volume_is_suggested(user, sample_scan, tmp_path):
    add_volume(sample_scan.volume.grid, "CT", sample_scan.volume.array)
    slicer.mrmlScene.RemoveNode(user.parameters.parameterNode)
    for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
        node.SaveWithSceneOff()
    file = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(file)
    slicer.mrmlScene.Clear(False)
    assert user.parameters.inputVolume is None
    assert slicer.mrmlScene.ReadFromMRB(file)
    assert user.parameters.inputVolume.GetName() == "CT" and user.ui.segmentButton.enabled


def test_a_run_goes_on_while_a_scene_is_added(user, ct, tmp_path):
    file = tmp_path / "empty.mrml"
    file.write_text('<MRML version="Slicer4.4.0"></MRML>')
    user.click_segment()
    elsewhere(user)
    slicer.mrmlScene.SetURL(str(file))
    assert slicer.mrmlScene.Import()
    user.wait_for_end()
    assert user.parameters.outputSegmentation.GetName() == "CTChest spine"
