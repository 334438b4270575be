"""Where to look: one coarse look over the whole scan, for the body, for the spine in it, and for its levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .card import ModelCard
from .labels import BINARY_SPINE, levels_known
from .model import Model
from .pieces import LEAST_PIECE_ML, components_of
from .resampling import ras_grid, resample_intensity
from .runtime import Runtime, choose_runtime
from .sliding_window import Region, sweep
from .volume import Grid, Volume
from .windows import fitting, windows_over

# Between lung and fat: a box around everything denser holds the whole body.
BODY_HU = -300.0
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


@dataclass(frozen=True)
class CoarseSpine:
    """What might be spine at a glance: centers of voxels.

    points: (n, 3) in mm along R, A, S; n = 0 where there is none. They bridge gaps in the column.
    level_points: (m, 3) likewise, without the bridges.
    levels: level value -> (m,) float32, its probability at each of the level_points; empty for a network that doesn't
        tell levels apart.
    """

    points: np.ndarray
    level_points: np.ndarray
    levels: dict[int, np.ndarray]

    @classmethod
    def nothing(cls) -> CoarseSpine:
        """Of a look that nobody took."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3)), {})


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
    dense = hu > BODY_HU
    region = []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        planes = np.flatnonzero(dense.mean(axis=others) > _LEAST_SHARE)
        first, last = (planes[0], planes[-1] + 1) if len(planes) else (0, hu.shape[axis])
        margin = round(_MARGIN_MM / spacing_mm[2 - axis])
        region.append(slice(max(0, int(first) - margin), min(hu.shape[axis], int(last) + margin)))
    return tuple(region)


def choose_locator(
    model: Model, runtime: str = "auto", device: str = "auto", threads: int | None = None, precision: str = "auto"
) -> Runtime | None:
    """What runs a model's locator; None where it has none. Arguments and errors as for `choose_runtime`."""
    locator = model.locator
    if locator is None:
        return None
    # The fine network's 8 bits may be asked for where the locator has none.
    precision = "auto" if precision == "int8" else precision
    return choose_runtime(locator, runtime, device, threads, precision)


def coarse_spine(
    seen: Overview, card: ModelCard, runtime: Runtime, cancelled: Callable[[], bool] | None = None
) -> CoarseSpine:
    """Where in an overview there might be spine, and at which levels.

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
    values = [value for value in card.structures if value in BINARY_SPINE]
    merge = card.structure_matrix(values)
    merge = np.concatenate([merge.sum(0, keepdims=True), merge if levels_known(values) else merge[:0]])
    places, levels = [], []
    blocks = sweep(
        image, runtime, roi_size, corners, card.pad_value, normalize=card.normalize, merge=merge,
        skip=card.known_outputs, cancelled=cancelled,
    )  # fmt: skip
    for where, block, _ in blocks:
        spine[where] = block[0]
        if len(block) > 1:
            # Only of voxels that count: many levels of a whole body wouldn't fit.
            inside = block[0] >= _MIGHT_BE_SPINE
            places.append(np.argwhere(inside) + [bounds.start for bounds in where])
            levels.append(block[1:, inside])
    column = _without_specks(card.to_volume_axes(spine) >= _MIGHT_BE_SPINE, seen.grid.voxel_volume_mm3 / 1000)
    indices = np.argwhere(column)
    points = seen.grid.world(_bridged(indices)[:, ::-1])
    if not levels:
        return CoarseSpine(points, seen.grid.world(indices[:, ::-1]), {})
    places, levels = np.concatenate(places), np.concatenate(levels, 1)
    kept = card.to_network_axes(column)[tuple(places.T)]
    # Voxel indices along the network's axes -> along (k, j, i), which the same mirroring undoes.
    number = np.zeros(image.shape, np.int32)
    number[tuple(places[kept].T)] = np.arange(1, kept.sum() + 1)
    order = card.to_volume_axes(number)[tuple(indices.T)] - 1
    at_points = levels[:, kept][:, order]
    return CoarseSpine(points, seen.grid.world(indices[:, ::-1]), dict(zip(values, at_points)))


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
