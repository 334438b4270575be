"""Levels put right: by mapping for whole columns of every kind, by voxels on grids of every kind."""

import time
import tracemalloc

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import CANAL, DISC_LEVEL_UNKNOWN, LEVEL_ORDER, SACRUM, VERTEBRAE
from SpineContextSegLib.repair import (
    apply,
    counts_of,
    level_sequence,
    merged,
    merging,
    order_of,
    renamed,
    require,
    require_neighbors,
    sequence_of,
    shifted,
    split,
    swapped,
)
from SpineContextSegLib.volume import Grid, Volume
from Testing.geometry import GRIDS, rotation, world_positions

C1, C7, T1, T2, T11, T12, L1, L2, L3, L4, L5, L6, T13 = 1, 7, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 28
USUAL = level_sequence()
SEQUENCES = [level_sequence(*counts) for counts in ((12, 5), (11, 5), (13, 5), (12, 4), (12, 6), (13, 6), (11, 4))]


def refusal(act) -> str:
    """The one sentence with which `act` is refused."""
    with pytest.raises(InputRefused) as refused:
        act()
    sentence = str(refused.value)
    assert sentence.endswith(".") and ". " not in sentence and not sentence[0].islower()
    return sentence


def after(order, mapping):
    return [mapping.get(value, value) for value in order]


# ------------------------------------------------------------------------------------------------- sequences


@pytest.mark.parametrize("thoracic", [11, 12, 13])
@pytest.mark.parametrize("lumbar", [4, 5, 6])
def test_a_column_has_its_variants(thoracic, lumbar):
    sequence = level_sequence(thoracic, lumbar)
    assert len(sequence) == 7 + thoracic + lumbar
    assert list(sequence) == sorted(sequence, key=LEVEL_ORDER.index)
    assert (T13 in sequence, T12 in sequence, L6 in sequence, L5 in sequence) == (
        thoracic == 13, thoracic >= 12, lumbar == 6, lumbar >= 5,
    )  # fmt: skip
    assert SACRUM not in sequence


@pytest.mark.parametrize("counts", [(10, 5), (14, 5), (0, 5), (12, 3), (12, 7)])
def test_other_columns_are_refused(counts):
    word = "lumbar" if counts[0] == 12 else "thoracic"
    assert word in refusal(lambda: level_sequence(*counts))


def test_the_column_of_a_labelled_scan():
    assert counts_of([]) == counts_of(range(1, 25)) == counts_of([L1, L2]) == (12, 5)
    assert counts_of([T12, T13, L1]) == counts_of(iter([L1, 100 + T13])) == (13, 5)
    assert counts_of([L5, L6, SACRUM]) == (12, 6)
    # A level that is missing may have been missed: the usual column.
    assert sequence_of([T11, L1, L4, SACRUM]) == USUAL
    assert sequence_of([T13, L6]) == level_sequence(13, 6)


# ---------------------------------------------------------------------------------------------- "this is ..."


def test_this_is_l5_renames_the_column():
    mapping = renamed([T11, T12, L1, L2, L3, L4], L4, L5, USUAL)
    assert after([T11, T12, L1, L2, L3, L4], mapping) == [T12, L1, L2, L3, L4, L5]
    assert after([118, 119, 120, 121, 122, 123], mapping) == [119, 120, 121, 122, 123, 124]
    assert not {SACRUM, CANAL, DISC_LEVEL_UNKNOWN, 0, 27} & set(mapping)


def test_only_what_changes_is_in_the_mapping():
    assert renamed([L1, L2, L3], L2, L2, USUAL) == {}
    assert shifted([L1, L2, L3], 0, USUAL) == {}
    assert shifted([], 3, USUAL) == {}


@pytest.mark.parametrize(
    "order, which, level, counts, expected",
    [
        pytest.param([T12, L1, L2, L3, L4, L5], L1, T13, (13, 5), [T12, T13, L1, L2, L3, L4], id="T13"),
        pytest.param([L1, L2, L3, L4, L5], L5, L6, (12, 6), [L2, L3, L4, L5, L6], id="L6"),
        pytest.param([T11, T12, L1, L2], L1, L1, (11, 5), [17, T11, L1, L2], id="T12 is missing"),
        pytest.param([T12, T13, L1, L2], T13, L1, (12, 5), [T12, L1, L2, L3], id="no T13 after all"),
        pytest.param([L3, L4, L5], L5, L4, (12, 4), [L2, L3, L4], id="4 lumbar vertebrae"),
        pytest.param([T12, L2, L1, L3], L3, L3, (12, 5), [T12, L1, L2, L3], id="out of order"),
        pytest.param([L1, L3], L3, L3, (12, 5), [L2, L3], id="gap"),
        pytest.param([L3], L3, C1, (12, 5), [C1], id="one vertebra"),
        pytest.param([5, T2, L1], T2, T2, (12, 5), [T1, T2, 10], id="nonsense"),
    ],
)  # fmt: skip
def test_neighbors_follow_by_place(order, which, level, counts, expected):
    assert after(order, renamed(order, which, level, level_sequence(*counts))) == expected


def test_columns_of_every_kind():
    """Cut at both ends, with variants, in order or not: the result is a run of levels, and discs keep their places."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        old, new = (SEQUENCES[n] for n in rng.integers(len(SEQUENCES), size=2))
        start, end = sorted(rng.choice(len(old) + 1, 2, replace=False))
        order = list(old[start:end])
        if rng.random() < 0.3:
            rng.shuffle(order)
        which, level = int(rng.choice(order)), int(rng.choice(new))
        place = new.index(level) - order.index(which)
        if place < 0 or place + len(order) > len(new):
            assert "can't be" in refusal(lambda: renamed(order, which, level, new))
            continue
        mapping = renamed(order, which, level, new)
        assert after(order, mapping) == list(new[place : place + len(order)])
        assert after([100 + v for v in order], mapping) == [100 + v for v in after(order, mapping)]
        assert set(mapping) <= VERTEBRAE | {100 + v for v in VERTEBRAE}
        if order == list(old[start:end]):
            # Whoever slips gets everything back.
            back = renamed(after(order, mapping), level, which, old)
            assert after(after(order, mapping), back) == order


def test_what_can_not_be_is_refused():
    order = [T12, L1, L2]
    assert "L3 is not there: choose one that is (T12, L1, L2)" in refusal(lambda: renamed(order, L3, L4, USUAL))
    assert "Sacrum is not there" in refusal(lambda: renamed(order, SACRUM, L4, USUAL))
    assert "no vertebra" in refusal(lambda: renamed([], L3, L4, USUAL))
    assert "T13 is no level of a column of 12 thoracic" in refusal(lambda: renamed(order, L1, T13, USUAL))
    assert "Sacrum is no level" in refusal(lambda: renamed(order, L2, SACRUM, USUAL))
    assert "77 is no level" in refusal(lambda: renamed(order, L2, 77, USUAL))
    assert "below it" in refusal(lambda: renamed(order, L1, L5, USUAL))
    assert "above it" in refusal(lambda: renamed(order, L1, C1, USUAL))
    assert "L1 is there twice" in refusal(lambda: renamed([L1, L2, L1], L2, L3, USUAL))
    assert "L1 is there twice" in refusal(lambda: shifted([L1, L1], 1, USUAL))
    require(order, L1, T12)


# --------------------------------------------------------------------------------------------------- shifts


def test_a_shift_moves_everything_and_comes_back():
    for sequence in SEQUENCES:
        order = list(sequence[5:-3])
        for steps in (-5, -1, 1, 3):
            mapping = shifted(order, steps, sequence)
            moved = after(order, mapping)
            assert moved == list(sequence[5 + steps : len(sequence) - 3 + steps])
            assert after(moved, shifted(moved, -steps, sequence)) == order


def test_a_shift_keeps_gaps_and_disorder():
    assert after([T12, L2, L1, L4], shifted([T12, L2, L1, L4], 1, USUAL)) == [L1, L3, L2, L5]
    assert after([T11, L1], shifted([T11, L1], 1, level_sequence(11, 5))) == [L1, L2]


def test_a_shift_ends_where_the_column_ends():
    assert "1 down" in refusal(lambda: shifted([L4, L5], 1, USUAL))
    assert after([L4, L5], shifted([L4, L5], 1, level_sequence(12, 6))) == [L5, L6]
    assert "2 up" in refusal(lambda: shifted([2, 3], -2, USUAL))
    assert "T13 is no level" in refusal(lambda: shifted([T12, T13, L1], 1, USUAL))


def test_discs_of_vertebrae_that_are_not_there():
    """The upper border of a scan may show the disc below a vertebra that it doesn't show."""
    assert shifted([L1, L2], 1, USUAL)[100 + T12] == 100 + L1
    assert shifted([L1, L2], -1, USUAL)[100 + T12] == 100 + T11
    assert renamed([L1, L2], L1, L3, USUAL)[100 + T12] == 100 + L2
    # There it was T13, here it is none.
    assert renamed([L1, L2], L1, L2, USUAL)[100 + T13] == 100 + L1
    # Above C1 and below the last level there is no disc to be named.
    assert renamed([L1, L2], L1, C1, USUAL)[100 + T12] == DISC_LEVEL_UNKNOWN
    assert shifted([L2], 3, USUAL)[100 + L3] == DISC_LEVEL_UNKNOWN
    # Of a vertebra that was erased by hand.
    assert shifted([L1, L3], 1, USUAL)[100 + L2] == 100 + L3
    assert shifted([L1, L2], 1, USUAL)[100 + L3] == 100 + L4
    # No two discs fall together, whatever is shifted where there is room.
    mapping = shifted([T12, L1, L2], -2, USUAL)
    discs = [100 + v for v in USUAL[2:]]
    assert len(set(after(discs, mapping))) == len(discs)


# ---------------------------------------------------------------------------------------- swap, merge, apply


def test_swapping_takes_the_discs_along():
    mapping = swapped(L1, L2)
    assert after([L1, L2, L3, 120, 121, 122, SACRUM], mapping) == [L2, L1, L3, 121, 120, 122, SACRUM]
    for one, other in ((L1, L1), (L1, SACRUM), (0, L1), (L1, 120)):
        assert "can't be swapped" in refusal(lambda: swapped(one, other))


def test_merging_leaves_discs_discs():
    labels = np.array([[[L1, 120, L2, 121, L3, SACRUM, CANAL]]], np.uint8)
    assert merged(labels, [L1, L2], L1).tolist() == [[[L1, 120, L1, 120, L3, SACRUM, CANAL]]]
    assert merged(labels, [L2], L1).tolist() == merged(labels, (L1, L2), L1).tolist()
    assert merged(labels, [L1, L2], L2).tolist() == [[[L2, 121, L2, 121, L3, SACRUM, CANAL]]]
    assert merged(labels, [L1, L2, L3], L2).tolist() == [[[L2, 121, L2, 121, L2, SACRUM, CANAL]]]
    assert labels[0, 0, 0] == L1
    # A piece of the sacrum that was taken for a vertebra.
    assert merging([L6], SACRUM) == {L6: SACRUM, 100 + L6: DISC_LEVEL_UNKNOWN}
    for values, into in (([L1], L1), ([], L1), ([SACRUM, L5], L5), ([L1], CANAL), ([CANAL], L1)):
        assert "merged" in (sentence := refusal(lambda: merging(values, into))) or "become part" in sentence


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_apply_is_one_pass_and_a_copy(kind):
    labels = np.array([[[0, 20, 21], [26, 61, 127]]], kind)
    before = labels.copy()
    result = apply(labels, {20: 21, 21: 22, 120: 200, 24: 25})
    assert result.dtype == kind and result.tolist() == [[[0, 21, 22], [26, 61, 127]]]
    np.testing.assert_array_equal(labels, before)
    assert not np.shares_memory(apply(labels, {}), labels)


def test_apply_takes_odd_arrays():
    assert apply(np.zeros((0, 3, 3), np.uint8), {20: 21}).shape == (0, 3, 3)
    assert apply(np.zeros((2, 3, 4), np.uint8), {20: 21}).tolist() == np.zeros((2, 3, 4)).tolist()
    small = np.full((1, 1, 1), 119, np.int8)
    assert apply(small, {119: 128}).tolist() == [[[128]]]
    own = np.array([[[20, 300, 65535]]], np.uint16)
    assert apply(own, {20: 21}).tolist() == [[[21, 300, 65535]]]
    turned = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[::-1].T
    np.testing.assert_array_equal(apply(turned, {20: 1}), np.where(turned == 20, 1, turned))


def test_neighbors_are_those_by_place():
    order = [T12, L2, L1, L3, SACRUM]
    for one, other in ((T12, L2), (L2, T12), (L1, L3), (SACRUM, L3)):
        require_neighbors(order, one, other)
    assert "as L2 lies between them" in refusal(lambda: require_neighbors(order, T12, L1))
    assert "as L2 to L3 lie between them" in refusal(lambda: require_neighbors(order, SACRUM, T12))


# --------------------------------------------------------------------------------------------------- voxels

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
        one = Volume(merged(truth.array, [missing], double), truth.affine)
        parts = split(one, double, middle_mm(truth, 100 + double), AXIS)
        np.testing.assert_array_equal(parts.array, truth.array)


def test_a_disc_between_the_parts_stays_between_them():
    truth = column(GRIDS["upright"], [T12, L1, L2])
    one = Volume(merged(truth.array, [L1], T12), truth.affine)
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
    merged_two = merged(truth.array, [L3], L2)
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
