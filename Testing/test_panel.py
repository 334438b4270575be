"""The panel, clicked: real user interface file, real scene, real process, real inference."""

from __future__ import annotations

import time

import numpy as np
import pytest
import qt
import slicer

from SpineContextSegLib.mrml.belonging import volume_of
from SpineContextSegLib.mrml.export import export_segmentation
from Testing.panel_use import *  # noqa: F403
from Testing.panel_use import labels_of
from Testing.run_use import SACRUM, SEGMENT, add_sequence
from Testing.scene_nodes import add_segmentation, add_volume, draw, mask_of, oriented_image
from Testing.scene_results import add_result, segments


def window():
    return slicer.util.mainWindow()


def test_without_a_volume_the_button_says_why(user, screenshot):
    assert "No volume is selected" in user.reason()
    assert not user.ui.progressBar.visible and not user.ui.resultCollapsibleButton.visible and not user.notice()
    assert "Research use only" in user.ui.researchUseLabel.text
    screenshot(window(), "panel-empty")


def test_from_a_volume_to_a_segmentation(user, ct, screenshot):
    assert user.ui.inputVolumeSelector.currentNode() is ct
    assert user.ui.segmentButton.enabled and user.ui.statusLabel.text == "Ready."
    screenshot(window(), "panel-idle")

    user.click_segment()
    assert user.is_running and user.ui.progressBar.visible
    user.wait_for_end()

    node = user.parameters.outputSegmentation
    assert node.GetName() == "CTChest spine" and user.ui.outputSegmentationSelector.currentNode() is node
    assert mask_of(node, SEGMENT, ct).any()
    assert user.ui.resultCollapsibleButton.visible and user.ui.segmentsTable.segmentationNode() is node
    assert user.ui.segmentsTable.displayedSegmentIDs() == [SEGMENT]
    assert "Done in" in user.ui.statusLabel.text and "Vertebrae" in user.ui.statusLabel.text
    assert not user.ui.progressBar.visible
    assert "Please check" in user.notice() and "touches the lower end of the image" in user.notice()
    screenshot(window(), "panel-done")


def test_progress_is_counted_and_the_window_stays_alive(user, ct, screenshot):
    gaps, last = [], time.monotonic()

    def tick():
        nonlocal last
        now = time.monotonic()
        gaps.append(now - last)
        last = now

    timer = qt.QTimer()
    timer.setInterval(10)
    timer.connect("timeout()", tick)
    timer.start()
    user.start_slow_run()
    first = user.ui.progressBar.value
    user.wait_until(lambda: user.ui.progressBar.value >= first + 2, 60)
    assert "left" in user.ui.statusLabel.text and f" of {user.ui.progressBar.maximum}" in user.ui.statusLabel.text
    timer.stop()
    screenshot(window(), "panel-running")
    user.ui.segmentButton.click()
    user.wait_for_end()
    assert max(gaps) < 0.25


def test_cancel_takes_less_than_a_second(user, ct):
    user.start_slow_run()
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    clock = time.monotonic()
    user.ui.segmentButton.click()
    user.wait_for_end()
    assert time.monotonic() - clock < 1.2
    assert user.ui.statusLabel.text == "The run was cancelled, nothing was changed."
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes and not user.notice()
    user.assert_clean()


def test_a_second_run_goes_into_the_same_segmentation(user, ct):
    node = user.segment()
    fresh = labels_of(node, ct)
    assert user.segment() is node
    np.testing.assert_array_equal(labels_of(node, ct), fresh)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_edits_are_kept_by_default(user, ct):
    node = user.segment()
    fresh = labels_of(node, ct)
    draw(node, SEGMENT, np.zeros(fresh.shape, bool), ct)
    new = user.segment()
    assert new is not node and "holds edits" in user.notice()
    assert not mask_of(node, SEGMENT, ct).any()
    np.testing.assert_array_equal(labels_of(new, ct), fresh)


@pytest.mark.parametrize("button", ["Keep edits", "Replace", "Cancel"])
def test_edits_are_asked_about(user, ct, application, button, screenshot):
    node = user.segment()
    draw(node, SEGMENT, np.zeros(labels_of(node, ct).shape, bool), ct)
    asked = []

    def answer():
        box = qt.QApplication.activeModalWidget()
        asked.append(box.text)
        assert box.defaultButton().text == "Keep edits"
        screenshot(box, "question-edits")
        next(each for each in box.buttons() if each.text.replace("&", "") == button).click()

    application.setTestingEnabled(False)
    qt.QTimer.singleShot(100, answer)
    user.click_segment()
    application.setTestingEnabled(True)
    assert asked and node.GetName() in asked[0]
    assert user.is_running == (button != "Cancel")
    user.wait_for_end()
    assert mask_of(node, SEGMENT, ct).any() == (button == "Replace")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1 + (button == "Keep edits")


def test_only_checked_structures_are_written(user, ct):
    by_hand = np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8)
    by_hand[10:20, 10:40, 10:40] = SACRUM
    node = add_segmentation(ct, by_hand)
    by_hand[15:20] = 0
    draw(node, f"SpineContextSeg_{SACRUM}", by_hand == SACRUM, ct)
    user.parameters.outputSegmentation = node
    user.ui.sacrumCheckBox.click()
    assert user.segment() is node and "edits" not in user.notice()
    np.testing.assert_array_equal(mask_of(node, f"SpineContextSeg_{SACRUM}", ct), by_hand == SACRUM)

    # What a person drew is still theirs after a run that left it alone.
    user.ui.sacrumCheckBox.click()
    assert user.segment() is not node and "holds edits" in user.notice()

    user.ui.sacrumCheckBox.click()
    user.ui.vertebraeCheckBox.click()
    assert "No structure is chosen" in user.reason()


def test_levels_give_way_to_a_run_that_does_not_tell_them_apart(user, ct):
    """And what was looked for in vain stays, which the status line says."""
    labels = np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8)
    labels[:10], labels[20:30, :20] = SACRUM, 24
    node = add_result(ct, labels)
    user.parameters.outputSegmentation = node
    assert user.segment() is node
    assert list(segments(node)) == [SEGMENT, f"SpineContextSeg_{SACRUM}"]
    np.testing.assert_array_equal(mask_of(node, f"SpineContextSeg_{SACRUM}", ct), labels == SACRUM)
    assert "s: Vertebrae in" in user.ui.statusLabel.text
    assert user.ui.statusLabel.text.endswith("Not found, so left as before: Sacrum.")


def test_another_volume_gets_another_segmentation(user, ct, sample_scan):
    first = user.segment()
    other = add_volume(sample_scan.volume.grid, "other", sample_scan.volume.array)
    user.ui.inputVolumeSelector.setCurrentNode(other)
    assert user.parameters.outputSegmentation is None and user.ui.statusLabel.text == "Ready."
    second = user.segment()
    assert second is not first and second.GetName() == "other spine"
    user.ui.inputVolumeSelector.setCurrentNode(ct)
    assert user.parameters.outputSegmentation is first


def test_the_chosen_one_of_two_segmentations_is_chosen_again(user, ct, sample_scan):
    labels = np.full(slicer.util.arrayFromVolume(ct).shape, 24, np.uint8)
    first, second = add_result(ct, labels), add_result(ct, labels)
    other = add_volume(sample_scan.volume.grid, "other", sample_scan.volume.array)
    for chosen in (first, second, first):
        user.parameters.outputSegmentation = chosen
        user.ui.inputVolumeSelector.setCurrentNode(other)
        assert user.parameters.outputSegmentation is None
        user.ui.inputVolumeSelector.setCurrentNode(ct)
        assert user.parameters.outputSegmentation is chosen
    user.ui.inputVolumeSelector.setCurrentNode(other)
    slicer.mrmlScene.RemoveNode(first)
    user.ui.inputVolumeSelector.setCurrentNode(ct)
    assert user.parameters.outputSegmentation is second


def test_switching_the_volume_while_running(user, ct, sample_scan):
    other = add_volume(sample_scan.volume.grid, "other", sample_scan.volume.array)
    user.click_segment()
    user.ui.inputVolumeSelector.setCurrentNode(other)
    assert user.is_running
    user.wait_for_end()
    assert user.parameters.outputSegmentation is None and "CTChest spine" in user.ui.statusLabel.text
    user.ui.inputVolumeSelector.setCurrentNode(ct)
    assert user.parameters.outputSegmentation.GetName() == "CTChest spine"


def test_a_run_goes_on_in_another_module(user, ct):
    user.click_segment()
    slicer.util.selectModule("SegmentEditor")
    user.wait_for_end()
    slicer.util.selectModule("SpineContextSeg")
    assert user.parameters.outputSegmentation.GetName() == "CTChest spine"
    assert user.ui.resultCollapsibleButton.visible and "Done in" in user.ui.statusLabel.text


def test_edit_opens_segment_editor_with_a_clean_undo(user, ct):
    node = user.segment()
    user.ui.editButton.click()
    assert slicer.util.selectedModule() == "SegmentEditor"
    editor = slicer.modules.SegmentEditorWidget.editor
    assert editor.segmentationNode() is node and editor.sourceVolumeNode() is ct
    logic = editor.editorLogic()
    assert not logic.CanUndo()

    logic.SetCurrentSegmentID(SEGMENT)
    mask = np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8)
    mask[:5] = 1
    logic.SaveStateForUndo()
    logic.ModifySegmentByLabelmap(node, SEGMENT, oriented_image(mask, ct), logic.ModificationModeAdd, False, False)
    assert logic.CanUndo() and mask_of(node, SEGMENT, ct)[:5].all()

    # Written again, the segmentation has no states to go back to.
    slicer.util.selectModule("SpineContextSeg")
    slicer.modules.SpineContextSegWidget.logic.segment(ct, node, model="tiny", overwriteEdits=True)
    assert not mask_of(node, SEGMENT, ct)[:5].all() and not logic.CanUndo()
    assert editor.segmentationNode() is node and editor.sourceVolumeNode() is ct


def test_show_3d(user, ct):
    user.ui.show3DCheckBox.click()
    node = user.segment()
    assert node.GetSegmentation().ContainsRepresentation("Closed surface") and user.ui.show3DButton.checked
    user.ui.show3DButton.click()
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_a_new_region_is_as_large_as_the_volume(user, ct):
    region = user.ui.regionSelector.addNode()
    bounds, of_volume = [0.0] * 6, [0.0] * 6
    region.GetRASBounds(bounds)
    ct.GetRASBounds(of_volume)
    np.testing.assert_allclose(bounds, of_volume, atol=1e-6)
    assert user.parameters.region is region
    region.SetSize(60.0, 60.0, 30.0)
    node = user.segment()
    low, high = bounds[4] + (bounds[5] - bounds[4]) / 2 - 15, bounds[4] + (bounds[5] - bounds[4]) / 2 + 15
    found = [0.0] * 6
    node.GetRASBounds(found)
    assert low - 3 <= found[4] and found[5] <= high + 3


def test_a_sequence_can_be_segmented_whole(user, sample_scan):
    assert not user.ui.allFramesCheckBox.isVisibleTo(user.ui.advancedCollapsibleButton)
    volume_node, browser = add_sequence(sample_scan, (0, 4))
    user.ui.inputVolumeSelector.setCurrentNode(volume_node)
    user.ui.advancedCollapsibleButton.collapsed = False
    assert user.ui.allFramesCheckBox.visible
    user.ui.allFramesCheckBox.click()
    node = user.segment()
    masks = []
    for number in range(2):
        browser.SetSelectedItemNumber(number)
        masks.append(mask_of(node, SEGMENT, volume_node))
    assert masks[0].any() and masks[1].any() and (masks[0] != masks[1]).any()


def test_every_frame_is_shown_in_3d(user, sample_scan):
    volume_node, browser = add_sequence(sample_scan, (0, 4, 8))
    user.ui.inputVolumeSelector.setCurrentNode(volume_node)
    user.parameters.allFrames = True
    user.ui.show3DCheckBox.click()
    node = user.segment()
    for number in (1, 2, 0):
        browser.SetSelectedItemNumber(number)
        surface = node.GetSegmentation().GetSegment(SEGMENT).GetRepresentation("Closed surface")
        assert surface.GetNumberOfPolys()


def test_what_was_drawn_on_a_frame_stays_with_it(user, sample_scan):
    """Also where another one is looked at while all are segmented."""
    volume_node, browser = add_sequence(sample_scan, (0, 4))
    user.ui.inputVolumeSelector.setCurrentNode(volume_node)
    node = user.segment()
    tumor = np.zeros(slicer.util.arrayFromVolume(volume_node).shape, bool)
    tumor[:5, :5, :5] = True
    draw(node, "Tumor", tumor, volume_node)
    user.parameters.allFrames = True
    user.click_segment()
    browser.SetSelectedItemNumber(1)
    user.wait_for_end()
    assert user.parameters.outputSegmentation is node and browser.GetSelectedItemNumber() == 1
    assert "Tumor" not in segments(node)
    browser.SetSelectedItemNumber(0)
    np.testing.assert_array_equal(mask_of(node, "Tumor", volume_node), tumor)


def test_export(user, ct, tmp_path, screenshot):
    user.segment()
    folder = tmp_path / "Вывод"
    folder.mkdir()
    user.ui.exportFolderEdit.currentPath = str(folder)
    user.ui.exportNrrdCheckBox.click()
    user.ui.exportButton.click()
    assert sorted(path.name for path in folder.iterdir()) == [
        "CTChest spine.labels.csv", "CTChest spine.nrrd", "CTChest spine.seg.nrrd",
    ]  # fmt: skip
    names = "CTChest spine.seg.nrrd, CTChest spine.nrrd, CTChest spine.labels.csv"
    assert user.ui.statusLabel.text == f"Exported to '{folder}': {names}."

    user.ui.exportFolderEdit.currentPath = str(tmp_path / "none")
    user.ui.exportButton.click()
    assert "does not exist" in user.notice()
    screenshot(window(), "panel-export-refused")

    user.ui.exportNrrdCheckBox.click()
    user.ui.exportSegNrrdCheckBox.click()
    assert not user.ui.exportButton.enabled and "format" in user.ui.exportButton.toolTip


def test_a_reopened_segmentation_can_be_exported_measured_and_edited(user, sample_scan, tmp_path):
    """A .seg.nrrd doesn't name its volume: that is the input volume, if it has its grid."""
    ct = add_volume(sample_scan.volume.grid, "CT", sample_scan.volume.array)
    (path,) = export_segmentation(
        add_result(ct, np.full(sample_scan.volume.array.shape, 24, np.uint8)), ct, tmp_path, formats=["seg.nrrd"]
    ).files
    slicer.mrmlScene.Clear(False)
    add_volume(sample_scan.volume.grid.crop(np.s_[1:, :, :]), "other")
    node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "Loaded")
    user.parameters.outputSegmentation = node
    user.ui.exportFolderEdit.currentPath = str(tmp_path)
    user.ui.exportButton.click()
    assert "choose that as the input volume" in user.notice()

    ct = add_volume(sample_scan.volume.grid, "CT", sample_scan.volume.array)
    user.ui.inputVolumeSelector.setCurrentNode(ct)
    assert user.parameters.outputSegmentation is node
    user.ui.exportButton.click()
    assert "Exported to" in user.ui.statusLabel.text and not user.notice()
    user.ui.measureButton.click()
    assert "Measured" in user.ui.statusLabel.text and not user.notice()
    user.ui.editButton.click()
    assert slicer.modules.SegmentEditorWidget.editor.sourceVolumeNode() is ct


def test_choices_are_saved_with_the_scene(user, ct, tmp_path):
    node = user.segment()
    user.parameters.discs = True
    user.parameters.threadsLeftFree = 3
    file = str(tmp_path / "scène.mrb")
    assert slicer.mrmlScene.WriteToMRB(file)
    slicer.mrmlScene.Clear(False)
    assert user.parameters.inputVolume is None and not user.ui.discsCheckBox.checked

    assert slicer.mrmlScene.ReadFromMRB(file)
    slicer.app.processEvents()
    assert user.ui.discsCheckBox.checked and user.ui.threadsLeftFreeSpinBox.value == 3
    assert user.ui.inputVolumeSelector.currentNode().GetName() == ct.GetName()
    assert user.ui.outputSegmentationSelector.currentNode().GetName() == node.GetName()
    assert user.ui.modelComboBox.currentText == "tiny"
    # Read back, it is still what a run wrote: nothing to ask about, and the run goes into it.
    again = user.segment()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1 and not user.notice().count("edits")
    assert mask_of(again, SEGMENT, user.parameters.inputVolume).any()


def test_a_scene_can_be_added_to_another(user, ct, sample_scan, tmp_path):
    user.segment()
    file = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(file)
    other = add_volume(sample_scan.volume.grid, "other", sample_scan.volume.array)
    user.ui.inputVolumeSelector.setCurrentNode(other)

    assert slicer.mrmlScene.ReadFromMRB(file, False)
    slicer.app.processEvents()
    chosen = user.parameters
    assert chosen.inputVolume.GetName() == "CTChest" and chosen.inputVolume is not ct
    assert chosen.outputSegmentation.GetName() == "CTChest spine"
    assert volume_of(chosen.outputSegmentation) is chosen.inputVolume


def test_advanced_shows_what_is_installed(user, ct, screenshot):
    user.ui.advancedCollapsibleButton.collapsed = False
    assert "OpenVINO" in user.ui.installedRuntimesLabel.text
    assert not user.ui.installOpenVINOButton.visible
    assert [user.ui.runtimeComboBox.itemText(n) for n in range(3)] == ["Automatic", "OpenVINO", "PyTorch"]
    user.ui.modelComboBox.setCurrentText("spinecontext-ct")
    assert user.parameters.model == "spinecontext-ct"
    screenshot(window(), "panel-advanced")
