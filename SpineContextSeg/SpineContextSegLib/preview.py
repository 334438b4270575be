"""One picture of a result: sagittal, coronal and axial views with the segmentation over them, and its shape in 3D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import __version__
from .labels import STRUCTURES, levels_known, structure
from .shading import render
from .views import View, spine_views
from .volume import Volume

# The bone window of radiology: level 400, width 1800 HU.
WINDOW_HU = (-500.0, 1300.0)
FOOTER = "Research use only. Not for diagnosis or treatment."

_DPI = 100
_MARGIN, _GAP, _HEAD, _CAPTION, _FOOT = 28, 20, 62, 24, 40
_SIDE = 460
_HEIGHTS = (560, 860)
_WIDEST = 1080
_BACKGROUND, _PANEL, _TEXT, _QUIET, _MARK = "#0e1116", "#000000", "#f0f3f6", "#9aa4b0", "#ffd866"
_FILL, _LINE = 0.33, 1.0


def write_preview(volume: Volume, labels: Volume, path: str | Path, title: str = "") -> None:
    """Write a PNG of a CT and its segmentation.

    Args:
        volume: HU (k, j, i) on any grid.
        labels: values of `labels.py` (k, j, i) on the same grid; values that the table doesn't have aren't shown.
        path: ends with .png; an earlier file is overwritten.
        title: stands at the top, such as the name of the scan.

    Raises:
        OSError: the file can't be written.
    """
    present = np.flatnonzero(np.bincount(labels.array.ravel()))
    values = [value for value in STRUCTURES if value in present]
    level_names = levels_known(values)
    colors = {value: structure(value, levels_known=level_names).color for value in values}
    names = {value: structure(value, levels_known=level_names).name for value in values}
    sagittal, coronal, axial = spine_views(volume, labels)
    shape = render(labels, colors)

    aspects = [view.hu.shape[1] / view.hu.shape[0] for view in (sagittal, coronal)]
    height = round(float(np.clip(_WIDEST / sum(aspects), *_HEIGHTS)))
    widths = [round(float(np.clip(height * aspect, 200, _WIDEST * aspect / sum(aspects)))) for aspect in aspects]
    page = _Page(2 * _MARGIN + sum(widths) + _SIDE + 2 * _GAP, _HEAD + _CAPTION + height + _FOOT)
    page.text(_MARGIN, _HEAD / 2 + 6, title or "Spine segmentation", size=15, weight="bold")
    top, left = _HEAD + _CAPTION, _MARGIN
    for view, width in zip((sagittal, coronal), widths):
        _draw(page.panel(left, top, width, height, view.title), view, colors)
        left += width + _GAP
    upper = (height - _CAPTION - _GAP) // 2
    _draw(page.panel(left, top, _SIDE, upper, axial.title), axial, colors)
    _draw_shape(page, left, top + upper + _GAP + _CAPTION, height - upper - _GAP - _CAPTION, shape)
    _legend(page, names, colors)
    page.text(_MARGIN, page.height - _FOOT / 2, FOOTER, size=10.5, color=_QUIET)
    version = f"SpineContextSeg {__version__}"
    page.text(page.width - _MARGIN, page.height - _FOOT / 2, version, size=10.5, color=_QUIET, align="right")
    page.figure.savefig(path, format="png", dpi=_DPI, facecolor=_BACKGROUND)


class _Page:
    """A figure that is laid out in pixels from its upper left corner."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasAgg(self.figure)

    def text(self, x: float, y: float, text: str, *, size: float, color: str = _TEXT, weight: str = "normal",
             align: str = "left") -> None:  # fmt: skip
        # parse_math off: a file name may hold a dollar sign.
        self.figure.text(x / self.width, 1 - y / self.height, text, size=size, color=color, weight=weight,
                         ha=align, va="center", parse_math=False)  # fmt: skip

    def panel(self, left: float, top: float, width: float, height: float, caption: str) -> Axes:
        """Axes with a caption over them, without ticks."""
        self.text(left, top - _CAPTION / 2 - 1, caption, size=11, color=_QUIET)
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place, facecolor=_PANEL)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes


def _draw(axes: Axes, view: View, colors: dict[int, tuple[float, float, float]]) -> None:
    rows, columns = view.hu.shape
    low, high = WINDOW_HU
    axes.imshow(view.hu, cmap="gray", vmin=low, vmax=high, interpolation="bilinear")
    fill = np.zeros((rows, columns, 4), np.float32)
    for value, color in colors.items():
        fill[view.labels == value] = (*color, _FILL)
    axes.imshow(fill, interpolation="nearest")
    for value, color in colors.items():
        mask = view.labels == value
        if mask.any():
            axes.contour(np.pad(mask, 1).astype(np.float32), [0.5], colors=[color], linewidths=_LINE,
                         extent=(-1.5, columns + 0.5, -1.5, rows + 0.5))  # fmt: skip
    _fit(axes, rows, columns)
    left, right, upper, lower = view.marks
    for x, y, mark in ((0.02, 0.5, left), (0.98, 0.5, right), (0.5, 0.98, upper), (0.5, 0.02, lower)):
        axes.text(x, y, mark, transform=axes.transAxes, color=_MARK, size=12, weight="bold",
                  ha={0.02: "left", 0.98: "right"}.get(x, "center"), va={0.98: "top", 0.02: "bottom"}.get(y, "center"))  # fmt: skip
    if not colors:
        axes.text(0.5, 0.5, "no spine found", transform=axes.transAxes, color=_MARK, size=13, ha="center")


def _fit(axes: Axes, rows: int, columns: int) -> None:
    """Shows the whole picture, its pixels square, centered in the panel's own shape."""
    box = axes.get_window_extent()
    scale = max(columns / box.width, rows / box.height)
    across, down = scale * box.width / 2, scale * box.height / 2
    x, y = (columns - 1) / 2, (rows - 1) / 2
    axes.set(xlim=(x - across, x + across), ylim=(y + down, y - down), aspect="auto")


def _draw_shape(page: _Page, left: float, top: float, height: float, shape) -> None:
    width = (_SIDE - _GAP) / 2
    for n, caption in enumerate(("3D from the front", "3D from the left")):
        axes = page.panel(left + n * (width + _GAP), top, width, height, caption)
        if shape is not None:
            picture = shape[n]
            axes.imshow(picture, interpolation="bilinear")
            _fit(axes, *picture.shape[:2])


def _legend(page: _Page, names: dict[int, str], colors: dict[int, tuple[float, float, float]]) -> None:
    """Names in their colors at the upper right, where single levels aren't told apart; else there would be too many."""
    if levels_known(names):
        return
    right = page.width - _MARGIN
    for value in reversed(names):
        page.text(right, _HEAD / 2 + 6, f"\u25a0 {names[value]}", size=12, color=colors[value], align="right")
        right -= 34 + 8.2 * len(names[value])
