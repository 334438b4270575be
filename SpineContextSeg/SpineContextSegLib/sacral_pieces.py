"""Pieces of the lower sacrum that the network takes for a vertebra: they would hang on the last one, far above them."""

from __future__ import annotations

import numpy as np

from .label_boxes import label_boxes
from .labels import SACRUM
from .pieces import components_of, dilated
from .volume import Volume

# The largest come first, and the rest are specks.
_MOST_LOOSE_PIECES = 64


def give_to_sacrum(labels: Volume, last: int) -> None:
    """Loose pieces of the last vertebra that touch the sacrum and lie below all that holds together of that vertebra
    become sacrum, in place. A process of its own that came loose lies higher.

    Args:
        labels: uint8 (k, j, i), VerSe values.
        last: the value of the last vertebra.
    """
    box = label_boxes(labels.array, [last]).get(last)
    if box is None:
        return
    box = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
    part = labels.array[box]
    pieces = components_of(part == last)
    places = np.argwhere(pieces > 0)
    number = pieces[tuple(places.T)]
    height = labels.grid.crop(box).world(places[:, ::-1])[:, 2]
    lowest = height[number == 1].min()
    middle = np.bincount(number, height)[1:] / np.bincount(number)[1:]
    below = np.flatnonzero(middle[:_MOST_LOOSE_PIECES] < lowest) + 1
    for piece, around in label_boxes(pieces, below.tolist()).items():
        around = tuple(slice(max(0, each.start - 1), each.stop + 1) for each in around)
        found = pieces[around] == piece
        if (part[around][dilated(found, 1)] == SACRUM).any():
            part[around][found] = SACRUM
