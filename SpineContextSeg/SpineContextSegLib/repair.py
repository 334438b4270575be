"""Levels put right by hand: which label value becomes which when the column is renamed, and vertebrae joined or cut.

The order of the vertebrae is that of their places, from top to bottom, so that labels that are out of order can be
put right as well. What a rename does is a mapping, old value -> new value, without what stays: for the voxels of a
label map (`apply`) as for the segments of a scene. A disc goes with the vertebra above it. Sacrum, canal, discs of
unknown level and whatever else a file holds are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .column_order import top_to_bottom
from .errors import InputRefused
from .label_boxes import label_boxes
from .labels import DISC_LEVEL_UNKNOWN, DISC_OFFSET, LEVEL_ORDER, SACRUM, VERTEBRAE, level_name
from .volume import Volume

THORACIC_COUNTS = (11, 12, 13)
LUMBAR_COUNTS = (4, 5, 6)
_CERVICAL = LEVEL_ORDER[:7]
_THORACIC = LEVEL_ORDER[7:20]
_LUMBAR = LEVEL_ORDER[20:26]
_T13, _L6 = _THORACIC[-1], _LUMBAR[-1]


def level_sequence(thoracic: int = 12, lumbar: int = 5) -> tuple[int, ...]:
    """The levels of a whole column from top to bottom, C1 first, without the sacrum.

    Raises:
        InputRefused: other numbers of vertebrae than `THORACIC_COUNTS` and `LUMBAR_COUNTS`.
    """
    for region, count, counts in (("thoracic", thoracic, THORACIC_COUNTS), ("lumbar", lumbar, LUMBAR_COUNTS)):
        if count not in counts:
            possible = f"{', '.join(map(str, counts[:-1]))} or {counts[-1]}"
            raise InputRefused(f"A column has {possible} {region} vertebrae, not {count}.")
    return _CERVICAL + _THORACIC[:thoracic] + _LUMBAR[:lumbar]


def counts_of(values: Iterable[int]) -> tuple[int, int]:
    """Thoracic and lumbar vertebrae of the column that a labelled scan already has, given the values in it.

    They are 13 and 6 where T13 and L6 (or the discs below them) are among `values`, else 12 and 5: a level that is
    missing may just have been missed.
    """
    values = set(values)
    has_t13, has_l6 = (bool(values & {level, DISC_OFFSET + level}) for level in (_T13, _L6))
    return 13 if has_t13 else 12, 6 if has_l6 else 5


def sequence_of(values: Iterable[int]) -> tuple[int, ...]:
    """The levels, top to bottom, of the column that a labelled scan already has (`counts_of`)."""
    return level_sequence(*counts_of(values))


def without_merged(part: int, sequence: Sequence[int]) -> tuple[int, ...]:
    """The levels of a column after `part` became part of another: whoever merges T13 or L6 says that there is none."""
    return tuple(value for value in sequence if value != part or part not in (_T13, _L6))


def require(order: Sequence[int], *chosen: int) -> None:
    """Tells whether all of the `chosen` vertebrae are there.

    Raises:
        InputRefused: one is not in `order`, or `order` holds a level twice.
    """
    for value in order:
        if order.count(value) > 1:
            raise InputRefused(f"{level_name(value)} is there twice: give one of the two another level first.")
    for value in chosen:
        if value not in order:
            there = ", ".join(map(level_name, order)) or "no vertebra"
            raise InputRefused(f"{level_name(value)} is not there: choose one that is ({there}).")


def require_neighbors(order: Sequence[int], one: int, other: int) -> None:
    """Tells whether two of `order`, from top to bottom, lie one above the other.

    Raises:
        InputRefused: there is another one between them.
    """
    first, last = sorted((order.index(one), order.index(other)))
    between = order[first + 1 : last]
    if between:
        listed = " to ".join(dict.fromkeys((level_name(between[0]), level_name(between[-1]))))
        verb = "lies" if len(between) == 1 else "lie"
        raise InputRefused(
            f"{level_name(one)} and {level_name(other)} can't be merged, as {listed} {verb} between them: choose two "
            "neighbors."
        )


def renamed(order: Sequence[int], which: int, level: int, sequence: Sequence[int]) -> dict[int, int]:
    """The vertebra `which` becomes `level`; those above and below it follow in `sequence`, without gaps.

    Args:
        order: values of all vertebrae that are there, from top to bottom by their places.
        sequence: the levels of a whole column, see `level_sequence`.

    Returns:
        Old value -> new value of everything that changes, vertebrae and discs.

    Raises:
        InputRefused: `which` is not there, `level` is none of `sequence`, or `sequence` ends before the column does.
    """
    require(order, which)
    place = _place_of(level, sequence)
    above = order.index(which)
    below = len(order) - 1 - above
    for side, misfits in (("above", above > place), ("below", below > len(sequence) - 1 - place)):
        if misfits:
            raise InputRefused(
                f"{level_name(which)} can't be {level_name(level)}, as no level would be left for some vertebrae "
                f"{side} it in a column of {_described(sequence)}: choose another level or change these numbers."
            )
    return with_discs({value: sequence[place - above + n] for n, value in enumerate(order)}, sequence)


def shifted(order: Sequence[int], steps: int, sequence: Sequence[int]) -> dict[int, int]:
    """All vertebrae move `steps` levels down `sequence` (negative: up); a gap in the levels stays a gap.

    Args and Returns as `renamed`.

    Raises:
        InputRefused: a level of `order` is none of `sequence`, or one would move beyond its end.
    """
    require(order)
    refused = f"The levels can't move {abs(steps)} {'up' if steps < 0 else 'down'}"
    return with_discs(_moved(order, steps, sequence, refused), sequence)


def swapped(one: int, other: int) -> dict[int, int]:
    """The vertebrae `one` and `other` exchange their levels, and with them the discs below them.

    Raises:
        InputRefused: they are the same, or one is no vertebra.
    """
    if one == other or not {one, other} <= VERTEBRAE:
        raise InputRefused(
            f"{level_name(one)} and {level_name(other)} can't be swapped: choose two different vertebrae."
        )
    return {one: other, other: one, DISC_OFFSET + one: DISC_OFFSET + other, DISC_OFFSET + other: DISC_OFFSET + one}


def merging(values: Iterable[int], into: int) -> dict[int, int]:
    """The vertebrae `values` become part of `into`, a vertebra or the sacrum; the other levels stay.

    Discs become that of `into`, also one between the parts: whether it is bone can't be told here. Below the sacrum
    there is none, so that its level is unknown then.

    Raises:
        InputRefused: nothing to merge, or something that is no vertebra.
    """
    parts = set(values) - {into}
    if not parts:
        raise InputRefused(f"{level_name(into)} can't be merged with itself: choose two different vertebrae.")
    if not parts <= VERTEBRAE or into not in VERTEBRAE | {SACRUM}:
        names = " and ".join(map(level_name, sorted(parts)))
        raise InputRefused(
            f"{names} can't become part of {level_name(into)}: only a vertebra can, of another one or of the sacrum."
        )
    disc = DISC_LEVEL_UNKNOWN if into == SACRUM else DISC_OFFSET + into
    return {value: into for value in parts} | {DISC_OFFSET + value: disc for value in parts}


def apply(labels: np.ndarray, mapping: Mapping[int, int]) -> np.ndarray:
    """A new array in which every voxel of an old value has its new one.

    Args:
        labels: whole numbers from 0 on, (k, j, i).
        mapping: old value -> new value, of the table of labels; values that are not in it stay.

    Returns:
        Of the same type, or of a larger one where that can't hold every value of the table (int8).
    """
    largest = int(labels.max(initial=0))
    table = np.arange(largest + 1).astype(np.result_type(labels.dtype, np.uint8))
    for old, new in mapping.items():
        if old <= largest:
            table[old] = new
    result = np.empty(labels.shape, table.dtype)
    # Plane by plane, as numpy makes eight bytes of every voxel that is an index.
    for k, plane in enumerate(labels):
        result[k] = table[plane]
    return result


def order_of(labels: Volume) -> list[int]:
    """Values of the vertebrae in `labels`, from top to bottom by the heights (S, mm) of their centers of mass; see
    `column_order` for those that a scan cuts."""
    return list(_centers_mm(labels))


def split(
    labels: Volume,
    which: int,
    point_mm: Sequence[float],
    normal_mm: Sequence[float] | None = None,
    sequence: Sequence[int] | None = None,
) -> Volume:
    """Cuts the vertebra `which` in two at a plane.

    The part above keeps its value, the part below takes the next level. If another vertebra has that one, it moves on
    by one, and so do those below it up to the first level that is free. Where the column ends before that, as in a scan
    that was named from the sacrum, the part below keeps its value, the part above takes the level before it, and those
    above make room in the same way. The disc goes with the part above it.

    Args:
        point_mm: a point of the plane, (R, A, S).
        normal_mm: across the plane, (R, A, S), either way and of any length; None for the direction of the column
            between the centers of the vertebrae above and below (S where there is but one vertebra).
        sequence: the levels of a whole column; None for that of the scan, see `sequence_of`.

    Raises:
        InputRefused: `which` is not there, one side of the plane is empty, or no level is left.
    """
    centers = _centers_mm(labels)
    order = list(centers)
    require(order, which)
    upward = _upward(centers, which)
    normal = upward if normal_mm is None else np.asarray(normal_mm, dtype=np.float64)
    if not (np.isfinite(normal).all() and normal.any() and np.isfinite(point_mm).all()):
        raise InputRefused("The plane to split at needs a point and a direction: give numbers in mm.")
    if normal @ upward < 0:
        normal = -normal
    renames, lower_level = _room(order, which, sequence_of(order) if sequence is None else sequence)
    result = apply(labels.array, renames)

    def height(voxels: tuple[np.ndarray, ...]) -> np.ndarray:
        """Signed distance from the plane, of any unit, of voxels given as indices (k, j, i)."""
        return (labels.grid.world(np.stack(voxels[::-1], axis=-1)) - np.asarray(point_mm)) @ normal

    bone = _voxels(labels.array == which)
    bone_height = height(bone)
    lower = bone_height < 0
    if lower.all() or not lower.any():
        raise InputRefused(
            f"The plane doesn't cut {level_name(which)}: put it through the middle of what is to be split."
        )
    result[tuple(index[lower] for index in bone)] = lower_level
    # A disc of which a part lies between the two, as where it wasn't seen that they are two, is of both.
    disc = _voxels(labels.array == DISC_OFFSET + which)
    under = height(disc) < bone_height[lower].mean()
    result[tuple(index[under] for index in disc)] = DISC_OFFSET + lower_level
    return Volume(result, labels.affine)


class _NoLevelLeft(InputRefused):
    """The column ends before all vertebrae have moved."""


def _room(order: list[int], which: int, sequence: Sequence[int]) -> tuple[dict[int, int], int]:
    """What has to be renamed so that `which`, then that of its upper part, and its lower part have a level each; and
    the level of the lower part."""
    below, above = order[order.index(which) + 1 :], order[: order.index(which)]
    try:
        renames, level = _made_free(order, which, 1, below, sequence)
        return with_discs(renames, sequence), level
    except _NoLevelLeft:
        pass
    try:
        renames, level = _made_free(order, which, -1, above, sequence)
    except _NoLevelLeft as error:
        raise InputRefused(
            f"{level_name(which)} can't be split, as no level would be left for {level_name(order[0])} above nor for "
            f"{level_name(order[-1])} below in a column of {_described(sequence)}: change these numbers first."
        ) from error
    return with_discs(renames | {which: level}, sequence), which


def _made_free(
    order: list[int], which: int, step: int, beyond: list[int], sequence: Sequence[int]
) -> tuple[dict[int, int], int]:
    """Old value -> new value of all in `order`, so that the level one `step` from `which` is free, and that level.

    Where it isn't free yet, those that lie `beyond`, on that side of `which`, move by one `step`, up to a free level.
    """
    refused = f"{level_name(which)} can't be split"
    level = _moved([which], step, sequence, refused)[which]
    renames = {value: value for value in order}
    if level in order:
        for value in beyond:
            _place_of(value, sequence)
    taken = level
    while taken in order:
        if taken not in beyond:
            raise InputRefused(
                f"{refused}, as the levels are out of order from top to bottom: put them in order first."
            )
        renames |= _moved([taken], step, sequence, refused)
        taken = renames[taken]
    return renames, level


def _moved(order: Sequence[int], steps: int, sequence: Sequence[int], refused: str) -> dict[int, int]:
    """Old value -> new value of every vertebra, `steps` further down; `refused` says what can't be done then."""
    moved = {}
    for value in order:
        place = _place_of(value, sequence) + steps
        if not 0 <= place < len(sequence):
            raise _NoLevelLeft(
                f"{refused}, as no level would be left for {level_name(value)} in a column of {_described(sequence)}: "
                "change these numbers first."
            )
        moved[value] = sequence[place]
    return moved


def with_discs(vertebrae: Mapping[int, int], sequence: Sequence[int]) -> dict[int, int]:
    """What changes in `vertebrae` (old value -> new value of all that are there), and the discs that go with them.

    A disc whose vertebra is not there, as one at the upper border of a scan, moves with the vertebra below it, or else
    with the lowest one; its level is unknown where the column ends before.
    """
    mapping = dict(vertebrae)
    mapping |= {DISC_OFFSET + old: DISC_OFFSET + new for old, new in vertebrae.items()}
    rank = LEVEL_ORDER.index
    there = sorted(vertebrae, key=rank)
    for level in VERTEBRAE - set(there) if there else ():
        below = [value for value in there if rank(value) > rank(level)]
        neighbor = below[0] if below else there[-1]
        if vertebrae[neighbor] == neighbor:
            continue
        steps = levels_above(level, sequence) - levels_above(neighbor, sequence)
        steps = min(steps, -1) if below else max(steps, 1)
        place = levels_above(vertebrae[neighbor], sequence) + steps
        known = 0 <= place < len(sequence)
        mapping[DISC_OFFSET + level] = DISC_OFFSET + sequence[place] if known else DISC_LEVEL_UNKNOWN
    return {old: new for old, new in mapping.items() if old != new}


def levels_above(level: int, sequence: Sequence[int]) -> int:
    """How many levels of `sequence` lie above `level`, which may be none of them."""
    return sum(LEVEL_ORDER.index(other) < LEVEL_ORDER.index(level) for other in sequence)


def _place_of(level: int, sequence: Sequence[int]) -> int:
    if level not in sequence:
        raise InputRefused(
            f"{level_name(level)} is no level of a column of {_described(sequence)}: choose another level or change "
            "these numbers."
        )
    return sequence.index(level)


def _centers_mm(labels: Volume) -> dict[int, np.ndarray]:
    """Value -> center of mass (R, A, S) in mm of every vertebra, from top to bottom."""
    top = max(VERTEBRAE) + 1
    voxels, sums = np.zeros(top), np.zeros((3, top))
    for k, plane in enumerate(labels.array):
        j, i = _voxels(plane != 0)
        values = plane[j, i]
        spine = values < top
        j, i, values = j[spine], i[spine], values[spine].astype(np.intp)
        count = np.bincount(values, minlength=top)
        voxels += count
        sums += [np.bincount(values, i, top), np.bincount(values, j, top), k * count]
    present = [value for value in LEVEL_ORDER if value in VERTEBRAE and voxels[value]]
    centers = {value: labels.grid.world(sums[:, value] / voxels[value]) for value in present}
    order = top_to_bottom(centers, label_boxes(labels.array, VERTEBRAE), labels.grid)
    return {value: centers[value] for value in order}


def _voxels(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """As `np.nonzero(mask)`, which takes many times longer where there are several axes."""
    return np.unravel_index(np.flatnonzero(mask), mask.shape)


def _upward(centers: Mapping[int, np.ndarray], which: int) -> np.ndarray:
    """The direction of the column at the vertebra `which`, (R, A, S), of any length."""
    places = list(centers.values())
    own = list(centers).index(which)
    upward = places[max(own - 1, 0)] - places[min(own + 1, len(places) - 1)]
    # What is left of an upper one may be lower.
    return upward if upward[2] > 0 else np.array([0.0, 0.0, 1.0])


def _described(sequence: Sequence[int]) -> str:
    thoracic, lumbar = (len(set(sequence) & set(region)) for region in (_THORACIC, _LUMBAR))
    return f"{thoracic} thoracic and {lumbar} lumbar vertebrae"
