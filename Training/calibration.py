"""Windows as a network sees them in use, to measure the ranges of its activations on: mostly around the spine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.hounsfield import BODY_ABOVE
from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.mr import in_units_of
from SpineContextSegLib.resampling import ras_grid, resample_intensity
from SpineContextSegLib.volume import Grid, Volume

from .sampling import AIR_HU

_ON_SPINE = 0.75
# How far a window's middle may lie from the voxel it was drawn for, as a fraction of the window.
_JITTER = 0.25


def draw_windows(
    scan: Volume, labels: Volume, card: ModelCard, count: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """`count` windows (1, 1, *roi_size) float32 of a scan, resampled, normalized and padded as inference does it.

    scan, labels: HU or signal, and VerSe values, (k, j, i); a scan without spine gives windows of the rest of the body.
    """
    grid = ras_grid(scan.grid, card.spacing_ras_mm)
    image = card.to_network_axes(resample_intensity(in_units_of(card.modality[0], scan), grid, AIR_HU))
    body = np.argwhere(image > BODY_ABOVE)
    spine = np.argwhere(card.to_network_axes(_spine_on(grid, labels)))
    roi = np.array(card.roi_size)
    for _ in range(count):
        points = spine if len(spine) and rng.random() < _ON_SPINE else body
        middle = points[rng.integers(len(points))] + rng.uniform(-_JITTER, _JITTER, 3) * roi
        first = np.clip(np.rint(middle - roi / 2).astype(int), 0, np.maximum(np.array(image.shape) - roi, 0))
        inside = image[tuple(slice(start, start + size) for start, size in zip(first, roi))]
        window = np.full(roi, card.pad_value, np.float32)
        before = (roi - inside.shape) // 2
        window[tuple(slice(start, start + size) for start, size in zip(before, inside.shape))] = card.normalize(inside)
        yield window[None, None]


def _spine_on(grid: Grid, labels: Volume) -> np.ndarray:
    """Bool of the shape of `grid`: a voxel of the spine lies there."""
    spine_ijk = np.argwhere(np.isin(labels.array, list(BINARY_SPINE)))[:, ::-1]
    positions = labels.grid.world(spine_ijk) - grid.affine[:3, 3]
    indices = np.rint(positions @ np.linalg.inv(grid.affine[:3, :3]).T).astype(int)
    mask = np.zeros(grid.shape, bool)
    mask[tuple(np.clip(indices[:, ::-1], 0, np.array(grid.shape) - 1).T)] = True
    return mask
