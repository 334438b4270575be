"""Points and table follow what is done to the segmentation that the panel shows, whoever does it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer

from SpineContextSegLib.mrml.sequences import write_frames
from SpineContextSegLib.panel import levels_section
from SpineContextSegLib.volume import Volume
from Testing.panel_use import *  # noqa: F403
from Testing.run_use import add_sequence
from Testing.scene_nodes import add_transform, add_volume, paint
from Testing.scene_results import LEVELS, SMALL, add_result, blocks

LUMBAR = (26, 124, 24, 123, 23, 122, 22)
MORE = np.zeros(SMALL.shape, bool)
MORE[15, 12:20, 10:20] = True


@pytest.fixture
def volume(user):
    return add_volume(SMALL)


@pytest.fixture
def node(user, volume):
    """L3 to L5, measured."""
    node = add_result(volume, blocks(*LUMBAR))
    user.parameters.outputSegmentation = node
    user.ui.measureButton.click()
    return node


@pytest.fixture
def measured(monkeypatch) -> list:
    """The segmentations that the panel measures anew from now on."""
    nodes = []
    update = levels_section.update_measurements
    monkeypatch.setattr(levels_section, "update_measurements", lambda node: nodes.append(node) or update(node))
    return nodes


def cells(title: str) -> list:
    table = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLTableNode").GetTable()
    column = table.GetColumnByName(title)
    return [column.GetValue(row) for row in range(table.GetNumberOfRows())]


def points() -> list[str]:
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    return [node.GetNthControlPointLabel(n) for n in range(node.GetNumberOfControlPoints())]


def wait_a_pause(user) -> None:
    pause = slicer.modules.SpineContextSegWidget._levelsSection._pause
    assert pause.isActive()
    user.wait_until(lambda: not pause.isActive())


def test_a_later_run(user, node, volume):
    add_result(volume, blocks(21, 20), segmentation_node=node)
    wait_a_pause(user)
    assert cells("level") == ["L1", "L2"] and points() == ["L1 vertebra", "L2 vertebra"]


def test_what_is_painted(user, node, volume, measured):
    before = cells("volume (ml)")
    for k in (14, 15):
        paint(node, "SpineContextSeg_22", np.roll(MORE, k, axis=0), volume)
        slicer.app.processEvents()
    assert not measured, "the next stroke must not wait"
    wait_a_pause(user)
    assert cells("volume (ml)")[0] > before[0] and len(measured) == 1


def test_what_is_painted_before_a_repair_that_is_refused(user, node, volume):
    before = cells("volume (ml)")
    paint(node, "SpineContextSeg_22", MORE, volume)
    user.ui.shiftDownButton.click()
    assert "Levels not changed" in user.notice()
    wait_a_pause(user)
    assert cells("volume (ml)")[0] > before[0]


def test_nothing_is_measured_twice(user, node, volume, measured):
    pause = slicer.modules.SpineContextSegWidget._levelsSection._pause
    for row, button in enumerate((user.ui.measureButton, user.ui.shiftUpButton)):
        paint(node, "SpineContextSeg_22", np.roll(MORE, row, axis=0), volume)
        assert pause.isActive()
        button.click()
        assert not pause.isActive() and not measured


def test_what_is_painted_in_segment_editor_follows_once_that_is_left(user, node, volume, measured):
    pause = slicer.modules.SpineContextSegWidget._levelsSection._pause
    pause.setInterval(50)
    user.ui.editButton.click()
    before = cells("volume (ml)")
    paint(node, "SpineContextSeg_22", MORE, volume)
    status = slicer.util.mainWindow().statusBar()
    user.wait_until(lambda: "follow once Segment Editor is left" in status.currentMessage())
    assert not measured and cells("volume (ml)") == before
    status.clearMessage()
    several_pauses = time.monotonic() + 0.3
    user.wait_until(lambda: time.monotonic() > several_pauses)
    assert not status.currentMessage(), "said once"
    slicer.util.selectModule("SpineContextSeg")
    user.wait_until(lambda: cells("volume (ml)")[0] > before[0])


def test_another_frame(user, sample_scan, measured):
    volume, browser = add_sequence(sample_scan, (0, 4))
    results = []
    for number, levels in enumerate(((24, 23, 22), (23, 22, 21))):
        array = np.zeros(sample_scan.volume.array.shape, np.uint8)
        for value, k in zip(levels, (5, 10, 15)):
            array[k : k + 4, 10:20, 10:20] = value
        results.append((number, Volume(array, sample_scan.volume.affine), LEVELS))
    user.parameters.outputSegmentation = write_frames(volume, results)
    user.ui.measureButton.click()
    # As when the sequence is played.
    for number in (1, 0, 1):
        browser.SetSelectedItemNumber(number)
        slicer.app.processEvents()
    assert not measured
    wait_a_pause(user)
    assert len(measured) == 1 and len(points()) == len(cells("level"))
    browser.SetSelectedItemNumber(0)
    wait_a_pause(user)
    assert cells("level")[-1] == "L5"


def test_what_happened_while_another_was_shown(user, node, volume, measured):
    user.parameters.outputSegmentation = add_result(volume, blocks(20, 19))
    user.parameters.outputSegmentation = node
    slicer.app.processEvents()
    assert not slicer.modules.SpineContextSegWidget._levelsSection._pause.isActive(), "nothing happened"
    user.parameters.outputSegmentation = None
    add_result(volume, blocks(21, 20), segmentation_node=node)
    user.parameters.outputSegmentation = node
    wait_a_pause(user)
    assert measured == [node] and cells("level") == ["L1", "L2"]


def test_a_transform_that_moves(user, node, volume):
    transform = add_transform(np.eye(4))
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    before = cells("center S (mm)")
    moved = np.eye(4)
    moved[2, 3] = 100.0
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    wait_a_pause(user)
    np.testing.assert_allclose(cells("center S (mm)"), np.add(before, 100.0), atol=0.11)


def test_what_was_not_measured_is_left_alone(user, volume, measured):
    node = add_result(volume, blocks(*LUMBAR))
    user.parameters.outputSegmentation = node
    paint(node, "SpineContextSeg_22", MORE, volume)
    add_result(volume, blocks(21, 20), segmentation_node=node)
    assert not slicer.modules.SpineContextSegWidget._levelsSection._pause.isActive()


def test_a_scene_that_was_saved_is_up_to_date(user, node, measured, tmp_path):
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    slicer.app.processEvents()
    assert user.parameters.outputSegmentation is not None
    assert not slicer.modules.SpineContextSegWidget._levelsSection._pause.isActive()


def test_the_volume_is_named(user, node, volume):
    """A file that was opened again may have been tied to another series of the same grid."""
    user.ui.measureButton.click()
    assert user.ui.statusLabel.text.startswith("Measured in 'CT': ")
    slicer.mrmlScene.RemoveNode(volume)
    user.ui.measureButton.click()
    assert user.ui.statusLabel.text.startswith("Measured: ")
