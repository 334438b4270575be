"""One picture of a result: sagittal, coronal and axial views with the segmentation over them, and its shape in 3D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from . import __version__
from .label_boxes import bounding_box
from .labels import STRUCTURES, Structure, levels_known, structure
from .shading import render
from .view_drawing import BACKGROUND, MARK, NAMED, PANEL, QUIET, TEXT, draw_view, fit, name_levels
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
        page.text(page.width - _MARGIN, _HEAD / 2 + 6, doubt, size=12, color=MARK, weight="bold", align="right")
    top, left = _HEAD + _CAPTION, _MARGIN
    for view, width in zip((sagittal, coronal), widths):
        axes = page.panel(left, top, width, height, view.title)
        draw_view(axes, view, window, found)
        left += width + _GAP
    if known:
        name_levels(axes, coronal, found)
    upper = (height - _CAPTION - _GAP) // 2
    draw_view(page.panel(left, top, _SIDE, upper, _where(axial, found)), axial, window, found)
    shapes = render(labels, {item.value: item.color for item in found}) if found else (None, None)
    top, width = top + upper + _GAP + _CAPTION, (_SIDE - _GAP) // 2
    for caption, picture in zip(("3D from the front", "3D from the left"), shapes):
        axes = page.panel(left, top, width, height - upper - _GAP - _CAPTION, caption)
        left += width + _GAP
        if picture is not None:
            axes.imshow(picture, interpolation="bilinear")
            fit(axes, *picture.shape[:2])
    page.text(_MARGIN, page.height - _FOOT / 2, FOOTER, size=10.5, color=QUIET)
    version = f"SpineContextSeg {__version__}"
    page.text(page.width - _MARGIN, page.height - _FOOT / 2, version, size=10.5, color=QUIET, align="right")
    page.figure.savefig(path, format="png", dpi=_DPI, facecolor=BACKGROUND, pil_kwargs={"compress_level": _PACKING})


class _Page:
    """A figure that is laid out in pixels from its upper left corner."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasAgg(self.figure)

    def text(
        self, x: float, y: float, text: str, *, size: float, color=TEXT, weight: str = "normal", align: str = "left"
    ) -> float:
        """Write one line, vertically centered at `y`; returns its width."""
        # parse_math off: a file name may hold a dollar sign.
        artist = self.figure.text(x / self.width, 1 - y / self.height, text, size=size, color=color, weight=weight,
                                  ha=align, va="center", parse_math=False)  # fmt: skip
        return artist.get_window_extent().width

    def panel(self, left: float, top: float, width: float, height: float, caption: str) -> Axes:
        """Axes with a caption over them, without ticks."""
        self.text(left, top - _CAPTION / 2 - 1, caption, size=11, color=QUIET)
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place, facecolor=PANEL)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes


def _where(axial: View, found: list[Structure]) -> str:
    """The title of the axial view, with the vertebra that it shows most of."""
    shown = {item.abbreviation: np.count_nonzero(axial.labels == item.value) for item in found if item.kind in NAMED}
    most = max(shown, key=shown.get, default="")
    return f"{axial.title}, {most}" if most and shown[most] else axial.title


def _legend(page: _Page, found: list[Structure]) -> None:
    """Names in their colors at the upper right."""
    right = page.width - _MARGIN
    for item in reversed(found):
        right -= page.text(right, _HEAD / 2 + 6, f"\u25a0 {item.name}", size=12, color=item.color, align="right") + _GAP
