"""Single vertebrae: every voxel points to the middle of its own vertebra's body; where such votes crowd, there is one.

The rest of it is what hangs on that body by the shortest way through bone on which votes change little: neighbors that
touch, at a facet joint or across a bridged disc, point to different places. So nothing here depends on a gap between
two vertebrae.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .attachment import attached
from .crowds import Crowds, along_column
from .field_of_view import CUT_PER_MM
from .ghosts import ghosts
from .label_boxes import Box, label_boxes
from .labels import C1, C2, VERTEBRA_LEVEL_UNKNOWN
from .pieces import MOST_PIECES, components_of, dilated
from .refine import OFFSET_STEP_MM, Spine
from .volume import Grid

# Offsets are exact near the middle of a body and err by some mm at the tips of its processes: votes count less the
# longer they are where vertebrae are counted, and only those from near by say where the middle is.
_EXACT_WITHIN_MM = 15.0
_NEAR_MM = 20.0
# Of the voxels of C1 and C2 this near to C1's middle, across the column, 96 % are C2's (generated necks).
_RING_MM = 8.0
# What lies this near to the middle of a body belongs to it.
_HEART_MM = 10.0
_HEART_REACH_MM = 4.0
# Half of a C1, the smallest. Less is a crumb of a neighbor, unless the border cuts it.
_LEAST_ML = 1.5
_LEAST_AT_BORDER_ML = 0.3
# A loose part as large as this is a process whose root is too thin to be seen, and knows best where it belongs.
_CRUMB_ML = 0.3
# How far around a vertebra's voxels on the fine grid its number reaches, in voxels: interpolation goes half as far.
_RIM_VOXELS = 2
_POINTS_AT_ONCE = 500_000
Look = Callable[[np.ndarray], Mapping[int, np.ndarray]]
"""Middles of vertebrae (n, 3) in mm along R, A, S -> what they look like, as in `levels.read_levels`."""


@dataclass(frozen=True, eq=False)
class Vertebrae:
    """Single vertebrae from top to bottom.

    numbers: uint8 (k, j, i) on `grid`; n = the n-th vertebra, counted from 1, in its voxels and around them; else 0.
    centers: (n, 3) middles of the bodies, mm along R, A, S.
    at_border: (n,) bool, the vertebra reaches the border of the scan.
    looks: level value -> (n,) what each looks like; empty where nobody looked.
    """

    numbers: np.ndarray
    grid: Grid
    centers: np.ndarray
    at_border: np.ndarray
    looks: Mapping[int, np.ndarray]

    @cached_property
    def agreed(self) -> np.ndarray:
        """uint8 of each voxel and the seven that follow it: their number where it is the same, else 0."""
        same = self.numbers
        for axis in range(3):
            following = np.take(same, np.arange(1, same.shape[axis] + 1), axis, mode="clip")
            same = np.where(following == same, same, 0)
        return same


def single_vertebrae(spine: Spine, look: Look | None = None) -> Vertebrae:
    """The vertebrae that a close look found, each on its own. `spine.offsets` must be there.

    Args:
        look: tells what they look like, where that can be known: the dens lies where C1 has its middle.
    """
    inside = spine.probabilities[VERTEBRA_LEVEL_UNKNOWN] >= spine.inside
    indices = np.argwhere(inside)
    ways = spine.offsets[:, inside].T * OFFSET_STEP_MM
    places, far = spine.grid.world(indices[:, ::-1]), np.linalg.norm(ways, axis=1)
    votes, near = places + ways, far < _NEAR_MM
    along = along_column(votes)
    crowds = Crowds.of(along, np.exp(-far / _EXACT_WITHIN_MM))
    border = spine.at_border(indices)
    crowds = crowds.only(_large_enough(crowds.number(along), border, len(crowds.places), spine.grid))
    centers, sizes = _middles_and_sizes(crowds, along, votes, near)
    crowds = crowds.only(~ghosts(inside, spine.grid, centers, sizes)).joined()
    number = crowds.number(along)
    centers, _ = _middles_and_sizes(crowds, along, votes, near)
    looks = look(centers) if look and len(centers) else {}
    numbers = np.zeros(inside.shape, np.uint8)
    if len(centers):
        dens = _dens(places, number, centers, looks)
        number = number + dens
        heart = dens | _hearts(places, number, centers)
        bone = spine.probabilities[VERTEBRA_LEVEL_UNKNOWN]
        error = np.abs(along - crowds.places_mm()[number])
        numbers[inside] = attached(inside, bone, along, error, heart, number, spine.grid.spacing_mm[::-1]) + 1
        _reattach_crumbs(numbers, _CRUMB_ML / (spine.grid.voxel_volume_mm3 / 1000))
    found = numbers[inside]
    touching, all_of_it = (np.bincount(part, minlength=len(centers) + 1)[1:] for part in (found[border], found))
    at_border = touching > CUT_PER_MM * spine.grid.spacing_mm.max() * all_of_it
    return Vertebrae(_with_rim(numbers), spine.grid, centers, at_border, looks)


def numbers_at(vertebrae: Vertebrae, points: np.ndarray) -> np.ndarray:
    """Numbers of the vertebrae at points (n, 3) in mm, uint8 (n,): the one with most weight among the eight voxels
    around, as linear interpolation weighs them; where none of these has one, the vertebra with the nearest middle."""
    result = np.zeros(len(points), np.uint8)
    if not len(vertebrae.centers):
        return result
    grid = vertebrae.grid
    agreed = vertebrae.agreed.ravel()
    for start in range(0, len(points), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        indices = ((points[part] - grid.affine[:3, 3]) / grid.spacing_mm)[:, ::-1]
        first = np.floor(indices).astype(np.int32)
        found = agreed.take(np.ravel_multi_index(first.T, grid.shape, mode="clip"))
        divided = found == 0
        found[divided] = _most_weight(vertebrae.numbers, first[divided], indices[divided] - first[divided])
        lost = found == 0
        found[lost] = nearest_center(points[part][lost], vertebrae.centers) + 1
        result[part] = found
    return result


def nearest_center(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(m,) index of the center, of (n, 3), nearest to each point of (m, 3)."""
    # What squared distances differ by from center to center.
    return np.argmin((centers**2).sum(1)[:, None] - 2 * centers @ points.T, axis=0)


def _most_weight(all_numbers: np.ndarray, first: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Of points between eight voxels, the first of which is `first` (n, 3), at a `share` (n, 3) of the way on."""
    flat, share = all_numbers.ravel(), share.astype(np.float32)
    numbers, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        numbers.append(flat.take(np.ravel_multi_index((first + corner).T, all_numbers.shape, mode="clip")))
        weights.append(np.where(corner, share, 1 - share).prod(1))
    best, best_weight = np.zeros(len(first), np.uint8), np.zeros(len(first), np.float32)
    for number in numbers:
        weight = sum((other == number) * w for other, w in zip(numbers, weights)) * (number > 0)
        np.putmask(best, weight > best_weight, number)
        np.maximum(best_weight, weight, out=best_weight)
    return best


def _middles_and_sizes(
    crowds: Crowds, along: np.ndarray, votes: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) mean vote of each vertebra, of those from near by where there are any, and (n,) how many voxels vote."""
    number, count = crowds.number(along), len(crowds.places)
    if not count:
        return np.zeros((0, 3)), np.zeros(0, int)
    weight = np.where(near, 1.0, 1e-6)
    total = np.bincount(number, weight, count)
    centers = np.stack([np.bincount(number, weight * votes[:, axis], count) / total for axis in range(3)], 1)
    return centers, np.bincount(number, minlength=count)


def _hearts(places: np.ndarray, number: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(n,) bool: voxels at `places` near the middle of the vertebra that they point to. C1 has nothing in its middle:
    what lies nearest to it counts."""
    distance = np.linalg.norm(places - centers[number], axis=1)
    least = np.full(len(centers), np.inf)
    np.minimum.at(least, number, distance)
    return distance < np.maximum(_HEART_MM, least + _HEART_REACH_MM)[number]


def _dens(places: np.ndarray, number: np.ndarray, centers: np.ndarray, looks: Mapping[int, np.ndarray]) -> np.ndarray:
    """(n,) bool: voxels at `places` that point to the middle of C1 from within its ring, where only the dens of C2 is.

    C1 is the upper one of two that look like C1 or C2: around its middle C2 is seen, too.
    """
    result = np.zeros(len(places), bool)
    if not {C1, C2} <= set(looks):
        return result
    upper, lower = (looks[C1] + looks[C2])[:-1], looks[C2][1:]
    for above in np.flatnonzero((upper > 0.5) & (lower > 0.5))[:1]:
        own = np.flatnonzero(number == above)
        along = centers[above] - centers[above + 1]
        way = places[own] - centers[above]
        aside = way - np.outer(way @ along, along) / (along @ along)
        result[own] = np.linalg.norm(aside, axis=1) < _RING_MM
    return result


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
