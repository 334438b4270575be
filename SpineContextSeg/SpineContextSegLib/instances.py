"""Single vertebrae: every voxel points to the middle of its own vertebra's body, and those that meet belong together.

Neighbors that touch, at a facet joint or across a bridged disc, point to different places; a spinous process that hangs
beside the vertebra below points to its own. So nothing here depends on a gap between two vertebrae.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .label_boxes import Box, label_boxes
from .labels import VERTEBRA_LEVEL_UNKNOWN
from .pieces import HALF, MOST_PIECES, components_of, dilated
from .refine import OFFSET_STEP_MM, Spine
from .volume import Grid

# The line through the column: bends over less than this are those of single votes.
_LINE_BLUR_MM = 15.0
# Offsets are exact near the middle of a body and err by some mm at the tips of its processes: votes from near by say
# how many vertebrae there are, and all say which of them a voxel belongs to.
_NEAR_MM = 20.0
_CROWD_BLUR_MM = 1.5
# Bodies in a child's neck lie 11 mm apart.
_NEAREST_MM = 8.0
# Two crowds with more votes than this between them, as a share of the smaller one, are one that errs.
_VALLEY = 0.8
# Half of a C1, the smallest. Less is a crumb of a neighbor, unless the border cuts it.
_LEAST_ML = 1.5
_LEAST_AT_BORDER_ML = 0.3
# A loose part as large as this is a process whose root is too thin to be seen, and knows best where it belongs.
_CRUMB_ML = 0.3
# How far around a vertebra's voxels on the fine grid its number reaches, in voxels: interpolation goes half as far.
_RIM_VOXELS = 2
_POINTS_AT_ONCE = 500_000


@dataclass(frozen=True, eq=False)
class Vertebrae:
    """Single vertebrae from top to bottom.

    numbers: uint8 (k, j, i) on `grid`; n = the n-th vertebra, counted from 1, in its voxels and around them; else 0.
    centers: (n, 3) middles of the bodies, mm along R, A, S.
    at_border: (n,) bool, the vertebra reaches the border of the scan.
    """

    numbers: np.ndarray
    grid: Grid
    centers: np.ndarray
    at_border: np.ndarray


def single_vertebrae(spine: Spine) -> Vertebrae:
    """The vertebrae that a close look found, each on its own. `spine.offsets` must be there."""
    inside = spine.probabilities[VERTEBRA_LEVEL_UNKNOWN] >= HALF
    indices = np.argwhere(inside)
    ways = spine.offsets[:, inside].T * OFFSET_STEP_MM
    votes = spine.grid.world(indices[:, ::-1]) + ways
    near = np.linalg.norm(ways, axis=1) < _NEAR_MM
    along = _along_column(votes)
    crowds = _Crowds.of(along[near])
    faces = np.array([[0, size - 1] for size in inside.shape]).T[:, None]
    touching = (indices == faces) & np.array(spine.ends).T[:, None]
    border = touching.any((0, 2))
    crowds = crowds.only(_large_enough(crowds.number(along), border, len(crowds.places), spine.grid))
    number = crowds.number(along)
    centers = _middles(votes, number, near, len(crowds.places))
    numbers = np.zeros(inside.shape, np.uint8)
    if len(centers):
        numbers[inside] = number + 1
        _reattach_crumbs(numbers, _CRUMB_ML / (spine.grid.voxel_volume_mm3 / 1000))
    at_border = np.zeros(len(centers), bool)
    at_border[numbers[inside][border].astype(int) - 1] = len(centers) > 0
    return Vertebrae(_with_rim(numbers), spine.grid, centers, at_border)


def numbers_at(vertebrae: Vertebrae, points: np.ndarray) -> np.ndarray:
    """Numbers of the vertebrae at points (n, 3) in mm, uint8 (n,): the one with most weight among the eight voxels
    around, as linear interpolation weighs them; where none of these has one, the vertebra with the nearest middle."""
    result = np.zeros(len(points), np.uint8)
    if not len(vertebrae.centers):
        return result
    for start in range(0, len(points), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        result[part] = _most_weight(vertebrae, points[part])
        lost = np.flatnonzero(result[part] == 0) + start
        result[lost] = _nearest(points[lost], vertebrae.centers) + 1
    return result


def _most_weight(vertebrae: Vertebrae, points: np.ndarray) -> np.ndarray:
    grid = vertebrae.grid
    indices = ((points - grid.affine[:3, 3]) / grid.spacing_mm)[:, ::-1]
    first = np.floor(indices).astype(int)
    share = (indices - first).astype(np.float32)
    last = np.array(grid.shape) - 1
    numbers, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        numbers.append(vertebrae.numbers[tuple(np.clip(first + corner, 0, last).T)])
        weights.append(np.where(corner, share, 1 - share).prod(1))
    best, best_weight = np.zeros(len(points), np.uint8), np.zeros(len(points), np.float32)
    for number in numbers:
        weight = sum((other == number) * w for other, w in zip(numbers, weights)) * (number > 0)
        np.putmask(best, weight > best_weight, number)
        np.maximum(best_weight, weight, out=best_weight)
    return best


def _along_column(votes: np.ndarray) -> np.ndarray:
    """How far down the column each vote, (n, 3) in mm, lies: (n,) mm along the line through the middle of all votes."""
    if not len(votes):
        return np.zeros(0)
    top = votes[:, 2].max()
    plane = np.rint(top - votes[:, 2]).astype(int)  # 1 mm apart
    counts = _blurred(np.bincount(plane), _LINE_BLUR_MM)
    line = [_blurred(np.bincount(plane, votes[:, axis]), _LINE_BLUR_MM) / counts for axis in (0, 1)]
    line = np.stack([*line, top - np.arange(len(counts))], 1)
    if len(line) < 2:
        return top - votes[:, 2]
    steps = np.gradient(line, axis=0)
    length = np.linalg.norm(steps, axis=1)
    down = np.concatenate([[0], np.cumsum((length[1:] + length[:-1]) / 2)])
    aside = votes - line[plane]
    return down[plane] + (aside * steps[plane]).sum(1) / length[plane]


def _blurred(counts: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(counts, kernel / kernel.sum())[reach:-reach]


@dataclass(frozen=True, eq=False)
class _Crowds:
    """Places along the column where votes crowd together.

    density: (mm,) votes per mm from `start` on. places: (n,) indices of the crowds in it, rising.
    """

    start: float
    density: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, along: np.ndarray) -> _Crowds:
        """From votes (n,), mm along the column."""
        if not len(along):
            return cls(0.0, np.zeros(1), np.zeros(0, int))
        margin = 4 * _CROWD_BLUR_MM
        start = float(along.min() - margin)
        counts = np.bincount(np.rint(along - start).astype(int))
        density = _blurred(np.pad(counts, (0, int(margin))), _CROWD_BLUR_MM)
        inner = density[1:-1]
        places = np.flatnonzero((inner > density[:-2]) & (inner >= density[2:]) & (inner > density.max() / 100)) + 1
        crowds = cls(start, density, places)
        while (worst := crowds._least_apart()) is not None:
            crowds = crowds.only(np.arange(len(crowds.places)) != worst)
        return crowds

    def _least_apart(self) -> int | None:
        """The smaller of the two neighbors that are least two, None when all are."""
        heights, valleys = self.density[self.places], self.density[self._valleys()]
        lower = np.minimum(heights[1:], heights[:-1])
        share = np.where(np.diff(self.places) < _NEAREST_MM, 1.0, valleys / np.maximum(lower, 1e-9))
        if not len(share) or share.max() <= _VALLEY:
            return None
        first = int(np.argmax(share))
        return first if heights[first] < heights[first + 1] else first + 1

    def _valleys(self) -> np.ndarray:
        """(n - 1,) indices of the least density between neighbors."""
        pairs = zip(self.places, self.places[1:])
        return np.array([a + np.argmin(self.density[a:b]) for a, b in pairs], int)

    def only(self, kept: np.ndarray) -> _Crowds:
        return _Crowds(self.start, self.density, self.places[kept])

    def number(self, along: np.ndarray) -> np.ndarray:
        """(n,) which crowd each vote belongs to."""
        return np.searchsorted(self._valleys() + self.start, along)


def _middles(votes: np.ndarray, number: np.ndarray, near: np.ndarray, count: int) -> np.ndarray:
    """(count, 3) mean vote of each vertebra, of those from near by where there are any."""
    weight = np.where(near, 1.0, 1e-6)
    if not count:
        return np.zeros((0, 3))
    total = np.bincount(number, weight, count)
    return np.stack([np.bincount(number, weight * votes[:, axis], count) / total for axis in range(3)], 1)


def _nearest(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(n,) index of the center nearest to each point."""
    best, distance = np.zeros(len(points), np.int64), np.full(len(points), np.inf)
    for number, center in enumerate(centers):
        other = ((points - center) ** 2).sum(1)
        np.putmask(best, other < distance, number)
        np.minimum(distance, other, out=distance)
    return best


def _large_enough(number: np.ndarray, border: np.ndarray, count: int, grid: Grid) -> np.ndarray:
    """(count,) bool: which of the vertebrae are more than crumbs."""
    volumes = np.bincount(number, minlength=count)[:count] * grid.voxel_volume_mm3 / 1000
    least = np.where(np.bincount(number, border, count)[:count] > 0, _LEAST_AT_BORDER_ML, _LEAST_ML)
    return volumes >= least


def _boxes(numbers: np.ndarray) -> dict[int, Box]:
    """Number -> the box around its voxels and their rim."""
    return {
        number: tuple(slice(max(0, part.start - _RIM_VOXELS), part.stop + _RIM_VOXELS) for part in box)
        for number, box in label_boxes(numbers, range(1, int(numbers.max()) + 1)).items()
    }


def _reattach_crumbs(numbers: np.ndarray, most_voxels: float) -> None:
    """Loose parts of a vertebra of up to `most_voxels` that touch another one go over to that one, in place."""
    for number, box in _boxes(numbers).items():
        part = numbers[box]
        pieces = components_of(part == number)
        for piece in range(2, min(int(pieces.max()), MOST_PIECES) + 1):
            crumb = pieces == piece
            if np.count_nonzero(crumb) > most_voxels:
                continue
            touched = np.bincount(part[dilated(crumb, 1) & ~crumb], minlength=number + 1)
            touched[[0, number]] = 0
            if touched.any():
                part[crumb] = np.argmax(touched)


def _with_rim(numbers: np.ndarray) -> np.ndarray:
    """Each number also in the empty voxels around, up to _RIM_VOXELS away."""
    for _ in range(_RIM_VOXELS):
        for number, box in _boxes(numbers).items():
            part = numbers[box]
            part[dilated(part == number, 1) & (part == 0)] = number
    return numbers
