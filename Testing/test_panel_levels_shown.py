"""What the section "Levels" of the panel shows: real user interface file, real scene."""

from __future__ import annotations

import slicer

from Testing.panel_levels_use import *  # noqa: F403
from Testing.panel_levels_use import LUMBAR, choose, texts
from Testing.panel_use import *  # noqa: F403
from Testing.scene_results import add_result, blocks, segments


class TestWhatItShows:
    def test_nothing_without_a_segmentation(self, user, volume):
        assert not user.ui.levelsCollapsibleButton.visible

    def test_closed_at_first(self, user, volume):
        user.parameters.outputSegmentation = add_result(volume, blocks(*LUMBAR))
        assert user.ui.levelsCollapsibleButton.visible and user.ui.levelsCollapsibleButton.collapsed

    def test_the_levels(self, user, node, screenshot):
        ui = user.ui
        assert texts(ui.vertebraComboBox) == ["L3 vertebra", "L4 vertebra", "L5 vertebra"]
        assert ui.vertebraComboBox.currentText == "L3 vertebra" and ui.levelComboBox.currentText == "L3"
        assert texts(ui.levelComboBox)[:1] == ["C1"] and texts(ui.levelComboBox)[-1:] == ["L5"]
        assert (ui.thoracicComboBox.currentText, ui.lumbarComboBox.currentText) == ("12", "5")
        assert ui.levelsFrame.enabled and not ui.levelsLabel.visible and not ui.undoButton.enabled
        ui.vertebraComboBox.setCurrentText("L5 vertebra")
        assert ui.levelComboBox.currentText == "L5"
        screenshot(slicer.util.mainWindow(), "panel-levels")

    def test_the_variants_that_are_there(self, user, volume):
        user.parameters.outputSegmentation = add_result(volume, blocks(25, 24, 20, 28))
        assert (user.ui.thoracicComboBox.currentText, user.ui.lumbarComboBox.currentText) == ("13", "6")
        assert {"T13", "L6"} <= set(texts(user.ui.levelComboBox))

    def test_after_a_run_whose_levels_are_unknown(self, user, ct):
        user.segment()
        assert user.ui.levelsCollapsibleButton.visible and not user.ui.levelsFrame.enabled
        assert "not told apart" in user.ui.levelsLabel.text
        assert texts(user.ui.vertebraComboBox) == []

    def test_a_level_that_was_put_right_elsewhere(self, user, node):
        """Slicer's terminology selector doesn't change the value."""
        segments(node)["SpineContextSeg_22"].SetName("L2 vertebra")
        assert user.ui.levelsLabel.visible and user.ui.levelsFrame.enabled
        assert user.ui.levelsLabel.text == "'L2 vertebra' has the value of L3: put it right under Levels."
        choose(user, "L3 (L2 vertebra)", "L2")
        user.ui.renameButton.click()
        assert not user.ui.levelsLabel.visible

    def test_a_segmentation_that_is_not_ours(self, user, volume):
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Liver")
        other.GetSegmentation().AddEmptySegment("liver", "Liver")
        user.parameters.outputSegmentation = other
        user.ui.levelsCollapsibleButton.collapsed = False
        assert "'Liver' holds no vertebra of ours" in user.ui.levelsLabel.text and not user.ui.levelsFrame.enabled

    def test_it_follows_the_segmentation(self, user, node):
        node.GetSegmentation().RemoveSegment("SpineContextSeg_23")
        assert texts(user.ui.vertebraComboBox) == ["L3 vertebra", "L5 vertebra"]
        segments(node)["SpineContextSeg_24"].SetName("Fracture")
        assert texts(user.ui.vertebraComboBox) == ["L3 vertebra", "L5 (Fracture)"]
        node.GetSegmentation().RemoveAllSegments()
        assert texts(user.ui.vertebraComboBox) == [] and not user.ui.levelsFrame.enabled

    def test_the_segmentation_is_removed(self, user, node):
        user.ui.shiftUpButton.click()
        slicer.mrmlScene.RemoveNode(node)
        assert not user.ui.levelsCollapsibleButton.visible and not user.ui.undoButton.enabled

    def test_the_scene_is_closed(self, user, node):
        slicer.mrmlScene.Clear(False)
        assert not user.ui.levelsCollapsibleButton.visible

    def test_views_are_listed(self, user, node):
        assert not user.ui.splitButton.enabled
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCrosshairNode")
        for collapsed in (True, False):
            user.ui.levelsCollapsibleButton.collapsed = collapsed
        assert texts(user.ui.splitAtComboBox) == ["Crosshair", "Red slice"] and user.ui.splitButton.enabled

    def test_it_lets_go_of_a_segmentation(self, user, node, volume):
        """Observers that stay would call a panel that is gone."""
        ui, other = user.ui, add_result(volume, blocks(20, 19))
        user.parameters.outputSegmentation = other
        assert texts(ui.vertebraComboBox) == ["T12 vertebra", "L1 vertebra"]
        user.parameters.outputSegmentation = node
        segments(other)["SpineContextSeg_19"].SetName("Fracture")
        assert texts(ui.vertebraComboBox) == ["L3 vertebra", "L4 vertebra", "L5 vertebra"]

        slicer.modules.SpineContextSegWidget.cleanup()
        slicer.modules.spinecontextseg.widgetRepresentation().reload()
        segments(node)["SpineContextSeg_22"].SetName("Fracture")
        assert user.ui is not ui and texts(ui.vertebraComboBox) == []
