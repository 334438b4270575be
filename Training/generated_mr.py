"""An MR series of a generated spine, with its exact labels, on the grid that such a series would have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from SpineContextSegLib.mr import BRIGHT
from SpineContextSegLib.volume import Grid, Volume

from .anatomy.generate import generate
from .classes import SPINE
from .make_phantom import verse_labels
from .mr_scanner import MRRecipe, draw_mr_recipe, render_mr, without_epidural_fat
from .stored_slices import on_planes, stored_image, stored_labels

# What a series shows of the surroundings of the spine, mm: behind it and in front of it, and to each side when slices
# are sagittal or not.
_BEHIND_MM, _IN_FRONT_MM = (20.0, 70.0), (40.0, 130.0)
_BESIDE_SAGITTAL_MM, _BESIDE_MM = (28.0, 48.0), (60.0, 110.0)
_SAGITTAL = 2
# What a scanner stores for the signal that `mr.standardized` calls bright.
_STORED_BRIGHT = 4000.0


def generated_mr(seed: int, region: str, spacing_mm: float) -> tuple[MRRecipe, Volume, Volume]:
    """The series of a seed: how it was taken, int16 signal and uint8 VerSe labels, (k, j, i) on one grid."""
    anatomy = generate(seed, spacing_mm, region=region)
    rng = np.random.default_rng([seed, 10])
    recipe, step = on_planes(replace(draw_mr_recipe(rng), slab_mm=0.0), spacing_mm)
    box = _field_of_view(anatomy.label, spacing_mm, recipe, rng)
    tissue, label = anatomy.tissue[box], anatomy.label[box]
    bone, cortex = (array[box].float() / 255 for array in (anatomy.bone, anatomy.cortex))
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    image, _ = render_mr(tissue, bone, cortex, label, spacing_mm, recipe, generator)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = anatomy.origin_mm
    grid = Grid(tuple(anatomy.label.shape), affine).crop(box)
    labels = verse_labels(replace(anatomy, label=without_epidural_fat(anatomy.label, anatomy.tissue)))[box]
    axis = recipe.slice_axis
    signal = Volume(_as_stored(image.numpy()), grid.affine)
    return recipe, stored_image(signal, axis, step), stored_labels(Volume(labels, grid.affine), axis, step)


def _as_stored(standardized: np.ndarray) -> np.ndarray:
    """int16 signal of which `mr.standardized` makes these values again, but for one factor."""
    return np.round((standardized / BRIGHT) ** 2 * _STORED_BRIGHT).astype(np.int16)


def _field_of_view(label: torch.Tensor, spacing_mm: float, recipe: MRRecipe, rng: np.random.Generator):
    """A box (k, j, i) around the spine, over the whole height of the body."""
    spine = torch.isin(label, torch.tensor(SPINE, dtype=label.dtype))
    beside = _BESIDE_SAGITTAL_MM if recipe.slice_axis == _SAGITTAL else _BESIDE_MM
    reach = (_BEHIND_MM, _IN_FRONT_MM), (beside, beside)
    box = [slice(None)]
    for axis, margins in zip((1, 2), reach):
        found = torch.nonzero(spine.any(2).any(0) if axis == 1 else spine.any(0).any(0)).ravel()
        low, high = (int(found[0]), int(found[-1])) if axis == 1 else (int(found.float().median()),) * 2
        before, after = (round(rng.uniform(*margin) / spacing_mm) for margin in margins)
        box.append(slice(max(0, low - before), high + after + 1))
    return tuple(box)
