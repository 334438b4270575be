"""What is odd about the levels of a column, in words, for whoever has just put them right."""

from __future__ import annotations

from collections.abc import Sequence

from .labels import LEVEL_ORDER, level_name


def remarks_on_levels(order: Sequence[int], sequence: Sequence[int]) -> list[str]:
    """One sentence for each place where the levels are out of order, or some are missing.

    Args:
        order: values of the vertebrae and of the sacrum, where that is there, from top to bottom by their places.
        sequence: the levels of a whole column, see `repair.level_sequence`.
    """
    remarks = []
    for upper, lower in zip(order, order[1:]):
        place, next_place = LEVEL_ORDER.index(upper), LEVEL_ORDER.index(lower)
        missing = [level_name(v) for v in sequence if place < LEVEL_ORDER.index(v) < next_place and v not in order]
        if next_place < place:
            remarks.append(f"{level_name(upper)} lies above {level_name(lower)}: the levels are out of order.")
        elif missing:
            those = f"{missing[0]} is" if len(missing) == 1 else f"{missing[0]} to {missing[-1]} are"
            remarks.append(f"{those} missing between {level_name(upper)} and {level_name(lower)}.")
    return remarks
