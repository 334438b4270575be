"""Levels that a segmentation has already, for a run that adds to it and would name the same vertebrae otherwise."""

from __future__ import annotations

import numpy as np

from .labels import DISC_LEVEL_UNKNOWN, DISC_OFFSET, LEVEL_ORDER, VERTEBRAE
from .repair import levels_above, sequence_of, with_discs
from .volume import count_labels

_TOP = max(VERTEBRAE) + 1
# Of the smaller of two vertebrae, in common with the other: less may be a neighbor.
_SAME = 0.5


def known_levels(found: np.ndarray, known: np.ndarray) -> dict[int, int]:
    """The levels of a run as those of the same vertebrae in a segmentation that is there, and of their discs.

    A vertebra is the one with which it has most voxels in common, if that is clear. The others follow the nearest one
    that is known, as far away as the run says, unless another vertebra has that level; then they keep their own, where
    nothing else has that. Neither may be out of order. Where nothing is left they become part of the vertebra beside
    them, to be split from it by hand, and their disc is one of unknown level.

    Args:
        found, known: label values (k, j, i) on one grid, vertebrae told apart in both.

    Returns:
        Value in `found` -> known value of everything that is called otherwise; empty where no vertebra is known.
    """
    same = _same_vertebrae(found, known)
    if not same:
        return {}
    there = [value for value in LEVEL_ORDER if value in VERTEBRAE & count_labels(found).keys()]
    known_there = VERTEBRAE & count_labels(known).keys()
    # What the run has found beside them may be a T13 or an L6.
    sequence = sequence_of(known_there | set(there) - set(same))
    levels, nameless = dict(same), []
    for value in sorted(set(there) - set(same), key=lambda v: min(_distance(there, v, other) for other in same)):
        neighbor = min(same, key=lambda other: _distance(there, value, other))
        steps = levels_above(value, sequence) - levels_above(neighbor, sequence)
        below = LEVEL_ORDER.index(value) > LEVEL_ORDER.index(neighbor)
        place = levels_above(same[neighbor], sequence) + (max(steps, 1) if below else min(steps, -1))
        free = set(_between_neighbors(value, there, levels)) - set(levels.values())
        if 0 <= place < len(sequence) and sequence[place] in free:
            levels[value] = sequence[place]
        elif value in free - known_there:
            levels[value] = value
        else:
            # That one is nearer to the known vertebra, and so has its level by now.
            levels[value] = levels[there[there.index(value) + (-1 if below else 1)]]
            nameless.append(value)
    mapping = with_discs(levels, sequence)
    return mapping | {DISC_OFFSET + value: DISC_LEVEL_UNKNOWN for value in nameless}


def _same_vertebrae(found: np.ndarray, known: np.ndarray) -> dict[int, int]:
    """Value in `found` -> value in `known` of vertebrae that are clearly the same."""
    common = np.zeros(_TOP**2, np.int64)
    # Plane by plane and without the background, as numpy makes eight bytes of every voxel that is counted.
    for plane, known_plane in zip(found, known):
        both = (plane != 0) & (plane < _TOP) & (known_plane != 0) & (known_plane < _TOP)
        common += np.bincount(plane[both].astype(np.intp) * _TOP + known_plane[both], minlength=_TOP**2)
    common = common.reshape(_TOP, _TOP)
    sizes, known_sizes = count_labels(found), count_labels(known)
    same = {}
    for value in VERTEBRAE & sizes.keys():
        best = max(VERTEBRAE, key=lambda other: common[value, other])
        if common[value, best] > _SAME * min(sizes[value], known_sizes.get(best, 0)):
            same[value] = best
    return same


def _between_neighbors(value: int, there: list[int], levels: dict[int, int]) -> tuple[int, ...]:
    """The levels between those of the next vertebrae above and below that have one, `there` from top to bottom."""
    place = there.index(value)
    above = [LEVEL_ORDER.index(levels[other]) for other in there[:place] if other in levels]
    below = [LEVEL_ORDER.index(levels[other]) for other in there[place + 1 :] if other in levels]
    return LEVEL_ORDER[above[-1] + 1 if above else 0 : below[0] if below else None]


def _distance(order: list[int], one: int, other: int) -> int:
    return abs(order.index(one) - order.index(other))
