"""Where the windows of a network lie: evenly over a whole image, or along the spine. Everything in voxels, any axes.

A window is named by its corner, the index of its first voxel. Corners may be negative and windows reach beyond the
image: what is outside is padded. Along the spine, places are chosen on a lattice of cells, cubes of CELL voxels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

CELL = 8
# Cells between the spine and the faces of its windows, where a network sees too little around a voxel. One cell costs
# 0.002 of Dice on generated pelvis and chest, three cost three times the windows.
MARGIN_CELLS = 2

# Sizes of windows along the spine, against the usual one; what a window may hold, for the sake of memory.
_SMALLEST, _LARGEST, _MOST_VOXELS, _SIZE_STEP = 2 / 3, 4 / 3, 2, 2 * CELL

Corner = tuple[int, int, int]


def window_starts(size: int, roi: int, overlap: float) -> list[int]:
    """First index of every window along one axis of `size` voxels; the last window ends at the border.

    overlap: the fraction that a window shares with the next one, at least 0 and below 1.
    """
    interval = max(int(roi * (1 - overlap)), 1)
    count = -(-max(size - roi, 0) // interval) + 1
    return [_held(n * interval, size, roi) for n in range(count)]


def _held(start: int, size: int, roi: int) -> int:
    """The start that keeps a window within the image; where it is larger, both ends stick out alike."""
    return min(max(start, 0), size - roi) if size > roi else -((roi - size) // 2)


def fitting(roi_size: Sequence[int], shape: Sequence[int]) -> tuple[int, int, int]:
    """A window no larger than roi_size, and not larger than an image of this shape needs; multiples of CELL."""
    return tuple(min(roi, -(-size // CELL) * CELL) for roi, size in zip(roi_size, shape, strict=True))


def windows_over(
    shape: Sequence[int], roi_size: Sequence[int], overlap: float, region: Sequence[slice] | None = None
) -> list[Corner]:
    """Corners of windows that cover a region of an image of this shape, or all of it."""
    if not 0 <= overlap < 1:
        raise ValueError(f"The overlap must be at least 0 and below 1, not {overlap}.")
    axes = []
    for size, roi, bounds in zip(shape, roi_size, region or [slice(None)] * 3, strict=True):
        first, last, _ = bounds.indices(size)
        axes.append([_held(first + start, size, roi) for start in window_starts(last - first, roi, overlap)])
    return list(itertools.product(*axes))


def cells_of(points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Bool lattice over an image of this shape, True in the cells that hold one of the voxel indices (n, 3).

    Points beyond the image count for the nearest cell.
    """
    cells = np.zeros([-(-n // CELL) for n in shape], dtype=bool)
    cells[tuple(np.clip(np.floor(points).astype(int) // CELL, 0, np.array(cells.shape) - 1).T)] = True
    return cells


def windows_along(wanted: np.ndarray, shape: Sequence[int], roi_size: Sequence[int], margin: int) -> list[Corner]:
    """Corners of windows that cover all wanted cells, each in the middle of what it is there for.

    Args:
        wanted: bool lattice, see `cells_of`.
        shape: of the image, in voxels.
        roi_size: of a window, in voxels; more than 2 * margin cells along each axis in which the image is larger.
        margin: cells between a wanted cell and the faces of its window, but for faces at the border of the image.
    """
    corners = []
    for block in _blocks_of(wanted, shape, roi_size, margin):
        middle = ((cells.start + cells.stop) * CELL // 2 for cells in block)
        corners.append(tuple(_held(m - roi // 2, size, roi) for m, size, roi in zip(middle, shape, roi_size)))
    return corners


def size_along(wanted: np.ndarray, shape: Sequence[int], roi_size: Sequence[int], margin: int) -> tuple[int, int, int]:
    """The size of window, about `roi_size`, with which `windows_along` has the fewest voxels to compute.

    A spine that is a little wider than a window's core would need two windows side by side all along.
    """
    choices = [
        [n for n in range(0, int(most) + 1, _SIZE_STEP) if n >= least and n > 2 * margin * CELL] or [roi]
        for roi, least, most in ((roi, roi * _SMALLEST, roi * _LARGEST) for roi in roi_size)
    ]
    sizes = dict.fromkeys(fitting(size, shape) for size in itertools.product(*choices))
    allowed = [size for size in sizes if np.prod(size) <= _MOST_VOXELS * np.prod(roi_size)]
    # What lies further off changes nothing, but would be searched for every size.
    near = wanted[tuple(_occupied(_profile(wanted, axis), margin + 1) for axis in range(3))]
    return min(allowed, key=lambda size: sum(1 for _ in _blocks_of(near, shape, size, margin)) * np.prod(size))


def _occupied(profile: np.ndarray, around: int) -> slice:
    """From the first to the last occupied cell of an axis, and as many cells around."""
    indices = np.flatnonzero(profile)
    return slice(max(0, indices[0] - around), indices[-1] + 1 + around) if len(indices) else slice(None)


def covered_cells(corners: Sequence[Corner], shape: Sequence[int], roi_size: Sequence[int], margin: int) -> np.ndarray:
    """Bool lattice of the cells that one of the windows holds, `margin` cells away from its faces.

    Faces at the border of the image need no margin: there is nothing more to see.
    """
    covered = np.zeros([-(-n // CELL) for n in shape], dtype=bool)
    for corner in corners:
        where = []
        for start, size, roi in zip(corner, shape, roi_size):
            first = 0 if start <= 0 else -(-(start + margin * CELL) // CELL)
            last = -(-size // CELL) if start + roi >= size else (start + roi - margin * CELL) // CELL
            where.append(slice(first, max(first, last)))
        covered[tuple(where)] = True
    return covered


def _blocks_of(
    wanted: np.ndarray, shape: Sequence[int], roi_size: Sequence[int], margin: int
) -> Iterator[tuple[slice, ...]]:
    """Boxes of cells, each of which a window shows with the margin around it; see `windows_along`."""
    core = [
        cells if roi >= size else roi // CELL - 2 * margin for cells, size, roi in zip(wanted.shape, shape, roi_size)
    ]
    if min(core) < 1:
        raise ValueError(f"A window of {tuple(roi_size)} voxels has no room for a margin of {margin} cells.")
    # The axis in which the spine is longest first: its windows then move sideways with the spine.
    axes = sorted(range(3), key=lambda axis: -_profile(wanted, axis).sum() / core[axis])
    return _blocks(wanted, (slice(None),) * 3, axes, core, margin)


def _blocks(
    wanted: np.ndarray, part: tuple[slice, ...], axes: list[int], core: list[int], margin: int
) -> Iterator[tuple[slice, ...]]:
    """Boxes that together hold the wanted cells of `part`, which is cut along `axes`; each fits into a window."""
    if not axes:
        yield part
        return
    axis = axes[0]
    for cells in _pieces(_profile(wanted[part], axis), core[axis], margin):
        yield from _blocks(wanted, (*part[:axis], cells, *part[axis + 1 :]), axes[1:], core, margin)


def _pieces(occupied: np.ndarray, longest: int, margin: int) -> Iterator[slice]:
    """Runs of occupied cells, cut into pieces of about equal length, no longer than `longest`.

    At either end of the axis a piece may be longer by the margin, which isn't needed there.
    """
    indices = np.flatnonzero(occupied)
    for run in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1) if len(indices) else ():
        first, last = int(run[0]), int(run[-1]) + 1
        low = first + margin if first == 0 else first
        high = last - margin if last == len(occupied) else last
        count = max(1, -(-(high - low) // longest))
        cuts = [first, *(low + (high - low) * n // count for n in range(1, count)), last]
        yield from map(slice, cuts, cuts[1:])


def _profile(cells: np.ndarray, axis: int) -> np.ndarray:
    return cells.any(axis=tuple(n for n in range(3) if n != axis))
