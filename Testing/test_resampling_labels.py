"""Labels on the scan's grid: every structure at its place, decided by interpolated probabilities, in little memory."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from SpineContextSegLib import resampling
from SpineContextSegLib.resampling import labels_on_grid, ras_grid, resample_intensity
from SpineContextSegLib.volume import Grid, Volume
from Testing.geometry import GRIDS, LPS, PARALLEL_TO_WORLD, centered_grid, indices_in, within, world_positions

BLOCK_MM = 17.0
HALF = 127.5


def blocks(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0..6 of a pattern of world blocks without any symmetry, and the distance to the next block side in mm."""
    scaled = (positions - np.array([12.5, -31.0, 204.25])) / BLOCK_MM
    cell = np.floor(scaled).astype(int)
    label = np.mod(cell[..., 0] + 2 * cell[..., 1] + 4 * cell[..., 2], 7)
    side = np.abs(scaled - np.rint(scaled)).min(axis=-1) * BLOCK_MM
    return label.astype(np.uint8), side


def one_hot(labels: np.ndarray) -> dict[int, np.ndarray]:
    return {value: np.where(labels == value, 255, 0).astype(np.uint8) for value in range(1, 7)}


def test_the_block_pattern_has_no_symmetry():
    """So that the tests below fail for any mirrored or swapped axis."""
    positions = world_positions(centered_grid((1, 1, 1), (60, 60, 60)))
    label, side = blocks(positions)
    inner = side > 1.0
    for flips in itertools.product((1, -1), repeat=3):
        for order in itertools.permutations(range(3)):
            if (flips, order) != ((1, 1, 1), (0, 1, 2)):
                turned = label.transpose(order)[tuple(slice(None, None, f) for f in flips)]
                assert (turned != label)[inner].mean() > 0.2, (flips, order)


@pytest.mark.parametrize("spacing", [1.0, 1.5])
@pytest.mark.parametrize("name", GRIDS)
def test_world_blocks_arrive_at_their_world_place(name, spacing):
    target = GRIDS[name]
    grid = ras_grid(target, spacing)
    probabilities = one_hot(blocks(world_positions(grid))[0])
    labels = labels_on_grid(probabilities, grid, target, HALF)
    expected, side = blocks(world_positions(target))
    clear = side > spacing
    assert labels.dtype == np.uint8 and clear.mean() > 0.4
    np.testing.assert_array_equal(labels[clear], expected[clear])


@pytest.mark.parametrize("name", GRIDS)
def test_labels_survive_the_way_there_and_back(name):
    """A scan's own blocks, at least five voxels and 6 mm wide, from its grid to 1 mm and back."""
    source = GRIDS[name]
    width = np.maximum(5, np.ceil(6 / source.spacing_mm)).astype(int)[::-1]
    cell = np.meshgrid(*(np.arange(n) // w for n, w in zip(source.shape, width)), indexing="ij")
    place = np.meshgrid(*(np.arange(n) % w for n, w in zip(source.shape, width)), indexing="ij")
    labels = np.mod(cell[2] + 2 * cell[1] + 4 * cell[0], 7).astype(np.uint8)
    grid = ras_grid(source, 1.0)
    probabilities = {
        value: np.rint(resample_intensity(Volume(array, source.affine), grid, 0.0)).astype(np.uint8)
        for value, array in one_hot(labels).items()
    }
    back = labels_on_grid(probabilities, grid, source, HALF)
    if np.allclose(source.spacing_mm, 1.0) and name in PARALLEL_TO_WORLD:
        np.testing.assert_array_equal(back, labels)
    # One millimeter, and at least one voxel, to every side of a block and to the edge of the scan.
    rim = np.maximum(1, np.ceil(1 / source.spacing_mm)).astype(int)[::-1]
    clear = np.logical_and.reduce([(p >= r) & (p < w - r) for p, r, w in zip(place, rim, width)])
    clear &= np.pad(np.ones(np.array(source.shape) - 2, bool), 1)
    assert clear.sum() > 500
    np.testing.assert_array_equal(back[clear], labels[clear])


@pytest.mark.parametrize("name", GRIDS)
def test_a_marker_stays_at_its_world_position(name):
    """The center of gravity of a soft spot, in world coordinates, on both ways."""
    source = GRIDS[name]
    center = source.corners().mean(axis=0) + np.array([3.0, -2.0, 1.0])

    def spot(grid: Grid) -> np.ndarray:
        squared = ((world_positions(grid) - center) ** 2).sum(axis=-1)
        return np.where(squared < 90.0, 255 * np.exp(-squared / 32.0), 0.0).astype(np.float32)

    def gravity(grid: Grid, weights: np.ndarray) -> np.ndarray:
        return np.average(world_positions(grid).reshape(-1, 3), axis=0, weights=weights.ravel())

    grid = ras_grid(source, 1.0)
    upright = resample_intensity(Volume(spot(source), source.affine), grid, 0.0)
    np.testing.assert_allclose(gravity(grid, upright), gravity(source, spot(source)), atol=0.05)
    labels = labels_on_grid({26: np.rint(spot(grid)).astype(np.uint8)}, grid, source, HALF)
    np.testing.assert_allclose(gravity(source, labels), gravity(source, spot(source) > 127.5), atol=0.2)


@pytest.mark.parametrize("inside", [HALF, 102])
@pytest.mark.parametrize("name", GRIDS)
def test_labels_follow_interpolated_probabilities(name, inside):
    """Against scipy's interpolation of whole float volumes."""
    target = GRIDS[name]
    grid = ras_grid(target, 3.0)
    generator = np.random.default_rng(4)
    share = generator.dirichlet((1.0, 0.6, 0.4, 0.3), grid.shape)
    probabilities = {v: np.floor(share[..., n] * 255).astype(np.uint8) for n, v in enumerate((0, 1, 26, 61)) if v}
    assert_interpolated(probabilities, grid, target, inside)


@pytest.mark.parametrize("inside", [HALF, 102])
@pytest.mark.parametrize("name", GRIDS)
def test_labels_of_a_soft_spot_follow_its_slopes_to_the_end(name, inside):
    """The same where structures fill a small part of the grid and fade out slowly."""
    target = GRIDS[name]
    grid = ras_grid(target, 3.0)
    offset = world_positions(grid) - target.corners().mean(axis=0)
    spot = 250 * np.exp(-(offset**2).sum(axis=-1) / 60.0)
    upper = np.clip(0.5 + offset[..., 2] / 10, 0, 1)
    probabilities = {1: (spot * upper).astype(np.uint8), 26: (spot * (1 - upper)).astype(np.uint8)}
    assert_interpolated(probabilities, grid, target, inside)


def assert_interpolated(probabilities: dict[int, np.ndarray], grid: Grid, target: Grid, inside: float) -> None:
    labels = labels_on_grid(probabilities, grid, target, inside)
    indices = indices_in(grid, world_positions(target))[..., ::-1]
    stack = np.array([
        map_coordinates(p.astype(float), np.moveaxis(indices, -1, 0), order=1, mode="nearest")
        for p in probabilities.values()
    ])
    expected = np.array(list(probabilities))[stack.argmax(axis=0)] * (stack.sum(axis=0) >= inside)
    ordered = np.sort(stack, axis=0)
    clear = (np.abs(stack.sum(axis=0) - inside) > 0.01) & ((ordered[-1] - ordered[-2] > 0.01) | (expected == 0))
    assert clear.mean() > 0.9 and len(np.unique(expected[clear])) == 1 + len(probabilities)
    np.testing.assert_array_equal(labels[clear], expected[clear])


def test_structures_are_summed_before_the_decision():
    grid = Grid((4, 4, 4), np.eye(4))
    weak = np.full(grid.shape, 70, np.uint8)
    assert (labels_on_grid({1: weak, 26: weak + 1}, grid, grid, HALF) == 26).all()
    assert (labels_on_grid({1: weak}, grid, grid, HALF) == 0).all()
    assert (labels_on_grid({1: weak}, grid, grid, 70) == 1).all()
    assert (labels_on_grid({1: weak}, grid, grid, 71) == 0).all()


def test_a_region_of_the_grid_serves_the_whole_scan():
    """Labels reach to the edge of the region and not beyond it."""
    target = GRIDS["oblique"]
    grid = ras_grid(target, 1.0)
    box = (slice(20, 60), slice(25, 50), slice(30, 55))
    region = grid.crop(box)
    labels = labels_on_grid({5: np.full(region.shape, 255, np.uint8)}, region, target, HALF)
    inside = within(region, world_positions(target), -0.49)
    beyond = ~within(region, world_positions(target), -0.51)
    assert inside.any() and (labels[inside] == 5).all() and (labels[beyond] == 0).all()


@pytest.mark.parametrize("name", GRIDS)
def test_labels_do_not_depend_on_the_slabs(name, monkeypatch):
    target = GRIDS[name]
    grid = ras_grid(target, 1.5)
    probabilities = one_hot(blocks(world_positions(grid))[0])
    for array in probabilities.values():
        # Only a leaning column is left, so that the slabs have boxes of their own.
        k, j, i = np.indices(grid.shape)
        array[np.hypot(j - 10 - k / 4, i - 25 + k / 4) > 6] = 0
    labels = labels_on_grid(probabilities, grid, target, HALF)
    assert labels.any()
    monkeypatch.setattr(resampling, "LABEL_SLAB_VOXELS", 2000)
    np.testing.assert_array_equal(labels_on_grid(probabilities, grid, target, HALF), labels)


@pytest.mark.parametrize("name", ["lps", "sheared_oblique"])
def test_values_that_are_not_written_still_keep_their_place(name):
    target = GRIDS[name]
    grid = ras_grid(target, 1.5)
    probabilities = one_hot(blocks(world_positions(grid))[0])
    every = labels_on_grid(probabilities, grid, target, HALF)
    some = labels_on_grid(probabilities, grid, target, HALF, {2, 5})
    np.testing.assert_array_equal(some, np.where(np.isin(every, [2, 5]), every, 0))


def test_nothing_found_and_nothing_asked_give_background():
    grid = GRIDS["lps"]
    upright = ras_grid(grid, 2.0)
    assert not labels_on_grid({}, upright, grid, HALF).any()
    assert not labels_on_grid({1: np.full(upright.shape, 127, np.uint8)}, upright, grid, HALF).any()


def test_memory_on_a_large_scan_is_little_more_than_its_labels():
    target = centered_grid((0.75, 0.75, 1.0), (384, 384, 600), LPS)
    assert target.shape == (600, 512, 512)
    grid = ras_grid(target, 1.0)
    spine = np.zeros(grid.shape, np.uint8)
    spine[:, 100:200, 150:240] = 255
    tracemalloc.start()
    try:
        labels = labels_on_grid({1: spine, 26: np.zeros_like(spine)}, grid, target, HALF)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert labels.any()
    assert peak < labels.nbytes + spine.nbytes + 120e6, f"{peak / 1e6:.0f} MB"
