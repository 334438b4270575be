"""Scans on the network's grid: every value at its place, averaged where it is coarser, and a crop like the whole."""

import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.resampling import ras_grid, resample_intensity
from SpineContextSegLib.volume import Grid, Volume, set_geometry, to_sitk
from Testing.geometry import GRIDS, LPS, PARALLEL_TO_WORLD, centered_grid, indices_in, within, world_positions

SLOPE = np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize("spacing", [1.0, 2.0, (1.0, 1.0, 1.5)])
@pytest.mark.parametrize("name", GRIDS)
def test_ras_grid_is_upright_and_covers_the_scan(name, spacing):
    source = GRIDS[name]
    grid = ras_grid(source, spacing)
    np.testing.assert_array_equal(grid.affine[:3, :3], np.diag(np.broadcast_to(spacing, 3)))
    low, high = source.corners().min(axis=0), source.corners().max(axis=0)
    assert (grid.corners().min(axis=0) <= low + 2e-3).all() and (grid.corners().max(axis=0) >= high - 2e-3).all()
    surplus = grid.extent_mm - (high - low)
    assert (surplus < np.broadcast_to(spacing, 3)).all(), "no more voxels than needed"


@pytest.mark.parametrize("name", ["upright", "lps", "sagittal"])
def test_ras_grid_keeps_the_voxel_centers_of_an_upright_scan(name):
    source = GRIDS[name]
    grid = ras_grid(source, source.spacing_mm[0])
    fractions = indices_in(source, world_positions(grid))
    np.testing.assert_allclose(fractions, np.rint(fractions), atol=1e-6)
    assert np.prod(grid.shape) == np.prod(source.shape)


@pytest.mark.parametrize("name", ["upright", "lps", "sagittal"])
def test_same_spacing_is_an_exact_copy(name):
    source = GRIDS[name]
    array = np.random.default_rng(1).integers(-1000, 3000, source.shape).astype(np.int16)
    grid = ras_grid(source, source.spacing_mm[0])
    out = resample_intensity(Volume(array, source.affine), grid)
    index = np.rint(indices_in(source, world_positions(grid))).astype(int)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, array[index[..., 2], index[..., 1], index[..., 0]])


@pytest.mark.parametrize("spacing", [1.0, 2.0, (1.0, 1.0, 1.5)])
@pytest.mark.parametrize("name", GRIDS)
def test_a_ramp_stays_a_ramp(name, spacing):
    source = GRIDS[name]
    ramp = (world_positions(source) @ SLOPE).astype(np.float32)
    grid = ras_grid(source, spacing)
    out = resample_intensity(Volume(ramp, source.affine), grid)
    positions = world_positions(grid)
    # Averaging reaches over edges, where values are held.
    inner = within(source, positions, 2 * np.ceil(np.max(spacing) / source.spacing_mm) + 1)
    assert inner.sum() > 50
    np.testing.assert_allclose(out[inner], (positions @ SLOPE)[inner], atol=1e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_fill_is_used_outside_the_scan_and_only_there(name):
    source = GRIDS[name]
    grid = ras_grid(source, 1.0)
    wider = grid.affine.copy()
    wider[:3, 3] -= 5.0
    grid = Grid(tuple(n + 10 for n in grid.shape), wider)
    out = resample_intensity(Volume(np.zeros(source.shape, np.int16), source.affine), grid, fill=-1000.0)
    positions = world_positions(grid)
    assert (out[within(source, positions, -0.5 + 1e-3)] == 0).all()
    assert (out[~within(source, positions, -0.5 - 1e-3)] == -1000).all()


@pytest.mark.parametrize("name", GRIDS)
def test_interpolation_agrees_with_simpleitk_where_nothing_is_averaged(name):
    source = GRIDS[name]
    array = np.random.default_rng(2).normal(0, 300, source.shape).astype(np.float32)
    grid = ras_grid(source, min(source.spacing_mm))
    out = resample_intensity(Volume(array, source.affine), grid)
    reference = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    set_geometry(reference, grid)
    expected = sitk.GetArrayFromImage(
        sitk.Resample(to_sitk(Volume(array, source.affine)), reference, sitk.Transform(), sitk.sitkLinear, -1000.0)
    )
    inner = within(source, world_positions(grid), -0.5 + 1e-3)
    np.testing.assert_allclose(out[inner], expected[inner], atol=0.01)


@pytest.mark.parametrize("name", ["fine", "lps", "oblique", "sheared"])
def test_coarsening_averages_noise_away(name):
    source = centered_grid((0.4, 0.4, 0.5), (30, 30, 30), GRIDS[name].directions)
    noise = np.random.default_rng(3).normal(0, 100, source.shape).astype(np.float32)
    grid = ras_grid(source, 2.0)
    out = resample_intensity(Volume(noise, source.affine), grid)
    inner = within(source, world_positions(grid), 5)
    # 4 or 5 voxels along each axis enter a value; a picked voxel would keep a deviation of 100.
    assert out[inner].std() < 15


@pytest.mark.parametrize("spacing", [0.4, 0.5, 0.6, 0.75, 0.8, 1.0, 1.2])
def test_a_turned_scan_looks_as_sharp_as_an_upright_one(spacing):
    """Onto 1.5 mm: what is left of white noise, with SD 100, differs by less than a third at every ratio."""
    left = {}
    for name in ("upright", "oblique"):
        source = centered_grid((spacing,) * 3, (round(40 / spacing),) * 3, GRIDS[name].directions)
        noise = np.random.default_rng(3).normal(0, 100, source.shape).astype(np.float32)
        grid = ras_grid(source, 1.5)
        inner = within(source, world_positions(grid), 5)
        left[name] = resample_intensity(Volume(noise, source.affine), grid)[inner].std()
    assert left["oblique"] == pytest.approx(left["upright"], rel=0.33)


@pytest.mark.parametrize("name", ["lps", "oblique"])
def test_voxels_without_a_number_are_read_as_fill(name):
    source = GRIDS[name]
    array = np.zeros(source.shape, np.float32)
    array[10:13, 20, 20] = (np.nan, np.inf, -np.inf)
    out = resample_intensity(Volume(array, source.affine), ras_grid(source, 1.0), fill=-1000.0)
    assert np.isfinite(out).all() and out.min() == -1000


def test_doubles_beyond_float32_count_as_not_finite():
    array = np.full((9, 9, 9), 100.0)
    array[4, 4, 4], array[0, 0, 0] = 1e39, -1e300
    volume = Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]))
    for grid in (volume.grid, ras_grid(volume.grid, 3.0)):
        result = resample_intensity(volume, grid)
        assert np.isfinite(result).all() and result.max() <= 100 and np.median(result) == 100


def test_scan_is_left_unchanged():
    source = GRIDS["oblique"]
    array = np.full(source.shape, np.nan, np.float32)
    resample_intensity(Volume(array, source.affine), ras_grid(source, 2.0))
    assert np.isnan(array).all()


def averaging(positions: np.ndarray, inputs: int) -> np.ndarray:
    """(outputs, inputs): the mean of linear interpolation over the wider voxel, by summing up many points."""
    step = abs(np.diff(positions)).mean() if len(positions) > 1 else 1.0
    width = np.sqrt(2 * max(0.0, step**2 - 1))
    points = positions[:, None] + width * ((np.arange(4000) + 0.5) / 4000 - 0.5)
    return np.stack([np.interp(points, np.arange(inputs), unit).mean(axis=1) for unit in np.eye(inputs)], axis=1)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", PARALLEL_TO_WORLD)
def test_values_follow_the_plain_definition(name, dtype):
    """Axis by axis with whole matrices, at 4 mm as in the coarse look: to 0.05 HU of values up to 3000."""
    source = GRIDS[name]
    array = np.random.default_rng(5).integers(0, 3000, source.shape).astype(dtype)
    grid = ras_grid(source, 4.0)
    out = resample_intensity(Volume(array, source.affine), grid)
    indices = indices_in(source, world_positions(grid))
    expected, order = array.astype(float), []
    for axis in range(3):
        lines = [np.moveaxis(indices[..., 2 - axis], n, 0)[:, 0, 0] for n in range(3)]
        order.append(int(np.argmax([np.ptp(line) for line in lines])))
        matrix = averaging(lines[order[-1]], source.shape[axis])
        expected = np.moveaxis(np.tensordot(matrix, expected, (1, axis)), 0, axis)
    expected = expected.transpose(np.argsort(order))
    inner = within(source, world_positions(grid), -0.5 + 1e-3)
    assert inner.sum() > 50
    np.testing.assert_allclose(out[inner], expected[inner], atol=0.05)


def parts(shape) -> list[tuple[slice, slice, slice]]:
    """Crops: the middle, one voxel, both ends."""
    middle = tuple(slice(n // 3, n // 3 + max(1, n // 3)) for n in shape)
    voxel = tuple(slice(n // 2, n // 2 + 1) for n in shape)
    return [middle, voxel, tuple(slice(0, 3) for _ in shape), tuple(slice(max(0, n - 4), n) for n in shape)]


@pytest.mark.parametrize("spacing", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("name", GRIDS)
def test_a_crop_has_the_values_of_the_whole(name, spacing):
    """To rounding, and wherever the crop lies; a float scan may have holes."""
    source = GRIDS[name]
    grid = ras_grid(source, spacing)
    generator = np.random.default_rng(6)
    for dtype in (np.int16, np.uint16, np.float32):
        array = generator.integers(0, 3000, source.shape).astype(dtype)
        if dtype == np.float32:
            array[tuple(generator.integers(0, n, 40) for n in source.shape)] = np.nan
        volume = Volume(array, source.affine)
        whole = resample_intensity(volume, grid)
        for part in parts(grid.shape):
            np.testing.assert_allclose(resample_intensity(volume, grid.crop(part)), whole[part], atol=2e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_beside_the_scan_holds_fill(name):
    source = GRIDS[name]
    affine = ras_grid(source, 2.0).affine.copy()
    for shift in np.vstack([np.eye(3), -np.eye(3)]) * 500.0:
        beside = affine.copy()
        beside[:3, 3] += shift
        out = resample_intensity(Volume(np.zeros(source.shape, np.int16), source.affine), Grid((9, 8, 7), beside), -7.0)
        assert (out == -7.0).all()


@pytest.mark.parametrize("axes", [LPS, GRIDS["oblique"].directions, GRIDS["sheared"].directions])
def test_a_crop_of_a_large_scan_needs_little_memory(axes):
    source = centered_grid((0.75, 0.75, 1.0), (384, 384, 600), axes)
    # A scan of a gigabyte that shares the memory of one plane.
    array = np.broadcast_to(np.random.default_rng(7).normal(0, 100, source.shape[1:]), source.shape)
    grid = ras_grid(source, 2.0)
    part = tuple(slice(n // 2, n // 2 + 30) for n in grid.shape)
    tracemalloc.start()
    try:
        resample_intensity(Volume(array, source.affine), grid.crop(part))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6, f"{peak / 1e6:.0f} MB"
