"""The column as a whole: single vertebrae with their levels, written into the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .checks import CUT_VERTEBRAE, cut_sentence
from .instances import Look, Vertebrae, nearest_center, numbers_at, single_vertebrae
from .labels import C1, C2, DISC_LEVEL_UNKNOWN, DISC_OFFSET, SACRUM, VERTEBRA_LEVEL_UNKNOWN, structure
from .levels import A_GUESS, LOOKS_LIKE, ORDER, Levels, gap_in, read_levels
from .refine import Spine
from .sacral_pieces import give_to_sacrum
from .volume import Grid, Volume

UNNAMED = (
    "No vertebra could be named: too little of them is in view, or head and feet are exchanged in the file; compare its"
    " orientation."
)
_LEAST_SACRUM_ML = 2.0
# From the middle of the last vertebra to the sacrum, as a share of the way to the vertebra above.
_SACRUM_WITHIN = 0.95
_ALONE_WITHIN_MM = 32.0
# A vertebra that the border cuts shows less of what it is.
_CERTAINLY_NONE, _CERTAINLY_NONE_CUT = 0.7, 0.8
# Metal or a tumor change one or two. Where more than this share of them look like none, the column may lie upside down,
# and where all that was found does so on average, it is no column that could be named.
_MANY_OF_NONE, _MOSTLY_NONE = 1 / 3, 0.65
# On average upright scans look 0.0 to 0.05 like none, pieces of them up to 0.4, and upside down 0.2 to 0.9 (six trunks
# of generated bodies and six real scans, whole and in pieces). Turned, those that were upside down have 0.0 to 0.65 of
# that, the others more than 0.75.
_LITTLE_OF_NONE, _CLEARLY_LESS = 0.1, 0.7
# Of the vertebra above: no whole one is that small beside its neighbor.
_CRUMB = 1 / 3
# Of the larger neighbor: no vertebra but C2 is that much larger than both (up to 1.1 times in six scans, 1.25 times in
# 60 generated bodies; C2 1.7 times), and two that are taken for one are about 1.9 times as large.
_AS_LARGE_AS_TWO = 1.6
# Around the middle of a vertebra lies its body; a ball of this radius fits into it.
_MIDDLE_MM = 8.0
# Of a volume at a time, so that the positions of the labelled ones fit into memory.
_VOXELS_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Column:
    """Vertebrae from top to bottom, each level once: their middles (n, 3) in mm along R, A, S, whether the border of
    the scan cuts them (n,), and their levels."""

    centers: np.ndarray
    at_border: np.ndarray
    levels: Levels

    @property
    def remarks(self) -> list[str]:
        """Sentences for the user: whether the levels are sure, and which vertebrae aren't wholly in view."""
        cut = [structure(value).abbreviation for value, is_cut in zip(self.levels.values, self.at_border) if is_cut]
        remarks = [] if self.levels.certain else [self.levels.reason]
        if cut:
            remarks.append(cut_sentence(cut, CUT_VERTEBRAE))
        return remarks

    def report(self) -> dict:
        """For a JSON file."""
        return {
            "certain": self.levels.certain,
            "confidence": round(self.levels.confidence, 3),
            "reason": self.levels.reason,
            "vertebrae": [
                {
                    "value": value, "name": structure(value).name, "probability": round(probability, 3),
                    "center_ras_mm": [round(float(part), 1) for part in center], "partial": bool(cut),
                }
                for value, probability, center, cut in zip(
                    self.levels.values, self.levels.probabilities, self.centers, self.at_border
                )
            ],
        }  # fmt: skip


def name_vertebrae(
    labels: Volume, spine: Spine, look: Look, most_sure: float = 1.0, turned: Look | None = None
) -> Column | None:
    """Tell vertebrae and discs apart in labels (k, j, i) of a scan, in place: 1 and 200 become their levels' values.

    Pieces of the sacrum that were taken for vertebrae become sacrum, sacrum far above it vertebra, and skull, hips or
    what else lies beside the sacrum background. Levels are a guess where more than a third of the vertebrae look like
    none, or where they look more like vertebrae with head and feet exchanged.

    Returns:
        None where no single vertebra is among what was found, or C1 alone, whose value in a file without others means
        any vertebra: then 1 stays 1, or becomes sacrum where it is part of that, and 200 stays 200.

    Args:
        labels: uint8, what the close look found, on the scan's own grid.
        spine: the close look; it has offsets.
        most_sure: no level is given more probability than this.
        turned: looks at vertebrae with head and feet exchanged; asked where many don't look like vertebrae.
    """
    vertebrae = single_vertebrae(spine, look)
    looks = vertebrae.looks
    none = _like_none(looks)
    sacrum, voxels = _sacrum_points(spine), _voxels_of(vertebrae, spine)
    of_sacrum = looks[SACRUM] > 0.5 if SACRUM in looks else np.zeros(len(none), bool)
    above = of_sacrum | ~_below_sacrum(vertebrae, voxels, sacrum)
    crumb = np.zeros(len(none), bool)
    if _sacrum_follows(vertebrae.centers[above], sacrum, spine.grid):
        crumb = _crumb_of_sacrum(vertebrae, voxels, above, sacrum, spine.grid, by_size=SACRUM not in looks)
    limit = np.where(vertebrae.at_border, _CERTAINLY_NONE_CUT, _CERTAINLY_NONE)
    kept = _from_first_to_last((none < limit) & ~crumb & above)
    doubtful = kept.any() and np.mean(none[kept] > 0.5) > _MANY_OF_NONE
    if not kept.any() or (doubtful and none.mean() > _MOSTLY_NONE):
        return None
    centers = vertebrae.centers[kept]
    seen = {value: share[kept] for value, share in looks.items()}
    whole = ~vertebrae.at_border[kept]
    upside_down = _looks_better(vertebrae.centers, turned, none.mean()) if turned else None
    levels = read_levels(seen, centers, _sacrum_follows(centers, sacrum, spine.grid), whole, upside_down)
    if set(levels.values) == {C1}:
        return None
    levels = levels.at_most(A_GUESS if doubtful else most_sure)
    if levels.gap is None and _way_to_sacrum(centers, sacrum, spine.grid) > 1:
        levels = replace(levels, gap=gap_in((levels.values[-1], SACRUM), (np.inf,)))
    if doubtful:
        levels = replace(levels, odd_looks=True)
    of_number = np.zeros(len(kept) + 1, np.uint8)
    of_number[1:][kept] = levels.values
    of_number[1:][crumb] = SACRUM
    single = np.array(levels.values) != SACRUM
    of_gap = _levels_above_gaps(levels.values)
    for part, where, points in _labelled(labels):
        values = part[where]
        disc, sacrum, bone = (values == kind for kind in (DISC_LEVEL_UNKNOWN, SACRUM, VERTEBRA_LEVEL_UNKNOWN))
        if single.any():
            upper = of_gap[centers_above(points[disc], centers)]
            values[disc] = np.where(upper == C1, 0, DISC_OFFSET + upper)  # there is none below C1
            bone[sacrum] = centers_above(points[sacrum], centers) < np.count_nonzero(single) - 1
        values[bone] = of_number[numbers_at(vertebrae, points[bone])]
        part[where] = values
    if not single.any():
        return None
    give_to_sacrum(labels, int(np.array(levels.values)[single][-1]))
    column = Column(centers[single], vertebrae.at_border[kept][single], levels.only(single))
    return _each_level_once(column, voxels[kept][single])


def _like_none(looks: Mapping[int, np.ndarray]) -> np.ndarray:
    """(n,) how much each looks like no vertebra, 0..1."""
    return 1 - np.sum(list(looks.values()), axis=0) if looks else np.ones(0)


def _looks_better(centers: np.ndarray, turned: Look, none: float) -> bool:
    """Whether what looks `none` like no vertebra, on average, clearly looks more like some when it is turned."""
    return bool(none > _LITTLE_OF_NONE and _like_none(turned(centers)).mean() < _CLEARLY_LESS * none)


def _each_level_once(column: Column, voxels: np.ndarray) -> Column:
    """What was found twice is one vertebra in the labels; its parts, of so many `voxels` (n,), count by their size. One
    that is as large as two may be two, in whichever way it was found."""
    values = np.array(column.levels.values)
    first = np.append(True, values[1:] != values[:-1])
    starts, weight = np.flatnonzero(first), np.maximum(voxels, 1)

    def mean(of_parts: np.ndarray) -> np.ndarray:
        return (np.add.reduceat(of_parts.T * weight, starts, -1) / np.add.reduceat(weight, starts)).T

    probabilities = mean(np.array(column.levels.probabilities))
    at_border = np.logical_or.reduceat(column.at_border, starts)
    twice = column.levels.twice or _as_large_as_two(values[first], np.add.reduceat(voxels, starts), ~at_border)
    levels = replace(column.levels.only(first), probabilities=tuple(probabilities.tolist()), twice=twice)
    return Column(mean(column.centers), at_border, levels)


def _as_large_as_two(values: np.ndarray, voxels: np.ndarray, whole: np.ndarray) -> int | None:
    """The first level (n,) of a vertebra that is far larger than both of its neighbors, all three of them `whole`."""
    large = np.zeros(len(values), bool)
    large[1:-1] = voxels[1:-1] > _AS_LARGE_AS_TWO * np.maximum(voxels[:-2], voxels[2:])
    large[1:-1] &= whole[:-2] & whole[1:-1] & whole[2:] & (values[1:-1] != C2)
    return int(values[large.argmax()]) if large.any() else None


def _from_first_to_last(vertebra: np.ndarray) -> np.ndarray:
    """(n,) bool, from whether each looks like a vertebra: all but what lies above the first and below the last of them,
    as skull and hips do. Between two vertebrae lies a vertebra, however little metal or a tumor leaves of its looks.
    """
    return np.logical_or.accumulate(vertebra) & np.logical_or.accumulate(vertebra[::-1])[::-1]


def _below_sacrum(vertebrae: Vertebrae, voxels: np.ndarray, sacrum: np.ndarray) -> np.ndarray:
    """(n,) bool, whether a supposed vertebra lies below the middle of the sacrum: gut, hip, or S1 between its wings
    where the scan ends there. All of them together are less than two and a half times the sacrum, or it is the sacrum
    that lies where none can be."""
    middle = np.median(sacrum[:, 2]) if len(sacrum) else -np.inf
    below = vertebrae.centers[:, 2] < middle
    return below & (voxels[below].sum() < 2.5 * len(sacrum))


def _crumb_of_sacrum(
    vertebrae: Vertebrae, voxels: np.ndarray, above: np.ndarray, sacrum: np.ndarray, grid: Grid, by_size: bool
) -> np.ndarray:
    """(n,) bool, whether a supposed vertebra is a piece of the upper sacrum: the last of those `above` (n,) its middle,
    which has its own middle in it, or, `by_size`, is wholly in view and yet far smaller than the one before. Where a
    network names vertebrae, it knows better what is that small."""
    crumb, last = np.zeros(len(above), bool), np.flatnonzero(above)[-2:]
    if len(last) > 1:
        small = by_size and not vertebrae.at_border[last[1]] and voxels[last[1]] < _CRUMB * voxels[last[0]]
        near = np.count_nonzero(np.linalg.norm(sacrum - vertebrae.centers[last[1]], axis=1) < _MIDDLE_MM)
        crumb[last[1]] = small or near * grid.voxel_volume_mm3 > 0.5 * (4 / 3 * np.pi * _MIDDLE_MM**3)
    return crumb


def _voxels_of(vertebrae: Vertebrae, spine: Spine) -> np.ndarray:
    """(n,) how many voxels of the close look each vertebra has."""
    bone = spine.probabilities[VERTEBRA_LEVEL_UNKNOWN] >= spine.inside
    return np.bincount(vertebrae.numbers[bone], minlength=len(vertebrae.centers) + 1)[1:]


def centers_above(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """How many of the centers (n, 3), from top to bottom, lie above each point (m, 3), measured along the column."""
    if len(centers) < 2:
        return (points[:, 2] < centers[0, 2]).astype(np.int64)
    along = np.gradient(centers, axis=0)
    nearest = nearest_center(points, centers)
    below = np.einsum("ij,ij->i", points - centers[nearest], along[nearest]) > 0
    return nearest + below


def _levels_above_gaps(values: Sequence[int]) -> np.ndarray:
    """(n + 1,) the vertebra above each gap: above the first, between, and below the last of n levels. No disc lies in
    or below the sacrum: what looks like one is that of the last vertebra."""
    above = [level_above(values[0])]
    for value in values:
        above.append(above[-1] if value == SACRUM else value)
    return np.array(above, np.uint8)


def level_above(value: int) -> int:
    """The usual one; C1 itself, as no disc lies above it."""
    usual = [level for level in ORDER if level not in LOOKS_LIKE or level == value]
    return usual[max(0, usual.index(value) - 1)]


def _sacrum_follows(centers: np.ndarray, sacrum: np.ndarray, grid: Grid) -> bool:
    """Whether the sacrum lies directly below the last vertebra."""
    return _way_to_sacrum(centers, sacrum, grid) <= 1


def _way_to_sacrum(centers: np.ndarray, sacrum: np.ndarray, grid: Grid) -> float:
    """From the middle of the last vertebra, in parts of the longest way to a sacrum that follows directly; NaN where
    there is hardly any sacrum."""
    if not len(centers) or len(sacrum) * grid.voxel_volume_mm3 / 1000 < _LEAST_SACRUM_ML:
        return np.nan
    way = np.linalg.norm(sacrum - centers[-1], axis=1).min()
    gap = np.linalg.norm(centers[-1] - centers[-2]) * _SACRUM_WITHIN if len(centers) > 1 else _ALONE_WITHIN_MM
    return float(way / gap)


def _sacrum_points(spine: Spine) -> np.ndarray:
    """(n, 3) mm along R, A, S of its voxels."""
    if SACRUM not in spine.probabilities:
        return np.zeros((0, 3))
    return spine.grid.world(np.argwhere(spine.probabilities[SACRUM] >= spine.inside)[:, ::-1])


def _labelled(labels: Volume):
    """Parts of the array, views, with the indices of their labelled voxels as if they were flat, and where these lie:
    (n, 3) mm along R, A, S."""
    planes = max(1, _VOXELS_AT_ONCE // max(1, labels.array[0].size))
    for start in range(0, len(labels.array), planes):
        part = labels.array[start : start + planes].reshape(-1)
        where = np.flatnonzero(part != 0)  # of bools, in a quarter of the time
        if len(where):
            indices = np.stack(np.unravel_index(where + start * labels.array[0].size, labels.array.shape), 1)
            yield part, where, labels.grid.world(indices[:, ::-1])
