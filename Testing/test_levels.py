"""Levels of a whole column: those of which most are probably right, variants, misses, doubt where there is reason."""

from dataclasses import replace

import numpy as np
import pytest

from SpineContextSegLib.labels import level_name
from SpineContextSegLib.levels import A_GUESS, CERTAIN, LOOKS_LIKE, ORDER, gap_in, read_levels

USUAL = [*range(1, 25)]
GAP_MM = 25.0


def centers_of(count: int, gaps_mm=None) -> np.ndarray:
    gaps = np.full(count - 1, GAP_MM) if gaps_mm is None else np.asarray(gaps_mm)
    heights = -np.concatenate([[0.0], np.cumsum(gaps)])
    return np.stack([np.zeros(count), np.zeros(count), heights], 1)


def looks_of(levels, sure=0.9, spread=1) -> dict[int, np.ndarray]:
    """A network that gives `sure` to the right class and the rest to its neighbors within `spread`."""
    classes = [value for value in ORDER if value not in LOOKS_LIKE]
    table = np.zeros((len(levels), len(classes)))
    for row, value in zip(table, levels):
        place = classes.index(LOOKS_LIKE.get(value, value))
        around = [n for n in range(place - spread, place + spread + 1) if 0 <= n < len(classes) and n != place]
        row[place] = sure
        row[around] = (1 - sure) / len(around)
    return dict(zip(classes, table.T))


def unsure(count: int) -> dict[int, np.ndarray]:
    return {value: np.full(count, 0.04) for value in ORDER if value not in LOOKS_LIKE}


@pytest.mark.parametrize("levels", [USUAL, USUAL[:9], USUAL[5:20], USUAL[10:14], [22]], ids=len)
def test_clear_looks_give_their_levels(levels):
    found = read_levels(looks_of(levels), centers_of(len(levels)), sacrum_below=False)
    assert list(found.values) == levels and found.certain == bool(found.anchors)


@pytest.mark.parametrize(
    ("levels", "cut", "sacrum", "anchors"),
    [
        (USUAL, (), True, ("C1 or C2", "first ribs", "last ribs", "sacrum")),
        (USUAL[10:18], (), False, ()),
        (USUAL[20:23], (), False, ()),
        (USUAL[1:7], (0,), False, ()),
        (USUAL[6:12], (0, 5), False, ("first ribs",)),
        (USUAL[6:8], (0, 1), False, ()),
        (USUAL[10:20], (9,), False, ("last ribs",)),
        (USUAL[21:24], (), True, ("sacrum",)),
        (USUAL[22:24], (0,), True, ("sacrum",)),
        (USUAL[23:24], (0,), True, ()),  # what may be the uppermost piece of a sacrum
    ],
)
def test_certain_only_with_something_to_count_from(levels, cut, sacrum, anchors):
    whole = np.array([n not in cut for n in range(len(levels))])
    found = read_levels(looks_of(levels, sure=0.99), centers_of(len(levels)), sacrum, whole)
    assert list(found.values) == levels and found.anchors == anchors
    assert found.certain == bool(anchors)
    assert all(name in found.reason for name in anchors) if anchors else "nothing to count from" in found.reason


@pytest.mark.parametrize("growth", [-0.04, -0.02, 0.0, 0.03])
def test_a_column_that_gets_smaller_downward_may_be_upside_down(growth):
    gaps = GAP_MM * np.exp(growth * np.arange(11)) * np.where(np.arange(11) % 2, 1.03, 0.97)
    found = read_levels(looks_of(USUAL[6:18], sure=0.99), centers_of(12, gaps), sacrum_below=False)
    assert found.upside_down == (growth < 0) and found.certain == (growth >= 0)
    assert ("head and feet" in found.reason) == (growth < 0)


def test_one_missed_vertebra_does_not_turn_a_column_upside_down():
    gaps = [*np.linspace(20, 22, 4), 46, *np.linspace(24, 27, 4)]
    assert not read_levels(looks_of(USUAL[6:16]), centers_of(10, gaps), False).upside_down


def test_segments_of_the_sacrum_do_not_turn_a_column_upside_down():
    centers = centers_of(7, [34, 35, 36, 32, 27, 22])
    found = read_levels(looks_of([21, 22, 23, 24, 26, 26, 26]), centers, sacrum_below=True)
    assert found.values == (21, 22, 23, 24, 26, 26, 26) and not found.upside_down


def test_one_wrong_look_is_outvoted():
    looks = looks_of(USUAL[8:18])
    wrong = looks_of([20])
    for value in looks:
        looks[value][4] = wrong[value][0]
    assert list(read_levels(looks, centers_of(10), False).values) == USUAL[8:18]


def test_where_one_is_missed_may_be_open_without_shifting_the_rest():
    # Two of them could lie on either side of the gap, which is no wider than others: each way to miss one is less
    # probable than that none is, all of these ways together are more.
    looks, between = looks_of([*range(4, 11), *range(12, 19)], sure=0.99), looks_of([10, 12], sure=0.5)
    for value in looks:
        looks[value][6:8] = between[value]
    gaps = np.full(13, GAP_MM)
    gaps[5:8] *= 1.22
    found = read_levels(looks, centers_of(14, gaps), sacrum_below=False)
    assert found.values[:6] == tuple(range(4, 10)) and found.values[8:] == tuple(range(13, 19))


def test_vertebra_that_nobody_looked_at_is_counted():
    looks = {value: share.copy() for value, share in looks_of(USUAL[8:18]).items()}
    for share in looks.values():
        share[3] = np.nan
    assert list(read_levels(looks, centers_of(10), False).values) == USUAL[8:18]


@pytest.mark.parametrize(
    "levels",
    [
        [*range(15, 20), 28, *range(20, 25)],
        [*range(15, 25), 25],
        [*range(14, 19), *range(20, 25)],
        [*range(1, 20), 28, *range(20, 25)],
    ],
    ids=["T13", "L6", "no T12", "T13 in a whole spine"],
)
def test_variants_are_possible(levels):
    found = read_levels(looks_of(levels, sure=0.95), centers_of(len(levels)), sacrum_below=True)
    assert list(found.values) == levels


def test_missed_vertebra_leaves_a_gap_in_the_levels():
    levels = [v for v in range(12, 22) if v != 16]
    gaps = [GAP_MM * (2 if below == 17 else 1) for below in levels[1:]]
    found = read_levels(looks_of(levels, sure=0.999), centers_of(len(levels), gaps), False)
    assert list(found.values) == levels and found.gap == (15, 17)
    # However well the rest fits together: somebody has to look there.
    whole = replace(found, probabilities=(1.0,) * len(levels))
    assert not whole.certain and "none was found between T8 and T10" in whole.reason


@pytest.mark.parametrize(
    "values", [range(1, 25), (17, 18, 20), (19, 28, 20), (19, 20), (22, 23, 26), (24, 26), (24, 25, 26), (20, 20, 21)]
)
def test_variants_are_no_gaps(values):
    assert gap_in(tuple(values), (1.0,) * (len(values) - 1)) is None


@pytest.mark.parametrize("values", [(19, 21), (17, 20), (22, 26)])
def test_a_missing_level_is_a_gap(values):
    assert gap_in(values, (1.0,)) == values


@pytest.mark.parametrize("values", [(18, 20), (23, 26)], ids=["T12", "L5"])
def test_one_that_some_people_lack_is_missed_where_it_leaves_its_room(values):
    assert gap_in(values, (1.2,)) is None and gap_in(values, (1.9,)) == values


def test_a_missed_t12_is_a_gap():
    levels = [*range(10, 19), *range(20, 25)]
    gaps = [GAP_MM * (2 if below == 20 else 1) for below in levels[1:]]
    found = read_levels(looks_of(levels, sure=0.999), centers_of(len(levels), gaps), sacrum_below=True)
    assert list(found.values) == levels and found.gap == (18, 20)
    assert not found.certain and "none was found between T11 and L1" in found.reason


@pytest.mark.parametrize("looks_sacral", [0.3, 0.5, 0.7])
def test_one_that_may_be_l6_or_sacrum_is_open(looks_sacral):
    """However certain all the others are; a surgeon counts from there."""
    levels = [*range(8, 25), 24]
    looks = {value: np.append(share, 0.0) for value, share in looks_of(levels[:-1], sure=0.999).items()}
    looks[24][-1], looks[26] = 1 - looks_sacral, np.append(np.zeros(len(levels) - 1), looks_sacral)
    found = read_levels(looks, centers_of(len(levels)), sacrum_below=True)
    assert found.values[:-1] == tuple(levels[:-1]) and found.values[-1] in (25, 26)
    assert np.mean(found.probabilities) > CERTAIN and not found.certain and found.confidence < 0.75
    assert "the lowest may be L6 or part of the sacrum" in found.reason
    without_it = found.only(np.array(found.values) < 25)
    assert without_it.confidence == found.confidence and without_it.reason == found.reason


@pytest.mark.parametrize("missed", [2, 3, 6])
def test_several_missed_vertebrae_leave_as_many_levels_free(missed):
    levels = [*range(8, 12), *range(12 + missed, 19)]
    gaps = [GAP_MM * (below - above) for above, below in zip(levels, levels[1:])]
    # Of those below the gap nobody knows more than that they are thoracic.
    looks = looks_of(levels, sure=0.4, spread=8)
    assert list(read_levels(looks, centers_of(len(levels), gaps), False).values) == levels


def test_vertebra_found_twice_has_one_level():
    levels = [12, 13, 14, 14, 15, 16, 17]
    gaps = [GAP_MM, GAP_MM, GAP_MM * 0.4, GAP_MM * 0.6, GAP_MM, GAP_MM]
    found = read_levels(looks_of(levels), centers_of(len(levels), gaps), False)
    assert list(found.values) == levels and found.twice is None


@pytest.mark.parametrize("levels", [[*range(1, 8), *range(7, 25)], [1, *range(1, 12)]], ids=["C7", "C1"])
def test_whole_neighbors_of_one_level_are_told(levels):
    """As far apart as others are, and yet so alike that all of the rest would have to be wrong."""
    found = read_levels(looks_of(levels, sure=0.999), centers_of(len(levels)), sacrum_below=levels[-1] == 24)
    twice = next(one for one, other in zip(levels, levels[1:]) if one == other)
    assert list(found.values) == levels and found.twice == twice
    assert found.confidence > CERTAIN and not found.certain
    assert found.reason.startswith(f"Levels are uncertain, as {level_name(twice)} may be two vertebrae")


def test_whole_pieces_of_the_sacrum_are_no_vertebra_found_twice():
    assert read_levels(looks_of([21, 22, 23, 24, 26, 26]), centers_of(6), sacrum_below=True).twice is None


def test_sacrum_fixes_levels_that_nothing_else_says():
    found = read_levels(unsure(4), centers_of(4), sacrum_below=True)
    assert list(found.values) == [21, 22, 23, 24]
    # One column in ten has another number of lumbar vertebrae, or one was missed.
    assert A_GUESS < found.confidence < CERTAIN and not found.certain
    assert read_levels(looks_of([21, 22, 23, 24]), centers_of(4), sacrum_below=True).certain
    assert not read_levels(unsure(4), centers_of(4), sacrum_below=False).certain


def test_segments_of_the_sacrum_are_no_vertebrae():
    looks = looks_of([21, 22, 23, 24, 26, 26])
    assert list(read_levels(looks, centers_of(6), sacrum_below=True).values) == [21, 22, 23, 24, 26, 26]
    alone = read_levels(looks_of([26], sure=0.99), centers_of(1), False)
    assert alone.values == (26,) and alone.only(np.array([False])).values == ()


def test_sixth_lumbar_vertebra_is_no_segment_of_the_sacrum():
    looks = looks_of([21, 22, 23, 24, 25])
    assert list(read_levels(looks, centers_of(5), sacrum_below=True).values) == [21, 22, 23, 24, 25]


@pytest.mark.parametrize("levels", [[19, 20, 21], [24, 26]])
def test_column_begins_with_what_is_usual(levels):
    """T12 and T13 look alike, as do L5 and L6; nothing says that the upper one is out of view."""
    assert list(read_levels(looks_of(levels), centers_of(len(levels)), False).values) == levels


def test_doubt_between_two_is_said():
    """Six vertebrae in the middle of the chest, half and half between two countings."""
    one, other = looks_of([11, 12, 13, 14, 15, 16]), looks_of([12, 13, 14, 15, 16, 17])
    looks = {value: (one[value] + other[value]) / 2 for value in one}
    found = read_levels(looks, centers_of(6), False)
    assert not found.certain and 0.3 < found.confidence < 0.7
    assert "uncertain" in found.reason and found.reason.count(".") == 1


def test_neighbors_that_err_alike_do_not_make_it_certain():
    """Sixty to forty, twelve times over: the vertebrae aren't twelve witnesses."""
    one, other = looks_of(range(8, 20)), looks_of([*range(9, 20), 20])
    looks = {value: 0.6 * one[value] + 0.4 * other[value] for value in one}
    assert read_levels(looks, centers_of(12), False).confidence < 0.97


def test_nothing_has_no_levels():
    found = read_levels({}, np.zeros((0, 3)), False)
    assert found.values == () and found.confidence == 0 and not found.certain and found.reason


def test_probabilities_are_those_of_the_chosen_levels():
    found = read_levels(looks_of(USUAL), centers_of(24), True)
    assert len(found.probabilities) == 24 and all(0 < p <= 1 for p in found.probabilities)
