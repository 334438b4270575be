"""Crowds of votes that are no vertebra: where the votes of part of an arch err, they meet in a disc."""

from __future__ import annotations

import numpy as np

from .volume import Grid

# What counts as the middle of a body; three quarters of it may be missing, as at a hollow endplate.
_CORE_MM = 5.0
_LEAST_BONE = 0.25
# A lesion may have taken the middle of a body, but not most of the vertebra. A tiny piece is what only the border of a
# scan leaves.
_SMALL, _TINY = 0.35, 0.15


def ghosts(inside: np.ndarray, grid: Grid, centers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which supposed vertebrae, from top to bottom, are none: no bone in the middle, and much less than a neighbor.

    The first and the last one stay: the scan may end in them, and a C1 has little bone in its middle.

    Args:
        inside: bool (k, j, i) on `grid`, vertebra.
        centers: (n, 3) middles of the bodies, mm.
        sizes: (n,) voxels of each.

    Returns:
        (n,) bool
    """
    result = np.zeros(len(sizes), bool)
    larger = np.maximum(sizes[:-2], sizes[2:])
    hollow = _bone_share(inside, grid, centers[1:-1]) < _LEAST_BONE
    result[1:-1] = sizes[1:-1] < np.where(hollow, _SMALL, _TINY) * larger
    return result


def _bone_share(inside: np.ndarray, grid: Grid, centers: np.ndarray) -> np.ndarray:
    """(n,) part of the places around each center that lies in bone."""
    step = np.arange(-_CORE_MM, _CORE_MM + 1)
    ball = np.stack(np.meshgrid(step, step, step), -1).reshape(-1, 3)
    ball = ball[(ball**2).sum(1) <= _CORE_MM**2]
    places = (centers[:, None] + ball - grid.affine[:3, 3]) / grid.spacing_mm
    indices = np.rint(places[..., ::-1]).astype(int)
    seen = ((indices >= 0) & (indices < grid.shape)).all(-1)
    clipped = np.clip(indices, 0, np.array(grid.shape) - 1)
    return (inside[tuple(np.moveaxis(clipped, -1, 0))] & seen).mean(1)
