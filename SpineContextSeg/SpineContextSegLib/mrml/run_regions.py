"""What runs were limited to, kept with the vertebrae that they wrote, in files too: beyond it nobody has looked."""

from __future__ import annotations

import numpy as np

from ..labels import VERTEBRAE
from ..roi import Box
from .ours import our_segments, tag

REGION_TAG = "SpineContextSeg.Region"


def keep_region(content, old, written: set[int], box: Box | None) -> None:
    """Tags the vertebrae that a run wrote with what it and earlier runs were limited to, or with nothing.

    Args:
        content, old: vtkSegmentation after the run and before it.
        written: label values.
        box: in the segmentation's own coordinates, None for a run of the whole volume.
    """
    earlier = dict.fromkeys(_texts(old))
    # Vertebrae of ours without a tag come from the whole volume, so that it has been looked at.
    whole = box is None or (not earlier and not VERTEBRAE.isdisjoint(our_segments(old)))
    for value, segment_id in our_segments(content).items():
        if value in VERTEBRAE & written:
            segment = content.GetSegment(segment_id)
            segment.RemoveTag(REGION_TAG)
            if not whole:
                segment.SetTag(REGION_TAG, ";".join(dict.fromkeys([*earlier, _text(box)])))


def regions_in(segmentation) -> list[Box]:
    """The boxes to which the runs that wrote the vertebrae of a vtkSegmentation were limited; none for all of it."""
    return [_box(text) for text in dict.fromkeys(_texts(segmentation))]


def _texts(segmentation) -> list[str]:
    ours = our_segments(segmentation)
    tags = [tag(segmentation.GetSegment(ours[value]), REGION_TAG) for value in VERTEBRAE & ours.keys()]
    return [text for texts in tags for text in texts.split(";") if text]


def _text(box: Box) -> str:
    return " ".join(f"{number:.9g}" for number in [*box.box_to_ras[:3].ravel(), *box.size_mm])


def _box(text: str) -> Box:
    numbers = np.array(text.split(), float)
    return Box(np.vstack([numbers[:12].reshape(3, 4), [0, 0, 0, 1]]), numbers[12:])
