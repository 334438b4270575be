"""What the numbers in a file of labels stand for: VerSe's as they are, TotalSegmentator's made into VerSe's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np

from .errors import InputRefused
from .labels import (
    BINARY_SPINE,
    IGNORED,
    STRUCTURES,
    TOTALSEGMENTATOR_S1,
    TOTALSEGMENTATOR_SACRUM,
    TOTALSEGMENTATOR_TO_VERSE,
    TOTALSEGMENTATOR_VALUES,
)

Numbering = Literal["verse", "totalsegmentator"]
"""Of TotalSegmentator the class map "total" of version 2."""

CONVERT = (
    "write it in VerSe's with 'spinecontextseg levels FILE --numbering totalsegmentator -o OUT.nii.gz', or say which "
    "numbering it has where a command takes one (--help)."
)
_VERSE_VALUES = frozenset(STRUCTURES) | BINARY_SPINE
_MOST_LISTED = 8


def voxels_in_verse(array: np.ndarray, numbering: Numbering, name: str) -> tuple[np.ndarray, list[str]]:
    """Labels of other people as uint8 VerSe values (255 = not scored), and notes.

    Raises:
        InputRefused: values that the numbering does not have, or none of a vertebra where it isn't VerSe's; `name`
            stands in the message.
    """
    values = values_of(array)
    if numbering == "verse":
        check_in_verse(values - {IGNORED}, name)
        return array.astype(np.uint8), []
    _refuse(values - TOTALSEGMENTATOR_VALUES - {IGNORED}, name, "TotalSegmentator's")
    if values and not values & set(TOTALSEGMENTATOR_TO_VERSE):
        raise InputRefused(
            f"{name} holds no vertebra in TotalSegmentator's numbering (25 to 50), only {listed_values(values)}: "
            "choose the numbering it was made with."
        )
    table = np.zeros(256, dtype=np.uint8)
    table[list(TOTALSEGMENTATOR_TO_VERSE)] = list(TOTALSEGMENTATOR_TO_VERSE.values())
    table[IGNORED] = IGNORED
    notes = []
    if TOTALSEGMENTATOR_S1 in values and TOTALSEGMENTATOR_SACRUM not in values:
        # To score a whole predicted sacrum against S1 alone, or to learn from it, would punish the right answer.
        table[TOTALSEGMENTATOR_S1] = IGNORED
        notes.append(f"the sacrum is not scored ({IGNORED}), since the labels hold S1 but not the rest of the sacrum.")
    return table[array.astype(np.uint8)], notes


def check_in_verse(values: Collection[int], name: str) -> None:
    """Raises InputRefused: not all of the values are VerSe's, and whose they seem to be; `name` stands in it."""
    foreign = set(values) - _VERSE_VALUES
    if foreign & set(TOTALSEGMENTATOR_TO_VERSE) and TOTALSEGMENTATOR_VALUES.issuperset(values):
        raise InputRefused(
            f"{name} holds {listed_values(foreign)}, which VerSe's numbering does not have, but TotalSegmentator's: "
            f"{CONVERT}"
        )
    _refuse(foreign, name, "VerSe's")


def values_of(array: np.ndarray) -> set[int]:
    """Distinct values other than 0."""
    return set().union(*(np.unique(part[part != 0]).tolist() for part in array))


def listed_values(values: Collection[int]) -> str:
    """The first of them, in order."""
    return ", ".join([*map(str, sorted(values)[:_MOST_LISTED]), *["..."] * (len(values) > _MOST_LISTED)])


def _refuse(foreign: set[int], name: str, whose: str) -> None:
    if foreign:
        raise InputRefused(
            f"{name} holds {listed_values(foreign)}, which {whose} numbering does not have: "
            "check that it is a file of spine labels and which numbering it was made with."
        )
