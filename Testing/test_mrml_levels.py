"""Levels put right in a scene: on Slicer's own segmentations, layers, surfaces, transforms; what is refused."""

import numpy as np
import pytest

from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.repair import level_sequence

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.edits import is_edited  # noqa: E402
from SpineContextSegLib.mrml.export import export_segmentation  # noqa: E402
from SpineContextSegLib.mrml.levels import Levels  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from SpineContextSegLib.mrml.planes import plane_at  # noqa: E402
from Testing.level_repairs import *  # noqa: E402, F403
from Testing.level_repairs import LUMBAR, USUAL, assert_consistent, column, middle_of, now  # noqa: E402
from Testing.scene_nodes import add_transform, draw, mask_of  # noqa: E402
from Testing.scene_results import NO_LEVELS, SMALL, add_result, labels_in, scene_state, segments  # noqa: E402

SURFACE = "Closed surface"


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

    def test_split_where_only_those_above_can_make_room(self, node, volume, levels):
        state, before = now(node, volume), labels_in(node, volume)
        levels.split(23, middle_of(node, "SpineContextSeg_23", volume), None, USUAL)
        assert [vertebra.value for vertebra in levels.vertebrae] == [21, 22, 23, 24]
        after, whole = labels_in(node, volume), before == 23
        assert set(np.unique(after[whole])) == {22, 23}
        for old, new in ((22, 21), (122, 121), (121, 120), (123, 123), (24, 24), (124, 124), (26, 26)):
            np.testing.assert_array_equal(after[before == old], new)
        assert_consistent(node)
        levels.undo()
        assert now(node, volume) == state

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


def test_a_repaired_segmentation_is_read_by_the_command_line(scene, node, volume, levels, tmp_path):
    """As the panel exports it and as Slicer saves it: IDs stay those of before, whatever segments are called now."""
    levels.rename(24, 22, USUAL)
    levels.split(21, middle_of(node, "SpineContextSeg_23", volume), None, USUAL)
    for segment_id, segment in segments(node).items():
        segment.SetName(f"my {segment_id}")
    exported = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"])
    saved = tmp_path / "saved.seg.nrrd"
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(saved))
    assert storage.WriteData(node)
    for path in (*exported.files, saved):
        values = set(np.unique(read_labels(path).array)) - {0}
        assert values == set(our_values(node)) >= {20, 21, 22, 23}


def test_what_slicer_numbered_anew_is_refused_whatever_it_is_called(scene, node, levels, tmp_path):
    """Where Slicer makes one layer of several, it gives segments the numbers from 1 on: C1, C2, C3..."""
    levels.shift(-1, USUAL)
    segmentation = node.GetSegmentation()
    for segment_id, segment in segments(node).items():
        segment.SetName(f"my {segment_id}")
        segmentation.SeparateSegmentLabelmap(segment_id)
    segmentation.CollapseBinaryLabelmaps(False)
    assert [segment.GetLabelValue() for segment in segments(node).values()] == list(range(1, 9))
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "saved.seg.nrrd"))
    assert storage.WriteData(node)
    with pytest.raises(InputRefused, match=r"value 1 for 'my SpineContextSeg_22' \(L2 vertebra\), which is 21"):
        read_labels(tmp_path / "saved.seg.nrrd")


def test_what_the_command_line_repaired_is_shown_as_it_says(scene, node, volume, tmp_path, capsys):
    """Names of one's own, also with letters that aren't ASCII, and a segment of one's own, there and back."""
    beside = np.zeros(SMALL.shape, bool)
    beside[:3, :3, :3] = True
    assert not column(*LUMBAR)[beside].any()
    draw(node, "mine", beside, volume)
    segments(node)["mine"].SetName("Métastase")
    segments(node)["SpineContextSeg_23"].SetName("Fraktur, geprüft")
    segments(node)["SpineContextSeg_23"].SetColor(0.25, 0.5, 0.75)
    (path,) = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"]).files
    assert main(["levels", str(path), "--shift", "-1", "-o", str(path)]) == 0
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    loaded = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
    assert storage.ReadData(loaded)
    names = {value: segments(loaded)[segment_id].GetName() for value, segment_id in our_values(loaded).items()}
    assert [names[value] for value in (21, 22, 23)] == ["L2 vertebra", "Fraktur, geprüft", "L4 vertebra"]
    np.testing.assert_allclose(segments(loaded)["SpineContextSeg_22"].GetColor(), (0.25, 0.5, 0.75), atol=1e-5)
    assert segments(loaded)["mine"].GetName() == "Métastase" and "SpineContextSeg_22" in our_values(loaded).values()
    np.testing.assert_array_equal(mask_of(loaded, "mine", volume), mask_of(node, "mine", volume))
    for old, new in ((22, 21), (23, 22), (24, 23), (26, 26)):
        masks = [mask_of(one, f"SpineContextSeg_{value}", volume) for one, value in ((node, old), (loaded, new))]
        np.testing.assert_array_equal(*masks)


class TestRemarks:
    @pytest.mark.parametrize(
        ("act", "sentences"),
        [
            (lambda levels: levels.shift(-1, USUAL), ["L5 is missing between L4 and Sacrum."]),
            (lambda levels: levels.rename(24, 23, level_sequence(lumbar=4)), []),
            (lambda levels: levels.rename(24, 23, USUAL), ["L5 is missing between L4 and Sacrum."]),
            (lambda levels: levels.rename(24, 25, level_sequence(lumbar=6)), []),
            (lambda levels: levels.merge(22), ["L4 is missing between L3 and L5."]),
            (lambda levels: levels.merge(24), ["L5 is missing between L4 and Sacrum."]),
            (lambda levels: levels.swap(22, 23), ["L4 lies above L3: the levels are out of order."]),
        ],
    )
    def test_gaps_and_disorder_are_told(self, levels, act, sentences):
        assert act(levels) == sentences

    def test_of_what_is_split(self, volume):
        node = add_result(volume, column(19, 20, 23))
        sentences = Levels(node).split(20, middle_of(node, "SpineContextSeg_20", volume), None, USUAL)
        assert sentences == ["L3 is missing between L2 and L4."]

    def test_of_a_gap_that_is_closed(self, volume):
        (sentence,) = Levels(add_result(volume, column(18, 20, 21))).rename(21, 21, USUAL)
        assert sentence.startswith("T12 was missing between T11 and L1, and that gap is closed now")

    def test_a_column_without_t12_stays_one(self, volume):
        node = add_result(volume, column(18, 20, 21))
        assert Levels(node).swap(20, 21, level_sequence(thoracic=11)) == [
            "L2 lies above L1: the levels are out of order."
        ]


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
            (lambda levels: levels.swap(22, 12), "T5 is not there"),
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
