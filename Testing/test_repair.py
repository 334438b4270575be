"""Levels put right by mapping, for columns of every kind: named from one, shifted, swapped, merged."""

import numpy as np
import pytest

from SpineContextSegLib.labels import CANAL, DISC_LEVEL_UNKNOWN, LEVEL_ORDER, SACRUM, VERTEBRAE
from SpineContextSegLib.repair import (
    apply,
    counts_of,
    level_sequence,
    merging,
    renamed,
    require,
    require_neighbors,
    sequence_of,
    shifted,
    swapped,
)
from Testing.level_values import C1, L1, L2, L3, L4, L5, L6, T1, T2, T11, T12, T13
from Testing.repair_use import USUAL, refusal

SEQUENCES = [level_sequence(*counts) for counts in ((12, 5), (11, 5), (13, 5), (12, 4), (12, 6), (13, 6), (11, 4))]


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
    assert apply(labels, merging([L1, L2], L1)).tolist() == [[[L1, 120, L1, 120, L3, SACRUM, CANAL]]]
    assert apply(labels, merging([L2], L1)).tolist() == apply(labels, merging((L1, L2), L1)).tolist()
    assert apply(labels, merging([L1, L2], L2)).tolist() == [[[L2, 121, L2, 121, L3, SACRUM, CANAL]]]
    assert apply(labels, merging([L1, L2, L3], L2)).tolist() == [[[L2, 121, L2, 121, L2, SACRUM, CANAL]]]
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
