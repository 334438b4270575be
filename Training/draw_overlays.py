"""Draw what was found in each labelled scan over the scan, with the outline of its labels: one sheet to look at.

    python -m Training.draw_overlays --segmentations runs/evaluation --output runs/overlays.jpg SCAN.nii.gz ...

The segmentations are those that `evaluate_scans` wrote; labels lie beside the scans, in the same numberings. Only what
is near the spine is shown, so that nobody is known by a face.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from SpineContextSegLib.label_boxes import bounding_box
from SpineContextSegLib.labels import STRUCTURES, levels_known, structure
from SpineContextSegLib.metrics import binary_spine
from SpineContextSegLib.on_grid import on_grid_of
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.preview import FOOTER
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.view_drawing import BACKGROUND, PANEL, QUIET, TEXT, draw_view, name_levels
from SpineContextSegLib.views import View, display_range, spine_views
from SpineContextSegLib.volume import Volume, count_labels

from .labelled_scans import Numbering, labels_of, read_labelled

_DPI, _ACROSS = 100, 3
_PANEL_INCHES, _HEIGHT_INCHES = 2.3, 5.2
# A column seen from the side takes more room than from the front.
_WIDTHS = (1.25, 1.0)
_OUTLINE = "#ffffff"
# Shows the vessels and ribs that are mistaken for spine, and of a head no nose.
_AROUND_MM = 25.0
_JPEG_QUALITY = 85


def draw_overlays(scans: list[Path], segmentations: Path, output: Path, totalsegmentator: frozenset[str]) -> None:
    """Write the sheet (.jpg or .png).

    Args:
        segmentations: holds NAME_segmentation.nii.gz of each scan.
        totalsegmentator: names of the scans whose labels have that numbering instead of VerSe's.

    Raises:
        InputRefused: a file can't be read, or lies on another grid than its scan.
    """
    down = -(-len(scans) // _ACROSS)
    across = min(len(scans), _ACROSS)
    figure = Figure((2 * across * _PANEL_INCHES, down * _HEIGHT_INCHES), _DPI, facecolor=BACKGROUND)
    parts = np.atleast_1d(figure.subfigures(down, across)).ravel()
    for part, image in zip(parts, scans):
        numbering: Numbering = "totalsegmentator" if stem(image) in totalsegmentator else "verse"
        volume, truth = read_labelled(image, labels_of(image), numbering)
        file = segmentations / f"{stem(image)}_segmentation.nii.gz"
        found = read_labels(file)
        truth, found = (
            Volume(on_grid_of(labels, volume.grid, (f"'{name}'", f"'{image.name}'")), volume.affine)
            for labels, name in ((truth, labels_of(image).name), (found, file.name))
        )
        part.set_facecolor(BACKGROUND)
        part.suptitle(stem(image), color=TEXT, fontsize=11, x=0.01, y=0.985, ha="left")
        panels = part.subplots(1, 2, gridspec_kw={"left": 0.01, "right": 0.99, "bottom": 0.01, "top": 0.94,
                                                  "wspace": 0.03, "width_ratios": _WIDTHS})  # fmt: skip
        _draw_scan(panels, volume, truth, found)
    figure.text(0.995, 0.995, FOOTER, color=QUIET, fontsize=7, ha="right", va="top")
    figure.savefig(output, dpi=_DPI, pil_kwargs={"quality": _JPEG_QUALITY} if output.suffix == ".jpg" else {})


def _draw_scan(panels: list[Axes], volume: Volume, truth: Volume, found: Volume) -> None:
    """Sagittal and coronal view along the spine."""
    window = display_range(volume.array)
    volume, truth, found = _near_the_spine(volume, truth, found)
    values = set(count_labels(found.array))
    structures = [structure(value, levels_known=levels_known(values)) for value in STRUCTURES if value in values]
    # The labels as a picture, so that it is cut along the same curve.
    mask = Volume(binary_spine(truth.array).astype(np.float32), truth.affine)
    for axes, view, outline in zip(panels, spine_views(volume, found)[:2], spine_views(mask, found)[:2]):
        axes.set(xticks=[], yticks=[], facecolor=PANEL)
        axes.spines[:].set_visible(False)
        draw_view(axes, view, window, structures)
        _draw_outline(axes, outline)
    name_levels(panels[-1], view, structures)


def _draw_outline(axes: Axes, mask: View) -> None:
    axes.contour(mask.hu, [0.5], colors=[_OUTLINE], linewidths=0.8)


def _near_the_spine(*volumes: Volume) -> tuple[Volume, ...]:
    """All cut to what lies around the labels of the others; the first is the scan."""
    grid = volumes[0].grid
    box = bounding_box(np.logical_or(*(binary_spine(labels.array) for labels in volumes[1:])))
    margin = np.ceil(_AROUND_MM / grid.spacing_mm[::-1]).astype(int)
    box = tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margin, grid.shape)
    )
    return tuple(Volume(volume.array[box], grid.crop(box).affine) for volume in volumes)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.draw_overlays", description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path, nargs="+", help="scans (.nii.gz)")
    parser.add_argument("--segmentations", type=Path, required=True, help="folder that evaluate_scans wrote")
    parser.add_argument("--output", type=Path, required=True, help="picture (.jpg or .png)")
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of scans with that numbering")
    arguments = parser.parse_args()
    draw_overlays(arguments.scans, arguments.segmentations, arguments.output, frozenset(arguments.totalsegmentator))


if __name__ == "__main__":
    main()
