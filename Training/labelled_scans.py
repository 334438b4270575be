"""Labelled scans in folders: which there are, and where the labels of each lie."""

from __future__ import annotations

from pathlib import Path

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.pairing import LABEL_FILE_ENDINGS, is_named_as_labels, stem

_RAW, _DERIVED = "rawdata", "derivatives"
# The richer one first: with discs and canal, where the workbench exported them.
_MARKS = ("_labels", "_seg-spine_msk", "_seg-vert_msk", "_seg")


def labels_of(image: Path) -> Path:
    """Where the labels of a scan lie: `name_labels.nii.gz` beside `name.nii.gz`, or, in VerSe's layout, among the
    derivatives. Where there are none, the place where they would be looked for first."""
    places = [image.parent]
    if _RAW in image.parts:
        place = len(image.parts) - 1 - image.parts[::-1].index(_RAW)
        places.append(Path(*image.parts[:place], _DERIVED, *image.parts[place + 1 : -1]))
    named = [
        folder / f"{name}{mark}{ending}"
        for folder in places
        for name in dict.fromkeys((stem(image), stem(image).removesuffix("_ct")))
        for mark in _MARKS
        for ending in LABEL_FILE_ENDINGS
    ]
    usual = image.with_name(f"{stem(image)}_labels.nii.gz")
    return next((path for path in [usual, *named] if path.is_file()), usual)


def find_labelled(dataset: Path) -> list[Path]:
    """The scans of a folder and its subfolders that have labels, sorted.

    Raises:
        InputRefused: there is no such folder, or no labelled scan in it.
    """
    if not dataset.is_dir():
        raise InputRefused(f"'{dataset}' is no folder: give the folder of a dataset, such as the workbench exports.")
    files = [path for path in sorted(dataset.rglob("*")) if path.name.lower().endswith(LABEL_FILE_ENDINGS)]
    scans = [path for path in files if path.is_file() and not path.name.startswith(".")]
    labelled = [path for path in scans if not is_named_as_labels(path) and labels_of(path).is_file()]
    if not labelled:
        raise InputRefused(
            f"'{dataset}' holds no scan with labels: name.nii.gz with name_labels.nii.gz beside it, or VerSe's layout "
            "with rawdata and derivatives."
        )
    return labelled
