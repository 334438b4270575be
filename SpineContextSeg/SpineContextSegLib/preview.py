"""One picture of a result: sagittal, coronal and axial views with the segmentation over them, and its shape in 3D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from . import __version__
from .labels import STRUCTURES, Structure, levels_known, structure
from .metrics import bounding_box
from .shading import render
from .vertebral_frame import depth_within
from .views import View, display_range, spine_views
from .volume import Volume, count_labels

FOOTER = "Research use only. Not for diagnosis or treatment."

_DPI = 100
# The usual level 6 takes twice as long for a tenth less.
_PACKING = 4
_MARGIN, _GAP, _HEAD, _CAPTION, _FOOT = 28, 20, 62, 24, 40
_SIDE = 460
_HEIGHTS = (560, 860)
_WIDEST, _NARROWEST = 1080, 200
_BACKGROUND, _PANEL, _TEXT, _QUIET, _MARK = "#0e1116", "#000000", "#f0f3f6", "#9aa4b0", "#ffd866"
_FILL, _LINE = 0.33, 1.0
_NAMED = ("vertebra", "sacrum")
_STROKE = [withStroke(linewidth=2.5, foreground="black")]


def write_preview(volume: Volume, labels: Volume, path: str | Path, title: str = "", doubt: str = "") -> None:
    """Write a PNG of a scan and its segmentation.

    Args:
        volume: HU of a CT or signal of an MR (k, j, i) on any grid.
        labels: whole numbers (k, j, i) on the same grid; only values of `labels.py` are shown.
        path: ends with .png; an earlier file is overwritten.
        title: stands at the top, such as the name of the scan.
        doubt: stands there, too, so that the names in the picture aren't taken for certain.

    Raises:
        OSError: the file can't be written.
    """
    box = bounding_box(labels.array != 0)
    if box is not None:
        labels = Volume(labels.array[box], labels.grid.crop(box).affine)
    present = set(count_labels(labels.array))
    # A person's own may be of any size, and have no color.
    if foreign := present - STRUCTURES.keys() - {0}:
        labels = Volume(np.where(np.isin(labels.array, list(foreign)), 0, labels.array), labels.affine)
    known = levels_known(present)
    found = [structure(value, levels_known=known) for value in STRUCTURES if value in present]
    sagittal, coronal, axial = spine_views(volume, labels)
    window = display_range(volume.array)

    aspects = [view.hu.shape[1] / view.hu.shape[0] for view in (sagittal, coronal)]
    height = round(float(np.clip(_WIDEST / sum(aspects), *_HEIGHTS)))
    widths = [round(min(max(height * aspect, _NARROWEST), _WIDEST * aspect / sum(aspects))) for aspect in aspects]
    page = _Page(2 * _MARGIN + sum(widths) + _SIDE + 2 * _GAP, _HEAD + _CAPTION + height + _FOOT)
    page.text(_MARGIN, _HEAD / 2 + 6, title or "Spine segmentation", size=15, weight="bold")
    if not known:  # else there would be too many, and the levels stand in the coronal view
        _legend(page, found)
    elif doubt:
        page.text(page.width - _MARGIN, _HEAD / 2 + 6, doubt, size=12, color=_MARK, weight="bold", align="right")
    top, left = _HEAD + _CAPTION, _MARGIN
    for view, width in zip((sagittal, coronal), widths):
        axes = page.panel(left, top, width, height, view.title)
        _draw(axes, view, window, found)
        left += width + _GAP
    if known:
        _name_levels(axes, coronal, found)
    upper = (height - _CAPTION - _GAP) // 2
    _draw(page.panel(left, top, _SIDE, upper, _where(axial, found)), axial, window, found)
    shapes = render(labels, {item.value: item.color for item in found}) if found else (None, None)
    top, width = top + upper + _GAP + _CAPTION, (_SIDE - _GAP) // 2
    for caption, picture in zip(("3D from the front", "3D from the left"), shapes):
        axes = page.panel(left, top, width, height - upper - _GAP - _CAPTION, caption)
        left += width + _GAP
        if picture is not None:
            axes.imshow(picture, interpolation="bilinear")
            _fit(axes, *picture.shape[:2])
    page.text(_MARGIN, page.height - _FOOT / 2, FOOTER, size=10.5, color=_QUIET)
    version = f"SpineContextSeg {__version__}"
    page.text(page.width - _MARGIN, page.height - _FOOT / 2, version, size=10.5, color=_QUIET, align="right")
    page.figure.savefig(path, format="png", dpi=_DPI, facecolor=_BACKGROUND, pil_kwargs={"compress_level": _PACKING})


class _Page:
    """A figure that is laid out in pixels from its upper left corner."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasAgg(self.figure)

    def text(
        self, x: float, y: float, text: str, *, size: float, color=_TEXT, weight: str = "normal", align: str = "left"
    ) -> float:
        """Write one line, vertically centered at `y`; returns its width."""
        # parse_math off: a file name may hold a dollar sign.
        artist = self.figure.text(x / self.width, 1 - y / self.height, text, size=size, color=color, weight=weight,
                                  ha=align, va="center", parse_math=False)  # fmt: skip
        return artist.get_window_extent().width

    def panel(self, left: float, top: float, width: float, height: float, caption: str) -> Axes:
        """Axes with a caption over them, without ticks."""
        self.text(left, top - _CAPTION / 2 - 1, caption, size=11, color=_QUIET)
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place, facecolor=_PANEL)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes


def _draw(axes: Axes, view: View, window: tuple[float, float], found: list[Structure]) -> None:
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
    _fit(axes, rows, columns)
    left, right, upper, lower = view.marks
    # Upper and lower marks stand in corners, because the spine fills the middle.
    for x, y, mark, across, down in (
        (0.02, 0.5, left, "left", "center"), (0.98, 0.5, right, "right", "center"),
        (0.02, 0.985, upper, "left", "top"), (0.02, 0.015, lower, "left", "bottom"),
    ):  # fmt: skip
        axes.text(x, y, mark, transform=axes.transAxes, color=_MARK, size=12, weight="bold", ha=across, va=down,
                  path_effects=_STROKE)  # fmt: skip
    if not found:
        axes.text(0.5, 0.5, "no spine found", transform=axes.transAxes, color=_MARK, size=13, ha="center", va="center",
                  path_effects=_STROKE)  # fmt: skip


def _name_levels(axes: Axes, view: View, found: list[Structure]) -> None:
    """The abbreviation of every vertebra and of the sacrum in its middle."""
    for item in found:
        mask = view.labels == item.value
        if mask.any() and item.kind in _NAMED:
            row, column = _place_within(mask)
            axes.text(column, row, item.abbreviation, color=_TEXT, size=10, weight="bold", ha="center", va="center",
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


def _where(axial: View, found: list[Structure]) -> str:
    """The title of the axial view, with the vertebra that it shows most of."""
    shown = {item.abbreviation: np.count_nonzero(axial.labels == item.value) for item in found if item.kind in _NAMED}
    most = max(shown, key=shown.get, default="")
    return f"{axial.title}, {most}" if most and shown[most] else axial.title


def _fit(axes: Axes, rows: int, columns: int) -> None:
    """Shows the whole picture, its pixels square, centered in the panel's own shape."""
    box = axes.get_window_extent()
    scale = max(columns / box.width, rows / box.height)
    across, down = scale * box.width / 2, scale * box.height / 2
    x, y = (columns - 1) / 2, (rows - 1) / 2
    axes.set(xlim=(x - across, x + across), ylim=(y + down, y - down), aspect="auto")


def _legend(page: _Page, found: list[Structure]) -> None:
    """Names in their colors at the upper right."""
    right = page.width - _MARGIN
    for item in reversed(found):
        right -= page.text(right, _HEAD / 2 + 6, f"\u25a0 {item.name}", size=12, color=item.color, align="right") + _GAP
