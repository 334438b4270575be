"""The section "Levels" of the panel, clicked: real user interface file, real scene."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import slicer

from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.mrml.sequences import write_frames
from SpineContextSegLib.panel import levels_section
from SpineContextSegLib.panel.levels_section import DOUBLE_CLICK_SECONDS
from SpineContextSegLib.volume import Volume
from Testing.panel_levels_use import *  # noqa: F403
from Testing.panel_levels_use import LUMBAR, choose, levels, point_at, texts
from Testing.panel_use import *  # noqa: F403
from Testing.run_use import add_sequence
from Testing.scene_nodes import add_transform, mask_of, paint
from Testing.scene_results import LEVELS, SMALL, add_result, blocks, labels_in, segments


class TestClicks:
    def test_this_is_another_level(self, user, node, volume):
        choose(user, "L5 vertebra", "L4")
        user.ui.renameButton.click()
        assert levels(node) == [21, 22, 23] and "L5 is missing between L4 and Sacrum." in user.notice()
        assert user.ui.statusLabel.text == "Done: L5 is L4. The levels are L2 to L4 now."
        assert user.ui.vertebraComboBox.currentText == "L4 vertebra", "the same bone is still chosen"
        assert "L5 is L4" in user.ui.undoButton.toolTip and user.ui.undoButton.enabled

        user.ui.undoButton.click()
        assert levels(node) == [22, 23, 24]
        assert user.ui.statusLabel.text == "Undone: L5 is L4. The levels are L3 to L5 now."
        assert user.ui.vertebraComboBox.currentText == "L5 vertebra" and not user.ui.undoButton.enabled

    def test_up_and_down(self, user, node):
        for _ in range(2):
            user.ui.shiftUpButton.click()
        assert levels(node) == [20, 21, 22]
        user.ui.shiftDownButton.click()
        assert levels(node) == [21, 22, 23]
        for _ in range(3):
            user.ui.undoButton.click()
        assert levels(node) == [22, 23, 24] and not user.ui.undoButton.enabled

    def test_other_numbers_of_vertebrae(self, user, node):
        user.ui.shiftDownButton.click()
        assert "Levels not changed" in user.notice() and "L5" in user.notice() and levels(node) == [22, 23, 24]
        assert user.ui.statusLabel.text == "Nothing was changed."
        choose(user, "L5 vertebra", "L6", lumbar=6)
        user.ui.renameButton.click()
        assert levels(node) == [23, 24, 25] and not user.notice()
        assert user.ui.lumbarComboBox.currentText == "6"

    def test_t13(self, user, volume):
        node = add_result(volume, blocks(21, 20, 19, 18))
        user.parameters.outputSegmentation = node
        choose(user, "L1 vertebra", "T13", thoracic=13)
        user.ui.renameButton.click()
        assert levels(node) == [18, 19, 28, 20]

    def test_no_t12(self, user, volume):
        node = add_result(volume, blocks(21, 20, 19, 18))
        user.parameters.outputSegmentation = node
        choose(user, "T12 vertebra", "L1", thoracic=11)
        user.ui.renameButton.click()
        assert levels(node) == [18, 20, 21, 22]

    def test_swap(self, user, node):
        choose(user, "L3 vertebra", "L5")
        user.ui.swapButton.click()
        assert our_values(node)[24] == "SpineContextSeg_22" and our_values(node)[22] == "SpineContextSeg_24"
        assert "L3 and L5 swapped" in user.ui.statusLabel.text
        assert "L5 lies above L4: the levels are out of order." in user.notice()

    def test_swap_with_one_that_is_not_there(self, user, node):
        choose(user, "L3 vertebra", "T5")
        user.ui.swapButton.click()
        assert levels(node) == [22, 23, 24] and "T5 is not there" in user.notice()
        assert user.ui.statusLabel.text == "Nothing was changed."

    def test_merge(self, user, node, volume):
        before = labels_in(node, volume)
        choose(user, "L3 vertebra")
        user.ui.mergeButton.click()
        assert levels(node) == [22, 24]
        user.ui.mergeButton.click()
        assert levels(node) == [22, 24], "a double click is one click"
        user.ui.undoButton.click()
        np.testing.assert_array_equal(labels_in(node, volume), before)

    def test_merge_of_the_only_vertebra(self, user, volume):
        node = add_result(volume, blocks(26, 24))
        user.parameters.outputSegmentation = node
        before = labels_in(node, volume)
        user.ui.mergeButton.click()
        assert levels(node) == [] and not user.notice()
        assert user.ui.statusLabel.text == "Done: L5 is part of Sacrum. No vertebra is left."
        assert "no vertebra of ours" in user.ui.levelsLabel.text and user.ui.levelsFrame.enabled
        user.ui.swapButton.click()
        assert "no vertebra of ours" in user.notice() and not user.ui.detailsButton.visible
        user.ui.undoButton.click()
        assert user.ui.statusLabel.text == "Undone: L5 is part of Sacrum. The levels are L5 now."
        np.testing.assert_array_equal(labels_in(node, volume), before)

    def test_split_at_the_crosshair(self, user, node, volume):
        point_at(volume, mask_of(node, "SpineContextSeg_23", volume))
        for collapsed in (True, False):
            user.ui.levelsCollapsibleButton.collapsed = collapsed
        choose(user, "L4 vertebra", lumbar=6)
        user.ui.splitButton.click()
        assert levels(node) == [22, 23, 24, 25] and not user.notice()
        time.sleep(DOUBLE_CLICK_SECONDS)
        choose(user, "L6 vertebra", lumbar=6)
        user.ui.splitButton.click()
        assert "L6" in user.notice() and levels(node) == [22, 23, 24, 25]

    def test_split_of_a_column_that_ends_at_l5(self, user, node, volume):
        point_at(volume, mask_of(node, "SpineContextSeg_23", volume))
        for collapsed in (True, False):
            user.ui.levelsCollapsibleButton.collapsed = collapsed
        choose(user, "L4 vertebra")
        user.ui.splitButton.click()
        assert levels(node) == [21, 22, 23, 24] and not user.notice()
        user.ui.undoButton.click()
        assert levels(node) == [22, 23, 24]

    def test_repairs_and_counts_of_what_was_shown_before(self, user, node, volume):
        other = add_result(volume, blocks(*LUMBAR))
        choose(user, "L3 vertebra", lumbar=6)
        user.ui.shiftUpButton.click()
        user.parameters.outputSegmentation = other
        assert user.ui.lumbarComboBox.currentText == "5" and not user.ui.undoButton.enabled
        user.ui.shiftDownButton.click()
        user.parameters.outputSegmentation = node
        assert user.ui.lumbarComboBox.currentText == "6"
        user.ui.undoButton.click()
        assert levels(node) == [22, 23, 24] and not user.ui.undoButton.enabled
        # A run begins anew.
        add_result(volume, blocks(*LUMBAR), segmentation_node=node)
        assert user.ui.lumbarComboBox.currentText == "5"

    def test_repairs_and_counts_of_another_frame(self, user, sample_scan):
        volume, browser = add_sequence(sample_scan, (0, 4))
        array = np.zeros(sample_scan.volume.array.shape, np.uint8)
        for value, k in ((24, 5), (23, 10), (22, 15)):
            array[k : k + 4, 10:20, 10:20] = value
        labels = Volume(array, sample_scan.volume.affine)
        node = write_frames(volume, [(number, labels, LEVELS) for number in range(2)])
        user.parameters.outputSegmentation = node
        choose(user, "L3 vertebra", thoracic=13)
        user.ui.shiftUpButton.click()
        browser.SetSelectedItemNumber(1)
        assert user.ui.thoracicComboBox.currentText == "13" and not user.ui.undoButton.enabled
        assert levels(node) == [22, 23, 24]
        browser.SetSelectedItemNumber(0)
        assert levels(node) == [21, 22, 23] and user.ui.thoracicComboBox.currentText == "13"
        user.ui.undoButton.click()
        assert levels(node) == [22, 23, 24]

    def test_points_and_table(self, user, node):
        user.ui.measureButton.click()
        points = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
        told = "Measured in 'CT': 'CT spine points', 'CT spine table'."
        # There are no views here.
        assert user.ui.statusLabel.text == f"{told} The eye beside the table's name in the Data module shows it."
        assert "No density was measured" in user.notice()  # the volume is black
        assert [points.GetNthControlPointLabel(n) for n in range(3)] == ["L3 vertebra", "L4 vertebra", "L5 vertebra"]
        # They follow every repair, or they would tell what isn't so any more.
        user.ui.shiftUpButton.click()
        assert [points.GetNthControlPointLabel(n) for n in range(3)] == ["L2 vertebra", "L3 vertebra", "L4 vertebra"]
        assert "L2 to L4" in user.ui.statusLabel.text
        user.ui.undoButton.click()
        assert points.GetNthControlPointLabel(2) == "L5 vertebra"
        user.ui.mergeButton.click()
        assert points.GetNumberOfControlPoints() == 2

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("FourUpView", "FourUpTableView"), ("ConventionalView", "FourUpTableView"),
            ("OneUp3DView", "3DTableView"), ("FourUpPlotTableView", "FourUpPlotTableView"),
            ("OneUpRedSliceView", "OneUpRedSliceView"), ("CompareView", "CompareView"),
        ],
    )  # fmt: skip
    def test_the_table_is_shown_where_no_view_goes_for_it(self, user, node, monkeypatch, before, after):
        layouts = {name: getattr(slicer.vtkMRMLLayoutNode, f"SlicerLayout{name}") for name in (before, after)}
        manager = SimpleNamespace(layout=layouts[before])
        manager.setLayout = lambda layout: setattr(manager, "layout", layout)
        monkeypatch.setattr(type(slicer.app), "layoutManager", lambda _: manager)
        view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableViewNode")
        user.ui.measureButton.click()
        assert manager.layout == layouts[after]
        assert view.GetTableNode().GetName() == "CT spine table"
        assert ("Data module" in user.ui.statusLabel.text) == ("Table" not in after)

    def test_points_and_table_follow_segment_editor_and_the_segments_table(self, user, node, monkeypatch):
        user.ui.editButton.click()
        editor = slicer.modules.SegmentEditorWidget.editor
        slicer.util.selectModule("SpineContextSeg")
        user.ui.measureButton.click()
        points = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
        measured = []
        measure = levels_section.update_measurements
        monkeypatch.setattr(levels_section, "update_measurements", lambda node: measured.append(1) or measure(node))

        def names():
            slicer.app.processEvents()
            return [points.GetNthControlPointLabel(n) for n in range(points.GetNumberOfControlPoints())]

        user.ui.shiftUpButton.click()
        user.ui.mergeButton.click()
        assert names() == ["L2 vertebra", "L4 vertebra"] and not measured, "repairs measure by themselves"
        editor.undo()
        assert names() == ["L2 vertebra", "L3 vertebra", "L4 vertebra"] and len(measured) == 1
        editor.undo()
        assert names() == ["L3 vertebra", "L4 vertebra", "L5 vertebra"]
        segments(node)["SpineContextSeg_22"].SetName("Fracture")
        node.GetSegmentation().RemoveSegment("SpineContextSeg_23")
        assert names() == ["Fracture", "L5 vertebra"] and len(measured) == 3

    def test_points_and_table_follow_while_segment_editor_is_shown(self, user, node):
        user.ui.editButton.click()
        slicer.util.selectModule("SpineContextSeg")
        user.ui.measureButton.click()
        points = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
        user.ui.shiftUpButton.click()
        assert points.GetNthControlPointLabel(0) == "L2 vertebra"
        slicer.util.selectModule("SegmentEditor")
        slicer.modules.SegmentEditorWidget.editor.undo()
        slicer.app.processEvents()
        assert points.GetNthControlPointLabel(0) == "L3 vertebra"

    def test_a_repair_that_can_not_be_measured_is_told_apart(self, user, node, monkeypatch):
        user.ui.measureButton.click()

        def fail(*_):
            raise MemoryError

        monkeypatch.setattr("SpineContextSegLib.mrml.levels.update_measurements", fail)
        user.ui.shiftUpButton.click()
        assert levels(node) == [21, 22, 23] and "Done" in user.ui.statusLabel.text
        assert "still those of before. There is not enough memory" in user.notice()
        user.ui.undoButton.click()
        assert levels(node) == [22, 23, 24] and "Undone" in user.ui.statusLabel.text
        assert "still those of before" in user.notice()

    def test_what_cannot_be_measured_is_told(self, user, node, volume):
        slicer.mrmlScene.RemoveNode(volume)
        user.ui.measureButton.click()
        assert "no density was measured" in user.notice()

    def test_names_given_by_hand_are_told(self, user, node):
        segments(node)["SpineContextSeg_22"].SetName("<b>Fraktur</b>")
        user.ui.shiftUpButton.click()
        assert "given by hand stay" in user.notice() and "&lt;b&gt;Fraktur" in user.notice()
        assert texts(user.ui.vertebraComboBox)[0] == "L2 (<b>Fraktur</b>)"

    def test_a_level_that_was_merged_away_is_not_missed(self, user, node):
        user.ui.lumbarComboBox.setCurrentText("6")
        user.ui.shiftDownButton.click()
        assert levels(node) == [23, 24, 25] and not user.ui.noticeFrame.visible
        choose(user, "L5 vertebra")
        user.ui.mergeButton.click()
        assert levels(node) == [23, 24] and not user.ui.noticeFrame.visible

    def test_a_remark_goes_with_the_repair_that_segment_editor_takes_back(self, user, node):
        user.ui.editButton.click()
        editor = slicer.modules.SegmentEditorWidget.editor
        slicer.util.selectModule("SpineContextSeg")
        segments(node)["SpineContextSeg_22"].SetName("Fraktur")
        user.ui.shiftUpButton.click()
        slicer.app.processEvents()
        assert "given by hand stay" in user.notice()
        editor.undo()
        slicer.app.processEvents()
        assert levels(node) == [22, 23, 24] and not user.ui.noticeFrame.visible

    def test_another_notice_stays_when_levels_change_outside(self, user, node):
        user.ui.shiftUpButton.click()
        slicer.modules.SpineContextSegWidget._view.notice.show(["Look at this."])
        node.GetSegmentation().RemoveSegment("SpineContextSeg_23")
        slicer.app.processEvents()
        assert "Look at this." in user.notice() and user.ui.noticeFrame.visible

    def test_painted_between_repair_and_undo(self, user, node, volume):
        user.ui.shiftUpButton.click()
        stroke = np.zeros(SMALL.shape, bool)
        stroke[15, 15, 10:] = True
        paint(node, "SpineContextSeg_22", stroke, volume)
        user.ui.undoButton.click()
        assert levels(node) == [22, 23, 24] and mask_of(node, "SpineContextSeg_22", volume)[stroke].all()

    def test_segment_editor_takes_it_back_in_one_step(self, user, node):
        user.ui.editButton.click()
        editor = slicer.modules.SegmentEditorWidget.editor
        slicer.util.selectModule("SpineContextSeg")
        choose(user, "L3 vertebra")
        user.ui.mergeButton.click()
        assert levels(node) == [22, 24]
        editor.undo()
        assert levels(node) == [22, 23, 24]
        assert len(texts(user.ui.vertebraComboBox)) == 3 and not user.ui.undoButton.enabled

    def test_segment_editor_keeps_nothing_of_a_repair_that_is_refused(self, user, node, monkeypatch):
        user.ui.editButton.click()
        editor = slicer.modules.SegmentEditorWidget.editor
        slicer.util.selectModule("SpineContextSeg")
        states = []
        monkeypatch.setattr(type(editor), "saveStateForUndo", lambda _: states.append(our_values(node)))
        choose(user, "L3 vertebra", "T5")
        user.ui.swapButton.click()
        assert "T5 is not there" in user.notice() and not states
        choose(user, "L3 vertebra", "L5")
        before = our_values(node)
        user.ui.swapButton.click()
        assert states == [before] != [our_values(node)]

    def test_a_run_does_not_put_the_old_levels_back(self, user, ct):
        array = np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8)
        array[10:20, 10:20, 10:20], array[25:35, 10:20, 10:20] = 23, 22
        node = add_result(ct, array)
        user.parameters.outputSegmentation = node
        user.ui.shiftUpButton.click()
        assert user.segment() is not node and "holds edits" in user.notice()
        assert levels(node) == [21, 22]

    def test_under_a_transform(self, user, node, volume):
        for each in (volume, node):
            each.SetAndObserveTransformNodeID(add_transform(np.diag([1.0, -1.0, -1.0, 1.0])).GetID())
        # What was the lowest one is the highest now.
        choose(user, "L5 vertebra", "L1")
        user.ui.renameButton.click()
        assert [our_values(node)[value] for value in (20, 21, 22)] == [f"SpineContextSeg_{n}" for n in (24, 23, 22)]
        assert "L5 was on top and L3 lowest, and all levels are turned round now" in user.notice()

    def test_a_fault_gets_an_answer(self, user, node, monkeypatch):
        monkeypatch.setattr(levels_section.Levels, "shift", lambda *_: 1 / 0)
        user.ui.shiftUpButton.click()
        assert "Levels not changed" in user.notice() and user.ui.detailsButton.visible
        assert levels(node) == [22, 23, 24]
