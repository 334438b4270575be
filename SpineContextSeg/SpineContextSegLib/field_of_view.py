"""Where a scan ends: at the border of its grid, where filling begins, where no run has looked, and where its file of
labels ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from . import roi
from .label_boxes import Box
from .scan_border import filling_of, only_filling
from .volume import Grid

# An interpolated edge lies between what was scanned and the filling.
_EDGE_VOXELS = 1
# Where nothing but bone was left of a scan, half of the lines through a vertebra or more end in the mask in most of the
# six directions, and nothing is cut. The end of a scan cuts it in one direction or two, a slanted end in three.
_MOST_AT_FILLING, _MOST_DIRECTIONS = 0.4, 3
# Area at the border of the scan (mm2) by volume (mm3), above which the border cuts a vertebra: 1 % of it lies within
# 1.5 mm of the border. Less may be a neighbor's, or the cut of a process, however much of that lies beyond.
CUT_PER_MM = 0.01 / 1.5
# At the end of a file of labels, which may be cropped to them, the more in thicker layers than this: the outermost one
# holds more of what ends by itself. Of 47 real vertebrae, cropped to each, none then passes for cut in slices of 1 to
# 3 mm, one in a hundred does in those of 4 and 5 mm; of cuts that leave a tenth or more beyond, one in a hundred is
# missed.
_THIN_LAYER_MM = 1.5
_DIRECTIONS = tuple(itertools.product(range(3), (-1, 1)))


@dataclass(frozen=True, eq=False)
class FieldOfView:
    """What of a scan is seen.

    grid: of the whole scan. values: (k, j, i) of it, None where they aren't known. regions: boxes in its RAS that all
    runs were limited to; none where all of it was looked at. covered: what a file of labels covers of it, None for all;
    who ends where that was cropped to its labels isn't cut.
    """

    grid: Grid
    values: np.ndarray | None = None
    regions: Sequence[roi.Box] = ()
    covered: Box | None = None

    def ends(self, mask: np.ndarray, box: Box) -> Iterator[tuple[int, np.ndarray]]:
        """Along the axes 0 to 2 (k, j, i), forth and back: (n, 3) indices in `mask` of voxels beside which it ends.

        Args:
            mask: bool (k, j, i), a structure in `box` of the grid. Where it goes on beyond a region, it doesn't end.
        """
        within = self._is_within_a_region(box)
        first = np.array([part.start for part in box])
        for axis, toward in _DIRECTIONS:
            touches = box[axis].start == 0 if toward < 0 else box[axis].stop == self.grid.shape[axis]
            cut = self._labels_end_within(mask, box, axis, toward)
            if touches or cut or not within:
                outermost = _outermost(mask, axis, toward)
                end = self._nothing_follows(outermost + first, axis, toward, within)
                if cut:
                    end |= outermost[:, axis] == (mask.shape[axis] - 1 if toward > 0 else 0)
                yield axis, outermost[end]
        yield from self._at_filling(mask, box)

    def _at_filling(self, mask: np.ndarray, box: Box) -> list[tuple[int, np.ndarray]]:
        """As `ends`, where filling begins."""
        around = tuple(slice(max(0, part.start - 1 - _EDGE_VOXELS), part.stop + 1 + _EDGE_VOXELS) for part in box)
        if not len(self._filling) or not np.isin(self.values[around], self._filling).any():
            return []
        # What lies in filling shows nothing.
        scanned = mask & ~np.isin(self.values[box], self._filling)
        first = np.array([part.start for part in box])
        lines = [(axis, toward, _outermost(scanned, axis, toward)) for axis, toward in _DIRECTIONS]
        follows = [self._filling_follows(outermost + first, axis, toward) for axis, toward, outermost in lines]
        if sum(len(end) > 0 and end.mean() > _MOST_AT_FILLING for end in follows) > _MOST_DIRECTIONS:
            return []
        return [(axis, outermost[end]) for (axis, _, outermost), end in zip(lines, follows, strict=True)]

    def _labels_end_within(self, mask: np.ndarray, box: Box, axis: int, toward: int) -> bool:
        """As `ends`: whether the file of labels ends in the midst of the structure, along one axis to one side."""
        if self.covered is None or _end(box[axis], toward) != _end(self.covered[axis], toward):
            return False
        thickness_mm = self.grid.plane_distances_mm[2 - axis]
        least_share = CUT_PER_MM * thickness_mm * max(1.0, thickness_mm / _THIN_LAYER_MM)
        at_end = np.count_nonzero(mask.take(-1 if toward > 0 else 0, axis))
        return bool(at_end > least_share * np.count_nonzero(mask))

    @cached_property
    def _filling(self) -> np.ndarray:
        return np.zeros(0) if self.values is None else filling_of(self.values)

    def _nothing_follows(self, places: np.ndarray, axis: int, toward: int, within: bool) -> np.ndarray:
        """(n,) beside which of `places` (n, 3) grid or regions end; `within`: not the regions."""
        end = self._beyond(places, axis, toward) == 0
        if not within:
            step = toward * np.eye(3, dtype=int)[axis]
            end |= self._in_regions(places) & ~self._in_regions(places + step)
        return end

    def _filling_follows(self, places: np.ndarray, axis: int, toward: int) -> np.ndarray:
        """(n,) beside which of `places` (n, 3) there is nothing but filling."""
        beyond = places.copy()
        beyond[:, axis] += toward * np.minimum(1 + _EDGE_VOXELS, self._beyond(places, axis, toward))
        return only_filling(self.values, self._filling, beyond, axis, toward)

    def _beyond(self, places: np.ndarray, axis: int, toward: int) -> np.ndarray:
        """(n,) voxels of the grid that follow each of `places` (n, 3)."""
        return places[:, axis] if toward < 0 else self.grid.shape[axis] - 1 - places[:, axis]

    def _in_regions(self, indices_kji: np.ndarray) -> np.ndarray:
        points = self.grid.world(indices_kji[:, ::-1])
        return np.any([region.holds(points) for region in self.regions], axis=0)

    def _is_within_a_region(self, box: Box) -> bool:
        corners = np.array(list(itertools.product(*[(part.start - 1, part.stop) for part in box])))
        points = self.grid.world(corners[:, ::-1])
        return not self.regions or any(region.holds(points).all() for region in self.regions)


def _end(part: slice, toward: int) -> int:
    return part.stop if toward > 0 else part.start


def _outermost(mask: np.ndarray, axis: int, toward: int) -> np.ndarray:
    """(n, 3) indices of the last voxel on each line through a mask along an axis, forth or back."""
    lines = mask.any(axis)
    last = np.flip(mask, axis).argmax(axis) if toward > 0 else mask.argmax(axis)
    place = mask.shape[axis] - 1 - last if toward > 0 else last
    return np.insert(np.argwhere(lines), axis, place[lines], axis=1)
