"""Levels put right in a scene: on Slicer's own segmentations, with hand edits, layers, surfaces, transforms, undo."""

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import STRUCTURES, structure
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.repair import level_sequence
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml import sequences  # noqa: E402
from SpineContextSegLib.mrml.edits import is_edited  # noqa: E402
from SpineContextSegLib.mrml.label_volume import label_volume, reference_grid  # noqa: E402
from SpineContextSegLib.mrml.levels import Levels  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from SpineContextSegLib.mrml.planes import name_of, plane_at, pointers  # noqa: E402
from Testing.scene_nodes import add_transform, add_volume, draw, mask_of, paint, remove_views  # noqa: E402
from Testing.scene_results import (  # noqa: E402
    NO_LEVELS,
    SMALL,
    add_result,
    blocks,
    edit,
    editor,
    labels_in,
    scene_state,
    segments,
    tag,
)

USUAL = level_sequence()
SURFACE = "Closed surface"
# L3 to L5 with their discs, and the sacrum.
LUMBAR = (121, 22, 122, 23, 123, 24, 124, 26)


def column(*values) -> np.ndarray:
    """A block of each value on the small grid, from top to bottom."""
    return blocks(*reversed(values))


@pytest.fixture
def volume(scene):
    yield add_volume(SMALL)
    remove_views()


@pytest.fixture
def node(volume):
    return add_result(volume, column(*LUMBAR))


@pytest.fixture
def levels(node):
    return Levels(node)


def now(node, volume) -> dict:
    """All that a person sees of a segmentation: the list, and of every segment its voxels and what it says."""
    names = ("TerminologyEntry", "SpineContextSeg.Value")
    return {
        segment_id: (
            segment.GetName(), segment.GetColor(), segment.GetLabelValue(), *(tag(segment, name) for name in names),
            mask_of(node, segment_id, volume).tobytes(),
        )
        for segment_id, segment in segments(node).items()
    }  # fmt: skip


def assert_consistent(node) -> None:
    """Every segment of ours says the same in all ways, and is in its place in the list."""
    values = our_values(node)
    for value, segment_id in values.items():
        segment, item = segments(node)[segment_id], structure(value)
        assert segment.GetName() == item.name and segment.GetLabelValue() == value
        np.testing.assert_allclose(segment.GetColor(), item.color, atol=1e-6)
        assert tag(segment, "TerminologyEntry") == item.terminology_entry
    assert list(values) == [value for value in STRUCTURES if value in values]


def middle_of(node, segment_id, volume) -> np.ndarray:
    """(R, A, S) in the volume's own coordinates."""
    k, j, i = np.argwhere(mask_of(node, segment_id, volume)).mean(axis=0)
    return SMALL.world(np.array([i, j, k]))


class TestRenaming:
    def test_this_is_l5(self, node, volume, levels):
        before = labels_in(node, volume)
        ids = list(segments(node))
        assert levels.rename(23, 24, level_sequence(lumbar=6)) == []
        assert_consistent(node)
        expected = before.copy()
        for old, new in ((121, 122), (22, 23), (122, 123), (23, 24), (123, 124), (24, 25), (124, 125)):
            expected[before == old] = new
        np.testing.assert_array_equal(labels_in(node, volume), expected)
        assert list(segments(node)) == ids and [v.name for v in levels.vertebrae] == [
            "L4 vertebra", "L5 vertebra", "L6 vertebra",
        ]  # fmt: skip

    @pytest.mark.parametrize(("steps", "there"), [(-1, [21, 22, 23]), (-4, [18, 19, 20])])
    def test_all_shifted(self, node, levels, steps, there):
        levels.shift(steps, USUAL)
        assert [vertebra.value for vertebra in levels.vertebrae] == there
        assert_consistent(node)

    @pytest.mark.parametrize(
        ("before", "which", "level", "counts", "after"),
        [
            ((18, 19, 20, 21), 20, 28, (13, 5), (18, 19, 28, 20)),
            ((19, 28, 20, 21), 28, 20, (12, 5), (19, 20, 21, 22)),
            ((17, 18, 19, 20), 19, 20, (11, 5), (17, 18, 20, 21)),
            ((22, 23, 24), 24, 25, (12, 6), (23, 24, 25)),
        ],
        ids=["T13", "no T13", "no T12", "L6"],
    )
    def test_variants(self, volume, before, which, level, counts, after):
        node = add_result(volume, column(*before))
        Levels(node).rename(which, level, level_sequence(*counts))
        np.testing.assert_array_equal(labels_in(node, volume), column(*after))
        assert_consistent(node)

    def test_order_is_that_of_places(self, volume):
        node = add_result(volume, column(22, 24, 23))
        Levels(node).rename(24, 23, USUAL)
        np.testing.assert_array_equal(labels_in(node, volume), column(22, 23, 24))
        assert_consistent(node)

    def test_above_is_above_in_the_world(self, volume):
        node = add_result(volume, column(22, 24, 23))
        for each in (volume, node):
            each.SetAndObserveTransformNodeID(add_transform(np.diag([1.0, -1.0, -1.0, 1.0])).GetID())
        Levels(node).rename(24, 21, USUAL)
        for each in (volume, node):
            each.SetAndObserveTransformNodeID(None)
        np.testing.assert_array_equal(labels_in(node, volume), column(22, 21, 20))

    def test_swap(self, node, volume, levels):
        before = labels_in(node, volume)
        levels.swap(22, 24)
        after = labels_in(node, volume)
        for old, new in ((22, 24), (24, 22), (122, 124), (124, 122), (23, 23), (121, 121), (26, 26)):
            np.testing.assert_array_equal(after == new, before == old)
        assert_consistent(node)

    def test_only_one(self, volume):
        node = add_result(volume, column(20, 23))
        Levels(node).swap(23, 21)
        np.testing.assert_array_equal(labels_in(node, volume), column(20, 21))

    def test_whoever_watches_hears_of_it_once(self, node, levels):
        heard = []
        for event in (slicer.vtkSegmentation.SegmentModified, slicer.vtkSegmentation.RepresentationModified):
            node.AddObserver(event, lambda *_: heard.append([v.value for v in levels.vertebrae]))
        levels.shift(-1, USUAL)
        assert heard == [[21, 22, 23]] * 2

    def test_surfaces_stay(self, node, levels):
        assert node.CreateClosedSurfaceRepresentation()
        surfaces = [segment.GetRepresentation(SURFACE) for segment in segments(node).values()]
        levels.shift(-1, USUAL)
        assert [segment.GetRepresentation(SURFACE) for segment in segments(node).values()] == surfaces

    def test_visibility_stays_with_the_bone(self, node, levels):
        node.GetDisplayNode().SetSegmentVisibility("SpineContextSeg_22", False)
        levels.shift(-1, USUAL)
        assert [v.segment_id for v in levels.vertebrae if v.value == 21] == ["SpineContextSeg_22"]
        assert not node.GetDisplayNode().GetSegmentVisibility("SpineContextSeg_22")


class TestMergingAndSplitting:
    @pytest.mark.parametrize("layers", [(), ("SpineContextSeg_23",), ("SpineContextSeg_22", "SpineContextSeg_23")])
    def test_merge_with_the_one_below(self, node, volume, levels, layers):
        for segment_id in layers:
            node.GetSegmentation().SeparateSegmentLabelmap(segment_id)
        levels.merge(22)
        np.testing.assert_array_equal(labels_in(node, volume), column(121, 22, 122, 22, 122, 24, 124, 26))
        assert_consistent(node)

    def test_merge_with_the_sacrum(self, node, volume, levels):
        levels.merge(24)
        labels = labels_in(node, volume)
        np.testing.assert_array_equal(labels == 26, np.isin(column(*LUMBAR), (24, 26)))
        # Below the sacrum is no disc.
        assert_consistent(node)
        assert set(our_values(node)) == {22, 23, 26, 121, 122, 123, 200}

    def test_nothing_below(self, volume):
        with pytest.raises(InputRefused, match="Below L5 there is nothing"):
            Levels(add_result(volume, column(23, 24))).merge(24)

    @pytest.mark.parametrize("layers", [(), ("SpineContextSeg_23",)])
    def test_split_across_the_column(self, node, volume, levels, layers):
        for segment_id in layers:
            node.GetSegmentation().SeparateSegmentLabelmap(segment_id)
        middle = middle_of(node, "SpineContextSeg_23", volume)
        before = column(*LUMBAR)
        assert levels.split(23, middle, None, level_sequence(lumbar=6)) == []
        after = labels_in(node, volume)
        whole = before == 23
        assert 0.3 < (after[whole] == 23).mean() < 0.7 and set(np.unique(after[whole])) == {23, 24}
        upper, lower = (np.argwhere(whole & (after == value))[:, 0].mean() for value in (23, 24))
        assert upper > lower
        for old, new in ((22, 22), (24, 25), (124, 125), (123, 124), (122, 122), (26, 26)):
            np.testing.assert_array_equal(after == new, (before == old) | (whole & (after == new)))
        assert_consistent(node)

    def test_split_along_a_slice(self, node, volume, levels):
        """The slice of a view, here between two planes of voxels."""
        view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
        k, j, i = np.argwhere(column(*LUMBAR) == 23).min(axis=0) + (0.5, 0, 0)
        point, across = SMALL.world(np.array([i, j, k])), SMALL.directions[:, 2]
        view.SetSliceToRASByNTP(*across, *SMALL.directions[:, 0], *point, 0)
        levels.split(23, *plane_at(view), level_sequence(lumbar=6))
        expected = column(121, 22, 122, 23, 124, 25, 125, 26)
        expected[int(k)][expected[int(k)] == 23] = 24
        np.testing.assert_array_equal(labels_in(node, volume), expected)

    def test_a_free_level_is_taken(self, volume):
        node = add_result(volume, column(20, 22))
        Levels(node).split(20, middle_of(node, "SpineContextSeg_20", volume), None, USUAL)
        assert list(our_values(node)) == [20, 21, 22]
        np.testing.assert_array_equal(labels_in(node, volume) == 22, column(20, 22) == 22)

    def test_a_vertebra_under_another_is_cut_whole(self, node, volume, levels):
        """Where a segment on another layer hides a part of it."""
        hidden = column(*LUMBAR) == 23
        hidden[:, 6:] = False
        node.GetSegmentation().SeparateSegmentLabelmap("SpineContextSeg_26")
        draw(node, "SpineContextSeg_26", hidden | (column(*LUMBAR) == 26), volume)
        whole = mask_of(node, "SpineContextSeg_23", volume)
        levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, level_sequence(lumbar=6))
        parts = [mask_of(node, our_values(node)[value], volume) for value in (23, 24)]
        np.testing.assert_array_equal(parts[0] | parts[1], whole)
        assert not (parts[0] & parts[1]).any() and all((part & hidden).any() for part in parts)
        np.testing.assert_array_equal(mask_of(node, "SpineContextSeg_26", volume), hidden | (column(*LUMBAR) == 26))

    def test_under_a_transform_the_plane_is_that_of_the_world(self, node, volume, levels):
        moved = np.eye(4)
        moved[:3, 3] = (30.0, -40.0, 55.0)
        for each in (volume, node):
            each.SetAndObserveTransformNodeID(add_transform(moved).GetID())
        own = middle_of(node, "SpineContextSeg_23", volume)
        with pytest.raises(InputRefused, match="doesn't cut L4"):
            levels.split(23, own, None, level_sequence(lumbar=6))
        levels.split(23, own + moved[:3, 3], None, level_sequence(lumbar=6))
        assert [vertebra.value for vertebra in levels.vertebrae] == [22, 23, 24, 25]

    def test_surfaces_follow(self, node, volume, levels):
        assert node.CreateClosedSurfaceRepresentation()

        def tops():
            surfaces = {name: segment.GetRepresentation(SURFACE) for name, segment in segments(node).items()}
            return {name: surface.GetNumberOfPoints() for name, surface in surfaces.items()}

        before = tops()
        levels.merge(22)
        assert tops()["SpineContextSeg_22"] > before["SpineContextSeg_22"]
        levels.undo()
        assert tops() == before
        levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, level_sequence(lumbar=6))
        assert all(tops().values())


REPAIRS = {
    "rename": lambda levels, middle: levels.rename(22, 19, USUAL),
    "shift": lambda levels, middle: levels.shift(-2, USUAL),
    "swap": lambda levels, middle: levels.swap(22, 24),
    "swap with none": lambda levels, middle: levels.swap(22, 19),
    "merge": lambda levels, middle: levels.merge(22),
    "merge with the sacrum": lambda levels, middle: levels.merge(24),
    "split": lambda levels, middle: levels.split(23, middle, None, level_sequence(lumbar=6)),
}


@pytest.fixture(params=list(REPAIRS))
def repair(request, node, volume, levels):
    middle = middle_of(node, "SpineContextSeg_23", volume)
    return lambda: REPAIRS[request.param](levels, middle)


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
        remarks = levels.shift(-1, USUAL)
        assert remarks == ["Names that were given by hand stay: 'Wirbel mit Fraktur'."]
        assert segments(node)["SpineContextSeg_22"].GetName() == "Wirbel mit Fraktur"
        assert segments(node)["SpineContextSeg_23"].GetColor() == (0.0, 0.0, 1.0)
        assert tag(segments(node)["SpineContextSeg_24"], "TerminologyEntry") == "mine"
        assert [(v.value, v.name) for v in levels.vertebrae][0] == (21, "Wirbel mit Fraktur")

    def test_another_level_as_a_name_by_hand_follows(self, node, levels):
        """Somebody tried to put the levels right by typing."""
        segments(node)["SpineContextSeg_22"].SetName("L2 vertebra")
        assert levels.rename(24, 23, USUAL) == []
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


class TestRefusals:
    @pytest.mark.parametrize(
        ("act", "message"),
        [
            (lambda levels: levels.shift(1, USUAL), "can't move 1 down"),
            (lambda levels: levels.rename(22, 24, USUAL), "L3 can't be L5"),
            (lambda levels: levels.rename(22, 28, USUAL), "T13 is no"),
            (lambda levels: levels.rename(21, 22, USUAL), "L2 is not there"),
            (lambda levels: levels.rename(22, 22, USUAL), "like that already"),
            (lambda levels: levels.swap(22, 22), "can't be swapped"),
            (lambda levels: levels.swap(21, 22), "L2 is not there"),
            (lambda levels: levels.merge(21), "L2 is not there"),
            (lambda levels: levels.split(22, (0, 0, 0), None, USUAL), "L3"),
            (lambda levels: levels.undo(), "no repair"),
        ],
    )
    def test_nothing_changes(self, scene, node, volume, levels, act, message):
        before, state = now(node, volume), scene_state(scene)
        with pytest.raises(InputRefused, match=message):
            act(levels)
        assert scene_state(scene) == state and now(node, volume) == before
        assert levels.undo_title is None and not is_edited(node)

    def test_levels_unknown(self, volume):
        node = add_result(volume, column(1, 200, 26), NO_LEVELS)
        levels = Levels(node)
        assert "not told apart" in levels.refusal and levels.vertebrae == []
        with pytest.raises(InputRefused, match="not told apart"):
            levels.shift(1, USUAL)

    def test_c1_alone(self, volume):
        """Its value is the one that stands for all vertebrae where levels are unknown."""
        node = add_result(volume, column(2))
        levels = Levels(node)
        levels.rename(2, 1, USUAL)
        assert levels.refusal is None and [v.name for v in levels.vertebrae] == ["C1 vertebra"]
        levels.undo()
        assert [v.name for v in levels.vertebrae] == ["C2 vertebra"]

    @pytest.mark.parametrize("values", [(), (26, 61)])
    def test_no_vertebra_of_ours(self, scene, volume, values):
        node = add_result(volume, column(*values)) if values else scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        draw(node, "L3 vertebra", column(5) == 5, volume)
        assert "no vertebra of ours" in Levels(node).refusal

    def test_all_removed(self, node, levels):
        node.GetSegmentation().RemoveAllSegments()
        assert "no vertebra of ours" in levels.refusal and levels.undo_title is None

    def test_the_node_was_removed(self, scene, node, levels):
        levels.shift(-1, USUAL)
        scene.RemoveNode(node)
        assert "was removed" in levels.refusal and levels.undo_title is None and levels.vertebrae == []

    def test_surfaces_only(self, node, levels):
        assert node.CreateClosedSurfaceRepresentation()
        node.SetSourceRepresentationToClosedSurface()
        assert "not made of voxels" in levels.refusal

    def test_under_a_transform_that_bends(self, scene, node, volume, levels):
        bending = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bent")
        node.SetAndObserveTransformNodeID(bending.GetID())
        with pytest.raises(InputRefused, match="non-linear transform 'bent'"):
            levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, level_sequence(lumbar=6))
        levels.shift(-1, USUAL)
        assert [vertebra.value for vertebra in levels.vertebrae] == [21, 22, 23]

    def test_a_fault_leaves_everything_as_it_was(self, node, volume, levels, monkeypatch):
        before = now(node, volume)
        monkeypatch.setattr(Levels, "_part", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, level_sequence(lumbar=6))
        assert now(node, volume) == before and levels.undo_title is None


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


class TestLabelVolume:
    def test_on_the_grid_of_the_scan(self, node, volume):
        draw(node, "Mine", column(5) == 5, volume)
        found = label_volume(node.GetSegmentation(), SMALL)
        np.testing.assert_array_equal(found.array, column(*LUMBAR))
        remembered = reference_grid(node.GetSegmentation())
        assert remembered.same_as(SMALL)

    def test_the_smallest_grid_that_holds_all(self, node, volume):
        node.GetSegmentation().SeparateSegmentLabelmap("SpineContextSeg_22")
        outside = np.zeros(SMALL.shape, bool)
        outside[15, 15, 17] = True
        paint(node, "SpineContextSeg_22", outside, volume)
        found = label_volume(node.GetSegmentation())
        k, j, i = np.argwhere(found.array == 22).T
        places = found.grid.world(np.stack([i, j, k], 1))
        k, j, i = np.argwhere(mask_of(node, "SpineContextSeg_22", volume)).T
        np.testing.assert_allclose(places, SMALL.world(np.stack([i, j, k], 1)), atol=1e-6)

    def test_nothing(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        assert not label_volume(node.GetSegmentation()).array.any()
        assert reference_grid(node.GetSegmentation()) is None


def test_what_points_at_a_place(scene):
    assert pointers(scene) == []
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Yellow")
    view.SetSliceToRASByNTP(1, 0, 0, 0, 1, 0, 7, 8, 9, 0)
    crosshair = scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairRAS(1, 2, 3)
    assert list(map(name_of, pointers(scene))) == ["Crosshair", "Yellow slice"]
    np.testing.assert_allclose(plane_at(crosshair)[0], (1, 2, 3))
    assert plane_at(crosshair)[1] is None
    point, normal = plane_at(view)
    np.testing.assert_allclose(point, (7, 8, 9))
    np.testing.assert_allclose(np.abs(normal), (1, 0, 0))
    remove_views()
