"""What runs have warned of, kept with a segmentation: sentences on its node, doubt about a level on its segment."""

from __future__ import annotations

from collections.abc import Mapping

from ..labels import DOUBT_TAG, VERTEBRAE
from ..levels import UNSURE
from ..roi import Box
from .edits import repaired_values
from .ours import our_segments, tag

_ATTRIBUTE = "SpineContextSeg.Warnings"


def keep_warnings(segmentation_node, report: Mapping, *, before=None, only: set[int] | None, box: Box | None) -> None:
    """Keeps the warnings of a report with the node that its labels were written into.

    Args:
        before: the node with the warnings of earlier runs, which still hold where `only` or `box` spares vertebrae.
        only, box: as `segmentations.write_result` gets them.
    """
    spares_vertebrae = box is not None or (only is not None and not VERTEBRAE <= only)
    earlier = _sentences(before) if before is not None and spares_vertebrae else []
    sentences = dict.fromkeys([*earlier, *report.get("warnings", ())])
    segmentation_node.SetAttribute(_ATTRIBUTE, "\n".join(sentences) or None)


def warnings_of(segmentation_node) -> list[str]:
    """One sentence each, none on levels that a person has put right since."""
    if segmentation_node is None:
        return []
    segmentation, sentences = segmentation_node.GetSegmentation(), _sentences(segmentation_node)
    others = [sentence for sentence in sentences if not sentence.startswith(UNSURE)]
    if repaired_values(segmentation):
        return others
    doubt = doubt_in(segmentation)
    # Of one that was read from a file no more is known.
    return [f"{doubt.capitalize()}.", *sentences] if doubt and others == sentences else sentences


def doubt_in(segmentation) -> str:
    """Why some level in a vtkSegmentation wasn't certain when it was written, in short; "" where all were."""
    return next(iter(_tagged(segmentation).values()), "")


def doubts(segmentation) -> dict[int, str]:
    """Of vertebrae whose levels aren't certain, why, in short; none where a person has put levels right since."""
    return {} if repaired_values(segmentation) else _tagged(segmentation)


def _tagged(segmentation) -> dict[int, str]:
    ours = our_segments(segmentation)
    found = {value: tag(segmentation.GetSegment(ours[value]), DOUBT_TAG) for value in VERTEBRAE & ours.keys()}
    return {value: doubt for value, doubt in found.items() if doubt}


def _sentences(segmentation_node) -> list[str]:
    return (segmentation_node.GetAttribute(_ATTRIBUTE) or "").splitlines()
