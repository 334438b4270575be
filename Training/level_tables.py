"""What an evaluation of levels found, as Markdown: by group of scans, and by level."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np

from SpineContextSegLib.identification import Identification, LabelledVertebra
from SpineContextSegLib.labels import LEVEL_ORDER, level_name

from .confusion_picture import NOT_FOUND

_CONFIDENCES = (0.0, 0.5, 0.7, 0.85, 0.95)


@dataclass(frozen=True)
class ScoredScan:
    """One scan. groups: what it belongs to, by kind. certain, confidence: what the result said, None where refused.
    dice: of structures, see `dice_tables`. surface: of the binary spine, see `surface_tables`."""

    name: str
    groups: dict[str, list[str]]
    levels: Identification
    certain: bool | None
    confidence: float | None
    reason: str
    seconds: dict[str, float]
    dice: dict[str, float]
    surface: dict[str, float] = field(default_factory=dict)

    @property
    def all_right(self) -> bool:
        """Whether every vertebra that is wholly in view is identified."""
        return self.levels.whole.identified == len(self.levels.whole.vertebrae)

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, entry: dict) -> ScoredScan:
        levels = entry["levels"]
        vertebrae = tuple(LabelledVertebra(**vertebra) for vertebra in levels["vertebrae"])
        return cls(**{**entry, "levels": Identification(vertebrae, tuple(levels["extra"]))})


def figures(scans: list[ScoredScan]) -> dict:
    """The figures of a row, by name, over scans."""
    pooled = Identification.pooled(scan.levels for scan in scans)
    certain, uncertain = ([scan for scan in scans if scan.certain is answer] for answer in (True, False))
    return {
        "scans": len(scans),
        "whole": pooled.whole.figures(),
        "all": pooled.figures(),
        "mean_of_scans": {
            "identification_rate": _mean(scan.levels.whole.rate for scan in scans),
            "dice": _mean(scan.levels.whole.mean_dice for scan in scans),
        },
        "all_right": sum(scan.all_right for scan in scans),
        "refused": sum(scan.certain is None for scan in scans),
        "uncertain": len(uncertain),
        "uncertain_and_wrong": sum(not scan.all_right for scan in uncertain),
        "certain_and_wrong": sum(not scan.all_right for scan in certain),
    }


def grouped(scans: list[ScoredScan]) -> dict[str, list[ScoredScan]]:
    """Name of a group, such as "region: neck" -> its scans; all of them first."""
    groups = {"all": scans}
    for kind in dict.fromkeys(kind for scan in scans for kind in scan.groups):
        for name in sorted({name for scan in scans for name in scan.groups.get(kind, ())}):
            groups[f"{kind}: {name}"] = [scan for scan in scans if name in scan.groups.get(kind, ())]
    for low, high in zip(_CONFIDENCES, (*_CONFIDENCES[1:], math.inf)):
        name = f"confidence: {low:g} {f'to {high:g}' if high < math.inf else 'and more'}"
        groups[name] = [scan for scan in scans if scan.confidence is not None and low <= scan.confidence < high]
    return {name: of_group for name, of_group in groups.items() if of_group}


def table_by_group(groups: dict[str, list[ScoredScan]]) -> str:
    """One line for each group of scans."""
    titles = (
        "scans", "n", "vertebrae", "identified", "Dice", "Dice, any level", "all levels right", "called uncertain",
        "of these wrong", "wrong, called certain", "refused", "with cut ones: vertebrae", "identified", "Dice",
    )  # fmt: skip
    rows = []
    for name, scans in groups.items():
        row = figures(scans)
        whole, every, count = row["whole"], row["all"], row["scans"]
        rows.append((
            name, count, whole["vertebrae"], _share(whole["identified"], whole["vertebrae"]), _decimals(whole["dice"]),
            _decimals(whole["shape_dice"]), _share(row["all_right"], count), _share(row["uncertain"], count),
            row["uncertain_and_wrong"], row["certain_and_wrong"], row["refused"], every["vertebrae"],
            _share(every["identified"], every["vertebrae"]), _decimals(every["dice"]),
        ))  # fmt: skip
    return _markdown(titles, rows)


def table_by_level(levels: Identification) -> str:
    """One line for each level, and what it was most often taken for."""
    rows = []
    for value in LEVEL_ORDER:
        of_level = Identification(tuple(vertebra for vertebra in levels.vertebrae if vertebra.value == value))
        if not of_level.vertebrae:
            continue
        wrong = Counter(vertebra.found for vertebra in of_level.vertebrae if not vertebra.identified)
        taken_for = ", ".join(f"{level_name(found) if found else NOT_FOUND} {n}" for found, n in wrong.most_common(3))
        count = len(of_level.vertebrae)
        share, dice = _share(of_level.identified, count), _decimals(of_level.mean_dice)
        rows.append((level_name(value), count, share, dice, _decimals(of_level.mean_shape_dice), taken_for))
    return _markdown(("level", "vertebrae", "identified", "Dice", "Dice, any level", "most often taken for"), rows)


def _markdown(titles: tuple[str, ...], rows: list[tuple]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "-"


def _decimals(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _mean(values: Iterable[float]) -> float:
    values = [value for value in values if not math.isnan(value)]
    return float(np.mean(values)) if values else math.nan
