"""A shaded picture of a segmentation in three dimensions, in numpy: the first surface that each ray meets, lit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from .resampling import ras_grid
from .views import sample_labels
from .volume import Volume

Colors = Mapping[int, tuple[float, float, float]]

FINEST_MM = 0.8
MOST_VOXELS = 2_500_000
# Smoothing must not reach the edge, or a spine that is cut there would have no surface.
_PADDING = 4
_AMBIENT, _DIFFUSE, _SHINE = 0.22, 0.85, 0.18
# Toward the light: to the viewer's left, up, and to the viewer.
_LIGHT = np.array([-0.45, 0.55, 0.75]) / np.linalg.norm([-0.45, 0.55, 0.75])
_FOG = 0.5


def render(labels: Volume, colors: Colors) -> tuple[np.ndarray, np.ndarray]:
    """The labels from the front and from the patient's left, head up.

    Args:
        labels: values (k, j, i) on any grid, which is best cropped to them; 0 = background.
        colors: label value -> red, green, blue in 0..1, for every value.

    Returns:
        Both pictures, (rows, columns, 4) float32 in 0..1 with alpha and square pixels.
    """
    needed = float(np.prod(labels.grid.extent_mm)) / FINEST_MM**3 / MOST_VOXELS
    spacing = FINEST_MM * max(1.0, float(np.cbrt(needed)))
    grid = ras_grid(labels.grid, spacing)
    values = np.pad(sample_labels(labels, grid), _PADDING)
    # Smooth enough to hide the steps between voxels, too little to close a foramen.
    image = sitk.GetImageFromArray((values != 0).astype(np.float32))
    sigma = float(np.clip(labels.grid.spacing_mm.max() / spacing / 2, 0.8, 2.0))
    field = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, sigma))
    # Axes as (up -> rows downward, columns to the right, away from the viewer).
    from_front = (slice(None, None, -1), slice(None, None, -1), slice(None, None, -1))
    front = _shade(field.transpose(0, 2, 1)[from_front], values.transpose(0, 2, 1)[from_front], colors, spacing)
    from_left = (slice(None, None, -1), slice(None, None, -1), slice(None))
    left = _shade(field[from_left], values[from_left], colors, spacing)
    return front, left


def _shade(field: np.ndarray, values: np.ndarray, colors: Colors, spacing: float) -> np.ndarray:
    """(rows, columns, 4): the surface field = 0.5 seen along the last axis."""
    rows, columns = np.indices(field.shape[:2])
    inside = field >= 0.5
    hit, depth = inside.any(2), np.maximum(inside.argmax(2), 1)
    before, after = field[rows, columns, depth - 1], field[rows, columns, depth]
    exact = depth - np.clip((after - 0.5) / np.maximum(after - before, 1e-6), 0, 1)
    normal = np.stack([_slope(field, rows, columns, depth, axis) for axis in (1, 0, 2)], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    normal *= (-1, 1, 1)  # outward is down the slope; rows run downward, depth away from the viewer
    lit = np.clip(normal @ _LIGHT, 0, None)
    half = _LIGHT + (0, 0, 1)
    gleam = np.clip(normal @ (half / np.linalg.norm(half)), 0, None) ** 24
    far = exact[hit]
    fog = 1 - _FOG * np.clip((exact - far.min(initial=0)) / max(np.ptp(far) if far.size else 0.0, 40 / spacing), 0, 1)
    color = _surface_color(values, rows, columns, depth, colors)
    picture = np.empty((*hit.shape, 4), np.float32)
    shine = color * (_AMBIENT + _DIFFUSE * lit[..., None]) + _SHINE * gleam[..., None]
    picture[..., :3] = np.clip(shine * fog[..., None], 0, 1)
    picture[..., 3] = np.clip(field.max(2) * 4 - 1.5, 0, 1)  # a soft rim instead of steps
    return picture


def _slope(field: np.ndarray, rows: np.ndarray, columns: np.ndarray, depth: np.ndarray, axis: int) -> np.ndarray:
    """Central difference of `field` along `axis` at (rows, columns, depth)."""
    index = [rows, columns, depth]
    ahead, behind = list(index), list(index)
    ahead[axis] = np.minimum(index[axis] + 1, field.shape[axis] - 1)
    behind[axis] = np.maximum(index[axis] - 1, 0)
    return field[tuple(ahead)] - field[tuple(behind)]


def _surface_color(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, depth: np.ndarray, colors: Colors
) -> np.ndarray:
    """(rows, columns, 3): of the first label at or behind the surface, which smoothing may have moved a little."""
    found = values[rows, columns, depth]
    for step in (1, 2, 3):
        behind = values[rows, columns, np.minimum(depth + step, values.shape[2] - 1)]
        found = np.where(found == 0, behind, found)
    # A thin disc may have been lost between the voxels of the picture, and still has a color.
    table = np.zeros((max(int(values.max()), *colors, 0) + 1, 3), np.float32)
    for value, color in colors.items():
        table[value] = color
    return table[found]
