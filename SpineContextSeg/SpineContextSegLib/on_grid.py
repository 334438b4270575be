"""Voxels brought to another grid of the same points, as files store axes in any order and direction."""

from __future__ import annotations

import numpy as np

from .errors import InputRefused
from .volume import Grid, Volume

# A twentieth of a voxel: headers in single precision differ by less, a half-voxel shift by more.
_TOLERANCE_VOXELS = 0.05


def on_grid_of(volume: Volume, grid: Grid, names: tuple[str, str]) -> np.ndarray:
    """The voxels (k, j, i) of `volume` in the order in which `grid` stores the same points; nothing is resampled.

    Raises:
        InputRefused: the two aren't the same set of points; `names` says whose they are.
    """
    index_map = np.linalg.inv(grid.affine) @ volume.affine
    turn = np.rint(index_map[:3, :3]).astype(int)
    size, own_size = np.array(grid.shape[::-1]), np.array(volume.array.shape[::-1])
    is_reordering = (np.abs(turn).sum(0) == 1).all() and (np.abs(turn).sum(1) == 1).all()
    if not is_reordering or (np.abs(turn) @ own_size != size).any():
        difference = f"{_described(volume.grid)} against {_described(grid)}"
        raise InputRefused(_different_grids(names, difference))
    start = np.where(turn.sum(1) < 0, size - 1, 0)
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in own_size])).reshape(3, -1).T
    apart = np.linalg.norm(volume.grid.world(ends) - grid.world(ends @ turn.T + start), axis=1).max()
    if apart > _TOLERANCE_VOXELS * grid.spacing_mm.min():
        raise InputRefused(_different_grids(names, f"up to {apart:.2f} mm apart"))
    reordered = volume.array.T.transpose(np.abs(turn).argmax(axis=1))
    return np.flip(reordered, axis=tuple(np.flatnonzero(turn.sum(1) < 0))).T


def labels_on_grid_of(labelled: Volume, grid: Grid, names: tuple[str, str]) -> np.ndarray:
    """As `on_grid_of`, also of labels that cover a part of the grid, as programs crop them; beyond it there are none.

    Raises:
        InputRefused: as `on_grid_of`.
    """
    if labelled.array.shape == grid.shape:
        return np.ascontiguousarray(on_grid_of(labelled, grid, names))
    box = grid.box_of(labelled.grid)
    try:
        part = on_grid_of(labelled, grid.crop(box), names)
    except InputRefused:
        # The sentence is to speak of the whole grid.
        return on_grid_of(labelled, grid, names)
    whole = np.zeros(grid.shape, part.dtype)
    whole[box] = part
    return whole


def _different_grids(names: tuple[str, str], difference: str) -> str:
    return f"{names[0]} and {names[1]} don't lie on the same grid ({difference}): save both on the scan's own grid."


def _described(grid: Grid) -> str:
    sizes = "x".join(str(n) for n in grid.shape[::-1])
    return f"{sizes} voxels of {'x'.join(f'{step:.3g}' for step in grid.spacing_mm)} mm"
