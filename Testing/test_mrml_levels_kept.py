"""What repairs of levels keep: the way back, the work of a person, and what files and scenes say."""

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.repair import level_sequence
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml import sequences  # noqa: E402
from SpineContextSegLib.mrml.edits import is_edited  # noqa: E402
from SpineContextSegLib.mrml.levels import Levels  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from Testing.level_repairs import *  # noqa: E402, F403
from Testing.level_repairs import LUMBAR, USUAL, assert_consistent, column, middle_of, now  # noqa: E402
from Testing.scene_nodes import add_volume, draw, mask_of, paint  # noqa: E402
from Testing.scene_results import SMALL, add_result, edit, editor, labels_in, segments, tag  # noqa: E402


class TestUndo:
    @pytest.mark.parametrize("layers", [(), ("SpineContextSeg_23",)])
    def test_one_step(self, node, volume, levels, repair, layers):
        for segment_id in layers:
            node.GetSegmentation().SeparateSegmentLabelmap(segment_id)
            segments(node)[segment_id].SetLabelValue(1)
        assert levels.undo_title is None
        before = now(node, volume)
        repair()
        assert levels.undo_title and now(node, volume) != before
        levels.undo()
        after = now(node, volume)
        if not layers:
            assert list(after) == list(before) and after == before
        assert {name: said[:2] + said[3:] for name, said in after.items()} == {
            name: said[:2] + said[3:] for name, said in before.items()
        }
        assert levels.undo_title is None and not is_edited(node)

    def test_merge_of_the_only_vertebra(self, volume):
        node = add_result(volume, column(24, 26))
        levels, before = Levels(node), now(node, volume)
        levels.merge(24)
        assert list(our_values(node)) == [26] and levels.vertebrae == []
        levels.undo()
        assert now(node, volume) == before and levels.undo_title is None

    def test_none_left_that_was_renamed(self, volume):
        node = add_result(volume, column(24, 26))
        levels = Levels(node)
        levels.shift(-1, USUAL)
        node.GetSegmentation().RemoveSegment("SpineContextSeg_24")
        assert levels.undo_title is None

    def test_several(self, node, volume, levels):
        states = []
        for act in (
            lambda: levels.merge(22),
            lambda: levels.rename(24, 23, USUAL),
            lambda: levels.split(22, middle_of(node, our_values(node)[22], volume), None, USUAL),
            lambda: levels.swap(23, 24),
            lambda: levels.shift(-3, USUAL),
            lambda: levels.merge(levels.vertebrae[0].value),
        ):
            states.append(now(node, volume))
            act()
        for state in reversed(states):
            levels.undo()
            assert now(node, volume) == state
        with pytest.raises(InputRefused, match="no repair"):
            levels.undo()

    @pytest.mark.parametrize("wide", [22, 23])
    def test_merge_of_two_that_overlap(self, node, volume, levels, wide):
        """As Segment Editor draws where it is told to overwrite no other segment."""
        masks = {value: labels_in(node, volume) == value for value in (22, 23)}
        over = masks[45 - wide].copy()
        over[:, :5] = False
        draw(node, f"SpineContextSeg_{wide}", masks[wide] | over, volume)
        masks[wide] |= over
        levels.merge(22)
        np.testing.assert_array_equal(mask_of(node, "SpineContextSeg_22", volume), masks[22] | masks[23])
        gone = np.zeros(SMALL.shape, bool)
        gone[:, 8:] = True
        paint(node, "SpineContextSeg_22", gone, volume, erase=True)
        levels.undo()
        for value, mask in masks.items():
            np.testing.assert_array_equal(mask_of(node, f"SpineContextSeg_{value}", volume), mask & ~gone)

    def test_what_was_painted_since_stays(self, node, volume, levels, repair):
        """Also into a vertebra that was merged or split, and out of it."""
        before = column(*LUMBAR)
        repair()
        bone = our_values(node)[min(our_values(node))]
        new = np.zeros(SMALL.shape, bool)
        new[14:16, 14:, 12:] = True
        paint(node, bone, new, volume)
        gone = np.zeros(SMALL.shape, bool)
        gone[:, 3:4] = True
        for segment_id in list(segments(node)):
            paint(node, segment_id, gone, volume, erase=True)
        levels.undo()
        after = labels_in(node, volume)
        assert after[new].all() and len(np.unique(after[new])) == 1 and not after[gone].any()
        rest = ~new & ~gone
        np.testing.assert_array_equal(after[rest], before[rest])

    def test_names_and_colors_given_since_stay(self, node, levels):
        levels.shift(-1, USUAL)
        segments(node)["SpineContextSeg_22"].SetName("Fracture")
        segments(node)["SpineContextSeg_23"].SetColor(0.0, 0.0, 1.0)
        levels.undo()
        assert segments(node)["SpineContextSeg_22"].GetName() == "Fracture"
        assert segments(node)["SpineContextSeg_23"].GetColor() == (0.0, 0.0, 1.0)
        assert segments(node)["SpineContextSeg_23"].GetName() == "L4 vertebra"
        assert list(our_values(node)) == [22, 23, 24, 26, 121, 122, 123, 124]

    def test_a_segment_removed_since_stays_removed(self, node, volume, levels):
        levels.shift(-1, USUAL)
        node.GetSegmentation().RemoveSegment("SpineContextSeg_23")
        levels.undo()
        assert set(our_values(node)) == {22, 24, 26, 121, 122, 123, 124}

    def test_without_the_other_part_there_is_no_way_back(self, node, volume, levels):
        levels.merge(22)
        node.GetSegmentation().RemoveSegment("SpineContextSeg_22")
        assert levels.undo_title is None

    def test_segment_editor_takes_it_back_too(self, node, volume, levels, repair):
        logic = editor(node, volume)
        stroke = np.zeros(SMALL.shape, bool)
        stroke[15, 15, 15] = True
        edit(logic, node, "SpineContextSeg_22", stroke, volume)
        before = now(node, volume)
        assert logic.SaveStateForUndo()
        repair()
        logic.Undo()
        assert now(node, volume) == before
        assert levels.undo_title is None, "there is nothing left to be undone"

    def test_after_a_run_nothing_can_be_undone(self, node, volume, levels):
        levels.shift(-1, USUAL)
        add_result(volume, column(*LUMBAR), segmentation_node=node)
        assert levels.undo_title is None and not levels.is_of(node) and Levels(node).is_of(node)
        levels.merge(22)
        levels.undo()
        np.testing.assert_array_equal(labels_in(node, volume), column(*LUMBAR))
        assert levels.undo_title is None


class TestWorkOfAPerson:
    def test_voxels_painted_before(self, node, volume, levels):
        stroke = np.zeros(SMALL.shape, bool)
        stroke[15, 15, 10:] = True
        paint(node, "SpineContextSeg_22", stroke, volume)
        masks = {name: mask_of(node, name, volume) for name in segments(node)}
        levels.shift(-1, USUAL)
        for name, mask in masks.items():
            np.testing.assert_array_equal(mask_of(node, name, volume), mask)

    def test_own_names_and_colors_stay(self, node, levels):
        segments(node)["SpineContextSeg_22"].SetName("Wirbel mit Fraktur")
        segments(node)["SpineContextSeg_23"].SetColor(0.0, 0.0, 1.0)
        segments(node)["SpineContextSeg_24"].SetTag("TerminologyEntry", "mine")
        remarks = levels.rename(24, 23, level_sequence(lumbar=4))
        assert remarks == ["Names that were given by hand stay: 'Wirbel mit Fraktur'."]
        assert segments(node)["SpineContextSeg_22"].GetName() == "Wirbel mit Fraktur"
        assert segments(node)["SpineContextSeg_23"].GetColor() == (0.0, 0.0, 1.0)
        assert tag(segments(node)["SpineContextSeg_24"], "TerminologyEntry") == "mine"
        assert [(v.value, v.name) for v in levels.vertebrae][0] == (21, "Wirbel mit Fraktur")

    def test_another_level_as_a_name_by_hand_follows(self, node, levels):
        """Somebody tried to put the levels right by typing."""
        segments(node)["SpineContextSeg_22"].SetName("L2 vertebra")
        assert levels.rename(24, 23, level_sequence(lumbar=4)) == []
        assert_consistent(node)

    def test_own_segments_beside_and_on_top(self, node, volume, levels):
        """Also where Slicer gave one the number in the labelmap that a level needs."""
        where = np.zeros(SMALL.shape, bool)
        where[10:, 12:, 12:] = True
        assert node.GetSegmentation().AddEmptySegment("Implant", "Implant") == "Implant"
        paint(node, "Implant", where, volume)
        draw(node, "Overlay", column(*LUMBAR) == 23, volume)
        kept = {name: mask_of(node, name, volume) for name in ("Implant", "Overlay")}
        taken = segments(node)["Implant"].GetLabelValue()
        levels.rename(22, taken, USUAL)
        assert taken in our_values(node)
        # Slicer's own file would show a smaller one to others as a vertebra.
        assert segments(node)["Implant"].GetLabelValue() == 300
        levels.merge(taken)
        for name, mask in kept.items():
            np.testing.assert_array_equal(mask_of(node, name, volume), mask)
            assert tag(segments(node)[name], "SpineContextSeg.Value") is None
        assert_consistent(node)

    def test_a_copy_of_one_of_ours_stays_the_persons(self, node, levels):
        copy = slicer.vtkSegment()
        copy.DeepCopy(segments(node)["SpineContextSeg_23"])
        node.GetSegmentation().AddSegment(copy, "copy", "SpineContextSeg_22")
        levels.rename(24, 23, USUAL)
        assert "copy" not in our_values(node).values()
        assert our_values(node)[22] == "SpineContextSeg_23" and segments(node)["copy"].GetName() == "L4 vertebra"

    def test_own_order_stays(self, node, levels):
        node.GetSegmentation().SetSegmentIndex("SpineContextSeg_26", 0)
        order = list(segments(node))
        levels.shift(-1, USUAL)
        assert list(segments(node)) == order

    def test_removed_and_emptied_segments(self, node, volume, levels):
        node.GetSegmentation().RemoveSegment("SpineContextSeg_121")
        slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(node, "SpineContextSeg_22")
        with pytest.raises(InputRefused, match="L3 is not there"):
            levels.rename(22, 21, USUAL)
        levels.rename(23, 22, USUAL)
        np.testing.assert_array_equal(labels_in(node, volume) == 22, column(*LUMBAR) == 23)
        assert our_values(node)[22] == "SpineContextSeg_23"
        levels.undo()
        np.testing.assert_array_equal(labels_in(node, volume) == 23, column(*LUMBAR) == 23)
        assert our_values(node)[22] == "SpineContextSeg_22"

    def test_it_counts_as_an_edit(self, node, volume, levels, repair):
        """Else the next run would put the wrong levels back without asking."""
        assert not is_edited(node)
        repair()
        assert is_edited(node)

    def test_a_run_that_may_replace_it(self, node, volume, levels):
        """IDs don't follow the levels, so two segments could get the same one."""
        levels.shift(-1, USUAL)
        add_result(volume, column(*LUMBAR), segmentation_node=node)
        np.testing.assert_array_equal(labels_in(node, volume), column(*LUMBAR))
        assert_consistent(node)
        assert not is_edited(node)

    def test_a_run_for_the_sacrum_only(self, node, volume, levels):
        levels.shift(-1, USUAL)
        before = labels_in(node, volume)
        add_result(volume, column(*LUMBAR), segmentation_node=node, only={26})
        np.testing.assert_array_equal(labels_in(node, volume), before)
        assert_consistent(node)


class TestAppearance:
    """Visible or not, and how opaque: a person looks into the canal through the vertebrae."""

    def test_undo_of_a_merge_shows_the_segment_as_it_was(self, node, levels):
        display = node.GetDisplayNode()
        display.SetSegmentVisibility("SpineContextSeg_23", False)
        display.SetSegmentOpacity3D("SpineContextSeg_23", 0.25)
        levels.merge(22)
        levels.undo()
        assert not display.GetSegmentVisibility("SpineContextSeg_23")
        assert display.GetSegmentOpacity3D("SpineContextSeg_23") == 0.25

    def test_the_lower_part_of_a_split_is_shown_as_the_upper_one(self, node, volume, levels):
        display = node.GetDisplayNode()
        display.SetSegmentOpacity3D("SpineContextSeg_23", 0.25)
        before = set(segments(node))
        levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, level_sequence(lumbar=6))
        (part,) = set(segments(node)) - before
        assert display.GetSegmentOpacity3D(part) == display.GetSegmentOpacity3D("SpineContextSeg_23") == 0.25

    def test_where_nothing_shows_it(self, node, volume, levels):
        node.RemoveAllDisplayNodeIDs()
        levels.merge(22)
        levels.undo()
        assert 23 in our_values(node)


class TestFilesAndScenes:
    def test_slicers_own_file_holds_the_values(self, node, volume, levels, tmp_path):
        """Not only names: other programs read the numbers."""
        node.GetSegmentation().CollapseBinaryLabelmaps(True)
        levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, level_sequence(lumbar=6))
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        storage.SetFileName(str(tmp_path / "own.seg.nrrd"))
        storage.SetCropToMinimumExtent(False)
        assert storage.WriteData(node)
        found = read_labels(tmp_path / "own.seg.nrrd")
        np.testing.assert_array_equal(found.array, labels_in(node, volume))

    def test_a_file_of_the_command_line(self, volume, tmp_path):
        """It has no tags of ours."""
        path = tmp_path / "spine.seg.nrrd"
        write_segmentation(Volume(column(*LUMBAR), SMALL.affine), path)
        node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "Loaded")
        Levels(node).shift(-1, USUAL)
        assert_consistent(node)
        np.testing.assert_array_equal(labels_in(node, volume) == 21, column(*LUMBAR) == 22)

    def test_a_saved_scene_knows_the_levels(self, scene, node, volume, levels, tmp_path):
        levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, level_sequence(lumbar=6))
        expected = labels_in(node, volume)
        assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
        scene.Clear(False)
        assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
        node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        assert_consistent(node)
        np.testing.assert_array_equal(labels_in(node, scene.GetFirstNodeByName("CT")), expected)
        assert is_edited(node)

    def test_a_frame_keeps_its_levels(self, scene):
        browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
        frame = add_volume(SMALL)
        for index in "01":
            sequence.SetDataNodeAtValue(frame, index)
        scene.RemoveNode(frame)
        browser.AddSynchronizedSequenceNode(sequence)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        volume = browser.GetProxyNode(sequence)
        labels, report = Volume(column(*LUMBAR), SMALL.affine), {"levels_known": True, "model": "spine 1"}
        node = sequences.write_frames(volume, [(n, labels, report) for n in range(2)])

        Levels(node).shift(-1, USUAL)
        for number, lowest in ((1, 24), (0, 23), (1, 24)):
            browser.SetSelectedItemNumber(number)
            assert [v.value for v in Levels(node).vertebrae][-1] == lowest
            assert_consistent(node)
        # Written again, every frame has every segment once.
        sequences.write_frames(volume, [(n, labels, report) for n in range(2)], segmentation_node=node)
        for number in range(2):
            browser.SetSelectedItemNumber(number)
            np.testing.assert_array_equal(labels_in(node, volume), column(*LUMBAR))
