"""Segments whose name or code says another level than their value, as after a choice in Slicer's terminology selector.

Files hold the value, and so does everything that is counted by level; only a repair of levels changes all of it.
"""

from __future__ import annotations

from ..labels import EVERY_STRUCTURE, TERMINOLOGY_TAG, level_name
from .ours import our_segments, tag

_LISTED = 3


def contradictions(segmentation) -> list[str]:
    """A sentence on such segments of ours in a vtkSegmentation, or none; quick, so without a look at the voxels."""
    found = []
    for value, segment_id in our_segments(segmentation).items():
        segment = segmentation.GetSegment(segment_id)
        name, code = segment.GetName(), _type_code(segment)
        if value not in _VALUES.get(name, {value}):
            found.append(f"'{name}' has the value of {level_name(value)}")
        elif value not in _VALUES.get(code, {value}):
            found.append(f"'{name}' has the value of {level_name(value)} but the code of another level")
    if not found:
        return []
    more = [f"and {len(found) - _LISTED} others are like that"] if len(found) > _LISTED else []
    return [f"{', '.join(found[:_LISTED] + more)}: put it right under Levels."]


def _values_by_word() -> dict[str, set[int]]:
    """Name or SNOMED CT code -> the label values that have it."""
    values: dict[str, set[int]] = {}
    for item in EVERY_STRUCTURE:
        for word in (item.name, item.snomed_code):
            values.setdefault(word, set()).add(item.value)
    return values


_VALUES = _values_by_word()


def _type_code(segment) -> str:
    """The code of a vtkSegment's type, "" where there is none."""
    parts = tag(segment, TERMINOLOGY_TAG).split("~")
    codes = parts[2].split("^") if len(parts) > 2 else []
    return codes[1] if len(codes) > 1 else ""
