"""Single vertebrae: every voxel points to the middle of its own vertebra's body, and those that meet belong together.

Neighbors that touch, at a facet joint or across a bridged disc, point to different places; a spinous process that hangs
beside the vertebra below points to its own. So nothing here depends on a gap between two vertebrae.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .labels import VERTEBRA_LEVEL_UNKNOWN
from .pieces import HALF, MOST_PIECES, components_of, dilated
from .refine import OFFSET_STEP_MM, Spine
from .volume import Grid

_BIN_MM = 2.0
# Offsets err by some mm; bodies in a child's neck lie 11 mm apart.
_BLUR_MM = 2.5
_NEAREST_MM = 9.0
# A crowd of votes beside the column is the rim of a vertebra that voted badly, not another vertebra: a line between two
# neighbors leans at most so far from upright (cosine).
_LEAST_UPRIGHT = 0.45
_BESIDE_MM = 100.0
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
    votes = spine.grid.world(indices[:, ::-1]) + spine.offsets[:, inside].T * OFFSET_STEP_MM
    centers = _crowds(votes)
    number = _nearest(votes, centers)
    faces = np.array([[0, size - 1] for size in inside.shape]).T[:, None]
    touching = (indices == faces) & np.array(spine.ends).T[:, None]
    border = touching.any((0, 2))
    kept = _large_enough(number, border, len(centers), spine.grid.voxel_volume_mm3 / 1000)
    centers = centers[kept]
    number = _nearest(votes, centers)
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


def _crowds(votes: np.ndarray) -> np.ndarray:
    """Where votes, (n, 3) in mm, crowd together: (m, 3), from top to bottom."""
    if not len(votes):
        return np.zeros((0, 3))
    low = votes.min(0) - 4 * _BLUR_MM
    bins = np.floor((votes - low) / _BIN_MM).astype(int)
    shape = bins.max(0) + 1 + int(np.ceil(4 * _BLUR_MM / _BIN_MM))
    counts = np.bincount(np.ravel_multi_index(bins.T, shape), minlength=int(np.prod(shape))).reshape(shape)
    image = sitk.GetImageFromArray(counts.astype(np.float32))
    density = sitk.DiscreteGaussian(image, (_BLUR_MM / _BIN_MM) ** 2)
    peaks = sitk.GetArrayFromImage(sitk.GrayscaleDilate(density, [2] * 3))
    density = sitk.GetArrayFromImage(density)
    found = np.argwhere((density == peaks) & (density > density.max() / 50))
    found = found[np.argsort(-density[tuple(found.T)], kind="stable")]
    centers: list[np.ndarray] = []
    for center in low + (found + 0.5) * _BIN_MM:
        ways = np.array(centers).reshape(-1, 3) - center
        apart = np.linalg.norm(ways, axis=1)
        beside = (apart < _BESIDE_MM) & (np.abs(ways[:, 2]) < _LEAST_UPRIGHT * apart)
        if not (beside | (apart < _NEAREST_MM)).any():
            centers.append(center)
    # The mean of the votes around is finer than the bins.
    nearest = np.array(centers)
    own = _nearest(votes, nearest)
    close = np.linalg.norm(votes - nearest[own], axis=1) < _NEAREST_MM / 2
    counts = np.bincount(own[close], minlength=len(nearest))
    means = [np.bincount(own[close], votes[close, axis], len(nearest)) / np.maximum(counts, 1) for axis in range(3)]
    nearest = np.where(counts[:, None] > 0, np.stack(means, 1), nearest)
    return nearest[np.argsort(-nearest[:, 2], kind="stable")]


def _nearest(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(n,) index of the center nearest to each point; zeros without centers."""
    best, distance = np.zeros(len(points), np.int64), np.full(len(points), np.inf)
    for number, center in enumerate(centers):
        other = ((points - center) ** 2).sum(1)
        np.putmask(best, other < distance, number)
        np.minimum(distance, other, out=distance)
    return best


def _large_enough(number: np.ndarray, border: np.ndarray, count: int, voxel_ml: float) -> np.ndarray:
    """(count,) bool: which of the vertebrae are more than crumbs."""
    volumes = np.bincount(number, minlength=count) * voxel_ml
    least = np.where(np.bincount(number, border, count) > 0, _LEAST_AT_BORDER_ML, _LEAST_ML)
    return volumes >= least


def _boxes(numbers: np.ndarray) -> dict[int, Box]:
    """Number -> the box around its voxels and their rim."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(sitk.GetImageFromArray(numbers))
    boxes = {}
    for number in statistics.GetLabels():
        box = statistics.GetBoundingBox(number)
        first, size = box[2::-1], box[:2:-1]
        boxes[number] = tuple(slice(max(0, a - _RIM_VOXELS), a + n + _RIM_VOXELS) for a, n in zip(first, size))
    return boxes


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
