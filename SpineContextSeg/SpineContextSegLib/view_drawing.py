"""A flat view of a scan with its labels over it, drawn into a panel of a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from .labels import Structure
from .vertebral_frame import depth_within
from .views import View

BACKGROUND, PANEL, TEXT, QUIET, MARK = "#0e1116", "#000000", "#f0f3f6", "#9aa4b0", "#ffd866"
# Of these kinds are the structures that are named in a view.
NAMED = ("vertebra", "sacrum")

_FILL, _LINE = 0.33, 1.0
_STROKE = [withStroke(linewidth=2.5, foreground="black")]


def draw_view(axes: Axes, view: View, window: tuple[float, float], found: list[Structure]) -> None:
    """The picture in grays, each structure over it in its color, and which way the patient lies.

    Args:
        window: what is black and what is white, in the unit of the picture.
        found: what to show; where there is nothing, the picture says so.
    """
    rows, columns = view.hu.shape
    low, high = window
    axes.imshow(view.hu, cmap="gray", vmin=low, vmax=high, interpolation="bilinear")
    fill = np.zeros((rows, columns, 4), np.float32)
    for item in found:
        mask = view.labels == item.value
        if mask.any():
            fill[mask] = (*item.color, _FILL)
            # Padded, so that what reaches the edge is closed there.
            axes.contour(np.pad(mask, 1).astype(np.float32), [0.5], colors=[item.color], linewidths=_LINE,
                         extent=(-1, columns, -1, rows))  # fmt: skip
    axes.imshow(fill, interpolation="nearest")
    fit(axes, rows, columns)
    left, right, upper, lower = view.marks
    # Upper and lower marks stand in corners, because the spine fills the middle.
    for x, y, mark, across, down in (
        (0.02, 0.5, left, "left", "center"), (0.98, 0.5, right, "right", "center"),
        (0.02, 0.985, upper, "left", "top"), (0.02, 0.015, lower, "left", "bottom"),
    ):  # fmt: skip
        axes.text(x, y, mark, transform=axes.transAxes, color=MARK, size=12, weight="bold", ha=across, va=down,
                  path_effects=_STROKE)  # fmt: skip
    if not found:
        axes.text(0.5, 0.5, "no spine found", transform=axes.transAxes, color=MARK, size=13, ha="center", va="center",
                  path_effects=_STROKE)  # fmt: skip


def name_levels(axes: Axes, view: View, found: list[Structure]) -> None:
    """The abbreviation of every vertebra and of the sacrum in its middle."""
    for item in found:
        mask = view.labels == item.value
        if mask.any() and item.kind in NAMED:
            row, column = _place_within(mask)
            axes.text(column, row, item.abbreviation, color=TEXT, size=10, weight="bold", ha="center", va="center",
                      path_effects=_STROKE)  # fmt: skip


def _place_within(mask: np.ndarray) -> tuple[float, float]:
    """(row, column): the middle of a mask or, where that lies in something else, as in the ring of C1, its thickest
    place."""
    pixels = np.argwhere(mask)
    row, column = pixels.mean(0)
    if mask[round(row), round(column)]:
        return row, column
    first, last = pixels.min(0), pixels.max(0) + 1
    depth = depth_within(mask[first[0] : last[0], first[1] : last[1]], 1.0)
    row, column = first + np.unravel_index(depth.argmax(), depth.shape)
    return row, column


def fit(axes: Axes, rows: int, columns: int) -> None:
    """Shows the whole picture, its pixels square, centered in the panel's own shape."""
    box = axes.get_window_extent()
    scale = max(columns / box.width, rows / box.height)
    across, down = scale * box.width / 2, scale * box.height / 2
    x, y = (columns - 1) / 2, (rows - 1) / 2
    axes.set(xlim=(x - across, x + across), ylim=(y + down, y - down), aspect="auto")
