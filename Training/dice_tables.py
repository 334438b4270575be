"""How well structures are found, whatever their level: Dice of each, and its spread over groups of scans."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from SpineContextSegLib import labels, metrics
from SpineContextSegLib.scores import BINARY, CANAL, DISCS, LOW_DICE, SACRUM, VERTEBRAE, Statistics

_STRUCTURES = {
    BINARY: labels.BINARY_SPINE, VERTEBRAE: labels.VERTEBRAE, SACRUM: {labels.SACRUM}, DISCS: labels.DISCS,
    CANAL: {labels.CANAL},
}  # fmt: skip
_FIGURES = "n", "mean", "sd", "median", "percentile_5", "minimum", "below_0.8"
Groups = dict[str, list[str]]
"""Kind of group -> those that a scan belongs to, such as "region" -> ["neck"]."""


def structure_dice(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of each structure that the truth holds; VerSe values uint8 (k, j, i) of the same shape.

    Unlike `evaluate`, which can't know what a reader left out: where the truth holds no sacrum, there is none.
    """
    dice, found = {}, np.where(truth == labels.IGNORED, 0, found)
    for name, values in _STRUCTURES.items():
        found_here, there = (np.isin(array, list(values)) for array in (found, truth))
        if there.any():
            dice[name] = round(metrics.dice(found_here, there), 4)
    return dice


def spread(values: Iterable[float]) -> dict[str, float]:
    """n of the Dice values, and where there are any: mean, SD of two or more, median, 5th percentile, minimum, number
    below 0.8."""
    dice = list(values)
    if not dice:
        return {"n": 0}
    found = Statistics.of(dice)
    figures = {
        "mean": found.mean, "sd": found.sd, "median": found.median, "percentile_5": found.percentile5,
        "minimum": found.minimum,
    }  # fmt: skip
    rounded = {name: round(value, 4) for name, value in figures.items() if not math.isnan(value)}
    return {"n": len(dice), **rounded, "below_0.8": sum(value < LOW_DICE for value in dice)}


def dice_table(scans: list[tuple[Groups, dict[str, float]]]) -> str:
    """Binary Dice by group, then Dice of each structure over all scans, as Markdown."""
    lines = ["| scans | n | mean | SD | median | 5th percentile | minimum | below 0.8 |", f"|{'---|' * 8}"]

    def row(name: str, values: Iterable[float]) -> None:
        found = spread(values)
        if found["n"]:
            lines.append(f"| {name} | {' | '.join(_text(found.get(figure)) for figure in _FIGURES)} |")

    row("**all**, binary spine", (dice[BINARY] for _, dice in scans))
    for kind in dict.fromkeys(kind for groups, _ in scans for kind in groups):
        for name in sorted({name for groups, _ in scans for name in groups.get(kind, ())}):
            row(f"{kind}: {name}", (dice[BINARY] for groups, dice in scans if name in groups.get(kind, ())))
    for structure in list(_STRUCTURES)[1:]:
        row(f"all, {structure}", (dice[structure] for _, dice in scans if structure in dice))
    return "\n".join(lines)


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
