"""The border of a scan, on the upright grid around it: one layer of voxels, however the scan lies in space."""

import numpy as np
import pytest
from geometry import GRIDS, PARALLEL_TO_WORLD, indices_in, world_positions

from SpineContextSegLib.resampling import ras_grid
from SpineContextSegLib.scan_border import at_border, before_filling
from SpineContextSegLib.volume import Volume


def border_of(scan, spacing_mm):
    """bool (k, j, i) on the upright grid, and that grid."""
    grid = ras_grid(scan, spacing_mm)
    found = at_border(scan, world_positions(grid).reshape(-1, 3), grid.spacing_mm)
    return found.reshape(grid.shape), grid


@pytest.mark.parametrize("spacing_mm", [1.5, (1.0, 2.0, 3.0)])
@pytest.mark.parametrize("name", PARALLEL_TO_WORLD)
def test_of_an_upright_scan_it_is_the_outer_planes(name, spacing_mm):
    found, grid = border_of(GRIDS[name], spacing_mm)
    outer = np.ones(grid.shape, bool)
    outer[1:-1, 1:-1, 1:-1] = False
    assert np.array_equal(found, outer)


@pytest.mark.parametrize("name", [name for name in GRIDS if name not in PARALLEL_TO_WORLD])
def test_of_a_slanted_scan_it_is_a_layer_within_its_faces(name):
    scan = GRIDS[name]
    found, grid = border_of(scan, 1.5)
    indices = indices_in(scan, world_positions(grid))
    last = np.array(scan.shape[::-1]) - 1
    inside = ((indices >= -0.5) & (indices <= last + 0.5)).all(-1)
    assert not found[~inside].any()
    # Distances across a face are shorter than along the axis where axes are sheared.
    normals_mm = 1 / np.linalg.norm(np.linalg.inv(scan.affine[:3, :3]), axis=1)
    depth_mm = (np.minimum(indices + 0.5, last + 0.5 - indices) * normals_mm).min(-1)
    assert np.array_equal(found[inside], depth_mm[inside] < 1.5)
    volume_mm3 = scan.voxel_volume_mm3 * np.prod(last + 1)
    surface_mm2 = 2 * volume_mm3 * (1 / (normals_mm * (last + 1))).sum()
    assert found.sum() * 1.5**2 == pytest.approx(surface_mm2, rel=0.12)


@pytest.mark.parametrize("spacing_mm", [1.5, (1.0, 2.0, 3.0)])
@pytest.mark.parametrize("name", GRIDS)
def test_where_filling_begins_lies_a_border(name, spacing_mm):
    """A scan enlarged by some layers has its border where it had it."""
    scan = GRIDS[name]
    noise = np.random.default_rng(0).integers(0, 2000, scan.shape, np.int16)
    grid = ras_grid(scan, spacing_mm)
    layer = np.linalg.norm(np.linalg.inv(scan.affine[:3, :3]) * grid.spacing_mm, axis=1)
    layers = int(np.ceil(layer.max())) + 5
    to_enlarged = np.eye(4)
    to_enlarged[:3, 3] = -layers
    volume = Volume(np.pad(noise, layers, constant_values=-1024), scan.affine @ to_enlarged)
    points = world_positions(grid).reshape(-1, 3)
    indices = indices_in(scan, points)
    last = np.array(scan.shape[::-1]) - 1
    depth = np.minimum(indices + 0.5, last + 0.5 - indices)
    found = before_filling(volume, points, grid.spacing_mm)
    inside = (depth >= 0).all(1)
    assert found[inside & (depth < layer - 1e-6).any(1)].all()
    assert not found[inside & (depth > layer + 1e-6).all(1)].any()
    assert not before_filling(Volume(noise, scan.affine), points, grid.spacing_mm).any()


def test_what_ends_in_a_slanted_plane_ends_there():
    """As where a scan was turned; resampling has mixed its last voxels with the filling."""
    shape = (40, 40, 40)
    noise = np.random.default_rng(0).normal(0, 20, shape)
    k, _, i = np.indices(shape)
    share = np.clip(k - 12 - 0.2 * i, 0, 1)
    volume = Volume((share * noise + (1 - share) * -1024).astype(np.int16), np.eye(4))
    column = np.stack([np.full(40, 20), np.full(40, 20), np.arange(40)], 1)
    found = before_filling(volume, column.astype(float), np.ones(3))
    assert found[16:17].all() and not found[18:].any()


def test_gas_is_no_filling():
    volume = Volume(np.random.default_rng(0).integers(0, 9999, (30, 30, 30), np.int16), np.eye(4))
    volume.array[5:20, 5:20, 5:12] = -1024
    points = np.argwhere(np.ones((30, 30, 30)))[:, ::-1]
    assert not before_filling(volume, points, np.ones(3)).any()
