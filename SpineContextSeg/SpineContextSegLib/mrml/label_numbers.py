"""The numbers that segments have in their labelmaps: our label values, so that Slicer's own files hold these too."""

from __future__ import annotations

from itertools import count

import numpy as np
import slicer

from ..labels import FIRST_OWN_VALUE
from .labelmaps import labelmap_of, voxels_of
from .ours import our_segments


def number_by_value(segmentation) -> None:
    """Gives every segment of ours its label value as its number in the labelmap that it shares with others.

    A segment of somebody else that has the number gets a free one. No segment gains or loses a voxel, so surfaces stay.
    """
    value_of = {segment_id: value for value, segment_id in our_segments(segmentation).items()}
    sharing: dict[object, dict[str, int]] = {}
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        image = labelmap_of(segment)
        if image is not None:
            sharing.setdefault(image, {})[segment_id] = segment.GetLabelValue()
    for image, numbers in sharing.items():
        wanted = {segment_id: value_of.get(segment_id, number) for segment_id, number in numbers.items()}
        ours = {number for segment_id, number in wanted.items() if segment_id in value_of}
        for segment_id in wanted.keys() - value_of.keys():
            if wanted[segment_id] in ours:
                wanted[segment_id] = _free(set(wanted.values()) | set(numbers.values()))
        if wanted != numbers:
            _renumber(image, {numbers[segment_id]: wanted[segment_id] for segment_id in numbers})
            for segment_id, number in wanted.items():
                segmentation.GetSegment(segment_id).SetLabelValue(number)
                segmentation.InvokeEvent(segmentation.RepresentationModified, segment_id)


def _free(taken: set[int]) -> int:
    """One that no segment of ours will ever need."""
    return next(number for number in count(FIRST_OWN_VALUE) if number not in taken)


def _renumber(image, numbers: dict[int, int]) -> None:
    slicer.vtkOrientedImageDataResample.CastImageForValue(image, max(numbers.values()))
    labels = voxels_of(image).array
    table = np.arange(int(labels.max()) + 1).astype(labels.dtype)
    for old, new in numbers.items():
        if old < len(table):
            table[old] = new
    for plane in labels:
        plane[:] = table[plane]
    # Only the scalars: a change of the image itself would make Slicer drop all surfaces, which stay right.
    image.GetPointData().GetScalars().Modified()
