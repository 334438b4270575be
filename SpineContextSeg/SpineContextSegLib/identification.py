"""Does every labelled vertebra get its own level? Identification rate and per-vertebra Dice, as VerSe defines them.

Sekuboyina et al., Medical Image Analysis 73:102166 (2021), 10.1016/j.media.2021.102166: a labelled vertebra is
identified when, of all predicted centers, the closest to its own bears its level and lies within 20 mm. The rate is the
share of labelled vertebrae that are identified, and Dice is taken for each labelled vertebra between the voxels that
both sides give its level; a level that the prediction lacks has 0. Sacrum, discs and canal don't take part.

VerSe's public code (github.com/anjany/verse, `utils/eval_utilities.py`, commit 02b292b) asks the other way round, for
the labelled center closest to each predicted one, and only among levels that both sides have. So there a level too many
takes nothing away, while here the closer of two centers decides, as in the paper.

VerSe labels only vertebrae that are wholly in view. Other references hold slivers at the border as well, whose level
nobody could tell; they are counted, and the figures without them (`Identification.whole`) are the ones to hold against
VerSe's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .labels import LEVEL_ORDER, VERTEBRAE, level_name
from .measure import vertebra_rows
from .metrics import NAN, dice_table
from .volume import Volume

LIMIT_MM = 20.0
# A border that meets no more of a vertebra than this share of its largest cross-section only clips a process or facet.
_CLIPPED = 0.25


@dataclass(frozen=True)
class LabelledVertebra:
    """One vertebra of a reference and what became of it.

    value: its level. found: the level of the closest predicted center, None where there is none within 20 mm.
    distance_mm: to that center, None like it. dice: with the voxels that got the same level. shape_dice: with the
    predicted vertebra that fits best, whatever its level. cut: the scan ends within it.
    """

    value: int
    found: int | None
    distance_mm: float | None
    dice: float
    shape_dice: float
    cut: bool

    @property
    def identified(self) -> bool:
        return self.found == self.value


@dataclass(frozen=True)
class Identification:
    """The labelled vertebrae of one scan, or of several together; extra: predicted levels that are closest to none."""

    vertebrae: tuple[LabelledVertebra, ...]
    extra: tuple[int, ...] = ()

    @classmethod
    def pooled(cls, scans: Iterable[Identification]) -> Identification:
        """The vertebrae of all scans as if of one."""
        scans = list(scans)
        return cls(
            tuple(vertebra for scan in scans for vertebra in scan.vertebrae),
            tuple(value for scan in scans for value in scan.extra),
        )

    @property
    def whole(self) -> Identification:
        """Without the vertebrae in which the scan ends."""
        return Identification(tuple(vertebra for vertebra in self.vertebrae if not vertebra.cut), self.extra)

    @property
    def identified(self) -> int:
        return sum(vertebra.identified for vertebra in self.vertebrae)

    @property
    def rate(self) -> float:
        """Share of identified vertebrae; NaN where none is labelled."""
        return self.identified / len(self.vertebrae) if self.vertebrae else NAN

    @property
    def mean_dice(self) -> float:
        return _mean(vertebra.dice for vertebra in self.vertebrae)

    @property
    def mean_shape_dice(self) -> float:
        return _mean(vertebra.shape_dice for vertebra in self.vertebrae)

    def figures(self) -> dict[str, float]:
        """Counts and means by name; NaN where no vertebra is labelled."""
        return {
            "vertebrae": len(self.vertebrae), "identified": self.identified, "identification_rate": self.rate,
            "dice": self.mean_dice, "shape_dice": self.mean_shape_dice,
        }  # fmt: skip

    def errors(self) -> str:
        """What is not identified, top to bottom, as in "T12 as L1, L5 not found"; empty where all is well."""
        return ", ".join(
            f"{level_name(v.value)} as {level_name(v.found)}" if v.found else f"{level_name(v.value)} not found"
            for v in self.vertebrae
            if not v.identified
        )


def identify(prediction: Volume, reference: Volume) -> Identification:
    """Compares the levels of two label volumes: uint8 (k, j, i), VerSe values, both on the same grid."""
    found, labelled = (
        {row.value: row.center_mm for row in vertebra_rows(None, side)} for side in (prediction, reference)
    )
    closest = closest_centers(labelled, found)
    dice = dice_table(prediction.array, reference.array)
    cut = cut_vertebrae(reference)
    vertebrae = []
    for value in LEVEL_ORDER:
        if value in labelled:
            best = max((dice[value, other] for other in found), default=0.0)
            # From numpy's to Python's numbers, which JSON takes.
            own, best = float(dice[value, value]), float(best)
            vertebrae.append(LabelledVertebra(value, *closest[value], own, best, value in cut))
    taken = {vertebra.found for vertebra in vertebrae}
    return Identification(tuple(vertebrae), tuple(value for value in LEVEL_ORDER if value in set(found) - taken))


def closest_centers(
    labelled: Mapping[int, np.ndarray], found: Mapping[int, np.ndarray]
) -> dict[int, tuple[int, float] | tuple[None, None]]:
    """For each labelled center (3,) in mm the level of the closest found one and how far it is, within 20 mm."""
    closest = {}
    for value, center in labelled.items():
        distances = {other: float(np.linalg.norm(np.subtract(place, center))) for other, place in found.items()}
        nearest = min(distances, key=distances.get, default=None)
        near = nearest is not None and distances[nearest] <= LIMIT_MM
        closest[value] = (nearest, distances[nearest]) if near else (None, None)
    return closest


def cut_vertebrae(labels: Volume) -> set[int]:
    """The vertebrae in which the scan ends above or below: what shows of them isn't the whole body.

    Where the first or last slice meets only a process or a facet, the vertebra isn't cut.
    """
    along_column = int(np.argmax(np.abs(labels.grid.directions[2])))
    slices = np.moveaxis(labels.array, 2 - along_column, 0)
    areas = {}
    for value in {int(value) for end in (slices[0], slices[-1]) for value in np.unique(end)} & VERTEBRAE:
        areas[value] = (slices == value).sum(axis=(1, 2))
    return {value for value, area in areas.items() if max(area[0], area[-1]) > _CLIPPED * area.max()}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else NAN
