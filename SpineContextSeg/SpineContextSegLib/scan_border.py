"""What lies at the border of a scan: of the scan as it was taken, also where it is turned or its gantry was tilted."""

from __future__ import annotations

import numpy as np

from .volume import Grid


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
