"""The border of a scan, on the upright grid around it: one layer of voxels, however the scan lies in space."""

import numpy as np
import pytest
from geometry import GRIDS, PARALLEL_TO_WORLD, indices_in, world_positions

from SpineContextSegLib.resampling import ras_grid
from SpineContextSegLib.scan_border import at_border


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
