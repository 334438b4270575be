"""The order of vertebrae of which a scan shows no more than a part: where they lie side by side, levels tell it."""

import numpy as np
import pytest
from geometry import GRIDS
from scans import CTS, ct, needs_scans

from SpineContextSegLib.labels import C1, C2, LEVEL_ORDER, TOTALSEGMENTATOR_TO_VERSE, VERTEBRAE
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.repair import apply, order_of, split
from SpineContextSegLib.seen_vertebrae import seen_vertebrae
from SpineContextSegLib.volume import Volume
from Testing.level_values import L1, L2, T5

C3, T6 = 3, 13


def neck(upper=C1, lower=C2) -> Volume:
    """A ring above, and a vertebra below whose dens stands in the ring, higher than it."""
    array = np.zeros((60, 40, 40), np.uint8)
    array[10:24, 10:30, 10:30] = C3
    array[26:40, 10:30, 10:30] = lower
    array[42:52, 6:34, 6:34] = upper
    array[40:54, 12:18, 16:24] = lower
    return Volume(array, np.diag([1.0, 1.0, 1.0, 1.0]))


def from_plane(labels: Volume, first: int, last: int | None = None) -> Volume:
    box = (slice(first, last), slice(None), slice(None))
    return Volume(labels.array[box], labels.grid.crop(box).affine)


@pytest.mark.parametrize("first", [0, 12, 30, 38, 41, 43, 47, 51])
def test_of_an_axis_no_more_than_the_dens_is_seen(first):
    labels = from_plane(neck(), first)
    assert [value for value in order_of(labels) if value != C3] == [C1, C2]
    assert [one.value for one in seen_vertebrae(labels)[0] if one.value != C3] == [C1, C2]


def test_atlas_and_axis_that_are_exchanged_are_out_of_order():
    assert order_of(neck(upper=C2, lower=C1)) == [C2, C1, C3]


def slab(upper, lower, lower_top: int) -> Volume:
    """A few slices: the end of a spinous process that slants down, and the vertebra below."""
    array = np.zeros((9, 60, 40), np.uint8)
    array[:lower_top, 30:50, 10:30] = lower
    for k in range(9):
        array[k, 5 + k : 23 - k, 18:22] = upper
    return Volume(array, np.eye(4))


def test_a_spinous_process_beside_the_next_vertebra():
    assert order_of(slab(T5, T6, 9)) == [T5, T6]


def test_what_ends_lower_is_below_whatever_the_levels_say():
    """Exchanged: the tip is that of the vertebra above, as what it lies beside ends within the slab."""
    assert order_of(slab(T6, T5, 3)) == [T6, T5]


@pytest.mark.parametrize("name", GRIDS)
def test_the_ends_are_seen_on_any_grid(name):
    """Both end at the grid's lower border; one of them, labeled as the upper, leaves more at the front than below."""
    grid = GRIDS[name]
    toward = grid.affine[2, :3]
    axis = int(np.abs(toward).argmax())
    planes = np.moveaxis(np.zeros(grid.shape, np.uint8), 2 - axis, 0)
    upward = planes if toward[axis] > 0 else planes[::-1]
    size = len(upward)
    middle = upward.shape[1] // 2
    upward[: size // 3, :middle] = L1
    upward[: size // 3, middle:] = L2
    upward[: size // 6, middle + 1 :] = 0
    labels = Volume(np.moveaxis(planes, 0, 2 - axis), grid.affine)
    assert order_of(labels) == [L1, L2]


def test_a_ring_beside_a_dens_is_cut_level():
    labels = from_plane(neck(), 43)
    parts = split(labels, C1, labels.grid.world([20, 20, 4]))
    heights = [np.argwhere(parts.array == value)[:, 0] for value in (C1, C2)]
    assert heights[0].min() > 3 and heights[1].min() == 0


@needs_scans
@pytest.mark.parametrize("name", CTS)
def test_a_real_column_keeps_its_order_wherever_the_scan_ends(name):
    labels = read_labels(ct(f"{name}_labels"))
    if name == "abdomen_3mm":
        labels = Volume(apply(labels.array, TOTALSEGMENTATOR_TO_VERSE), labels.affine)
    axis = 2 - int(np.abs(labels.affine[2, :3]).argmax())
    # Of each plane enough voxels.
    thinned = tuple(slice(None) if n == axis else slice(None, None, 4) for n in range(3))
    affine = labels.affine.copy()
    affine[:3, [n for n in range(3) if n != 2 - axis]] *= 4
    thin = Volume(labels.array[thinned], affine)
    for left in (*range(1, 9), *range(9, thin.array.shape[axis], 5)):
        for ends in (slice(-left, None), slice(None, left)):
            box = tuple(ends if n == axis else slice(None) for n in range(3))
            part = Volume(thin.array[box], thin.grid.crop(box).affine)
            there = set(np.unique(part.array).tolist())
            assert order_of(part) == [value for value in LEVEL_ORDER if value in VERTEBRAE & there], (name, ends)
