"""What goes wrong while the panel is open: each ends in words, with no process, no folder and the scene as it was."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import qt
import slicer

from SpineContextSegLib.panel import runtimes
from SpineContextSegLib.panel.kits import InstallFailed
from Testing.panel_use import *  # noqa: F403
from Testing.panel_use import labels_of
from Testing.processes import kill_workers, working_on
from Testing.run_use import SEGMENT, bad_volumes, state_of
from Testing.scene_nodes import add_volume, draw, mask_of


def window():
    return slicer.util.mainWindow()


def add_mr(scan):
    """Values as in an MR: a body, but nowhere near Hounsfield units."""
    values = np.where(scan.volume.array > -500, scan.volume.array // 2 + 600, 0).astype(np.int16)
    return add_volume(scan.volume.grid, "T2", values)


@pytest.mark.parametrize("case", ["label map", "color", "2D", "empty", "non-linear"])
def test_a_bad_volume_disables_the_button(user, sample_scan, case):
    make, words = bad_volumes(sample_scan)[case]
    volume_node = make()
    user.ui.inputVolumeSelector.setCurrentNode(volume_node)
    before = state_of(slicer.mrmlScene)
    assert words in user.reason()
    user.ui.segmentButton.click()
    assert state_of(slicer.mrmlScene) == before


def test_the_button_follows_what_happens_to_the_volume(user, ct):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "warp")
    ct.SetAndObserveTransformNodeID(transform.GetID())
    assert "non-linear" in user.reason()
    ct.SetAndObserveTransformNodeID(None)
    assert user.ui.segmentButton.enabled
    slicer.mrmlScene.RemoveNode(ct)
    assert "No volume" in user.reason()


def test_an_mr_is_refused_and_can_be_segmented_anyway(user, sample_scan, screenshot):
    add_mr(sample_scan)
    before = slicer.mrmlScene.GetNumberOfNodes()
    user.click_segment()
    user.wait_for_end()
    assert "Hounsfield" in user.notice() and user.ui.segmentAnywayButton.visible
    assert not user.ui.detailsButton.visible
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    screenshot(window(), "panel-refused")

    user.ui.segmentAnywayButton.click()
    assert user.is_running and not user.notice()
    user.wait_for_end()
    assert user.parameters.outputSegmentation is not None
    assert "look at the result with care" in user.notice() and not user.ui.segmentAnywayButton.visible


def test_forcing_holds_for_one_run(user, sample_scan):
    add_mr(sample_scan)
    user.segment()
    user.ui.segmentAnywayButton.click()
    user.wait_for_end()
    user.segment()
    assert "Hounsfield" in user.notice() and user.ui.segmentAnywayButton.visible


def test_a_killed_process_shows_one_message_and_its_log(user, ct, screenshot):
    user.start_slow_run()
    before = state_of(slicer.mrmlScene)
    kill_workers(Path(slicer.app.temporaryPath))
    user.wait_for_end()
    assert "memory" in user.notice() and user.ui.detailsButton.visible
    assert user.ui.statusLabel.text == "The run failed, the scene is as before."
    assert state_of(slicer.mrmlScene) == before
    screenshot(window(), "panel-failed")

    user.ui.detailsButton.click()
    dialog = next(each for each in qt.QApplication.topLevelWidgets() if each.windowTitle == "Log of the run")
    log = dialog.findChild(qt.QPlainTextEdit).plainText
    assert log.startswith("SpineContextSeg ") and "Exit code" in log
    screenshot(dialog, "log")
    dialog.close()
    # And the next run is as good as any.
    user.parameters.model = "tiny"
    assert user.segment() is not None and "memory" not in user.notice()


def test_nothing_found(user, sample_scan):
    add_volume(sample_scan.volume.grid, "soft", np.minimum(sample_scan.volume.array, 210))
    before = slicer.mrmlScene.GetNumberOfNodes()
    assert user.segment() is None
    assert user.notice().count("No spine was found") == 1 and "Nothing found" in user.notice()
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_another_volume_clears_the_notice(user, sample_scan):
    add_mr(sample_scan)
    user.segment()
    assert user.notice()
    other = add_volume(sample_scan.volume.grid, "CT", sample_scan.volume.array)
    user.ui.inputVolumeSelector.setCurrentNode(other)
    assert not user.notice() and user.ui.statusLabel.text == "Ready."


@pytest.mark.parametrize("what", ["scene", "volume", "reload", "quit"])
def test_a_run_ends_when_its_ground_is_gone(user, ct, what, application):
    user.start_slow_run()
    assert working_on(Path(slicer.app.temporaryPath))
    if what == "scene":
        slicer.mrmlScene.Clear(False)
    elif what == "volume":
        slicer.mrmlScene.RemoveNode(ct)
    elif what == "reload":
        slicer.util.reloadScriptedModule("SpineContextSeg")
    else:
        application.aboutToQuit.emit()
    if what != "volume":
        user.assert_clean()
    user.wait_until(lambda: not user.is_running, 1.5)
    application.processEvents()
    if what in ("scene", "volume"):
        assert "No volume is selected" in user.reason()


def test_after_a_reload_the_panel_works(user, ct):
    node = user.segment()
    slicer.util.reloadScriptedModule("SpineContextSeg")
    assert user.parameters.outputSegmentation is node and user.ui.segmentButton.enabled
    assert user.segment() is node


def test_the_output_is_removed_while_running(user, ct):
    node = user.segment()
    user.start_slow_run()
    slicer.mrmlScene.RemoveNode(node)
    user.wait_for_end()
    assert user.ui.statusLabel.text == "The output segmentation was removed, so the run was stopped."
    assert user.parameters.outputSegmentation is None and not user.ui.resultCollapsibleButton.visible


@pytest.mark.parametrize("running", [False, True])
def test_the_parameter_node_is_deleted(user, ct, running):
    if running:
        user.click_segment()
    slicer.mrmlScene.RemoveNode(user.parameters.parameterNode)
    user.parameters.model = "tiny"
    assert user.parameters.inputVolume is ct and user.is_running == running
    if running:
        user.wait_for_end()
        assert user.parameters.outputSegmentation is not None
    else:
        assert user.segment() is not None


def test_the_output_is_edited_while_running(user, ct):
    node = user.segment()
    fresh = labels_of(node, ct)
    user.click_segment()
    draw(node, SEGMENT, np.zeros(fresh.shape, bool), ct)
    user.wait_for_end()
    assert "edited during the run" in user.notice()
    assert not mask_of(node, SEGMENT, ct).any() and user.parameters.outputSegmentation is not node


@pytest.fixture
def bare_python(monkeypatch):
    """Slicer's Python as it comes: neither OpenVINO nor torch."""
    version = importlib.metadata.version

    def without_runtimes(name):
        if name in ("openvino", "torch"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_runtimes)


def test_without_a_runtime_one_can_be_installed(bare_python, user, ct, tmp_path, monkeypatch, screenshot):
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("SpineContextSeg")
    assert "install OpenVINO" in user.reason()
    # The way to it is open.
    assert not user.ui.advancedCollapsibleButton.collapsed
    assert user.ui.installOpenVINOButton.visible and user.ui.installFromFolderButton.visible
    screenshot(window(), "panel-no-runtime")

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    user.ui.installFromFolderButton.click()
    assert "SHA256SUMS" in user.notice() and "Not installed" in user.notice()


def test_an_installation_that_works_ends_what_was_said_of_one_that_failed(user, ct, monkeypatch):
    def fail(*_):
        raise InstallFailed("The internet can't be reached.")

    monkeypatch.setattr(runtimes, "install_openvino", fail)
    user.ui.installOpenVINOButton.click()
    assert "Not installed" in user.notice()
    monkeypatch.setattr(runtimes, "install_openvino", lambda *_: None)
    user.ui.installOpenVINOButton.click()
    assert not user.notice()


@pytest.mark.parametrize("fails", [False, True])
def test_the_panel_is_busy_while_pip_runs(user, ct, monkeypatch, fails):
    """It runs without a window of its own, and events are processed at every line of its."""
    buttons = [user.ui.installOpenVINOButton, user.ui.installTorchButton, user.ui.installFromFolderButton]
    runs = []

    def install(ask):
        runs.append(1)
        assert all(button.enabled for button in buttons) and qt.QApplication.overrideCursor() is None
        assert ask("Install it?")
        for button in buttons:
            button.click()
            slicer.app.processEvents()
            assert not button.enabled
        assert qt.QApplication.overrideCursor().shape() == qt.Qt.WaitCursor
        assert user.ui.statusLabel.text == "Installing, this can take some minutes..."
        if fails:
            raise InstallFailed("The internet can't be reached.")

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    monkeypatch.setattr(runtimes, "install_openvino", install)
    user.ui.installOpenVINOButton.click()
    assert runs == [1]
    assert all(button.enabled for button in buttons) and qt.QApplication.overrideCursor() is None
    assert user.ui.statusLabel.text == ("Nothing was installed." if fails else "Installed.")


def test_a_scene_from_elsewhere_names_a_model_that_is_not_here(user, ct):
    user.parameters.model = "their-model"
    assert "their-model" in user.reason()
    user.ui.modelComboBox.setCurrentText("tiny")
    assert user.ui.segmentButton.enabled and user.parameters.model == "tiny"
