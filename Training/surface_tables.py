"""How far the surface of the spine is off, and what of it is missed or added, over groups of scans."""

from __future__ import annotations

import math

import numpy as np

from SpineContextSegLib import labels
from SpineContextSegLib.metrics import agreement, binary_spine
from SpineContextSegLib.volume import Grid

from .dice_tables import Groups

_FIGURES = {
    "recall": "recall", "precision": "precision",
    "average_surface_distance_mm": "surface distance, mm", "hausdorff95_mm": "95 % Hausdorff, mm",
}  # fmt: skip
# In the table; every kind of group is in the card.
_KINDS = "region", "slices", "blur"


def surface_figures(found: np.ndarray, truth: np.ndarray, grid: Grid) -> dict[str, float]:
    """Of the binary spine: recall, precision, average surface distance and 95 % Hausdorff distance in mm, those that
    can be measured; VerSe values uint8 (k, j, i), both on `grid`."""
    scored = agreement(binary_spine(np.where(truth == labels.IGNORED, 0, found)), binary_spine(truth), grid)
    measured = {name: getattr(scored, name) for name in _FIGURES}
    return {name: round(value, 4) for name, value in measured.items() if not math.isnan(value)}


def surface_spread(scans: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of each figure over scans: n, mean, SD, median, and the end at which the bad ones lie: 5th percentile and minimum
    of recall and precision, 95th percentile and maximum of the distances."""
    result = {}
    for name in _FIGURES:
        values = np.array([scan[name] for scan in scans if name in scan])
        if not values.size:
            continue
        ends = (95, "maximum", values.max()) if name.endswith("_mm") else (5, "minimum", values.min())
        figures = {"mean": values.mean(), "median": np.median(values),
                   f"percentile_{ends[0]}": np.percentile(values, ends[0]), ends[1]: ends[2]}  # fmt: skip
        if values.size > 1:
            figures["sd"] = values.std(ddof=1)
        result[name] = {"n": values.size} | {kind: round(float(value), 4) for kind, value in figures.items()}
    return result


def surface_table(scans: list[tuple[Groups, dict[str, float]]]) -> str:
    """Means by group as Markdown, of the distances the 95th percentile, too; empty where nothing was measured."""
    titles = ["scans", *(f"{words}: mean, 95th percentile" if "mm" in words else words for words in _FIGURES.values())]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    groups = {"**all**": [figures for _, figures in scans]}
    for kind in _KINDS:
        for name in sorted({name for of_scan, _ in scans for name in of_scan.get(kind, ())}):
            groups[f"{kind}: {name}"] = [figures for of_scan, figures in scans if name in of_scan.get(kind, ())]
    for name, of_group in groups.items():
        if spreads := surface_spread(of_group):
            lines.append(f"| {' | '.join([name, *(_text(spreads.get(figure)) for figure in _FIGURES)])} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _text(found: dict[str, float] | None) -> str:
    if found is None:
        return "-"
    far = found.get("percentile_95")
    return f"{found['mean']:.3f}" if far is None else f"{found['mean']:.2f}, {far:.2f}"
