"""What lies at the border of a scan: of the scan as it was taken, also where it is turned or its gantry was tilted, and
where it was enlarged, masked or resampled since, so that padding lies around it."""

from __future__ import annotations

import itertools

import numpy as np

from .volume import Grid, Volume


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


def before_padding(scan: Volume, points: np.ndarray, step_mm: np.ndarray) -> np.ndarray:
    """Which points lie within one step of padding: of one value from there on to a face of the array, along its axes.

    Args:
        scan: any values (k, j, i).
        points, step_mm: as for `at_border`.

    Returns:
        (n,) bool
    """
    to_indices = np.linalg.inv(scan.affine)
    normals = to_indices[:3, :3]
    exact = np.asarray(points) @ normals.T + to_indices[:3, 3]
    indices = np.rint(exact).astype(np.int64)
    size = np.array(scan.array.shape[::-1])
    layer = np.linalg.norm(normals * step_mm, axis=1)
    inside = ((indices >= 0) & (indices < size)).all(1)
    found = np.zeros(len(indices), bool)
    for axis, way in itertools.product(range(3), (-1, 1)):
        # Two voxels of noise are alike now and then, three hardly.
        first = np.rint(exact[:, axis] + way * layer[axis]).astype(np.int64)
        face = 0 if way < 0 else size[axis] - 1
        where = np.flatnonzero(inside & ~found & (way * (face - first) > 1))
        value = _at(scan, indices[where], axis, np.full(len(where), face))
        same = _at(scan, indices[where], axis, first[where]) == value
        where, value, step = where[same], value[same], first[where[same]] + way
        for depth in range(size[axis]):
            at = step + way * depth
            within = way * (face - at) > 0
            if not within.any():
                break
            kept = ~within
            kept[within] = _at(scan, indices[where[within]], axis, at[within]) == value[within]
            where, value, step = where[kept], value[kept], step[kept]
        found[where] = True
    return found


def _at(scan: Volume, indices: np.ndarray, axis: int, moved: np.ndarray) -> np.ndarray:
    """(n,) values at indices (n, 3) along i, j, k, of which those along one axis are others (n,)."""
    place = [moved if n == axis else indices[:, n] for n in range(3)]
    return scan.array[place[2], place[1], place[0]]
