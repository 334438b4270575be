"""Levels put right by voxels, on grids of every kind: the order of a column, and vertebrae that are split."""

import time
import tracemalloc

import numpy as np
import pytest

from SpineContextSegLib.labels import CANAL, LEVEL_ORDER, SACRUM, VERTEBRAE
from SpineContextSegLib.repair import apply, level_sequence, merging, order_of, renamed, shifted, split
from SpineContextSegLib.volume import Grid, Volume
from Testing.geometry import GRIDS, rotation, world_positions
from Testing.level_values import C1, C7, L1, L2, L3, L4, L5, L6, T11, T12, T13
from Testing.repair_use import USUAL, refusal

AXIS = rotation(14, 0) @ rotation(-8, 1) @ [0.0, 0.0, 1.0]


def column(grid: Grid, levels, *, discs=True) -> Volume:
    """A leaning rod of `levels` from top to bottom in the middle of the grid, discs between, a canal behind."""
    half_mm = 0.38 * min(grid.extent_mm)
    away = world_positions(grid) - grid.world((np.array(grid.shape[::-1]) - 1) / 2)
    along = away @ AXIS
    aside = np.linalg.norm(away - along[..., None] * AXIS, axis=-1)
    place = (half_mm - along) / (2 * half_mm) * len(levels)
    inside = (place >= 0) & (place < len(levels))
    number = np.clip(place.astype(int), 0, len(levels) - 1)
    values = np.array(levels)[number]
    is_disc = (place - number > 0.75) & np.isin(values, list(VERTEBRAE))
    array = np.where(is_disc, values + 100 if discs else 0, values)
    array = np.where(inside & (aside < 0.4 * half_mm), array, 0)
    array[inside & (aside > 0.5 * half_mm) & (aside < 0.6 * half_mm)] = CANAL
    return Volume(array.astype(np.uint8), grid.affine)


def middle_mm(labels: Volume, value: int) -> np.ndarray:
    return labels.grid.world(np.argwhere(labels.array == value)[:, ::-1]).mean(0)


# ---------------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("name", GRIDS)
def test_order_is_by_place_on_any_grid(name):
    grid = GRIDS[name]
    for order in ([T12, L1, L2], [T12, T13, L1], [L2, L1, T12], [L5, L6, C1], [C7]):
        assert order_of(column(grid, [*order, SACRUM])) == order
    assert order_of(column(grid, [SACRUM])) == []
    assert order_of(Volume(np.zeros(grid.shape, np.uint8), grid.affine)) == []


def test_order_ignores_what_is_no_vertebra():
    array = np.zeros((9, 4, 4), np.int32)
    for k, value in enumerate((255, 300, 61, 200, 27, 26, L2, 120, L1)):
        array[k] = value
    assert order_of(Volume(array, np.eye(4))) == [L1, L2]


# ---------------------------------------------------------------------------------------------------- split


@pytest.mark.parametrize("name", GRIDS)
def test_what_was_merged_is_split_again(name):
    truth = column(GRIDS[name], [T12, L1, L2, SACRUM])
    one = Volume(apply(truth.array, {L1: T12, 119: T12, 120: 119}), truth.affine)
    cut = middle_mm(truth, 119)
    for normal in (AXIS, -3 * AXIS):
        parts = split(one, T12, cut, normal)
        assert order_of(parts) == [T12, L1, L2]
        for value in (T12, L1):
            assert (parts.array == value)[truth.array == value].all()
        # The disc goes with the part above it, and all else stays.
        for value in (120, L2, 121, SACRUM, CANAL, 0):
            np.testing.assert_array_equal(parts.array == value, truth.array == value)
        assert parts.grid.same_as(truth.grid)


@pytest.mark.parametrize("name", [name for name, grid in GRIDS.items() if max(grid.spacing_mm) <= 3])
@pytest.mark.parametrize("double", [T12, L1, L3], ids=["first", "middle", "last"])
def test_the_plane_follows_the_column(name, double):
    """Without a normal, across a column that leans by 16 degrees."""
    levels = [T12, L1, L2, L3]
    truth = column(GRIDS[name], np.repeat(levels, [1 + (v == double) for v in levels]), discs=False)
    where = truth.grid.world(np.argwhere(truth.array == double)[:, ::-1])
    parts = split(truth, double, where.mean(0), sequence=level_sequence(12, 6))
    upper = parts.array == double
    lower = (truth.array == double) & ~upper
    assert 0.8 < np.count_nonzero(upper) / np.count_nonzero(lower) < 1.25
    across = middle_mm(Volume(upper, truth.affine), True) - middle_mm(Volume(lower, truth.affine), True)
    assert across @ AXIS / np.linalg.norm(across) > np.cos(np.radians(8))


@pytest.mark.parametrize("name", ["lps", "sagittal_thick", "oblique", "sheared"])
def test_levels_below_make_room(name):
    truth = column(GRIDS[name], [T12, L1, L2, SACRUM])
    merged_first = Volume(apply(truth.array, {L1: T12, 119: T12, L2: L1, 120: 119, 121: 120}), truth.affine)
    parts = split(merged_first, T12, middle_mm(truth, 119))
    # L1 becomes L2 with its disc; the canal and the sacrum stay.
    assert order_of(parts) == [T12, L1, L2]
    for value in (L2, 120, 121, SACRUM, CANAL):
        np.testing.assert_array_equal(parts.array == value, truth.array == value)


def test_a_free_level_is_taken_and_the_rest_stays():
    truth = column(GRIDS["lps"], [T12, L1, L2, L3, L4])
    for missing, double in ((L1, T12), (L3, L2)):
        one = Volume(apply(truth.array, merging([missing], double)), truth.affine)
        parts = split(one, double, middle_mm(truth, 100 + double), AXIS)
        np.testing.assert_array_equal(parts.array, truth.array)


def test_a_gap_ends_what_moves():
    column_with_gap = column(GRIDS["lps"], [T12, L1, L1, L2, L4, L5], discs=False)
    parts = split(column_with_gap, L1, middle_mm(column_with_gap, L1), AXIS)
    assert order_of(parts) == [T12, L1, L2, L3, L4, L5]
    for value in (T12, L4, L5, CANAL):
        np.testing.assert_array_equal(parts.array == value, column_with_gap.array == value)
    np.testing.assert_array_equal(parts.array == L3, column_with_gap.array == L2)


def test_a_disc_between_the_parts_stays_between_them():
    truth = column(GRIDS["upright"], [T12, L1, L2])
    one = Volume(apply(truth.array, merging([L1], T12)), truth.affine)
    assert not (one.array == 120).any()
    parts = split(one, T12, middle_mm(truth, 119))
    np.testing.assert_array_equal(parts.array, truth.array)


def test_a_single_vertebra_is_cut_level():
    labels = column(GRIDS["oblique"], [L5], discs=False)
    parts = split(labels, L5, middle_mm(labels, L5), sequence=level_sequence(12, 6))
    heights = world_positions(labels.grid)[..., 2]
    assert heights[parts.array == L5].min() > heights[parts.array == L6].max()
    assert order_of(parts) == [L5, L6]


def test_the_scans_own_column_sets_the_end():
    labels = column(GRIDS["lps"], [L4, L5, SACRUM])
    parts = split(labels, L4, middle_mm(labels, L4), sequence=level_sequence(12, 6))
    assert order_of(parts) == [L4, L5, L6]
    with_l6 = column(GRIDS["lps"], [L3, L4, L6])
    assert order_of(split(with_l6, L4, middle_mm(with_l6, L4))) == [L3, L4, L5, L6]
    with_t13 = column(GRIDS["lps"], [T12, T13, L2])
    assert order_of(split(with_t13, T13, middle_mm(with_t13, T13))) == [T12, T13, L1, L2]
    no_t12 = column(GRIDS["lps"], [T11, L1, L2])
    eleven = split(no_t12, T11, middle_mm(no_t12, T11), sequence=level_sequence(11, 5))
    assert order_of(eleven) == [T11, L1, L2, L3]


@pytest.mark.parametrize("name", ["lps", "sagittal_thick", "oblique", "sheared"])
def test_levels_above_make_room_where_those_below_can_not(name):
    """A column that was named from the sacrum after two vertebrae had been merged."""
    truth = column(GRIDS[name], [T12, L1, L2, L3, L4, L5, SACRUM])
    merged_two = apply(truth.array, merging([L3], L2))
    mapping = renamed([T12, L1, L2, L4, L5], L5, L5, USUAL)
    one = Volume(apply(merged_two, mapping), truth.affine)
    assert order_of(one) == [L1, L2, L3, L4, L5]
    parts = split(one, L3, middle_mm(truth, 100 + L2), AXIS)
    assert order_of(parts) == [T12, L1, L2, L3, L4, L5]
    for value in LEVEL_ORDER:
        np.testing.assert_array_equal((parts.array == value)[truth.array == value], True)
    for value in (100 + T12, 100 + L1, 100 + L3, 100 + L4, CANAL, 0):
        np.testing.assert_array_equal(parts.array == value, truth.array == value)


def test_above_as_below_a_free_level_is_taken_and_the_rest_stays():
    truth = column(GRIDS["lps"], [T12, L4, L5])
    parts = split(truth, L4, middle_mm(truth, L4))
    assert order_of(parts) == [T12, L3, L4, L5]
    # The disc above the topmost vertebra goes with the upper part.
    with_disc = Volume(apply(truth.array, {T12: 0}), truth.affine)
    parts = split(with_disc, L4, middle_mm(truth, L4))
    np.testing.assert_array_equal(parts.array == 100 + T11, truth.array == 100 + T12)


def test_a_split_without_room_at_either_end():
    labels = column(GRIDS["upright"], USUAL, discs=False)
    sentence = refusal(lambda: split(labels, L3, middle_mm(labels, L3)))
    assert "L3 can't be split" in sentence and "left for C1 above nor for L5 below" in sentence


def test_splits_that_can_not_be():
    labels = column(GRIDS["lps"], [T12, L1, L2, SACRUM])
    middle = middle_mm(labels, L1)
    before = labels.array.copy()
    assert "L4 is not there" in refusal(lambda: split(labels, L4, middle))
    assert "Sacrum is not there" in refusal(lambda: split(labels, SACRUM, middle))
    assert "doesn't cut L1" in refusal(lambda: split(labels, L1, middle_mm(labels, L2)))
    assert "doesn't cut L1" in refusal(lambda: split(labels, L1, middle_mm(labels, T12)))
    assert "direction" in refusal(lambda: split(labels, L1, middle, (0, 0, 0)))
    assert "direction" in refusal(lambda: split(labels, L1, (np.nan, 0, 0)))
    assert "direction" in refusal(lambda: split(labels, L1, middle, (0, np.inf, 1)))
    assert "T13 is no level" in refusal(
        lambda: split(column(GRIDS["lps"], [T12, T13, L1]), T12, (0, 0, 0), sequence=USUAL)
    )
    for order in ([L2, L1, L3], [L3, L1, L2]):
        mixed = column(GRIDS["lps"], order)
        assert "out of order" in refusal(lambda: split(mixed, L1, middle_mm(mixed, L1)))
    np.testing.assert_array_equal(labels.array, before)


def test_split_takes_any_type_of_numbers():
    labels = column(GRIDS["lps"], [T12], discs=False)
    for kind in (np.int8, np.int16, np.int32):
        same = Volume(labels.array.astype(kind), labels.affine)
        assert order_of(split(same, T12, middle_mm(same, T12), sequence=level_sequence(13, 5))) == [T12, T13]


# ---------------------------------------------------------------------------------------------------- speed


def test_a_whole_body_takes_little_time_and_memory():
    """24 vertebrae in a scan of 384 x 384 x 600; the limit of time is ten times what it takes on a PC."""
    array = np.zeros((600, 384, 384), np.uint8)
    for n, value in enumerate(USUAL[::-1]):
        array[20 + 22 * n : 40 + 22 * n, 150:220, 140:210] = value
    labels = Volume(array, np.diag([0.8, 0.8, 1.0, 1.0]))
    tracemalloc.start()
    start = time.process_time()
    order = order_of(labels)
    result = apply(array, shifted(order, 1, level_sequence(12, 6)))
    parts = split(labels, L5, middle_mm(labels, L5), sequence=level_sequence(12, 6))
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert order == list(USUAL) and order_of(parts)[-1] == L6 and result.max() == L6
    assert seconds < 20
    assert peak < 5 * array.nbytes
