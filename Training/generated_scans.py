"""A scan of a body that nobody trained on, with its exact labels, on the grid that such a scan would have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SpineContextSegLib.volume import Volume

from .anatomy.plan import draw_plan
from .generated_mr import generated_mr
from .make_phantom import make_phantom
from .scanner import Recipe, draw_recipe
from .stored_slices import on_planes, stored_image, stored_labels

# Fine enough that every network here resamples to a coarser or the same grid, and a body takes seconds.
IN_PLANE_MM = 1.5
_LOW_DOSE_HU = 30.0
# Standard deviations of the point spread. A soft kernel has about 0.8 mm, a scan averaged to voxels of 3 mm 1.2; up to
# 3.6 is drawn, for training's sake, far more than scanners blur.
_SHARP_MM, _SOFT_MM = 1.0, 1.5


@dataclass(frozen=True)
class GeneratedScan:
    """`image` int16 (HU of a CT, signal of an MR) and `labels` uint8 VerSe, both (k, j, i) on one grid; `slices`,
    `blur` and `traits` (of the way it was taken, metal and lesions among them) are words to group scans by."""

    seed: int
    region: str
    slices: str
    blur: str
    traits: tuple[str, ...]
    image: Volume
    labels: Volume


def generated_scan(seed: int, modality: str = "CT") -> GeneratedScan:
    """The scan of a seed: body, scanned region, contrast, noise, slices and findings are all drawn from it."""
    region = draw_plan(seed).region
    if modality == "MR":
        recipe, signal, labels = generated_mr(seed, region, IN_PLANE_MM)
        thickness, blur = _thickness(signal.grid.spacing_mm.max()), _blur(recipe.blur_mm)
        return GeneratedScan(seed, region, thickness, blur, (recipe.signals.sequence,), signal, labels)
    recipe, step = _recipe(seed)
    ct, labels = make_phantom(seed, region, IN_PLANE_MM, recipe)
    ct, labels = stored_image(ct, 0, step), stored_labels(labels, 0, step)
    slices = _thickness(max(step * IN_PLANE_MM, recipe.slice_thickness_mm))
    return GeneratedScan(seed, region, slices, _blur(max(recipe.blur_mm)), _traits(recipe), ct, labels)


def _recipe(seed: int) -> tuple[Recipe, int]:
    recipe = draw_recipe(np.random.default_rng([seed, 9]))
    # Only axial slices are stored as such; a reformatted scan has been laid back.
    return on_planes(recipe, IN_PLANE_MM) if recipe.slice_axis == 0 and recipe.slice_thickness_mm else (recipe, 1)


def _thickness(slice_mm: float) -> str:
    return "up to 2 mm" if slice_mm <= 2 else "2 to 4 mm" if slice_mm <= 4 else "over 4 mm"


def _blur(spread_mm: float) -> str:
    return "up to 1 mm" if spread_mm <= _SHARP_MM else "1 to 1.5 mm" if spread_mm <= _SOFT_MM else "over 1.5 mm"


def _traits(recipe: Recipe) -> tuple[str, ...]:
    present = {
        "metal": recipe.metal != "none",
        "lesions": bool(recipe.lytic_lesions or recipe.sclerotic_lesions),
        "low dose": recipe.noise_hu > _LOW_DOSE_HU or recipe.low_dose_streak_hu > _LOW_DOSE_HU,
        "cropped": recipe.crop != "none",
    }
    return tuple(name for name, is_present in present.items() if is_present)
