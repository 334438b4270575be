"""Two vertebrae of one level are one segment, as levels in a file are unique; that they may be two is said."""

import numpy as np
import pytest
from columns import block_spine

from SpineContextSegLib.column import Column, name_vertebrae
from SpineContextSegLib.resampling import labels_on_grid
from SpineContextSegLib.volume import Volume


def named_blocks(values, heights, widths, top=5) -> Column:
    """Blocks 2 mm apart, from top to bottom, in the middle of a scan that begins `top` mm above the first; the look is
    sure of the `values`."""
    tops = np.cumsum([top, *(height + 2 for height in heights)])
    size = int(tops[-1]) + 5
    boxes = [
        (slice(size - first - height, size - first), slice(5, 5 + width), slice(5, 25))
        for first, height, width in zip(tops.tolist(), heights, widths)
    ]
    spine = block_spine(*boxes, shape=(size, 50, 30))
    labels = Volume(labels_on_grid(spine.probabilities, spine.grid, spine.grid, spine.inside), spine.grid.affine)
    column = name_vertebrae(
        labels, spine, lambda centers: {value: (np.array(values) == value).astype(float) for value in set(values)}
    )
    assert set(np.unique(labels.array)) == {0, *values} and column.levels.values == tuple(dict.fromkeys(values))
    return column


def test_two_of_one_level_that_lie_apart_are_told():
    column = named_blocks([8, 9, 10, 11, 11, 12, 13, 14], [20] * 8, [20] * 8)
    assert not column.levels.certain and column.report()["certain"] is False
    assert "T4 may be two vertebrae" in column.remarks[0] and column.report()["reason"] == column.remarks[0]


HEIGHTS, WIDTHS = [20] * 7, [20, 20, 20, 36, 20, 20, 20]


def test_one_as_large_as_two_is_told():
    column = named_blocks(range(18, 25), HEIGHTS, WIDTHS)
    assert column.levels.twice == 21 and not column.levels.certain
    assert "L2 may be two vertebrae" in column.remarks[0]


def test_parts_of_one_are_as_large_as_one():
    column = named_blocks([18, 19, 20, 21, 21, 22, 23, 24], [24, 24, 24, 11, 11, 24, 24, 24], [20] * 8)
    assert column.levels.twice is None


def test_c2_is_large():
    assert named_blocks(range(1, 8), HEIGHTS, [20, 36, 20, 20, 20, 20, 20]).levels.twice is None


@pytest.mark.parametrize("top", [5, 0])
def test_what_the_border_cuts_is_no_measure(top):
    """The neighbor above it is cut by the upper end of the scan, which leaves half of it."""
    column = named_blocks(range(19, 25), [12, 20, 20, 20, 20, 20], [20, 36, 20, 20, 20, 20], top)
    assert column.at_border[0] == (top == 0) and column.levels.twice == (None if top == 0 else 20)
