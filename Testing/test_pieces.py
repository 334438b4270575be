"""Small loose pieces go, a spine in several pieces stays, and so does what the border of the scan cuts."""

import numpy as np
from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.pieces import LEAST_PIECE_ML, drop_specks

VOXEL_ML = 0.008  # 2 mm


def probabilities_of(*boxes: tuple[slice, slice, slice]) -> dict[int, np.ndarray]:
    array = np.zeros((60, 40, 40), np.uint8)
    for box in boxes:
        rim = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
        array[rim] = 90
    for box in boxes:
        array[box] = 255
    return {1: array, 61: np.full(array.shape, 200, np.uint8)}


def test_spine_in_two_pieces_stays_and_speck_goes_with_its_rim():
    upper = slice(35, 55), slice(10, 25), slice(10, 25)
    lower = slice(5, 25), slice(10, 25), slice(10, 25)
    speck = slice(28, 32), slice(30, 34), slice(30, 34)
    expected = probabilities_of(upper, lower)[1]
    found = probabilities_of(upper, lower, speck)
    assert drop_specks(found, BINARY_SPINE, VOXEL_ML) == 1
    assert np.array_equal(found[1], expected)
    assert (found[61] == 200).all()


def test_small_piece_at_the_border_stays():
    cut = slice(0, 4), slice(10, 15), slice(10, 15)
    found = probabilities_of(cut)
    assert 4 * 5 * 5 * VOXEL_ML < LEAST_PIECE_ML
    assert drop_specks(found, BINARY_SPINE, VOXEL_ML) == 0
    assert (found[1][cut] == 255).all()


def test_sacrum_and_vertebra_count_as_one_piece():
    """Each alone would be a speck."""
    found = probabilities_of((slice(20, 26), slice(10, 16), slice(10, 16)))
    assert 6**3 * VOXEL_ML < LEAST_PIECE_ML
    found[26] = np.zeros_like(found[1])
    found[26][10:20, 10:16, 10:16] = 255
    assert drop_specks(found, BINARY_SPINE, VOXEL_ML) == 0
