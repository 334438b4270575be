"""Labels of parts of vertebrae, as TPTBox writes them, to VerSe values for vertebrae whose level isn't known."""

from __future__ import annotations

import numpy as np

from SpineContextSegLib.labels import CANAL, DISC_LEVEL_UNKNOWN, VERTEBRA_LEVEL_UNKNOWN
from SpineContextSegLib.volume import Volume

# github.com/Hendrik-code/TPTBox, `core/vert_constants.py`: arch, processes and corpus are 41 to 50, cord 60, canal 61,
# endplate 62 (bone: it goes with the vertebra), disc 100.
_VALUES = {
    **dict.fromkeys((*range(41, 51), 62), VERTEBRA_LEVEL_UNKNOWN),
    **dict.fromkeys((60, 61), CANAL),
    100: DISC_LEVEL_UNKNOWN,
}


def from_subregions(labels: Volume) -> Volume:
    """uint8 (k, j, i), values of TPTBox's subregions -> 1 vertebra, 61 canal, 200 disc.

    Raises:
        ValueError: a value that isn't one of them.
    """
    found = set(np.unique(labels.array).tolist()) - {0}
    if not found <= set(_VALUES):
        raise ValueError(f"{sorted(found - set(_VALUES))} are no subregions of TPTBox")
    table = np.zeros(256, np.uint8)
    table[list(_VALUES)] = list(_VALUES.values())
    return Volume(table[labels.array], labels.affine)
