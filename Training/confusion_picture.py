"""Which level was taken for which, as a picture: rows are true levels, columns what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from SpineContextSegLib.identification import Identification
from SpineContextSegLib.labels import LEVEL_ORDER, SACRUM, level_name

NOT_FOUND, NOT_LABELLED = "not found", "not labelled"
_DPI = 140
_CELL_INCHES = 0.3
_FAINT = "#5f6368"
# Dark text reads well on shares up to this.
_MIDDLE = 0.55


def confusion(levels: Identification) -> tuple[list[str], np.ndarray]:
    """Names of the levels from the topmost to the lowest that occur, and how often each was taken for each.

    Returns:
        names: n levels. counts: int (n + 1, n + 1), true levels down, found ones across; the last column counts
        vertebrae that were not found, the last row found ones that belong to no labelled vertebra.
    """
    occurring = {v.value for v in levels.vertebrae} | {v.found for v in levels.vertebrae} | set(levels.extra)
    order = [value for value in LEVEL_ORDER if value != SACRUM]
    places = [place for place, value in enumerate(order) if value in occurring]
    order = order[min(places, default=0) : max(places, default=-1) + 1]
    place = {value: n for n, value in enumerate(order)} | {None: len(order)}
    counts = np.zeros((len(order) + 1, len(order) + 1), int)
    for vertebra in levels.vertebrae:
        counts[place[vertebra.value], place[vertebra.found]] += 1
    for value in levels.extra:
        counts[len(order), place[value]] += 1
    return [level_name(value) for value in order], counts


def draw_confusion(levels: Identification, path: Path, title: str) -> None:
    """Write the picture (.png): color by share of the row, blue where right, orange where wrong; numbers are counts."""
    names, counts = confusion(levels)
    size = len(names) + 1
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Extra vertebrae are no share of a level.
    share[-1] = 0.0
    right = np.eye(size, dtype=bool)
    inches = 2.2 + _CELL_INCHES * size
    figure = Figure(figsize=(inches, inches), layout="constrained")
    axes = figure.subplots()
    for colors, shown in (("Blues", right), ("Oranges", ~right)):
        axes.imshow(np.ma.array(share, mask=~shown | (counts == 0)), cmap=colors, vmin=0, vmax=1.1)
    for row, column in np.argwhere(counts):
        color = "white" if share[row, column] > _MIDDLE else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(size), [*names, NOT_FOUND], rotation=90)
    axes.set_yticks(range(size), [*names, NOT_LABELLED])
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="found", ylabel="true level")
    axes.tick_params(length=0, labelsize=8)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e8eaed", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    figure.supxlabel("Color: share of the true level. Blue: right, orange: wrong.", fontsize=8, color=_FAINT)
    figure.savefig(path, dpi=_DPI)
