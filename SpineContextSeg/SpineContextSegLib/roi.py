"""An oriented box limits a run: cut the volume around it, segment the part, put the labels back where they belong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .errors import InputRefused
from .volume import Grid, Volume

# The network needs to see what surrounds a vertebra to tell it from a rib or a hip.
MARGIN_MM = 20.0
# A voxel center on the side of the box counts as inside, whatever rounding did to it.
SIDE_TOLERANCE_MM = 1e-6
_MISSED = "The region of interest holds no voxel of the volume: move it over the spine or make it larger."


@dataclass(frozen=True, eq=False)
class Box:
    """A box of any orientation; a transform may also have mirrored, stretched or sheared it.

    Args:
        box_to_ras: 4x4, (x, y, z, 1) along the sides of the box in mm, from its middle -> (R, A, S, 1), mm.
        size_mm: (3,) lengths of the sides, in the coordinates that `box_to_ras` starts from.
    """

    box_to_ras: np.ndarray
    size_mm: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "box_to_ras", np.array(self.box_to_ras, dtype=np.float64))
        object.__setattr__(self, "size_mm", np.array(self.size_mm, dtype=np.float64))
        if self.box_to_ras.shape != (4, 4) or self.size_mm.shape != (3,):
            raise ValueError(f"a box needs a 4x4 matrix and 3 sizes, not {self.box_to_ras} and {self.size_mm}")

    @property
    def is_flat(self) -> bool:
        """True where the box encloses nothing: a side of no length, or a transform that flattens it."""
        return not self.size_mm.all() or abs(np.linalg.det(self.box_to_ras[:3, :3])) < 1e-9

    def corners(self) -> np.ndarray:
        """(8, 3) RAS positions in mm."""
        corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * self.size_mm
        return corners @ self.box_to_ras[:3, :3].T + self.box_to_ras[:3, 3]

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Bool (n,): which points (n, 3) in RAS lie in the box, its sides included. Not for a flat one."""
        local = (points - self.box_to_ras[:3, 3]) @ np.linalg.inv(self.box_to_ras[:3, :3]).T
        return (np.abs(local) <= self.size_mm / 2 + SIDE_TOLERANCE_MM).all(1)


def text_of(boxes: Iterable[Box]) -> str:
    """Boxes as one line of text, each once."""
    numbers = ([*box.box_to_ras[:3].ravel(), *box.size_mm] for box in boxes)
    return ";".join(dict.fromkeys(" ".join(f"{number:.9g}" for number in each) for each in numbers))


def boxes_of(texts: Iterable[str]) -> list[Box]:
    """The boxes in texts of `text_of`, each once."""
    return [_box(text) for text in dict.fromkeys(part for text in texts for part in text.split(";") if part)]


def _box(text: str) -> Box:
    numbers = np.array(text.split(), float)
    return Box(np.vstack([numbers[:12].reshape(3, 4), [0, 0, 0, 1]]), numbers[12:])


def crop(volume: Volume, box: Box) -> tuple[Volume, tuple[slice, slice, slice]]:
    """The part of a volume that a run limited to `box` has to look at: with what lies within MARGIN_MM of it.

    Args:
        volume: (k, j, i) on any grid.
        box: in the volume's own RAS.

    Returns:
        The part (a view, no copy) with its own affine, and the slices (k, j, i) that cut it out.

    Raises:
        InputRefused: no voxel center lies in the box.
    """
    grid = volume.grid
    if box.is_flat:
        raise InputRefused(_MISSED)
    tight = _slices_around(grid, box, 0.0)
    if not any(mask.any() for mask in _planes_inside(grid.crop(tight), box)):
        raise InputRefused(_MISSED)
    slices_kji = _slices_around(grid, box, MARGIN_MM)
    return Volume(volume.array[slices_kji], grid.crop(slices_kji).affine), slices_kji


def inside(grid: Grid, box: Box) -> np.ndarray:
    """Bool (k, j, i): the voxels of `grid` whose centers lie in the box, its sides included."""
    mask = np.zeros(grid.shape, bool)
    if not box.is_flat:
        for plane, inside_plane in zip(mask, _planes_inside(grid, box)):
            plane[:] = inside_plane
    return mask


def paste(labels: Volume, slices_kji: tuple[slice, slice, slice], grid: Grid, box: Box) -> Volume:
    """Labels of a part on the grid of the whole, 0 wherever a voxel center lies outside the box.

    Args:
        labels: (k, j, i) of the part that `crop` returned.
        slices_kji: as `crop` returned them.
        grid: of the whole volume.
        box: as given to `crop`.

    Raises:
        ValueError: `labels` is not what `slices_kji` cut out of `grid`.
    """
    part = grid.crop(slices_kji)
    if not labels.grid.same_as(part):
        raise ValueError(f"labels of {labels.array.shape} voxels don't fit into the part of {part.shape} voxels")
    whole = np.zeros(grid.shape, labels.array.dtype)
    for plane, part_plane, inside_plane in zip(whole[slices_kji], labels.array, _planes_inside(part, box)):
        np.copyto(plane, part_plane, where=inside_plane)
    return Volume(whole, grid.affine)


def _slices_around(grid: Grid, box: Box, margin_mm: float) -> tuple[slice, slice, slice]:
    """The smallest slices (k, j, i) with every voxel center that lies in the box or within the margin around it."""
    to_index = np.linalg.inv(grid.affine)
    indices = box.corners() @ to_index[:3, :3].T + to_index[:3, 3]
    # How far a ball reaches along an index axis: right for sheared axes too.
    reach = (margin_mm + SIDE_TOLERANCE_MM) * np.linalg.norm(to_index[:3, :3], axis=1)
    first = np.ceil(indices.min(axis=0) - reach).clip(0, grid.shape[::-1]).astype(int)
    end = (np.floor(indices.max(axis=0) + reach) + 1).clip(0, grid.shape[::-1]).astype(int)
    k, j, i = (slice(low, max(low, high)) for low, high in zip(first[::-1], end[::-1]))
    return k, j, i


def _planes_inside(grid: Grid, box: Box) -> Iterator[np.ndarray]:
    """For every k, bool (j, i): plane by plane, as three coordinates of a whole volume take much memory."""
    index_to_box = np.linalg.inv(box.box_to_ras) @ grid.affine
    half = box.size_mm / 2 + SIDE_TOLERANCE_MM
    k, j, i = (np.arange(n, dtype=np.float64) for n in grid.shape)
    for plane in k:
        mask = np.ones(grid.shape[1:], bool)
        for along_i, along_j, along_k, offset, reach in zip(*index_to_box[:3].T, half):
            mask &= np.abs((along_j * j + along_k * plane + offset)[:, None] + along_i * i) <= reach
        yield mask
