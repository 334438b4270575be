"""A file of labels that a command is to work on: only one whose values mean single vertebrae of a known level."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ..errors import InputRefused
from ..label_boxes import label_boxes
from ..labels import (
    COCCYX,
    FIRST_OWN_VALUE,
    IGNORED,
    SACRUM,
    VERTEBRA_LEVEL_UNKNOWN,
    VERTEBRAE,
    Segment,
    levels_known,
)
from ..numbering import CONVERT, Numbering, check_in_verse, voxels_in_verse
from ..reading import read_labels_with_notes, read_segments
from ..volume import Volume, count_labels

_MOST = np.iinfo(np.uint16).max


def read_vertebrae(path: Path, numbering: Numbering) -> tuple[Volume, dict[int, int], list[Segment], list[str]]:
    """Reads a label map, a `.seg.nrrd` with one layer included, in VerSe values.

    Args:
        numbering: that of the file.

    Returns:
        uint8 or uint16 (k, j, i) with its affine IJK -> RAS in mm; value -> number of voxels, without 0; what the file
        says of its segments, see `read_segments`, nothing in another numbering; and a sentence each on what is odd
        about their place, or had to be left out.

    Raises:
        InputRefused: as `read_labels`; values that don't belong to the numbering, or a coccyx above others; no
            vertebra; or vertebrae that aren't told apart.
    """
    verse = numbering == "verse"
    try:
        if not path.exists():
            raise InputRefused(f"'{path}' does not exist: check the path.")
        if not path.is_file():
            raise InputRefused(f"'{path}' is no file: give a file of spine labels.")
        labels, notes = read_labels_with_notes(path, verse=verse)
        segments = read_segments(path) if verse else []
    except OSError as error:
        raise InputRefused(f"'{path}' can't be read ({error.strerror or error}): check the file.") from error
    least, most = (int(extreme) for extreme in (labels.array.min(), labels.array.max()))
    if least < 0 or most > _MOST:
        raise InputRefused(f"'{path.name}' holds {least if least < 0 else most}: give spine labels, not a scan.")
    array = labels.array.astype(np.min_scalar_type(most), copy=False)
    if not verse:
        array, left_out = voxels_in_verse(array, numbering, f"'{path.name}'")
        notes = [*notes, *left_out]
    labels = Volume(array, labels.affine)
    counts = {value: count for value, count in count_labels(labels.array).items() if value}
    _check_values(path, set(counts))
    _check_coccyx(path, labels, set(counts))
    return labels, counts, segments, [f"'{path.name}': {note}" for note in notes]


def _check_values(path: Path, values: set[int]) -> None:
    check_in_verse({value for value in values - {IGNORED} if value < FIRST_OWN_VALUE}, f"'{path.name}'")
    if not values & VERTEBRAE:
        raise InputRefused(f"'{path.name}' holds no vertebra: give a file of spine labels.")
    if not levels_known(values):
        raise InputRefused(
            f"'{path.name}' doesn't tell its vertebrae apart (all of them are {VERTEBRA_LEVEL_UNKNOWN}), as it was "
            "made by a model that doesn't, too little of the spine was in view to name them, or it shows C1 alone: "
            "give labels in which each vertebra has a value of its own."
        )


def _check_coccyx(path: Path, labels: Volume, values: set[int]) -> None:
    """L4, L5 and S1 of TotalSegmentator have the values of T13, coccyx and sacrum in VerSe's numbering."""
    if COCCYX not in values:
        return
    heights_mm = _heights_mm(labels, VERTEBRAE | {SACRUM, COCCYX})
    lowest = min(heights_mm, key=heights_mm.__getitem__)
    if lowest != COCCYX:
        raise InputRefused(
            f"'{path.name}' holds {COCCYX} above {lowest}, as TotalSegmentator's L5 would be, but not VerSe's coccyx: "
            f"{CONVERT}"
        )


def _heights_mm(labels: Volume, values: Collection[int]) -> dict[int, float]:
    """Value -> height (S) of its center of mass, of those that are there."""
    heights = {}
    for value, box in label_boxes(labels.array, values).items():
        indices = np.argwhere(labels.array[box] == value)[:, ::-1]
        heights[value] = float(labels.grid.crop(box).world(indices.mean(0))[2])
    return heights
