"""Places of vertebrae along the column, from how many votes lie at each millimetre of it."""

import numpy as np
import pytest

from SpineContextSegLib.regular_places import regular_places


def votes(*crowds: tuple[float, float, float], length: int = 260) -> np.ndarray:
    """Crowds of (place in mm, how many, standard deviation in mm)."""
    along = np.arange(length)
    return sum(
        many * np.exp(-0.5 * ((along - place) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
        for place, many, spread in crowds
    )


def near(found: np.ndarray, expected: list[int], within: float = 3.0) -> bool:
    return len(found) == len(expected) and bool(np.all(np.abs(found - expected) <= within))


@pytest.mark.parametrize("apart", [11, 18, 26, 38])
def test_crowds_at_any_distance_are_found(apart):
    places = list(range(20, 20 + 5 * apart, apart))
    assert near(regular_places(votes(*((place, 1000, 2) for place in places))), places, 1)


def test_two_that_run_into_one_another_are_two():
    """As in a blurred neck: one peak with a shoulder, and twice as far from the one above as that is from its next."""
    places = [10, 25, 42, 56, 71, 87, 103]
    density = votes(*((place, 1000, 4) for place in places if place != 42), (45, 1000, 7))
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])) + 1
    assert len(peaks) == len(places) - 1
    assert near(regular_places(density), places, 4)


def test_between_large_ones_a_few_stray_votes_are_nothing():
    places = [20, 55, 92, 130]
    density = votes(*((place, 5000, 3) for place in places)) + votes((37, 100, 6), (111, 100, 6))
    assert near(regular_places(density), places, 1)


def test_small_neighbors_of_large_ones_count():
    """C1 above C2, and the piece of a vertebra that the border leaves."""
    assert near(regular_places(votes((12, 250, 4), (28, 3000, 3), (50, 2500, 3), (67, 2500, 3))), [12, 28, 50, 67])
    assert near(regular_places(votes((20, 6000, 3), (57, 6000, 3), (95, 600, 2))), [20, 57, 95])


def test_a_gap_in_the_column_is_bridged():
    """Places of what metal hides have no votes; whoever asks drops them. The others stay where they are."""
    places = [20, 40, 60, 160, 180, 200]
    found = regular_places(votes(*((place, 1000, 2) for place in places)))
    assert all(np.abs(found - place).min() <= 1 for place in places)
    assert np.diff(found).max() <= 48


@pytest.mark.parametrize("density", [[1.0], [0.0] * 5, [1.0] * 3, [0.0, 5.0, 0.0]])
def test_one_place_at_least(density):
    assert len(regular_places(np.array(density))) == 1


def test_mirrored_columns_have_mirrored_places():
    density = votes((15, 800, 3), (32, 1500, 3), (50, 1500, 3), (69, 1600, 3), (90, 1700, 3), length=110)
    assert near(109 - regular_places(density[::-1])[::-1], regular_places(density).tolist(), 1)
