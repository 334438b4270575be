"""Labels of parts of vertebrae, as TPTBox writes them, to VerSe values for vertebrae whose level isn't known."""

from __future__ import annotations

import numpy as np

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import CANAL, DISC_LEVEL_UNKNOWN, SACRUM, VERTEBRA_LEVEL_UNKNOWN
from SpineContextSegLib.volume import Volume

# github.com/Hendrik-code/TPTBox, `core/vert_constants.py`: arch, processes and corpus are 41 to 50, cord 60, canal 61,
# endplate 62 (bone: it goes with the vertebra), disc 100. github.com/Hendrik-code/spineps, README.md, adds the sacrum,
# whole and under VerSe's value.
_VALUES = {
    SACRUM: SACRUM,
    **dict.fromkeys((*range(41, 51), 62), VERTEBRA_LEVEL_UNKNOWN),
    **dict.fromkeys((60, 61), CANAL),
    100: DISC_LEVEL_UNKNOWN,
}


def from_subregions(labels: Volume) -> Volume:
    """uint8 (k, j, i), values of TPTBox's subregions -> 1 vertebra, 26 sacrum, 61 canal, 200 disc.

    Raises:
        InputRefused: a value that isn't one of them.
    """
    found = set(np.unique(labels.array).tolist()) - {0}
    if not found <= set(_VALUES):
        other = min(found - set(_VALUES))
        raise InputRefused(f"The labels hold {other}, which is no subregion of TPTBox: give parts of vertebrae.")
    table = np.zeros(256, np.uint8)
    table[list(_VALUES)] = list(_VALUES.values())
    return Volume(table[labels.array], labels.affine)
