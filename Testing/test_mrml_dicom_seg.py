"""A result that comes back from DICOM SEG: Slicer restores name, color, codes and algorithm, nothing else of ours."""

import numpy as np
import pytest

from SpineContextSegLib.labels import TERMINOLOGY_CONTEXT, structure
from SpineContextSegLib.repair import level_sequence

slicer = pytest.importorskip("slicer")

from SpineContextSegLib.mrml.contradictions import contradictions  # noqa: E402
from SpineContextSegLib.mrml.edits import edited_values, repaired_values  # noqa: E402
from SpineContextSegLib.mrml.export import export_segmentation  # noqa: E402
from SpineContextSegLib.mrml.levels import Levels  # noqa: E402
from SpineContextSegLib.mrml.measurements import show_measurements  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from SpineContextSegLib.reading import read_labels  # noqa: E402
from Testing.scene_nodes import add_volume, draw, mask_of  # noqa: E402
from Testing.scene_results import NO_LEVELS, SMALL, add_result, blocks, labels_in, segments, tag  # noqa: E402

LUMBAR = (26, 124, 24, 123, 23, 122, 22)
USUAL = level_sequence()
KEPT_TAGS = ("TerminologyEntry", "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName")


@pytest.fixture
def volume(scene):
    return add_volume(SMALL)


@pytest.fixture
def made(volume):
    return add_result(volume, blocks(*LUMBAR))


def reopened(node, volume):
    """As Slicer's `DICOMSegmentationPlugin` writes the file and makes a node of it: one label map per segment, the
    series' own list of codes, colors that went through CIELab, and IDs that are Slicer's."""
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    again.CreateDefaultDisplayNodes()
    for number, (segment_id, old) in enumerate(segments(node).items()):
        draw(again, f"Segment_{number}", mask_of(node, segment_id, volume), volume)
        new = segments(again)[f"Segment_{number}"]
        new.SetName(old.GetName())
        new.SetColor([np.clip(part + step / 255, 0, 1) for part, step in zip(old.GetColor(), (1, -1, 1))])
        for name in KEPT_TAGS:
            if tag(old, name):
                new.SetTag(name, tag(old, name).replace(TERMINOLOGY_CONTEXT, "Series 7"))
    again.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    slicer.mrmlScene.RemoveNode(node)
    return again


def test_every_segment_has_its_value_again(made, volume):
    labels = labels_in(made, volume)
    node = reopened(made, volume)
    assert list(our_values(node)) == [22, 23, 24, 26, 122, 123, 124]
    np.testing.assert_array_equal(labels_in(node, volume), labels)


@pytest.mark.parametrize(
    ("values", "report"), [((26, 125, 25, 124, 24, 128, 28), {}), ((26, 200, 1, 61), NO_LEVELS), ((1,), {})]
)
def test_codes_that_several_structures_share(volume, values, report):
    """T13, L6, discs, and vertebrae that are not told apart have names that tell them."""
    node = reopened(add_result(volume, blocks(*values), report or {"levels_known": True, "model": "spine 1"}), volume)
    assert set(our_values(node)) == set(values)
    assert (Levels(node).refusal is None) == (not report)


def test_what_a_person_called_otherwise(made, volume):
    """The code tells, where it tells it alone; a disc's doesn't."""
    for name, value in (("Fracture", 22), ("Sclérose", 124)):
        segments(made)[our_values(made)[value]].SetName(name)
    node = reopened(made, volume)
    assert set(our_values(node)) == {26, 24, 123, 23, 122, 22}
    Levels(node).rename(22, 21, USUAL)
    assert "Fracture" in {segment.GetName() for segment in segments(node).values()}


def test_it_counts_as_edited_but_not_as_put_right(made, volume):
    """A run must ask before it replaces what may be a person's work."""
    node = reopened(made, volume)
    assert edited_values(node) == set(LUMBAR) and not repaired_values(node.GetSegmentation())
    add_result(volume, blocks(26, 24, 23), segmentation_node=node)
    assert list(our_values(node)) == [23, 24, 26] and not edited_values(node)
    assert len(segments(node)) == 3


def test_levels_are_put_right_with_colors_and_codes(made, volume):
    node = reopened(made, volume)
    labels, levels = labels_in(node, volume), Levels(node)
    levels.rename(22, 21, USUAL)
    assert list(our_values(node)) == [21, 22, 23, 26, 121, 122, 123]
    for value, segment_id in our_values(node).items():
        segment, item = segments(node)[segment_id], structure(value)
        if value != 26:
            assert (segment.GetName(), tag(segment, "TerminologyEntry")) == (item.name, item.terminology_entry)
            assert segment.GetColor() == pytest.approx(item.color)
    assert contradictions(node.GetSegmentation()) == []
    levels.undo()
    np.testing.assert_array_equal(labels_in(node, volume), labels)


def test_measured_and_exported(made, volume, tmp_path):
    node = reopened(made, volume)
    points, _, _ = show_measurements(node)
    assert [points.GetNthControlPointLabel(n) for n in range(3)] == ["L3 vertebra", "L4 vertebra", "L5 vertebra"]
    labels = labels_in(node, volume)
    for path in export_segmentation(node, volume, tmp_path, formats=["nrrd", "seg.nrrd"]).files:
        if path.name.endswith("nrrd"):
            np.testing.assert_array_equal(read_labels(path).array, labels)


def test_segments_of_other_tools_stay_theirs(made, volume):
    for value in (24, 26):
        segments(made)[our_values(made)[value]].SetTag("DICOM.SegmentAlgorithmName", "SpineContextSegmenter 2")
    drawn = segments(made)[our_values(made)[23]]
    drawn.RemoveTag("DICOM.SegmentAlgorithmName")
    node = reopened(made, volume)
    assert set(our_values(node)) == {124, 123, 122, 22}
    assert edited_values(node) == {124, 123, 122, 22}


def test_a_copy_stays_the_persons(made, volume):
    """Both come back alike: the first in the list is ours, and after a repair still only that."""
    copy = slicer.vtkSegment()
    copy.DeepCopy(segments(made)["SpineContextSeg_23"])
    made.GetSegmentation().AddSegment(copy, "copy")
    node = reopened(made, volume)
    first = our_values(node)[23]
    last = list(segments(node))[-1]
    assert segments(node)[last].GetName() == "L4 vertebra" and first != last
    Levels(node).rename(24, 23, USUAL)
    assert our_values(node)[22] == first and last not in our_values(node).values()
    Levels(node).shift(-1, USUAL)
    assert last not in our_values(node).values()
    # To Slicer's export it is drawn by hand, then, as that wants a name of every algorithm.
    assert tag(segments(node)[last], "DICOM.SegmentAlgorithmType") is None


def test_a_copy_in_a_scene_of_an_earlier_version_stays_the_persons(made, volume):
    """Which took the value from it where levels were put right, not the algorithm's name."""
    copy = slicer.vtkSegment()
    copy.DeepCopyMetadata(segments(made)["SpineContextSeg_23"])
    copy.SetName("tumor")
    copy.RemoveTag("SpineContextSeg.Value")
    made.GetSegmentation().AddSegment(copy, "SpineContextSeg_23_1")
    made.GetSegmentation().RemoveSegment("SpineContextSeg_23")
    assert set(our_values(made)) == set(LUMBAR) - {23}


def test_a_file_that_tells_of_no_model_is_ours(made, volume):
    for segment in segments(made).values():
        segment.SetTag("DICOM.SegmentAlgorithmName", "SpineContextSeg")
    assert set(our_values(reopened(made, volume))) == set(LUMBAR)


def test_our_tags_go_before_names_and_codes(made, volume):
    """Wherever the segments stand in the list; as where a segment that came from DICOM was put beside ours."""
    other = slicer.vtkSegment()
    other.DeepCopyMetadata(segments(made)["SpineContextSeg_23"])
    other.RemoveTag("SpineContextSeg.Value")
    made.GetSegmentation().AddSegment(other, "other", "SpineContextSeg_22")
    assert our_values(made) == {value: f"SpineContextSeg_{value}" for value in LUMBAR}
