"""How well structures are found, whatever their level: Dice of each, and its spread over groups of scans."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SpineContextSegLib import labels
from SpineContextSegLib.scores import BINARY, CANAL, DISCS, LOW_DICE, SACRUM, VERTEBRAE

_STRUCTURES = {
    BINARY: labels.BINARY_SPINE, VERTEBRAE: labels.VERTEBRAE, SACRUM: {labels.SACRUM}, DISCS: labels.DISCS,
    CANAL: {labels.CANAL},
}  # fmt: skip
Groups = dict[str, list[str]]
"""Kind of group -> those that a scan belongs to, such as "region" -> ["neck"]."""


def structure_dice(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of each structure that the truth holds; VerSe values uint8 (k, j, i) of the same shape.

    Unlike `evaluate`, which can't know what a reader left out: where the truth holds no sacrum, there is none.
    """
    dice = {}
    for name, values in _STRUCTURES.items():
        a, b = (np.isin(array, list(values)) for array in (found, truth))
        if b.any():
            dice[name] = round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 4)
    return dice


def dice_table(scans: list[tuple[Groups, dict[str, float]]]) -> str:
    """Binary Dice by group, then Dice of each structure over all scans, as Markdown."""
    lines = ["| scans | n | mean | SD | median | 5th percentile | minimum | below 0.8 |", f"|{'---|' * 8}"]

    def row(name: str, values: Iterable[float]) -> None:
        dice = np.array(list(values))
        if len(dice):
            sd = dice.std(ddof=1) if len(dice) > 1 else 0.0
            lines.append(
                f"| {name} | {len(dice)} | {dice.mean():.3f} | {sd:.3f} | {np.median(dice):.3f} "
                f"| {np.percentile(dice, 5):.3f} | {dice.min():.3f} | {(dice < LOW_DICE).sum()} |"
            )

    row("**all**, binary spine", (dice[BINARY] for _, dice in scans))
    for kind in dict.fromkeys(kind for groups, _ in scans for kind in groups):
        for name in sorted({name for groups, _ in scans for name in groups.get(kind, ())}):
            row(f"{kind}: {name}", (dice[BINARY] for groups, dice in scans if name in groups.get(kind, ())))
    for structure in list(_STRUCTURES)[1:]:
        row(f"all, {structure}", (dice[structure] for _, dice in scans if structure in dice))
    return "\n".join(lines)
