"""Which segments of a segmentation are ours, and which label value each of them stands for."""

from __future__ import annotations

from itertools import count

import vtk

from ..labels import (
    ALGORITHM_NAME_TAG,
    ALGORITHM_TYPE_TAG,
    SEGMENT_ID_PREFIX,
    STRUCTURES,
    TERMINOLOGY_TAG,
    VALUE_TAG,
    Segment,
    is_our_algorithm,
)
from ..segment_list import value_by_name


def segment_id_of(value: int) -> str:
    """The segment ID under which a label value is written, also by the command line; it stays if the value changes."""
    return f"{SEGMENT_ID_PREFIX}{value}"


def free_segment_id(segmentation, value: int) -> str:
    """The ID of a new segment for a label value, beside others that may have had this value.

    The same one for the same segments, other than Slicer's own, which counts on: where the new segment is undone and
    made again, later steps that are made again still mean it.
    """
    name, taken = segment_id_of(value), segmentation.GetSegmentIDs()
    return name if name not in taken else next(f"{name}_{n}" for n in count(1) if f"{name}_{n}" not in taken)


def our_values(segmentation_node) -> dict[int, str]:
    """Label value -> segment ID of every segment that was written by this extension or its command line, in the order
    of the list.

    Renamed, recolored and edited segments are still ours, and those that come back from DICOM SEG, where name or code
    tells the value; a duplicate that Slicer made of one is the user's.
    """
    return our_segments(segmentation_node.GetSegmentation())


def has_segments(segmentation_node) -> bool:
    """Whether a segmentation node holds any segment, ours or not."""
    return segmentation_node.GetSegmentation().GetNumberOfSegments() > 0


def our_segments(segmentation) -> dict[int, str]:
    """As `our_values`, of a vtkSegmentation."""
    found: dict[int, str] = {}
    unmarked: dict[int, str] = {}
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        value = _value_of(segment_id, segment)
        # A duplicate has the tag of its original, but not its ID.
        if value is not None and (value not in found or segment_id == segment_id_of(value)):
            found[value] = segment_id
        if value is None and _is_from_dicom(segment_id, segment):
            unmarked.setdefault(_value_from_dicom(segment), segment_id)
    unmarked.pop(None, None)
    if not unmarked:
        return found
    values = {segment_id: value for value, segment_id in (unmarked | found).items()}
    return {values[segment_id]: segment_id for segment_id in segmentation.GetSegmentIDs() if segment_id in values}


def disown(segment) -> None:
    """Makes a vtkSegment that isn't ours stay so, whatever level those have that are: a person's copy of one."""
    segment.RemoveTag(VALUE_TAG)
    if is_our_algorithm(tag(segment, ALGORITHM_NAME_TAG)):
        segment.RemoveTag(ALGORITHM_NAME_TAG)
        segment.RemoveTag(ALGORITHM_TYPE_TAG)


def tag(segment, name: str) -> str:
    """The tag's text, "" where there is none."""
    text = vtk.reference("")
    return str(text) if segment.GetTag(name, text) else ""


def _value_of(segment_id: str, segment) -> int | None:
    # The command line's `.seg.nrrd` doesn't tag values, but has the same IDs.
    text = tag(segment, VALUE_TAG) or segment_id.removeprefix(SEGMENT_ID_PREFIX)
    value = int(text) if text.isascii() and text.isdigit() else None
    return value if value in STRUCTURES else None


def _is_from_dicom(segment_id: str, segment) -> bool:
    """Whether a segment without a value may be one of ours; a copy that Slicer made of one has its ID and a number."""
    return is_our_algorithm(tag(segment, ALGORITHM_NAME_TAG)) and not segment_id.startswith(SEGMENT_ID_PREFIX)


def _value_from_dicom(segment) -> int | None:
    """DICOM SEG keeps neither our tags nor IDs."""
    tags = {TERMINOLOGY_TAG: tag(segment, TERMINOLOGY_TAG)}
    return value_by_name(Segment(None, "", segment.GetName() or "", segment.GetColor(), tags))
