"""Dice of structures, whatever their level, and its spread."""

import numpy as np
import pytest

from SpineContextSegLib import labels
from SpineContextSegLib.metrics import dice
from SpineContextSegLib.scores import BINARY, VERTEBRAE, Statistics
from Training.dice_tables import spread, structure_dice


def test_dice_of_two_masks():
    a, b = np.array([1, 1, 1, 0, 0], bool), np.array([0, 1, 1, 1, 1], bool)
    assert dice(a, b) == dice(b, a) == pytest.approx(4 / 7) and dice(a, a) == 1.0
    assert dice(a & ~a, b) == 0.0 and dice(a & ~a, b & ~b) == 1.0


def test_structures_that_the_truth_lacks_have_no_dice():
    truth = np.array([20, 20, 21, 0, 0], np.uint8)
    found = np.array([0, 19, 19, 26, 61], np.uint8)
    assert structure_dice(found, truth) == {BINARY: 0.6667, VERTEBRAE: 0.8}
    unsure = np.array([20, 20, 21, labels.IGNORED, 0], np.uint8)
    assert structure_dice(found, unsure) == {BINARY: 0.8, VERTEBRAE: 0.8}


def test_spread_is_that_of_every_evaluation():
    """A single value has none."""
    values = [0.9, 0.7, 0.95]
    found, statistics = spread(values), Statistics.of(values)
    assert found == {
        "n": 3, "mean": 0.85, "sd": round(statistics.sd, 4), "median": 0.9, "percentile_5": 0.72, "minimum": 0.7,
        "below_0.8": 1,
    }  # fmt: skip
    assert spread([0.9]) == {
        "n": 1, "mean": 0.9, "median": 0.9, "percentile_5": 0.9, "minimum": 0.9, "below_0.8": 0,
    }  # fmt: skip
    assert spread([]) == {"n": 0}
