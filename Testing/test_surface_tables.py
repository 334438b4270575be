"""Recall, precision and surface distances of the binary spine, over groups of scans."""

import numpy as np
import pytest

from SpineContextSegLib import labels
from SpineContextSegLib.volume import Grid
from Training.surface_tables import surface_figures, surface_spread, surface_table

GRID = Grid((8, 8, 8), np.diag([1.0, 1.0, 2.0, 1.0]))


def cube(value, first=2, last=6):
    array = np.zeros(GRID.shape, np.uint8)
    array[first:last, 2:6, 2:6] = value
    return array


def test_figures_of_the_whole_spine_whatever_its_level():
    assert surface_figures(cube(20), cube(26), GRID) == {
        "recall": 1.0, "precision": 1.0, "average_surface_distance_mm": 0.0, "hausdorff95_mm": 0.0,
    }  # fmt: skip
    one_slice_more = surface_figures(cube(20, last=7), cube(20), GRID)
    assert (one_slice_more["recall"], one_slice_more["precision"]) == (1.0, 0.8)
    assert one_slice_more["hausdorff95_mm"] == pytest.approx(2.0) and one_slice_more["average_surface_distance_mm"] > 0


def test_what_the_truth_leaves_open_is_not_judged():
    truth = cube(20)
    truth[6] = labels.IGNORED
    assert surface_figures(cube(20, last=7), truth, GRID)["precision"] == 1.0


def test_nothing_found_has_a_recall_and_no_surface():
    assert surface_figures(cube(0), cube(20), GRID) == {"recall": 0.0}


def test_spread_names_the_end_at_which_the_bad_ones_lie():
    found = surface_spread([{"recall": 0.9, "hausdorff95_mm": 3.0}, {"recall": 0.5, "hausdorff95_mm": 1.0}, {}])
    assert found["recall"] == {"n": 2, "mean": 0.7, "median": 0.7, "percentile_5": 0.52, "minimum": 0.5, "sd": 0.2828}
    assert found["hausdorff95_mm"]["percentile_95"] == 2.9 and found["hausdorff95_mm"]["maximum"] == 3.0
    assert list(found) == ["recall", "hausdorff95_mm"] and "sd" not in surface_spread([{"recall": 1.0}])["recall"]


def test_table():
    figures = {"recall": 0.9, "precision": 0.8, "average_surface_distance_mm": 0.5, "hausdorff95_mm": 2.0}
    better = figures | {"recall": 1.0}
    lines = surface_table([({"blur": ["little"]}, better), ({"blur": ["much"], "finding": ["plain"]}, figures)])
    assert lines.splitlines()[2:] == [
        "| **all** | 0.950 | 0.800 | 0.50, 0.50 | 2.00, 2.00 |",
        "| blur: little | 1.000 | 0.800 | 0.50, 0.50 | 2.00, 2.00 |",
        "| blur: much | 0.900 | 0.800 | 0.50, 0.50 | 2.00, 2.00 |",
    ]
    assert surface_table([({"blur": ["much"]}, {})]) == ""
    assert surface_table([({}, {"recall": 0.0})]).splitlines()[-1] == "| **all** | 0.000 | - | - | - |"
