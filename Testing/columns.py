"""A spine as the close look finds it, made from a generated body: exact classes, offsets that err like a network."""

from __future__ import annotations

import numpy as np
import torch

from SpineContextSegLib.labels import CANAL, DISC_LEVEL_UNKNOWN, SACRUM, VERTEBRA_LEVEL_UNKNOWN
from SpineContextSegLib.refine import OFFSET_STEP_MM, Spine
from SpineContextSegLib.volume import Grid, Volume
from Training import classes
from Training.anatomy.generate import Anatomy
from Training.centers import generated_centers, offsets


def spine_of(anatomy: Anatomy, error_mm: float = 2.0, seed: int = 0) -> Spine:
    """What a network would find that errs by `error_mm` in each offset, independently and once more in patches."""
    label, level = anatomy.label, anatomy.level
    shape, spacing = label.shape, anatomy.spacing_mm
    places = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"), -1)
    exact = offsets(places, torch.eye(3), label, level, generated_centers(anatomy)).flip(0).nan_to_num().numpy()
    rng = np.random.default_rng(seed)
    patches = rng.normal(0, error_mm, (3, *[n // 8 + 1 for n in shape]))
    for axis in (1, 2, 3):
        patches = np.repeat(patches, 8, axis)
    patches = patches[:, : shape[0], : shape[1], : shape[2]]
    steps = (exact * spacing + rng.normal(0, error_mm, exact.shape) + patches) / OFFSET_STEP_MM
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = anatomy.origin_mm
    grid = Grid(tuple(shape), affine)
    found = {
        VERTEBRA_LEVEL_UNKNOWN: (label == classes.BODY) | (label == classes.POSTERIOR),
        SACRUM: label == classes.SACRUM, CANAL: label == classes.CANAL, DISC_LEVEL_UNKNOWN: label == classes.DISC,
    }  # fmt: skip
    probabilities = {value: mask.numpy().astype(np.uint8) * 255 for value, mask in found.items()}
    return Spine(probabilities, np.clip(np.rint(steps), -127, 127).astype(np.int8), grid, unpadded(grid), 128)


def unpadded(grid: Grid) -> Volume:
    """Noise: a scan that holds something everywhere."""
    return Volume(np.random.default_rng(0).integers(0, 99, grid.shape, np.uint8), grid.affine)


def block_spine(*boxes, shape=(40, 30, 30), stray=0.0) -> Spine:
    """Boxes of 1 mm voxels, each pointing to its own middle."""
    mask, offsets = np.zeros(shape, bool), np.zeros((3, *shape))
    for box in boxes:
        mask[box] = True
        middle = np.array([(part.start + part.stop - 1) / 2 for part in box])
        ways = middle[:, None, None, None] - np.indices(shape)
        for axis in range(3):
            offsets[axis][box] = ways[2 - axis][box]
    offsets += stray
    steps = np.rint(offsets / OFFSET_STEP_MM).astype(np.int8)
    probabilities = {VERTEBRA_LEVEL_UNKNOWN: mask.astype(np.uint8) * 255}
    grid = Grid(shape, np.eye(4))
    return Spine(probabilities, steps, grid, unpadded(grid), 128)


def true_levels(anatomy: Anatomy) -> np.ndarray:
    """VerSe values of the vertebrae alone, uint8 (k, j, i)."""
    vertebra = (anatomy.label == classes.BODY) | (anatomy.label == classes.POSTERIOR)
    return torch.where(vertebra, anatomy.level, 0).numpy()
