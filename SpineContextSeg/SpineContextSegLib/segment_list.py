"""What a `.seg.nrrd` says of its segments, and which of VerSe's values each of them stands for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from .errors import InputRefused
from .labels import (
    DOUBT_TAG,
    FINGERPRINT_TAG,
    FIRST_OWN_VALUE,
    SEGMENT_ID_PREFIX,
    STRUCTURES,
    TERMINOLOGY_TAG,
    VALUE_TAG,
    VERTEBRA_LEVEL_UNKNOWN,
    VERTEBRAE,
    Segment,
    structure,
    value_called,
)

# Slicer's color of a segment that has none.
_GRAY = (0.5, 0.5, 0.5)
# Code -> the one structure that has it: not that of the discs, nor that of T13 and L6.
_CODES = Counter(item.snomed_code for item in STRUCTURES.values())
_STRUCTURE_OF_CODE = {item.snomed_code: value for value, item in STRUCTURES.items() if _CODES[item.snomed_code] == 1}


def stated_segments(header: Mapping[str, str]) -> list[Segment]:
    """The segments that the fields of a `.seg.nrrd` tell of, in the order of its list, as they are."""
    found: dict[int, dict[str, str]] = {}
    for key, stored in header.items():
        field = re.fullmatch(r"Segment(\d+)_(\w+)", key)
        if field:
            found.setdefault(int(field[1]), {})[field[2]] = _as_text(stored)
    return [_segment(found[number]) for number in sorted(found)]


def in_verse(name: str, stated: Sequence[Segment]) -> list[Segment]:
    """The segments of a file with VerSe's values.

    Slicer numbers what a person draws from 1 on, which are the values of C1, C2... Beside segments of ours, that gets
    values from 300 on. Where none is ours, and all say what they are, they get the values of that.

    Args:
        name: of the file, for people.

    Raises:
        InputRefused: a segment is said to be one structure and has the value of another.
    """
    if any(segment.segment_id.startswith(SEGMENT_ID_PREFIX) or VALUE_TAG in segment.tags for segment in stated):
        told = [_told(segment) for segment in stated]
        _refuse(name, stated, told, "export it with the Slicer module, which writes VerSe's values")
        return _own_apart(stated, told)
    told, values = [_meant(segment) for segment in stated], [segment.value for segment in stated]
    unclear = [
        segment.name
        for segment, value in zip(stated, told, strict=True)
        if value is None or told.count(value) > 1 or values.count(segment.value) > 1
    ]
    if not unclear:
        return [replace(segment, value=value) for segment, value in zip(stated, told, strict=True)]
    others = ", ".join(map(repr, unclear[:3])) + (", ..." if len(unclear) > 3 else "")
    _refuse(name, stated, told, f"call each segment after its structure, such as L4 or sacrum, and leave out {others}")
    return list(stated)


def numbered_by_names(name: str, stated: Sequence[Segment]) -> list[Segment]:
    """The segments of a file whose values are but places in its list, as in a DICOM SEG, with VerSe's values; those
    that don't say what they are have values from 300 on.

    Raises:
        InputRefused: none says what it is, or two are the same.
    """
    told = [value_by_name(segment) for segment in stated]
    known = [value for value in told if value is not None]
    if not known or len(set(known)) < len(known):
        why = "holds two segments of one structure" if known else "doesn't say what its segments are"
        raise InputRefused(f"'{name}' {why}: call each after its structure, such as L4 or sacrum.")
    own = count(FIRST_OWN_VALUE)
    return [
        replace(segment, value=next(own) if value is None else value)
        for segment, value in zip(stated, told, strict=True)
    ]


def value_by_name(segment: Segment) -> int | None:
    """VerSe's value of a segment that states none of its own, by its name and its code; None where neither says it."""
    vertebrae = structure(VERTEBRA_LEVEL_UNKNOWN, levels_known=False)
    return vertebrae.value if segment.name == vertebrae.name else _meant(segment)


def renumbered(array: np.ndarray, stated: Sequence[Segment], meant: Sequence[Segment]) -> np.ndarray:
    """The voxels of segments as a file has them, with the values that `in_verse` gave them."""
    values = {old.value: new.value for old, new in zip(stated, meant, strict=True)}
    # A segment without voxels may bear the number of one of ours.
    values |= {old.value: old.value for old, new in zip(stated, meant, strict=True) if old == new}
    moved = {old: new for old, new in values.items() if old != new}
    if not moved:
        return array
    result = array.astype(np.result_type(array.dtype, np.uint16))
    for old, new in moved.items():
        result[array == old] = new
    return result


def remarks_on_segments(name: str, segments: Sequence[Segment]) -> list[str]:
    """What a person has to know of the values of a file's segments, one sentence each."""
    if not segments or any(_meant(segment) is not None for segment in segments):
        return []
    return [f"'{name}' doesn't say what its segments are: their values were taken for VerSe's (1 is C1, 20 is L1)."]


def remarks_on_doubt(segments: Iterable[Segment]) -> list[str]:
    """One sentence for each reason why levels of a file aren't certain."""
    return [f"{doubt.capitalize()}." for doubt in dict.fromkeys(doubts(segments).values())]


def doubts(segments: Iterable[Segment]) -> dict[int, str]:
    """Value -> why its level isn't certain, in short; none where the module's marks tell that levels were put right."""
    vertebrae = [segment for segment in segments if segment.value in VERTEBRAE]
    if any(VALUE_TAG in segment.tags and FINGERPRINT_TAG not in segment.tags for segment in vertebrae):
        return {}
    return {segment.value: segment.tags[DOUBT_TAG] for segment in vertebrae if DOUBT_TAG in segment.tags}


def _meant(segment: Segment) -> int | None:
    """As `_told`, also by the names that people give their own segments."""
    told = _told(segment)
    return value_called(segment.name) if told is None else told


def _told(segment: Segment) -> int | None:
    """The value of the structure that a segment is, whatever value the file gives it; None where nothing says so.

    A repair of levels leaves the ID as it is and may leave a code that a person chose: the tag, then the ID say more.
    """
    named = next((value for value, item in STRUCTURES.items() if item.name == segment.name), None)
    if named is not None:
        return named
    marked = _marked(segment)
    if marked is not None:
        return marked
    code_of_type = re.match(r"[^~]*~[^~]*~SCT\^(\d+)\^", segment.tags.get(TERMINOLOGY_TAG, ""))
    if not code_of_type:
        return None
    # Of several structures that have the code, only the value says which.
    its_own = segment.value in STRUCTURES and STRUCTURES[segment.value].snomed_code == code_of_type[1]
    return segment.value if its_own else _STRUCTURE_OF_CODE.get(code_of_type[1])


def _marked(segment: Segment) -> int | None:
    """The value that the tag, or else the ID, gives a segment of ours; None for any other segment."""
    id_of_ours = segment.segment_id.startswith(SEGMENT_ID_PREFIX)
    own_id = segment.segment_id.removeprefix(SEGMENT_ID_PREFIX) if id_of_ours else ""
    values = map(_whole_number, (segment.tags.get(VALUE_TAG, ""), own_id))
    return next((value for value in values if value in STRUCTURES), None)


def _own_apart(segments: Sequence[Segment], told: Sequence[int | None]) -> list[Segment]:
    """Gives what a person drew beside segments of ours values of its own."""
    taken = {segment.value for segment in segments}
    free = (value for value in count(FIRST_OWN_VALUE) if value not in taken)
    return [
        replace(segment, value=next(free))
        if segment.value and segment.value < FIRST_OWN_VALUE and value is None
        else segment
        for segment, value in zip(segments, told, strict=True)
    ]


def _refuse(name: str, segments: Sequence[Segment], told: Sequence[int | None], advice: str) -> None:
    """Who goes by values that Slicer gave would take a sacrum for C3."""
    for segment, expected in zip(segments, told, strict=True):
        # A copy of one of ours, which a person made, still says what it was.
        own = segment.value is not None and segment.value >= FIRST_OWN_VALUE
        if expected not in (None, segment.value) and not own:
            written = STRUCTURES[expected].name
            called = f"'{written}'" if segment.name == written else f"'{segment.name}' ({written})"
            marked = _marked(segment)
            if marked is not None and marked == segment.value:
                # The value is right where only the name was changed, and an export keeps both.
                advice = (
                    "put the level right under Levels in the Slicer module, or name the segment "
                    f"'{STRUCTURES[marked].name}' again"
                )
            raise InputRefused(
                f"'{name}' has the value {segment.value} for {called}, which is {expected} in VerSe's numbering: "
                f"{advice}."
            )


def _segment(fields: Mapping[str, str]) -> Segment:
    tags = (tag.partition(":") for tag in fields.get("Tags", "").split("|"))
    return Segment(
        _whole_number(fields.get("LabelValue", "")),
        fields.get("ID", ""),
        fields.get("Name", ""),
        _color(fields.get("Color", "")),
        {name.strip(): text for name, _, text in tags if name.strip()},
    )


def _color(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, text.split())
    except ValueError:
        return _GRAY
    return red, green, blue


def _as_text(stored: str) -> str:
    """A text of a header, whose bytes SimpleITK keeps where they aren't UTF-8, but doesn't take back. Programs that
    write other bytes mostly write those of Windows in the West."""
    content = stored.encode("utf-8", "surrogateescape")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
