"""What lies at the border of a scan: of the scan as it was taken, also where it is turned or its gantry was tilted, and
where it was enlarged, masked or turned since, so that filling lies around it."""

from __future__ import annotations

import itertools

import numpy as np

from .volume import Grid, Volume

# What scans are filled with that were turned, registered or padded: nothing in a body that a CT shows as a plain 0 or
# as air reaches from the corners of its grid to a vertebra.
_AIR_HU = -900
_LEAST_CORNERS = 4


def at_border(scan: Grid, points: np.ndarray, step_mm: np.ndarray) -> np.ndarray:
    """Which points lie within one step of a face of the scan: of voxels one step apart, those are one layer.

    Args:
        scan: the scan's own grid; its faces are the outer edges of its voxels.
        points: (n, 3) RAS in mm. Those outside of the scan aren't at its border: they would make the layer thicker.
        step_mm: (3,) between voxels of the upright grid that the points are of, along R, A, S.

    Returns:
        (n,) bool
    """
    to_indices = np.linalg.inv(scan.affine)
    normals = to_indices[:3, :3]
    indices = np.asarray(points) @ normals.T + to_indices[:3, 3]
    from_face = np.minimum(indices + 0.5, np.array(scan.shape[::-1]) - 0.5 - indices)
    # How far one step of the upright grid leads across each pair of faces, in voxels of the scan.
    layer = np.linalg.norm(normals * step_mm, axis=1)
    return (from_face >= 0).all(1) & (from_face < layer).any(1)


def before_filling(scan: Volume, points: np.ndarray, step_mm: np.ndarray) -> np.ndarray:
    """Which points lie within one step of where filling begins, which follows to a face of the array.

    Args:
        scan: HU or signal (k, j, i).
        points, step_mm: as for `at_border`.

    Returns:
        (n,) bool
    """
    filling, found = filling_of(scan.array), np.zeros(len(points), bool)
    if not len(filling):
        return found
    to_indices = np.linalg.inv(scan.affine)
    normals = to_indices[:3, :3]
    exact = (normals @ np.asarray(points).T + to_indices[:3, 3:])[::-1]
    nearest, last = np.rint(exact).astype(np.int64), np.array(scan.array.shape)[:, None] - 1
    layer = np.linalg.norm(normals * step_mm, axis=1)[::-1]
    for axis, toward in itertools.product(range(3), (-1, 1)):
        beyond = nearest.copy()
        beyond[axis] = np.rint(exact[axis] + toward * layer[axis])
        inside = np.flatnonzero(((beyond >= 0) & (beyond <= last)).all(0))
        found[inside] |= only_filling(scan.array, filling, beyond[:, inside].T, axis, toward)
    return found


def filling_of(values: np.ndarray) -> np.ndarray:
    """(n,) what a scan (k, j, i) that was turned, registered or padded is filled with, where nothing was scanned."""
    corners, counts = np.unique(values[np.ix_(*[(0, -1)] * 3)], return_counts=True)
    return corners[(counts >= _LEAST_CORNERS) & ((corners == 0) | (corners <= _AIR_HU))]


def only_filling(
    values: np.ndarray, filling: np.ndarray, indices_kji: np.ndarray, axis: int, toward: int
) -> np.ndarray:
    """(n,) bool, beyond which of the voxels (n, 3), and in which, there is nothing but filling along an axis."""
    found = np.isin(values[tuple(indices_kji.T)], filling)
    lines = np.moveaxis(values, axis, -1)[tuple(np.delete(indices_kji[found], axis, axis=1).T)][:, ::-toward]
    scanned = ~np.isin(lines, filling)
    filled = np.where(scanned.any(1), scanned.argmax(1), lines.shape[1])
    place = indices_kji[found, axis]
    found[found] = filled > (place if toward < 0 else values.shape[axis] - 1 - place)
    return found
