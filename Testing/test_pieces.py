"""Specks and what stands aside from the column go; a spine in pieces stays, and so does what the border cuts."""

import time

import numpy as np
import pytest

from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.pieces import LEAST_PIECE_ML, keep_column

SPACING = (2.0, 2.0, 2.0)
HALF = 128
VOXEL_ML = 0.008
Box = tuple[slice, slice, slice]

UPPER: Box = slice(60, 80), slice(20, 35), slice(50, 65)
LOWER: Box = slice(10, 50), slice(22, 37), slice(48, 63)
SPECK: Box = slice(53, 57), slice(40, 44), slice(60, 64)


def box(k: int, j: int, i: int, size: int) -> Box:
    return slice(k, k + size), slice(j, j + size), slice(i, i + size)


def probabilities_of(*boxes: Box, highest: int = 255) -> dict[int, np.ndarray]:
    array = np.zeros((100, 60, 120), np.uint8)
    for one in boxes:
        rim = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in one)
        array[rim] = 90
    for one in boxes:
        array[one] = highest
    return {1: array}


def whole(*boxes: Box, highest: int = 255) -> np.ndarray:
    return probabilities_of(*boxes, highest=highest)[1]


def kept(*boxes: Box) -> np.ndarray:
    found = probabilities_of(*boxes)
    keep_column(found, BINARY_SPINE, SPACING, HALF)
    return found[1]


def test_spine_in_two_pieces_stays_and_speck_goes_with_its_rim():
    assert np.array_equal(kept(UPPER, LOWER, SPECK), whole(UPPER, LOWER))


def test_what_belongs_to_a_structure_may_be_less_probable_than_a_half():
    """A speck is there that a half would leave, and so is a rim around it."""
    found = probabilities_of(UPPER, LOWER, SPECK, highest=115)
    keep_column(found, BINARY_SPINE, SPACING, 102)
    assert np.array_equal(found[1], whole(UPPER, LOWER, highest=115))


def test_femoral_heads_below_the_column_go():
    heads = box(0, 20, 6, 12), box(0, 20, 98, 12)
    assert np.array_equal(kept(UPPER, LOWER, *heads), whole(UPPER, LOWER))


def test_humeral_head_beside_the_column_goes():
    assert np.array_equal(kept(UPPER, LOWER, box(65, 20, 100, 12)), whole(UPPER, LOWER))


def test_small_piece_far_below_the_column_goes_and_a_large_one_stays():
    """The border cuts both, 70 mm below: one is of a hip, the other a vertebra below a part that wasn't found."""
    small, large = (slice(0, 4), slice(20, 30), slice(50, 60)), (slice(0, 10), slice(20, 40), slice(45, 65))
    assert np.array_equal(kept(UPPER, small), whole(UPPER))
    assert np.array_equal(kept(UPPER, large), whole(UPPER, large))
    near = slice(40, 44), slice(20, 30), slice(50, 60)
    assert np.array_equal(kept(UPPER, near), whole(UPPER, near))


def test_column_leans_and_reaches_on_from_piece_to_piece():
    """Each piece stands over the one below it, though the last lies 60 mm aside from the first."""
    leaning = [(slice(20 * n, 20 * n + 14), slice(20, 35), slice(30 + 10 * n, 45 + 10 * n)) for n in range(4)]
    assert np.array_equal(kept(*leaning), whole(*leaning))


def test_loose_spinous_process_stays():
    process = box(62, 5, 53, 8)
    assert np.array_equal(kept(UPPER, LOWER, process), whole(UPPER, LOWER, process))


def test_small_piece_at_the_border_stays():
    cut = slice(0, 4), slice(22, 27), slice(50, 55)
    assert 4 * 5 * 5 * VOXEL_ML < LEAST_PIECE_ML
    assert np.array_equal(kept(cut), whole(cut))


def test_small_piece_at_the_border_of_a_slanted_scan_stays():
    """Amid the arrays; their own faces say nothing then."""
    amid, at_face = box(85, 22, 52, 5), (slice(0, 4), slice(22, 27), slice(50, 55))
    found = probabilities_of(UPPER, amid, at_face)
    keep_column(found, BINARY_SPINE, SPACING, HALF, lambda indices: indices[:, 0] >= 89)
    assert np.array_equal(found[1], whole(UPPER, amid))


def test_sacrum_and_vertebra_count_as_one_piece():
    """Each alone would be a speck."""
    found = probabilities_of(box(20, 10, 10, 6))
    assert 6**3 * VOXEL_ML < LEAST_PIECE_ML
    found[26] = np.zeros_like(found[1])
    found[26][10:20, 10:16, 10:16] = 255
    before = {value: array.copy() for value, array in found.items()}
    keep_column(found, BINARY_SPINE, SPACING, HALF)
    assert all(np.array_equal(found[value], before[value]) for value in before)


@pytest.mark.parametrize(("place", "stays"), [(slice(90, 98), False), (slice(76, 84), True), (slice(0, 8), True)])
def test_a_sacrum_far_above_the_column_goes(place, stays):
    """Brain. Nearer, it is that of a scan that is upside down; below, a gap is one in what was found."""
    found = probabilities_of((slice(30, 55), slice(20, 35), slice(50, 65)))
    found[26] = np.zeros_like(found[1])
    found[26][place, 20:40, 48:68] = 255
    before = {value: array.copy() for value, array in found.items()}
    keep_column(found, BINARY_SPINE, SPACING, HALF)
    assert np.array_equal(found[1], before[1]) and found[26].any() == stays
    vertebra = {1: before[1] | before[26]}
    keep_column(vertebra, BINARY_SPINE, SPACING, HALF)
    assert vertebra[1][place].any(), "a vertebra as large stays there"


def test_canal_stays_where_it_touches_the_column():
    found = probabilities_of(UPPER, LOWER)
    canal = np.zeros_like(found[1])
    canal[10:80, 12:20, 52:60] = 255
    inside = canal.copy()
    canal[60:70, 20:30, 100:110] = 255  # in a humerus
    found[61] = canal
    keep_column(found, BINARY_SPINE, SPACING, HALF)
    assert np.array_equal(found[61], inside)


def test_nothing_found_is_no_fault():
    assert not kept().any()


def test_noise_is_cleared_in_a_moment():
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random((120, 120, 120)) < 0.02, 200, 0).astype(np.uint8)
    noisy[20:100, 50:70, 50:70] = 255
    started = time.perf_counter()
    keep_column({1: noisy}, BINARY_SPINE, (2.0, 2.0, 2.0), HALF)
    # Tens of thousands of specks; comparing each with each took minutes.
    assert time.perf_counter() - started < 20
    assert (noisy[20:100, 50:70, 50:70] == 255).all()
    assert np.count_nonzero(noisy[30:90, 25:40, 25:40]) == 0
