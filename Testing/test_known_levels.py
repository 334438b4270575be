"""A run that adds to a segmentation names vertebrae and discs as they are called there."""

import numpy as np
import pytest

from SpineContextSegLib.known_levels import known_levels
from Testing.level_values import L1, L2, L3, L4, L5, T10, T11, T12, T13


def column(*values, thickness=4) -> np.ndarray:
    """A slab of each value, from top to bottom."""
    return np.repeat(np.array(values, np.uint8), thickness)[:, None, None] * np.ones((1, 5, 5), np.uint8)


FOUND = column(T12, 100 + T12, L1, 100 + L1, L2, 100 + L2, 26)


@pytest.mark.parametrize("known", [(T12, L1, L2), (T11, T12, L1), (L1, L2, L3), (L3, L4, L5)])
def test_vertebrae_and_discs_follow(known):
    upper, middle, lower = known
    mapping = known_levels(FOUND, column(upper, 0, middle, 0, lower, 0, 26))
    expected = dict(zip((T12, L1, L2), known))
    expected |= {100 + old: 100 + new for old, new in expected.items()}
    assert {value: mapping.get(value, value) for value in expected} == expected
    assert 26 not in mapping


def test_those_that_are_not_known_follow_the_nearest():
    mapping = known_levels(FOUND, column(0, 0, T12, 0, 0, 0, 0))
    assert [mapping[value] for value in (T12, L1, L2)] == [T11, T12, L1]
    assert [mapping[100 + value] for value in (T12, L1, L2)] == [100 + T11, 100 + T12, 100 + L1]


def test_one_that_a_person_removed_comes_back():
    mapping = known_levels(FOUND, column(L2, 0, 0, 0, L4, 0, 0))
    assert (mapping[T12], mapping[L1], mapping[L2], mapping[100 + L1]) == (L2, L3, L4, 100 + L3)


def test_where_no_level_is_left_a_disc_is_of_none():
    """L1 was removed, and what lies below it moved up."""
    mapping = known_levels(FOUND, column(T12, 0, 0, 0, L1, 0, L2))
    assert T12 not in mapping and mapping[L2] == L1 and mapping.get(L1, L1) in (T12, L1)
    assert (mapping[100 + L1], mapping[100 + L2]) == (200, 100 + L1)


def test_where_no_level_is_left_a_vertebra_joins_its_neighbor():
    """L1 was removed, what lies around it is called L3 and L4 now, and L1 is what lies far above."""
    found, known = column(T12, L1, L2, 0, 0, 0), column(L3, 0, L4, 0, 0, L1)
    mapping = known_levels(found, known)
    assert (mapping[T12], mapping[L2]) == (L3, L4) and mapping[L1] in (L3, L4)
    assert mapping[100 + L1] == 200


def test_where_no_level_is_left_a_vertebra_joins_the_one_beside_it():
    """Not the one that is known, eight bodies above; all of it moved down by one, and nothing lies below L5."""
    found = column(*range(15, 25))
    mapping = known_levels(found, column(16, 17, *[0] * 8))
    assert [mapping.get(value, value) for value in range(15, 25)] == [*range(16, 25), L5]
    assert mapping[100 + L5] == 200


@pytest.mark.parametrize(
    ("known", "named"),
    [
        ((T11, T12, 0, 0, 0), (T11, T12, T13, L1, L2)),
        ((0, 0, 0, L1, L2), (T11, T12, T13, L1, L2)),
        ((0, 0, 0, T13, L1), (T10, T11, T12, T13, L1)),
    ],
)
def test_a_thirteenth_rib_that_the_run_finds_scrambles_nothing(known, named):
    found = column(T11, T12, T13, L1, L2)
    mapping = known_levels(found, column(*known))
    assert tuple(mapping.get(value, value) for value in (T11, T12, T13, L1, L2)) == named


@pytest.mark.parametrize(
    ("found", "known", "named"),
    [
        ((2, 3), (0, 1), (1, 1)),  # nothing lies above C1, and the own name would be that of what lies below it
        ((T11, T12, L1, L2), (T10, 0, 0, T11), (T10, T10, T11, T11)),
        ((L2, L3, L4, L5), (L2, 0, L3, 0), (L2, L2, L3, L4)),
    ],
)
def test_none_is_out_of_order(found, known, named):
    mapping = known_levels(column(*found), column(*known))
    assert tuple(mapping.get(value, value) for value in found) == named


def test_parts_of_one_that_a_person_merged():
    mapping = known_levels(FOUND, column(T12, 0, L1, L1, L1, 0, 0))
    assert mapping[L2] == L1 and mapping[100 + L2] == 100 + L1 and L1 not in mapping


def test_the_end_of_the_column():
    found = column(L3, L4, L5)
    mapping = known_levels(found, column(L4, L5, 0))
    assert (mapping[L3], mapping[L4]) == (L4, L5)
    assert L5 not in mapping and mapping[100 + L5] == 200, "nothing is left below L5"


def test_little_in_common_says_nothing():
    """A neighbor whose border lies elsewhere."""
    found, known = column(0, L1, L1, L1, L1), column(L2, L2, 0, 0, 0)
    assert known_levels(found, known) == {}
    assert known_levels(found, column(0, 0, 0, 0, 0)) == {}


def test_a_region_that_cuts_a_vertebra():
    found = np.zeros_like(column(L1, L2, L3))
    found[7:10] = column(L1, L1, L2)[7:10]
    mapping = known_levels(found, column(L2, L3, L4))
    assert (mapping[L1], mapping[L2]) == (L3, L4)
