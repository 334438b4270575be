"""What runs were limited to, kept with the vertebrae that they wrote, in files too: beyond it nobody has looked."""

from __future__ import annotations

from ..labels import REGION_TAG, VERTEBRAE
from ..roi import Box, boxes_of, text_of
from .ours import our_segments, tag


def keep_region(content, old, written: set[int], box: Box | None) -> None:
    """Tags the vertebrae that a run wrote with what it and earlier runs were limited to, or with nothing.

    Args:
        content, old: vtkSegmentation after the run and before it.
        written: label values.
        box: in the segmentation's own coordinates, None for a run of the whole volume.
    """
    earlier = regions_in(old)
    # Vertebrae of ours without a tag come from the whole volume, so that it has been looked at.
    whole = box is None or (not earlier and not VERTEBRAE.isdisjoint(our_segments(old)))
    for value, segment_id in our_segments(content).items():
        if value in VERTEBRAE & written:
            segment = content.GetSegment(segment_id)
            segment.RemoveTag(REGION_TAG)
            if not whole:
                segment.SetTag(REGION_TAG, text_of([*earlier, box]))


def regions_in(segmentation) -> list[Box]:
    """The boxes to which the runs that wrote the vertebrae of a vtkSegmentation were limited; none for all of it."""
    ours = our_segments(segmentation)
    return boxes_of(tag(segmentation.GetSegment(ours[value]), REGION_TAG) for value in VERTEBRAE & ours.keys())
