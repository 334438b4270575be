"""From the fine grid on which a scanner lays its slices to the slices alone, which is what a real one stores."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from SpineContextSegLib.volume import Volume

from .mr_scanner import MRRecipe
from .scanner import Recipe

AnyRecipe = TypeVar("AnyRecipe", Recipe, MRRecipe)


def on_planes(recipe: AnyRecipe, fine_mm: float) -> tuple[AnyRecipe, int]:
    """The recipe with its slices in the middle of every nth plane of a grid of `fine_mm`, and n.

    Slices between two planes would be interpolated once more, into slices twice as thick as any scanner's.
    """
    step = max(1, round(recipe.slice_spacing_mm / fine_mm))
    if step == 1:
        return recipe, 1
    return replace(recipe, slice_spacing_mm=step * fine_mm, slice_offset=(step // 2 + 0.5) / step), step


def stored_image(volume: Volume, axis: int, step: int) -> Volume:
    """Every nth plane of a volume along an array axis (0 = k), which are the slices (see `on_planes`)."""
    planes = [slice(None)] * 3
    planes[axis] = slice(step // 2, None, step)
    affine, world_axis = volume.affine.copy(), 2 - axis
    affine[:3, 3] += affine[:3, world_axis] * (step // 2)
    affine[:3, world_axis] *= step
    return Volume(np.ascontiguousarray(volume.array[tuple(planes)]), affine)


def stored_labels(labels: Volume, axis: int, step: int) -> Volume:
    """Labels of the slices: in each voxel what fills most of it, from slice to slice."""
    planes = np.moveaxis(labels.array, axis, 0)
    # Of an even number of planes, the outer two belong to two slices, half and half.
    reach = step // 2
    weights = np.array([2] * (2 * reach + 1), np.uint8)
    if step % 2 == 0:
        weights[[0, -1]] = 1
    count = len(range(reach, len(planes), step))
    rows = np.arange(count)[:, None] * step + np.arange(2 * reach + 1)[None, :]
    most, winner = np.zeros((count, *planes.shape[1:]), np.uint8), np.zeros((count, *planes.shape[1:]), planes.dtype)
    for value in np.unique(planes):
        votes = np.zeros_like(most)
        for column, weight in zip(rows.T, weights):
            # The last slice may end beyond the last plane, which then counts for what is missing.
            votes += (planes[column.clip(max=len(planes) - 1)] == value) * weight
        winner[votes > most] = value
        np.maximum(most, votes, out=most)
    return Volume(np.ascontiguousarray(np.moveaxis(winner, 0, axis)), stored_image(labels, axis, step).affine)
