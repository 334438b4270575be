"""A block of bone with a disc, in tissues, for tests of what a scanner makes of it."""

from __future__ import annotations

import torch

from Training.anatomy.tissues import Tissue

SPACING_MM = 2.0


def scene(shape=(40, 44, 48)):
    """Fat with a slab of liver, a block of bone with a cortical shell, and a disc below it."""
    tissue = torch.full(shape, int(Tissue.FAT), dtype=torch.uint8)
    tissue[:, :, :16] = int(Tissue.LIVER)
    bone, cortex, label = (torch.zeros(shape, dtype=torch.uint8) for _ in range(3))
    bone[10:30, 10:34, 24:44] = 255
    cortex[10:30, 10:34, 24:26] = 255
    label[10:30, 10:34, 24:44] = 1
    label[6:10, 10:34, 24:44] = 4
    tissue[6:10, 10:34, 24:44] = int(Tissue.DISC)
    return tissue, bone, cortex, label
