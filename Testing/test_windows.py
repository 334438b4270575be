"""Where windows lie: over everything, and along what is wanted, with room around it and none wasted."""

import numpy as np
import pytest

from SpineContextSegLib.windows import (
    CELL,
    cells_of,
    covered_cells,
    fitting,
    size_along,
    window_starts,
    windows_along,
    windows_over,
)

ROI = (96, 96, 96)


def seen(corners, shape, roi_size=ROI) -> np.ndarray:
    """How many windows hold each voxel of the image."""
    count = np.zeros(shape, np.uint8)
    for corner in corners:
        count[tuple(slice(max(c, 0), max(c + roi, 0)) for c, roi in zip(corner, roi_size))] += 1
    return count


def voxels(cells: np.ndarray, shape) -> np.ndarray:
    """The lattice of cells as a mask of the image."""
    mask = cells
    for axis in range(3):
        mask = mask.repeat(CELL, axis)
    return mask[tuple(map(slice, shape))]


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5])
@pytest.mark.parametrize("size", [7, 96, 97, 250])
def test_windows_cover_an_axis_and_stay_inside(size, overlap):
    starts = window_starts(size, 96, overlap)
    covered = {n for start in starts for n in range(start, start + 96)}
    assert covered >= set(range(size))
    assert size < 96 or covered == set(range(size))
    assert all(b - a <= 96 * (1 - overlap) for a, b in zip(starts, starts[1:]))


def test_a_region_is_covered_from_inside_the_image():
    region = slice(100, 150), slice(0, 200), slice(180, 200)
    count = seen(windows_over((200, 200, 200), ROI, 0.25, region), (200, 200, 200))
    assert count[region].min() >= 1
    assert count[:40].max() == count[:, :, :100].max() == 0


def test_overlap_is_a_fraction():
    with pytest.raises(ValueError, match="overlap"):
        windows_over((200, 200, 200), ROI, 1.0)


def test_windows_fit_small_images():
    assert fitting(ROI, (55, 200, 8)) == (56, 96, 8)


def test_points_fall_into_cells_also_beyond_the_border():
    cells = cells_of(np.array([[0, 7.9, 8], [-3, 19, 99]]), (16, 20, 24))
    assert cells.shape == (2, 3, 3)
    assert {tuple(map(int, cell)) for cell in np.argwhere(cells)} == {(0, 0, 1), (0, 2, 2)}


def leaning_column(shape, seed) -> np.ndarray:
    """A column of cells that wanders sideways, as a curved spine does."""
    rng = np.random.default_rng(seed)
    cells = np.zeros([-(-n // CELL) for n in shape], bool)
    center = np.array(cells.shape[:2]) / 2
    for k in range(cells.shape[2]):
        center = np.clip(center + rng.normal(0, 0.7, 2), 3, np.array(cells.shape[:2]) - 3)
        low = (center - 2).astype(int)
        cells[low[0] : low[0] + 5, low[1] : low[1] + 4, k] = True
    return cells


@pytest.mark.parametrize("margin", [0, 1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_everything_wanted_is_seen_with_its_margin(seed, margin):
    shape = (203, 190, 411)
    wanted = leaning_column(shape, seed)
    corners = windows_along(wanted, shape, ROI, margin)
    assert covered_cells(corners, shape, ROI, margin)[wanted].all()
    inside = np.zeros(shape, bool)
    for corner in corners:
        assert all(0 <= c <= n - roi for c, n, roi in zip(corner, shape, ROI))
        inside[tuple(
            slice(0 if c == 0 else c + margin * CELL, n if c + roi == n else c + roi - margin * CELL)
            for c, n, roi in zip(corner, shape, ROI)
        )] = True  # fmt: skip
    assert inside[voxels(wanted, shape)].all()


def test_windows_follow_a_column_instead_of_filling_its_box():
    """200 mm aside over 800 mm of height, at 2 mm."""
    shape = (200, 150, 400)
    wanted = np.zeros((25, 19, 50), bool)
    for k in range(50):
        wanted[3 + k * 12 // 50 : 9 + k * 12 // 50, 6:12, k] = True
    along, over = windows_along(wanted, shape, ROI, 1), windows_over(shape, ROI, 0.25)
    assert len(along) <= 6 < len(over) / 3


def test_number_of_windows_grows_with_the_column_and_not_with_the_scan():
    wanted = np.zeros((25, 25, 50), bool)
    wanted[8:14, 8:14] = True
    short = windows_along(wanted, (200, 200, 400), ROI, 1)
    wide = np.zeros((60, 60, 50), bool)
    wide[8:14, 8:14] = True
    assert len(windows_along(wide, (480, 480, 400), ROI, 1)) == len(short) == 5
    half = wanted.copy()
    half[:, :, 25:] = False
    assert len(windows_along(half, (200, 200, 400), ROI, 1)) == 3


def computed(wanted, shape, size) -> int:
    """Voxels that a network is run on."""
    return len(windows_along(wanted, shape, size, 2)) * int(np.prod(size))


@pytest.mark.parametrize("seed", range(6))
def test_the_size_of_windows_saves_work_and_memory_stays_bounded(seed):
    shape = (230, 210, 300)
    wanted = leaning_column(shape, seed)
    size = size_along(wanted, shape, ROI, 2)
    assert computed(wanted, shape, size) <= computed(wanted, shape, ROI)
    assert np.prod(size) <= 2 * np.prod(ROI) and not any(n % CELL for n in size)
    corners = windows_along(wanted, shape, size, 2)
    assert covered_cells(corners, shape, size, 2)[wanted].all()


def test_a_column_a_little_wider_than_a_core_needs_one_window_for_each_level():
    """Nine cells wide, where windows of 96 voxels show eight with a margin of two around."""
    shape = (240, 240, 320)
    wanted = np.zeros((30, 30, 40), bool)
    wanted[10:19, 10:19] = True
    size = size_along(wanted, shape, ROI, 2)
    assert size[:2] == (112, 112)
    assert computed(wanted, shape, size) < 0.45 * computed(wanted, shape, ROI)


def test_windows_are_no_larger_than_a_small_image_and_have_room_for_their_margin():
    assert size_along(np.ones((4, 4, 4), bool), (30, 30, 30), ROI, 2) == (32, 32, 32)
    assert min(size_along(np.ones((20, 20, 20), bool), (160, 160, 160), (40, 40, 40), 2)) > 32


def test_one_window_holds_a_small_image_whole():
    shape = (55, 35, 50)
    wanted = np.ones((7, 5, 7), bool)
    assert windows_along(wanted, shape, fitting(ROI, shape), 1) == [(0, -2, -3)]
    assert covered_cells([(0, -2, -3)], shape, fitting(ROI, shape), 1).all()
    assert windows_along(np.ones((1, 1, 2), bool), (8, 3, 16), (8, 8, 16), 1) == [(0, -2, 0)]


def test_nothing_wanted_needs_no_window():
    assert windows_along(np.zeros((5, 5, 5), bool), (40, 40, 40), (32, 32, 32), 1) == []


def test_a_window_without_room_for_its_margin_is_refused():
    with pytest.raises(ValueError, match="margin"):
        windows_along(np.ones((5, 5, 5), bool), (40, 40, 40), (32, 16, 32), 1)
