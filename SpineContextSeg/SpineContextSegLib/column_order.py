"""Which vertebra lies above which, by their places in a scan that may show no more than a part of some."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .label_boxes import Box
from .labels import C1, C2, LEVEL_ORDER
from .volume import Grid


def top_to_bottom(middles: Mapping[int, np.ndarray], boxes: Mapping[int, Box], grid: Grid) -> list[int]:
    """The values of vertebrae, ordered by the heights (S) of their middles.

    Where the scan cuts a vertebra, the middle of what is left may be higher or lower than that of a neighbor though the
    whole vertebra isn't: of an axis no more than the dens, which stands in the ring of the atlas, or the tip of a
    spinous process beside the vertebra below. One with a higher middle of which neither end is higher doesn't lie
    above the other: then their levels tell.

    Args:
        middles: value -> (3,) RAS in mm.
        boxes: value -> the smallest slices (k, j, i) of the grid that hold it.
    """
    rank = LEVEL_ORDER.index
    ends = _ends(boxes, grid)
    order = sorted(sorted(middles, key=rank), key=lambda value: -middles[value][2])
    for end in range(len(order), 1, -1):
        for n in range(end - 1):
            upper, lower = order[n : n + 2]
            if rank(upper) > rank(lower) and _is_no_higher(upper, lower, ends):
                order[n : n + 2] = lower, upper
    return order


def _is_no_higher(one: int, other: int, ends: Mapping[int, tuple[int, int]]) -> bool:
    (lowest, highest), (other_lowest, other_highest) = ends[one], ends[other]
    # The tip of the dens may be higher than the ring.
    return lowest <= other_lowest and (highest <= other_highest or {one, other} == {C1, C2})


def _ends(boxes: Mapping[int, Box], grid: Grid) -> dict[int, tuple[int, int]]:
    """Value -> its lowest and its highest plane along the axis of the grid that is the most upright, counted upward:
    scans end at planes."""
    upright = int(np.abs(grid.directions[2]).argmax())
    parts = {value: box[2 - upright] for value, box in boxes.items()}
    if grid.directions[2, upright] > 0:
        return {value: (part.start, part.stop - 1) for value, part in parts.items()}
    return {value: (1 - part.stop, -part.start) for value, part in parts.items()}
