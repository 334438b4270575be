"""What is odd about the levels of a column, in words, for whoever has just put them right."""

from __future__ import annotations

from collections.abc import Sequence

from .labels import LEVEL_ORDER, level_name
from .repair import sequence_of


def remarks_on_levels(order: Sequence[int], sequence: Sequence[int]) -> list[str]:
    """One sentence for each place where the levels are out of order, or some are missing.

    Args:
        order: values of the vertebrae and of the sacrum, where that is there, from top to bottom by their places.
        sequence: the levels of a whole column, see `repair.level_sequence`.
    """
    remarks = []
    for upper, lower in zip(order, order[1:]):
        missing = _missing(upper, lower, order, sequence)
        if LEVEL_ORDER.index(lower) < LEVEL_ORDER.index(upper):
            remarks.append(f"{level_name(upper)} lies above {level_name(lower)}: the levels are out of order.")
        elif missing:
            those = f"{missing[0]} is" if len(missing) == 1 else f"{missing[0]} to {missing[-1]} are"
            remarks.append(f"{those} missing between {level_name(upper)} and {level_name(lower)}.")
    return remarks


def remarks_on_closed_gaps(before: Sequence[int], after: Sequence[int], sequence: Sequence[int]) -> list[str]:
    """One sentence for each place where levels were missing and no longer are: all beyond it moved on, which is wrong
    where a vertebra just wasn't found.

    Args:
        before, after: values of the same vertebrae from top to bottom by their places.
        sequence: as in `remarks_on_levels`, of the column `after`; what it lacks can't have been missed.
    """
    remarks, sequence = [], [value for value in sequence_of(before) if value in sequence]
    for old, new in zip(zip(before, before[1:]), zip(after, after[1:])):
        missing = _missing(*old, before, sequence)
        if missing and not _missing(*new, after, sequence):
            those = f"{missing[0]} was" if len(missing) == 1 else f"{missing[0]} to {missing[-1]} were"
            remarks.append(
                f"{those} missing between {level_name(old[0])} and {level_name(old[1])}, and that gap is closed now: "
                "where one wasn't found there, take this back and move all levels up or down instead."
            )
    return remarks


def _missing(upper: int, lower: int, order: Sequence[int], sequence: Sequence[int]) -> list[str]:
    place, next_place = LEVEL_ORDER.index(upper), LEVEL_ORDER.index(lower)
    return [level_name(v) for v in sequence if place < LEVEL_ORDER.index(v) < next_place and v not in order]
