"""The body of a vertebra in its own frame: its heights, its middle, and its trabecular interior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .label_boxes import bounding_box
from .metrics import NAN
from .resampling import resample_intensity
from .vertebral_frame import BodyFrame, depth_within
from .volume import Grid, Volume

# Where a body is sampled, across and along its height; edges are interpolated between samples.
PLANE_MM, HEIGHT_MM = 1.0, 0.5
_STEPS = (PLANE_MM, PLANE_MM, HEIGHT_MM)
# Of the depth of the body: where its rims are looked for, and what counts as its middle.
_RIM_SHARE, _MIDDLE_SHARE = 0.2, 0.2
_RIM_ROUNDS = 4
# Share of labeled voxels between the endplates, below which the label has holes.
_SOLID = 0.95
# A body is up to this many times wider than the circle that fits into it, in half widths.
_WIDTH_SHARE = 1.8
# Cortex and endplates are up to 1.5 mm thick, a scanner blurs them over 1 to 2 mm, and labels are 1 mm off. On CTs of
# patients the mean falls by 5 to 10 % from 2 to 3 mm, by 2 to 5 % from 3 to 4 mm, and stays from there on.
SHELL_MM = 4.0
LEAST_INTERIOR_ML = 0.2
# No interior of 70 bodies in six CTs of patients has a voxel above 1350 HU, not a sclerotic one either; titanium begins
# at 2500. A screw takes 5 % of an interior or more, and what is left below this share moves the mean by up to 15 HU.
METAL_HU, MOST_METAL_SHARE = 1500.0, 0.005
# No body is less deep from front to back, a child's neck included.
LEAST_DEPTH_MM = 6.0


@dataclass(frozen=True, eq=False)
class Body:
    """What was measured of a body.

    center: (3,) RAS in mm. heights_mm: front, middle, back in the midsagittal plane.
    y_back: where the back wall is, mm to the front of the frame's origin (negative).
    bottom, top: (n, 3) RAS in mm, evenly over its endplates.
    grid, interior: voxels along the frame, and a mask (k, j, i) of those in the trabecular interior.
    """

    center: np.ndarray
    heights_mm: tuple[float, float, float]
    y_back: float
    bottom: np.ndarray
    top: np.ndarray
    grid: Grid
    interior: np.ndarray


def measure_body(mask: Volume, frame: BodyFrame, shell_mm: float) -> Body | None:
    """Measures the body of one vertebra; None where there is no body in front of the canal.

    Args:
        mask: (k, j, i), not 0 in the vertebra, in a box around it.
        frame: of its body.
        shell_mm: how far the interior keeps from the surface.
    """
    radius = frame.radius_mm
    reach = _WIDTH_SHARE * radius + 4.0
    behind = 2.0 * radius if np.isnan(frame.canal_mm) else frame.canal_mm
    low = np.array([-reach, -behind, frame.low_mm - 4.0])
    grid = frame.grid(low, [reach, reach, frame.high_mm + 4.0], _STEPS)
    share = resample_intensity(mask, grid, 0.0, antialias=False)
    x, y, z = (low[n] + step * np.arange(size) for n, (step, size) in enumerate(zip(_STEPS, grid.shape[::-1])))
    bottom, top = _ends(share, z)
    height = top - bottom
    inner = np.hypot(x, y[:, None]) < 0.4 * radius
    if not np.isfinite(height[inner]).any():
        return None
    within = (z[:, None] > bottom[inner]) & (z[:, None] < top[inner])
    if share[:, inner][within].mean() < _SOLID:
        share = resample_intensity(_filled(mask), grid, 0.0, antialias=False)
    level, usual = float(np.nanmedian((top + bottom)[inner])) / 2, float(np.nanmedian(height[inner]))
    section = share[np.abs(z - level) <= max(HEIGHT_MM, 0.2 * usual)].mean(0)
    # The arch leaves this band free for the canal, so behind the back wall there is nothing in it.
    band = np.abs(x) <= max(3.0, 0.4 * radius)
    along = section[:, band].mean(1)
    start = int(np.abs(y).argmin())
    y_front, y_back = _edge(along[start:], y[start:]), _edge(along[start::-1], y[start::-1])
    if y_front - y_back < LEAST_DEPTH_MM:
        return None
    heights = _heights(_profile(height[:, band]), y, y_front, y_back)
    # In front of the back wall: neither pedicles nor the rest of the arch.
    footprint = (section >= 0.5) & (y >= y_back)[:, None] & np.isfinite(height)
    interior = (share >= 0.5) & _interior(footprint, bottom, top, z, shell_mm)
    middle = frame.world(_middle(footprint, bottom, top, x, y))
    rows, columns = np.nonzero(footprint)
    ends = (frame.world(np.stack([x[columns], y[rows], end[rows, columns]], axis=1)) for end in (bottom, top))
    return Body(middle, heights, y_back, *ends, grid, interior)


def interior_hu(ct: Volume, body: Body) -> tuple[np.ndarray, bool]:
    """(n,) HU in the interior, NaN where the CT has no values, none where there is too little of it; and whether there
    is a screw or cage, so that their mean says nothing of bone.

    Metal is looked for in the whole box around the interior: labels may leave it out.
    """
    if body.interior.sum() * body.grid.voxel_volume_mm3 / 1000 < LEAST_INTERIOR_ML:
        return np.zeros(0), False
    box = bounding_box(body.interior)
    hu = resample_intensity(ct, body.grid.crop(box), NAN, antialias=False)
    return hu[body.interior[box]], bool(np.count_nonzero(hu > METAL_HU) > MOST_METAL_SHARE * hu.size)


def _filled(mask: Volume) -> Volume:
    """The mask without holes that are closed on all sides, as labels have them that were made with a threshold."""
    image = sitk.GetImageFromArray((mask.array != 0).astype(np.uint8))
    return Volume(sitk.GetArrayFromImage(sitk.BinaryFillhole(image)), mask.affine)


def _middle(footprint: np.ndarray, bottom: np.ndarray, top: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(3,) middle of the volume over a footprint (y, x) between two surfaces (y, x)."""
    height = np.where(footprint, top - bottom, 0.0)
    along_z = np.where(footprint, (top + bottom) / 2, 0.0)
    return np.array([height.sum(0) @ x, height.sum(1) @ y, (height * along_z).sum()]) / height.sum()


def _interior(footprint: np.ndarray, bottom: np.ndarray, top: np.ndarray, z: np.ndarray, shell_mm: float) -> np.ndarray:
    """Mask (z, y, x) of what lies `shell_mm` within the footprint (y, x) and both surfaces (y, x)."""
    deep = depth_within(footprint, PLANE_MM) >= shell_mm
    floor, ceiling = -_lowered(-bottom, shell_mm), _lowered(top, shell_mm)
    heights = z[:, None, None]
    return deep & (heights >= floor) & (heights <= ceiling)


def _ends(share: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) lower and upper end in mm of each column of `share` (z, y, x), where it reaches one half; NaN without."""
    inside = share >= 0.5
    ends = []
    for array, flags, heights in ((share, inside, z), (share[::-1], inside[::-1], z[::-1])):
        first = flags.argmax(0)
        before = np.maximum(first - 1, 0)
        high, low = (np.take_along_axis(array, index[None], 0)[0] for index in (first, before))
        way = np.where(high > low, (high - 0.5) / np.where(high > low, high - low, 1.0), 0.0)
        ends.append(np.where(flags.any(0), heights[first] + way * (heights[before] - heights[first]), NAN))
    return ends[0], ends[1]


def _lowered(surface: np.ndarray, distance: float) -> np.ndarray:
    """The surface (y, x) in mm that lies `distance` below `surface` everywhere, dents and slopes included."""
    reach = int(distance / PLANE_MM)
    padded = np.pad(np.nan_to_num(surface, nan=np.inf), reach, constant_values=np.inf)
    lowered = np.full(surface.shape, np.inf)
    for j, i in np.ndindex(2 * reach + 1, 2 * reach + 1):
        aside = np.hypot(j - reach, i - reach) * PLANE_MM
        if aside <= distance:
            shifted = padded[j : j + surface.shape[0], i : i + surface.shape[1]]
            np.minimum(lowered, shifted - np.sqrt(distance**2 - aside**2), out=lowered)
    return lowered


def _edge(values: np.ndarray, places: np.ndarray) -> float:
    """Where `values` fall below one half on the way from the first place; the last place where they don't."""
    outside = np.flatnonzero(values < 0.5)
    if not len(outside) or outside[0] == 0:
        return float(places[0 if len(outside) else -1])
    n = outside[0]
    return float(np.interp(0.5, values[[n, n - 1]], places[[n, n - 1]]))


def _profile(height: np.ndarray) -> np.ndarray:
    """(y,) height from back to front: the lower of the medians of both sides, since a spur, or a bridge to the next
    vertebra, sits at one side more than at the other."""
    columns = height.shape[1]
    halves = height[:, : columns // 2], height[:, (columns + 1) // 2 :]
    profile = np.full((2, len(height)), NAN)
    for side, half in zip(profile, halves, strict=True):
        whole = np.isfinite(half).mean(1) >= 0.5
        side[whole] = np.nanmedian(half[whole], axis=1)
    return profile.min(0)


def _heights(profile: np.ndarray, y: np.ndarray, y_front: float, y_back: float) -> tuple[float, float, float]:
    """Front, middle, back. At a wall: the highest of the rim there, seen along the line from rim to rim, and carried on
    to the wall along that line.

    So neither the rounded edge at the wall nor the hollow behind the rim takes height away, and a wedge doesn't add to
    its low side.
    """
    depth = y_front - y_back
    zones = (
        (y <= y_front) & (y >= y_front - _RIM_SHARE * depth - PLANE_MM),
        np.abs(y - (y_front + y_back) / 2) <= max(PLANE_MM, _MIDDLE_SHARE / 2 * depth),
        (y >= y_back) & (y <= y_back + _RIM_SHARE * depth + PLANE_MM),
    )
    front, middle, back = (np.flatnonzero(zone & np.isfinite(profile)) for zone in zones)
    if not (len(front) and len(middle) and len(back)):
        return NAN, NAN, NAN
    slope = 0.0
    for _ in range(_RIM_ROUNDS):
        level = profile - slope * y
        at_front, at_back = front[level[front].argmax()], back[level[back].argmax()]
        slope = (profile[at_front] - profile[at_back]) / (y[at_front] - y[at_back])
    heights = (
        float(profile[at_front] + slope * (y_front - y[at_front])),
        float(profile[middle].mean()),
        float(profile[at_back] + slope * (y_back - y[at_back])),
    )
    # A scrap of a label may run out before its wall.
    return heights if min(heights) > 0 else (NAN, NAN, NAN)
