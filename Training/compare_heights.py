"""How far are the heights of bodies, measured from what was found, from those measured from a scan's labels?

    python -m Training.compare_heights --segmentations runs/evaluation SCAN.nii.gz ...

The segmentations are those that `evaluate_scans` wrote; labels lie beside the scans, in the same numberings. Compared
is what has heights in both.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SpineContextSegLib.measure import VertebraRow, vertebra_rows
from SpineContextSegLib.on_grid import on_grid_of
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume

from .labelled_scans import Numbering, labels_of, read_labelled


@dataclass(frozen=True)
class HeightDifferences:
    """Of the n bodies of a scan whose heights can be measured in both.

    heights_mm: (n, 3) at the front, in the middle and at the back, found minus labelled.
    ratios: (n,) height at the front by height at the back, found minus labelled.
    """

    heights_mm: np.ndarray
    ratios: np.ndarray


def compare_heights(image: Path, segmentation: Path, numbering: Numbering = "verse") -> HeightDifferences:
    """Hold a segmentation's heights against those of the labels beside the scan.

    Raises:
        InputRefused: a file can't be read, lies on another grid than the scan, or doesn't tell vertebrae apart.
    """
    scan, truth = read_labelled(image, labels_of(image), numbering)
    files = (truth, labels_of(image).name), (read_labels(segmentation), segmentation.name)
    labelled, found = (
        _rows(scan, Volume(on_grid_of(labels, scan.grid, (f"'{name}'", f"'{image.name}'")), scan.affine))
        for labels, name in files
    )
    both = [value for value in labelled if value in found]
    heights = np.array([_heights(found[value]) - _heights(labelled[value]) for value in both]).reshape(-1, 3)
    ratios = np.array([found[value].front_to_back - labelled[value].front_to_back for value in both])
    measured = np.isfinite(heights).all(1)
    return HeightDifferences(heights[measured], ratios[measured])


def _rows(scan: Volume, labels: Volume) -> dict[int, VertebraRow]:
    return {row.value: row for row in vertebra_rows(scan, labels)}


def _heights(row: VertebraRow) -> np.ndarray:
    return np.array([row.height_front_mm, row.height_middle_mm, row.height_back_mm])


def table(differences: dict[str, HeightDifferences]) -> str:
    """A line for each scan, in Markdown: how far off on average and at most, whichever way."""
    lines = ["| scan | bodies | heights, mm off: mean | most | front/back off: mean | most |", "|" + "---|" * 6]
    for name, each in differences.items():
        figures = [np.abs(each.heights_mm), np.abs(each.ratios)]
        cells = [f"{kind(figure):.2f}" if figure.size else "-" for figure in figures for kind in (np.mean, np.max)]
        lines.append(f"| {name} | {len(each.ratios)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.compare_heights", description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path, nargs="+", help="scans (.nii.gz)")
    parser.add_argument("--segmentations", type=Path, required=True, help="folder that evaluate_scans wrote")
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of scans with that numbering")
    arguments = parser.parse_args()
    differences = {}
    for image in arguments.scans:
        numbering: Numbering = "totalsegmentator" if stem(image) in arguments.totalsegmentator else "verse"
        segmentation = arguments.segmentations / f"{stem(image)}_segmentation.nii.gz"
        differences[stem(image)] = compare_heights(image, segmentation, numbering)
    print(table(differences))


if __name__ == "__main__":
    main()
