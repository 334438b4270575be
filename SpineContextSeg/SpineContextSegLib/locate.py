"""Where to look: one coarse look over the whole scan, for the body and for the spine in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .card import ModelCard
from .hounsfield import BODY_ABOVE
from .labels import BINARY_SPINE
from .pieces import LEAST_PIECE_ML, components_of
from .resampling import ras_grid, resample_intensity
from .runtime import Runtime
from .sliding_window import Region, sweep
from .volume import Grid, Volume
from .windows import fitting, windows_over

# Planes with less of it are noise, table edges or cables, not body.
_LEAST_SHARE = 0.002
_MARGIN_MM = 10.0
OVERVIEW_MM = 4.0  # enough to find the body
# The coarse look only says where to look closely: what might be spine is enough.
_MIGHT_BE_SPINE = 0.2
# Of a vertebra that the border cuts.
_LEAST_AT_BORDER_ML = 0.5


@dataclass(frozen=True)
class Overview:
    """The body at a glance: hu float32 (k, j, i) on `grid`, an upright grid, cropped to the body."""

    hu: np.ndarray
    grid: Grid


def overview(volume: Volume, spacing_mm: float | tuple[float, float, float]) -> Overview:
    """The volume on a coarse upright grid, cropped to the body; spacing along (R, A, S)."""
    grid = ras_grid(volume.grid, spacing_mm)
    hu = resample_intensity(volume, grid)
    body = body_region(hu, grid.spacing_mm)
    return Overview(hu[body], grid.crop(body))


def body_region(hu: np.ndarray, spacing_mm: np.ndarray) -> Region:
    """The box around the body: HU (k, j, i) and the spacing along (i, j, k) -> slices (k, j, i).

    Air around the patient costs windows and holds nothing. Where no body stands out, the whole array is returned.
    """
    dense = hu > BODY_ABOVE
    region = []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        planes = np.flatnonzero(dense.mean(axis=others) > _LEAST_SHARE)
        first, last = (planes[0], planes[-1] + 1) if len(planes) else (0, hu.shape[axis])
        margin = round(_MARGIN_MM / spacing_mm[2 - axis])
        region.append(slice(max(0, int(first) - margin), min(hu.shape[axis], int(last) + margin)))
    return tuple(region)


def spine_points(
    seen: Overview, card: ModelCard, runtime: Runtime, cancelled: Callable[[], bool] | None = None
) -> np.ndarray:
    """Centers of the voxels of an overview that might hold spine, and of a line between its pieces where the column is
    interrupted: (n, 3) in mm along R, A, S; n = 0 where there is none.

    Args:
        seen: at the spacing of the card.
        card: of a locator, a network that saw whole bodies, see `Model.locator`.
        runtime: what runs it.
        cancelled: asked between windows; raises Cancelled.
    """
    image = card.to_network_axes(seen.hu)
    roi_size = fitting(card.roi_size, image.shape)
    corners = windows_over(image.shape, roi_size, card.overlap)
    spine = np.zeros(image.shape, np.float32)
    merge = card.structure_matrix([value for value in card.structures if value in BINARY_SPINE]).sum(0, keepdims=True)
    blocks = sweep(
        image, runtime, roi_size, corners, card.pad_value, normalize=card.normalize, merge=merge,
        skip=card.known_outputs, cancelled=cancelled,
    )  # fmt: skip
    for where, block, _ in blocks:
        spine[where] = block[0]
    runtime.rest()
    column = _without_specks(card.to_volume_axes(spine) >= _MIGHT_BE_SPINE, seen.grid.voxel_volume_mm3 / 1000)
    return seen.grid.world(_bridged(np.argwhere(column))[:, ::-1])


def _without_specks(mask: np.ndarray, voxel_ml: float) -> np.ndarray:
    """The pieces that could stay in a result (see `pieces`): all but specks, which may be larger inside the scan."""
    components = components_of(mask)
    volumes_ml = np.bincount(components.ravel()) * voxel_ml
    kept = volumes_ml >= LEAST_PIECE_ML
    faces = [np.moveaxis(components, axis, 0)[end] for axis in range(3) for end in (0, -1)]
    at_border = np.unique(np.concatenate([face.ravel() for face in faces]))
    kept[at_border] |= volumes_ml[at_border] >= _LEAST_AT_BORDER_ML
    kept[0] = False
    return kept[components]


def _bridged(indices_kji: np.ndarray) -> np.ndarray:
    """The indices, and a line between the pieces of a column that is interrupted in height, by metal for example."""
    heights, which = np.unique(indices_kji[:, 0], return_inverse=True)
    if len(heights) < 2:
        return indices_kji
    middles = [np.bincount(which, indices_kji[:, axis]) / np.bincount(which) for axis in (1, 2)]
    missing = np.setdiff1d(np.arange(heights[0], heights[-1]), heights)
    line = np.stack([missing, *(np.interp(missing, heights, middle) for middle in middles)], 1)
    return np.concatenate([indices_kji, line])
