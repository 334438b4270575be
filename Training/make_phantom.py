r"""Make a CT of a generated body with its exact labels, such as the sample that ships with the project.

    python -m Training.make_phantom --seed 1004 --region trunk --spacing 2 \
        --output SpineContextSeg/SpineContextSegLib/sample

The shipped one is of an earlier generator, with other lumbar spinous processes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from SpineContextSegLib.labels import CANAL as CANAL_VALUE
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume

from .anatomy.generate import Anatomy, generate
from .classes import BODY, CANAL, DISC, POSTERIOR, SACRUM
from .scanner import Recipe, draw_recipe, render_ct

# Coarser steps than 1 HU compress better and lie far below the noise.
_STORED_STEP_HU = 4


def calm(recipe: Recipe) -> Recipe:
    """The same patient in a standard scan: no crop, no metal, moderate noise, thin slices."""
    return replace(
        recipe, crop="none", metal="none", slice_thickness_mm=0.0, slice_spacing_mm=0.0, slice_axis=0,
        blur_mm=(0.7, 0.7), noise_hu=14.0, noise_mm=0.8, low_dose_streak_hu=0.0, shading_hu=0.0, sharpening=0.0,
        trabecular_hu=max(recipe.trabecular_hu, 140.0), lytic_lesions=0, sclerotic_lesions=0,
    )  # fmt: skip


def verse_labels(anatomy: Anatomy) -> np.ndarray:
    """Exact labels (k, j, i) uint8: VerSe levels, sacrum, discs as 100 + the vertebra above, canal 61."""
    label, level = anatomy.label, anatomy.level
    leveled = torch.zeros_like(level)
    for kind in (BODY, POSTERIOR, SACRUM, DISC):
        leveled = torch.where(label == kind, level, leveled)
    return torch.where(label == CANAL, CANAL_VALUE, leveled).cpu().numpy().astype(np.uint8)


def make_phantom(
    seed: int, region: str | None, spacing_mm: float, recipe: Recipe | None = None
) -> tuple[Volume, Volume]:
    """CT (int16 HU) and labels (uint8) of body `seed`, stored as scanners do: i to the left, j to the back.

    Labels are 0 where the recipe's field of view ends.
    """
    anatomy = generate(seed, spacing_mm, region=region)
    recipe = recipe or calm(draw_recipe(np.random.default_rng(seed)))
    hu, seen = render_ct(anatomy.tissue, anatomy.bone, anatomy.cortex, anatomy.label, spacing_mm, recipe)
    labels = np.where(seen.numpy(), verse_labels(anatomy), 0)
    hu = (hu / _STORED_STEP_HU).round().to(torch.int16).numpy() * _STORED_STEP_HU
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = hu.shape[2] - 1, hu.shape[1] - 1
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = anatomy.origin_mm
    return tuple(
        Volume(np.ascontiguousarray(array[:, ::-1, ::-1]), affine @ flip) for array in (hu, labels)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.make_phantom", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--region", choices=("neck", "chest", "abdomen", "pelvis", "trunk", "whole"))
    parser.add_argument("--spacing", type=float, default=1.5, help="mm")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    ct, labels = make_phantom(arguments.seed, arguments.region, arguments.spacing)
    write_volume(ct, arguments.output / "phantom_ct.nii.gz")
    write_volume(labels, arguments.output / "phantom_labels.nii.gz")


if __name__ == "__main__":
    main()
