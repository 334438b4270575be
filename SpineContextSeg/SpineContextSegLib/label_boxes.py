"""Where labels lie: all of them, or each of many, found in one pass over a label map for 64 of them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

Box = tuple[slice, slice, slice]

_AT_ONCE = 64  # bits of a whole number


def bounding_box(labels: np.ndarray) -> Box | None:
    """The smallest slices (k, j, i) with everything that isn't 0 or False, None where there is nothing."""
    box: list[slice] = []
    for axis in range(3):
        # Axis by axis, each in what the one before left over: the first is the slowest by far.
        rest = labels[tuple(box)]
        used = np.flatnonzero(rest.any(axis=tuple(n for n in range(3) if n != axis)))
        if not used.size:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return box[0], box[1], box[2]


def label_boxes(array: np.ndarray, values: Collection[int]) -> dict[int, Box]:
    """The smallest slices (k, j, i) around each of `values` that is present.

    Args:
        array: whole numbers (k, j, i), in any order of memory.
        values: from 1 to 255.
    """
    values = sorted(values)
    boxes = {}
    for start in range(0, len(values), _AT_ONCE):
        boxes |= _boxes_of_few(array, values[start : start + _AT_ONCE])
    return boxes


def _boxes_of_few(array: np.ndarray, values: list[int]) -> dict[int, Box]:
    """For up to 64 values."""
    # A bit for each value: one "or" along an axis then says of all of them where they are.
    bits = np.zeros(257, dtype=np.uint64)
    bits[values] = np.uint64(1) << np.arange(len(values), dtype=np.uint64)
    planes, rows, columns = (np.zeros(size, dtype=np.uint64) for size in array.shape)
    for k, plane in enumerate(array):
        filled_rows = np.flatnonzero(plane.max(1))
        if not len(filled_rows):
            continue
        j = slice(filled_rows[0], filled_rows[-1] + 1)
        filled_columns = np.flatnonzero(plane[j].max(0))
        i = slice(filled_columns[0], filled_columns[-1] + 1)
        # What is beyond the table, on either side, is taken for its last or its first entry: neither is a value.
        present = bits.take(plane[j, i], mode="clip")
        along_rows = np.bitwise_or.reduce(present, axis=1)
        rows[j] |= along_rows
        columns[i] |= np.bitwise_or.reduce(present, axis=0)
        planes[k] = np.bitwise_or.reduce(along_rows)
    boxes = {}
    for value in values:
        places = [np.flatnonzero(line & bits[value]) for line in (planes, rows, columns)]
        if len(places[0]):
            boxes[value] = tuple(slice(int(place[0]), int(place[-1]) + 1) for place in places)
    return boxes
