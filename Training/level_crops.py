"""Crops around the middle of single vertebrae, and of other bones, and what each of them is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.labels import C1, LEVEL_ORDER, SACRUM, VERTEBRAE, levels_known, structure
from SpineContextSegLib.levels import LOOKS_LIKE

from .centers import sacral_centers
from .classes import BACKGROUND, OTHER_BONE, RIB
from .classes import SACRUM as SACRUM_CLASS
from .generated_patches import GeneratedPatches, StoredAnatomy
from .real_patches import RealPatches, RealScan
from .sampling import AIR_HU
from .train import network_input


def class_name(value: int) -> str:
    """The class of a level: "C1" to "L5", "sacrum"."""
    return "sacrum" if value == SACRUM else structure(value).abbreviation


# A supernumerary vertebra is rare, and counts as the one that it looks like, twice in a row. What it is follows from
# the whole column.
LEVELS = tuple(value for value in LEVEL_ORDER if value not in LOOKS_LIKE)
"""The level of each class; the class after them is that of what is no vertebra."""
NONE = "none"
CLASSES = (*map(class_name, LEVELS), NONE)

# A found middle is off by so much, now and then by more: a piece of a vertebra counts as one.
_JITTER_MM = 2.5
_FAR_SHARE, _FAR_JITTER_MM = 0.15, 7.0
# Hips, skull, ribs and the like, of which a network that segments may take a piece for a vertebra.
_NONE_SHARE = 0.12
_NONE_PER_BODY = 8
# Of a scan whose head and feet were exchanged, nothing can be named.
_UPSIDE_DOWN_SHARE = 0.06
_NONE_FROM_SPINE_MM = 20.0
_BONE_HU = 250
# So far beside the column, bone above or below what is labelled may be vertebrae or sacrum that nobody labelled.
_BESIDE_COLUMN_MM = 60.0
# Scans end anywhere, most often across the column.
_CUT_SHARE, _BOX_SHARE = 0.35, 0.2
_CUT_AT_MM = 8.0, 90.0


@dataclass(frozen=True)
class _Place:
    """Middle of a vertebra: voxel index (k, j, i) in a body of `GeneratedPatches` or a scan of `RealPatches`."""

    where: StoredAnatomy | RealScan
    center: np.ndarray


class LevelCrops:
    """Draws crops, every level equally often, some of them of no vertebra."""

    def __init__(self, source: GeneratedPatches | RealPatches):
        self.source = source
        self._of_body: dict[int, list[tuple[int, _Place]]] = {}
        self._places: dict[int, list[_Place]] = {}
        self.take_up()

    def take_up(self) -> None:
        """The vertebrae of the bodies that the source has by now; those of bodies that have left it are let go."""
        bodies = self.source.scans if isinstance(self.source, RealPatches) else self.source.bodies()
        # A body with places is kept alive by them: no other one can have its id.
        self._of_body = {id(body): self._of_body.get(id(body)) or list(self._places_in(body)) for body in bodies}
        self._places = {}
        for kind, place in chain.from_iterable(self._of_body.values()):
            self._places.setdefault(kind, []).append(place)

    def levels(self) -> list[int]:
        """Numbers of the classes of which there is a vertebra, or the sacrum."""
        return sorted(self._places.keys() - {CLASSES.index(NONE)})

    def _places_in(self, body: StoredAnatomy | RealScan) -> Iterator[tuple[int, _Place]]:
        """Numbers of classes, and places."""
        is_real = isinstance(body, RealScan)
        label, level = (body.label, body.level) if is_real else (body.arrays["label"], body.arrays["level"])
        last = torch.tensor(level.shape, device=level.device) - 1
        for value in set(LEVEL_ORDER) - {SACRUM}:
            center = body.body_centers[value]
            if torch.isfinite(center).all() and (center >= 0).all() and (center <= last).all():
                yield LEVELS.index(LOOKS_LIKE.get(value, value)), _Place(body, center.cpu().numpy())
        for center in sacral_centers(label == SACRUM_CLASS, self.source.spacing_mm):
            yield LEVELS.index(SACRUM), _Place(body, center.cpu().numpy())
        if is_real and body.modality != "CT":
            return  # nobody labelled its other bones, and signal alone doesn't show them
        others = (label == BACKGROUND) & (body.hu > _BONE_HU) if is_real else (label == RIB) | (label == OTHER_BONE)
        for center in self._far_from_spine(others, level, is_real):
            yield CLASSES.index(NONE), _Place(body, center)

    def _far_from_spine(self, mask: Tensor, level: Tensor, is_real: bool) -> np.ndarray:
        """(n, 3) a few voxel indices of the mask."""
        points, column = (torch.nonzero(array).float() for array in (mask, level))
        points, column = points[:: max(1, len(points) // 100)], column[:: max(1, len(column) // 2000)]
        if not len(points) or not len(column):
            return np.zeros((0, 3))
        far = torch.cdist(points, column).amin(1) * self.source.spacing_mm > _NONE_FROM_SPINE_MM
        if is_real:
            far &= ~self._may_be_column(points, column, set(level.unique().tolist()))
        return points[far].cpu().numpy()[:: max(1, int(far.sum()) // _NONE_PER_BODY)]

    def _may_be_column(self, points: Tensor, column: Tensor, levels: set[int]) -> Tensor:
        """(n,) which points lie where the column goes on above or below what a reader labelled of it: many label no
        sacrum, and no vertebra that the border of the scan cuts."""
        beside = torch.cdist(points[:, 1:], column[:, 1:]).amin(1) * self.source.spacing_mm < _BESIDE_COLUMN_MM
        reach = _NONE_FROM_SPINE_MM / self.source.spacing_mm
        above, below = points[:, 0] > column[:, 0].max() - reach, points[:, 0] < column[:, 0].min() + reach
        has_top, has_bottom = C1 in levels and levels_known(levels & VERTEBRAE), SACRUM in levels
        return beside & ((above & (not has_top)) | (below & (not has_bottom)))

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, int]:
        """HU (k, j, i) and the number of the class."""
        none = CLASSES.index(NONE)
        is_none = none in self._places and rng.random() < _NONE_SHARE
        level = none if is_none else int(rng.choice(self.levels()))
        place = self._places[level][rng.integers(len(self._places[level]))]
        is_upside_down = rng.random() < _UPSIDE_DOWN_SHARE
        sigma = _FAR_JITTER_MM if rng.random() < _FAR_SHARE else _JITTER_MM
        center = place.center + rng.normal(0, sigma, 3) / self.source.spacing_mm
        cut = self.source.cut if isinstance(self.source, RealPatches) else self.source.render
        hu = self._cropped(cut(place.where, center, rng).hu, rng)
        return (hu.flip(0), none) if is_upside_down else (hu, level)

    def _cropped(self, hu: Tensor, rng: np.random.Generator) -> Tensor:
        """With air where the scan may have ended: above or below, or, as a box around the spine, on every side."""
        kind = rng.random()
        is_box = kind < _BOX_SHARE
        result = torch.full_like(hu, AIR_HU)
        where = []
        for axis, size in enumerate(hu.shape):
            ends = [size / 2, size / 2]
            if is_box:
                ends = rng.uniform(*_CUT_AT_MM, 2) / self.source.spacing_mm
            elif axis == 0 and kind < _BOX_SHARE + _CUT_SHARE:
                ends[int(rng.integers(2))] = rng.uniform(*_CUT_AT_MM) / self.source.spacing_mm
            where.append(slice(max(0, round(size / 2 - ends[0])), min(size, round(size / 2 + ends[1]))))
        result[tuple(where)] = hu[tuple(where)]
        return result


@dataclass(frozen=True)
class Batch:
    """image (n, 1, r, a, s) in the network's intensities; target int64 (n,), numbers of classes."""

    image: Tensor
    target: Tensor


def draw_batch(
    crops: list[LevelCrops], shares: list[float], card: ModelCard, size: int, seed: tuple[int, int]
) -> Batch:
    """Crops of several sources by their shares; `seed` is that of the run and the step."""
    rng = np.random.default_rng(seed)
    drawn = [crops[n].draw(rng) for n in rng.choice(len(crops), size, p=shares)]
    target = torch.tensor([level for _, level in drawn], device=drawn[0][0].device)
    return Batch(network_input(torch.stack([hu for hu, _ in drawn]), card), target)
