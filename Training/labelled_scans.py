"""Labelled scans in folders: which there are, where the labels of each lie, and what these say in VerSe's values."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from SpineContextSegLib.bids_names import DERIVED, RAW
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.numbering import voxels_in_verse
from SpineContextSegLib.on_grid import on_grid_of
from SpineContextSegLib.pairing import LABEL_FILE_ENDINGS, is_named_as_labels, label_files, stem
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume

from .subregions import from_subregions

Numbering = Literal["verse", "totalsegmentator", "subregions"]

# The richer one first: with discs and canal, where the workbench exported them.
_MARKS = ("_labels", "_seg-spine_msk", "_seg-vert_msk", "_seg")


def labels_of(image: Path) -> Path:
    """Where the labels of a scan lie: `name_labels.nii.gz` beside `name.nii.gz`, or, in VerSe's layout, among the
    derivatives. Where there are none, the place where they would be looked for first."""
    places = [image.parent]
    if RAW in image.parts:
        place = len(image.parts) - 1 - image.parts[::-1].index(RAW)
        places.append(Path(*image.parts[:place], DERIVED, *image.parts[place + 1 : -1]))
    named = [
        folder / f"{name}{mark}{ending}"
        for folder in places
        for name in dict.fromkeys((stem(image), stem(image).removesuffix("_ct")))
        for mark in _MARKS
        for ending in LABEL_FILE_ENDINGS
    ]
    usual = image.with_name(f"{stem(image)}_labels.nii.gz")
    return next((path for path in [usual, *named] if path.is_file()), usual)


def read_reference(file: Path, numbering: Numbering = "verse") -> tuple[Volume, list[str]]:
    """Labels (k, j, i) in VerSe's values, 255 = not sure, and notes on what had to be left out.

    Args:
        numbering: what the file holds; "subregions" are parts of vertebrae, see `subregions.py`.

    Raises:
        InputRefused: it can't be read, or holds values that its numbering doesn't have.
    """
    labels = read_labels(file)
    if numbering == "subregions":
        return from_subregions(labels), []
    array, notes = voxels_in_verse(labels.array, numbering, f"'{file}'")
    return Volume(array, labels.affine), notes


def read_labelled(image: Path, file: Path, numbering: Numbering = "verse") -> tuple[Volume, Volume]:
    """A scan and its labels in `file`, all of both: what is damaged or can't be right is told before any work.

    Raises:
        InputRefused: as `read_reference`; or the labels don't lie on the scan's grid.
    """
    volume, (truth, _) = read_volume(image)[0], read_reference(file, numbering)
    on_grid_of(truth, volume.grid, (f"'{file}'", f"'{image}'"))
    return volume, truth


def find_labelled(dataset: Path) -> list[Path]:
    """The scans of a folder and its subfolders that have labels, sorted.

    Raises:
        InputRefused: there is no such folder, or no labelled scan in it.
    """
    if not dataset.is_dir():
        raise InputRefused(f"'{dataset}' is no folder: give the folder of a dataset, such as the workbench exports.")
    labelled = [path for path in label_files(dataset) if not is_named_as_labels(path) and labels_of(path).is_file()]
    if not labelled:
        raise InputRefused(
            f"'{dataset}' holds no scan with labels: name.nii.gz with name_labels.nii.gz beside it, or VerSe's layout "
            "with rawdata and derivatives."
        )
    return labelled
