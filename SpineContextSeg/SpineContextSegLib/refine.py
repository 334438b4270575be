"""The close look: the fine network where the coarse look points to, and on from there as far as the spine goes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .labels import BINARY_SPINE
from .model import Model
from .pieces import column_of
from .resampling import resample_intensity
from .runtime import Runtime
from .scan_border import at_border, before_filling
from .sliding_window import Region, sweep
from .stopwatch import Stopwatch
from .volume import Grid, Volume
from .windows import (
    CELL,
    MARGIN_CELLS,
    Corner,
    cells_of,
    covered_cells,
    fitting,
    size_along,
    windows_along,
    windows_over,
)

# What the coarse look can be off by.
AROUND_MM = 6.0
# Offsets are kept in such steps: finer than anything that depends on them, and 127 of them reach over any vertebra.
OFFSET_STEP_MM = 0.75
_MOST_STEPS = 127
# Less than this share of a cell is no spine that goes on, but the rim of it.
_LEAST_SHARE = 1 / 16


@dataclass(frozen=True)
class Spine:
    """What the close look found.

    Attributes:
        probabilities: label value -> uint8 (k, j, i) 0..255 on `grid`.
        offsets: int8 (3, k, j, i), in steps of OFFSET_STEP_MM along R, A, S: from a voxel of a vertebra to the middle
            of that vertebra's body; None where the network doesn't tell.
        grid: the part of the upright grid that was looked at.
        scan: as it is stored, which says where its border is.
        inside: what belongs to a structure has this probability or more.
    """

    probabilities: dict[int, np.ndarray]
    offsets: np.ndarray | None
    grid: Grid
    scan: Volume
    inside: int

    @property
    def volume_ml(self) -> float:
        """Of the binary spine in it."""
        bone = sum(array.astype(np.uint16) for value, array in self.probabilities.items() if value in BINARY_SPINE)
        return np.count_nonzero(bone >= self.inside) * self.grid.voxel_volume_mm3 / 1000

    def at_border(self, indices_kji: np.ndarray) -> np.ndarray:
        """(n,) bool, which of the voxels (n, 3) lie at the border of the scan."""
        points, step_mm = self.grid.world(indices_kji[:, ::-1]), self.grid.spacing_mm
        return at_border(self.scan.grid, points, step_mm) | before_filling(self.scan, points, step_mm)


@dataclass(frozen=True)
class _Seen:
    """What windows found in a region, slices in the network's axes.

    probabilities: uint8 (label values, *shape) 0..255 in the order of the card's structures. Eight bits hold the place
    of a boundary to 1/255 of a voxel, and keep memory apart from the number of classes.
    offsets: int8 (3 or 0, *shape), as in `Spine`.
    weights: float16 (*shape), importance of all windows at a voxel; 0 = none was there.
    """

    region: Region
    probabilities: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.probabilities, self.offsets, self.weights


class CloseLook:
    """Runs the fine network on windows of a scan; the scan is resampled only where they lie."""

    def __init__(
        self, volume: Volume, grid: Grid, model: Model, runtime: Runtime, clock: Stopwatch,
        progress: Callable[[int, int], None] | None = None, cancelled: Callable[[], bool] | None = None,
    ):  # fmt: skip
        """`grid`: the upright grid over the whole scan at the card's spacing. The rest as in `pipeline.segment`."""
        self.volume, self.grid, self.card, self.runtime, self.clock = volume, grid, model.card, runtime, clock
        self.shape = tuple(self.card.network_sizes(grid.shape))
        self.values = list(self.card.structures)
        self.windows = 0
        self._progress, self._cancelled = progress, cancelled

    def along_spine(self, points: np.ndarray) -> Spine:
        """Look around `points`, (n, 3) mm along R, A, S, and on wherever spine goes on beyond what was seen."""
        reach = itertools.product((-AROUND_MM, AROUND_MM), repeat=3)
        wanted = np.logical_or.reduce([cells_of(self._indices(points + step), self.shape) for step in reach])
        seen, covered = None, np.zeros_like(wanted)
        size = size_along(wanted, self.shape, self.card.roi_size, MARGIN_CELLS)
        while wanted.any():
            corners = windows_along(wanted, self.shape, size, MARGIN_CELLS)
            covered |= covered_cells(corners, self.shape, size, MARGIN_CELLS)
            new = self._look(corners, size)
            seen = self._together(seen, new) if seen else new
            wanted = self._goes_on(seen, covered)
        return self._found(seen)

    def everywhere(self, body: Grid) -> Spine:
        """Look at all of the `body`, an upright grid."""
        corners = np.rint(self._indices(body.corners()))
        low, high = np.maximum(corners.min(0), 0), np.minimum(corners.max(0) + 1, self.shape)
        region = tuple(slice(int(first), int(last)) for first, last in zip(low, high))
        size = fitting(self.card.roi_size, self.shape)
        return self._found(self._look(windows_over(self.shape, size, self.card.overlap, region), size))

    def _indices(self, points: np.ndarray) -> np.ndarray:
        """Where in the fine grid points lie, (n, 3) mm along R, A, S -> voxels along the network's axes."""
        indices_ijk = (points - self.grid.affine[:3, 3]) / self.grid.spacing_mm
        return self.card.to_network_indices(indices_ijk[:, ::-1], self.grid.shape)

    def _found(self, seen: _Seen) -> Spine:
        self.runtime.rest()
        region = self.card.to_volume_region(seen.region, self.grid.shape)
        return Spine(
            {value: self.card.to_volume_axes(array) for value, array in zip(self.values, seen.probabilities)},
            self.card.to_volume_axes(seen.offsets) if len(seen.offsets) else None,
            self.grid.crop(region),
            self.volume,
            self.card.inside,
        )

    def _look(self, corners: Sequence[Corner], size: Sequence[int]) -> _Seen:
        """Run the network on windows of one size, in voxels along its axes."""
        self.runtime.prepare(size)
        low = np.maximum(np.min(corners, axis=0), 0)
        high = np.minimum(np.max(corners, axis=0) + size, self.shape)
        region = tuple(slice(int(first), int(last)) for first, last in zip(low, high))
        with self.clock.stage("resample"):
            part = self.grid.crop(self.card.to_volume_region(region, self.grid.shape))
            image = self.card.to_network_axes(resample_intensity(self.volume, part))
        seen = self._nothing_seen(region)
        structures = self.card.structure_matrix(self.values)
        with self.clock.stage("network"):
            blocks = sweep(
                image, self.runtime, size, [tuple(corner) for corner in corners - low], self.card.pad_value,
                normalize=self.card.normalize, merge=np.concatenate([structures, self.card.offset_matrix()]),
                skip=self.card.known_outputs, progress=self._count, cancelled=self._cancelled,
            )  # fmt: skip
            for where, block, weights in blocks:
                every, count = (slice(None), *where), len(structures)
                seen.probabilities[every] = np.rint(block[:count] * 255)
                steps = np.rint(block[count:] / OFFSET_STEP_MM)
                seen.offsets[every] = np.clip(steps, -_MOST_STEPS, _MOST_STEPS)
                seen.weights[where] = weights
        self.windows += len(corners)
        return seen

    def _count(self, done: int, total: int) -> None:
        if self._progress:
            self._progress(self.windows + done, self.windows + total)

    def _goes_on(self, seen: _Seen, covered: np.ndarray) -> np.ndarray:
        """Bool lattice of the cells with spine in them that no window covered; what looks like spine in a hip, aside
        from the column, is none."""
        rows = [n for n, value in enumerate(self.values) if value in BINARY_SPINE]
        bone = seen.probabilities[rows].sum(0, dtype=np.uint16) >= self.card.inside
        wanted = self._cells_with(bone, seen.region) & ~covered
        if wanted.any():
            column = column_of(self.card.to_volume_axes(bone), tuple(self.grid.spacing_mm))
            wanted &= self._cells_with(self.card.to_network_axes(column), seen.region)
        return wanted

    def _cells_with(self, bone: np.ndarray, region: Region) -> np.ndarray:
        """Bool lattice of the cells of which enough is bone, bool in a region, network's axes."""
        counts = bone.astype(np.uint16)
        first = [bounds.start // CELL for bounds in region]
        for axis, bounds in enumerate(region):
            edges = np.arange(first[axis] * CELL, bounds.stop, CELL) - bounds.start
            counts = np.add.reduceat(counts, np.maximum(edges, 0), axis)
        cells = np.zeros([-(-size // CELL) for size in self.shape], dtype=bool)
        cells[tuple(slice(f, f + n) for f, n in zip(first, counts.shape))] = counts >= _LEAST_SHARE * CELL**3
        return cells

    def _together(self, one: _Seen, other: _Seen) -> _Seen:
        """Both looks in one, averaged by their weights where they overlap, as if their windows had been run at once."""
        both = self._nothing_seen(
            tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one.region, other.region))
        )
        here, there = (
            tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(seen.region, both.region))
            for seen in (one, other)
        )
        for whole, part in zip(both.arrays, one.arrays):
            whole[(..., *here)] = part
        weights = both.weights[there].astype(np.float32)
        share = other.weights / np.maximum(weights + other.weights, np.finfo(np.float32).tiny)
        for whole, part in ((both.probabilities, other.probabilities), (both.offsets, other.offsets)):
            for target, values in zip(whole[(..., *there)], part):  # one by one, as floats take four times the memory
                target[...] = np.rint(target + share * (values.astype(np.float32) - target))
        both.weights[there] = weights + other.weights
        return both

    def _nothing_seen(self, region: Region) -> _Seen:
        part = self.grid.crop(self.card.to_volume_region(region, self.grid.shape))
        # In memory as a volume, since all that follows works on volumes.
        offsets = len(self.card.offset_matrix())
        probabilities, offsets = (
            self.card.to_network_axes(np.zeros((count, *part.shape), kind))
            for count, kind in ((len(self.values), np.uint8), (offsets, np.int8))
        )
        return _Seen(region, probabilities, offsets, np.zeros(probabilities.shape[1:], np.float16))
