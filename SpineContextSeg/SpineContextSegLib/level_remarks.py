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


def remarks_on_renaming(before: Sequence[int], after: Sequence[int], sequence: Sequence[int]) -> list[str]:
    """One sentence for each thing that "this is" changed all others by, and that may have been right before.

    A gap that it closed, where a vertebra just wasn't found; levels that it turned round, where not they were wrong but
    the place of the scan.

    Args:
        before, after: values of the same vertebrae from top to bottom by their places.
        sequence: as in `remarks_on_levels`, of the column `after`; what it lacks can't have been missed.
    """
    if runs_upward(before) and not runs_upward(after):
        return [
            f"{level_name(before[0])} was on top and {level_name(before[-1])} lowest, and all levels are turned round "
            "now: where head and feet are exchanged in the scan, take this back and put its orientation right instead."
        ]
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


def runs_upward(order: Sequence[int]) -> bool:
    """Whether vertebrae that stand from top to bottom, three or more, are called from the lowest to the topmost."""
    ranks = [LEVEL_ORDER.index(value) for value in order]
    return len(ranks) > 2 and ranks == sorted(ranks, reverse=True)


def _missing(upper: int, lower: int, order: Sequence[int], sequence: Sequence[int]) -> list[str]:
    place, next_place = LEVEL_ORDER.index(upper), LEVEL_ORDER.index(lower)
    return [level_name(v) for v in sequence if place < LEVEL_ORDER.index(v) < next_place and v not in order]
