"""Where the body of a vertebra lies and how it stands, from the vertebra's own voxels.

The vertebra is looked at along the column, as an axial view does it: summed over its whole height, the body is the
widest compact part, whatever the arch behind it looks like, and the canal behind it is labeled or is a hole. Then the
two endplates of that part say how the body is tilted, and it is looked at again along the line between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .pieces import components_of
from .resampling import resample_intensity
from .volume import Grid, Volume

LOOK_MM = 2.0
# Less what float32 may lose, so that a tie counts as inside whichever way the axes run.
_HALF = 0.5 - 1e-3
# Of a hole in the sum over a vertebra's height. The foramen for the artery in the neck has 35 mm2.
_LEAST_CANAL_MM2 = 60.0
# The canal is straight over such a part of a vertebra's height.
_CANAL_REACH_MM = 8.0
# The middle of all voxels lies so far behind the middle of the body, unless there is next to no arch.
_LEAST_WAY_BACK_MM = 4.0
# Of the circle within the body, seen along the column: not so near its rim that pedicles or spurs are in it.
_ENDPLATE_SHARE = 0.85
_ENOUGH_TILT_DEG = 4.0
_MOST_LOOKS = 4
_ANTERIOR, _SUPERIOR = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, eq=False)
class BodyFrame:
    """A place within a body and its directions.

    origin: (3,) RAS in mm. rotation: 3x3, columns are the body's right, anterior and superior, unit vectors in RAS;
    superior halves the angle between the endplates.
    radius_mm: of the largest circle within the body, seen along the column.
    canal_mm: how far the middle of the canal lies behind the origin; NaN where it isn't known.
    low_mm, high_mm: how far the vertebra reaches below (negative) and above the origin over that circle.
    """

    origin: np.ndarray
    rotation: np.ndarray
    radius_mm: float
    canal_mm: float
    low_mm: float
    high_mm: float

    @property
    def canal(self) -> np.ndarray:
        """(3,) RAS in mm, the middle of the canal behind the body."""
        return self.origin - self.rotation[:, 1] * self.canal_mm

    def local(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) RAS in mm -> mm to the right, front and top of the origin."""
        return (points - self.origin) @ self.rotation

    def world(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) mm to the right, front and top of the origin -> RAS in mm."""
        return self.origin + points @ self.rotation.T

    def grid(self, low, high, steps) -> Grid:
        """Voxels along the frame: i to the right, j to the front, k up.

        Args:
            low, high: (right, front, up) of the first and about the last voxel center, mm from the origin.
            steps: along (right, front, up), mm.
        """
        counts = np.maximum(1, np.ceil((np.asarray(high) - low) / steps).astype(int) + 1)
        affine = np.eye(4)
        affine[:3, :3] = self.rotation * steps
        affine[:3, 3] = self.origin + self.rotation @ low
        return Grid(tuple(counts[::-1]), affine)


def find_body(mask: Volume, up: np.ndarray, canal_points: np.ndarray, *, tilted: bool = True) -> BodyFrame | None:
    """The frame of the body of one vertebra; None where there are too few voxels to see one.

    Args:
        mask: (k, j, i), not 0 in the vertebra, in a box around it.
        up: (3,) roughly along the column to the head, RAS; up to 30 degrees off are made good.
        canal_points: (n, 3) RAS in mm, points within the labeled canal, or none.
        tilted: whether the endplates say how the body is tilted; else `up` does.
    """
    coarse = coarsened(mask, LOOK_MM)
    points = points_of(Volume(coarse.array >= _HALF, coarse.affine))
    if not len(points):
        return None
    front = _ANTERIOR
    for _ in range(_MOST_LOOKS):
        frame, slope = _look(coarse, points, upright(up, front), canal_points, tilted)
        if frame is None or np.degrees(np.arctan(slope)) < _ENOUGH_TILT_DEG:
            break
        up, front = frame.rotation[:, 2], frame.rotation[:, 1]
    return frame


def coarsened(mask: Volume, step_mm: float) -> Volume:
    """Which share of a mask (k, j, i) lies in bins of voxels up to `step_mm` wide, or in its voxels if these are wider.

    The bins lie evenly from end to end, so that nothing depends on which way the axes of the scan run.
    """
    sizes = np.array(mask.array.shape[::-1])
    counts = np.ceil(sizes / np.maximum(1, (step_mm / mask.grid.spacing_mm).astype(int))).astype(int)
    affine = mask.affine.copy()
    affine[:3, :3] *= sizes / counts
    affine[:3, 3] = mask.grid.world((sizes / counts - 1) / 2)
    return Volume(resample_intensity(mask, Grid(tuple(counts[::-1]), affine), 0.0), affine)


def points_of(mask: Volume) -> np.ndarray:
    """(n, 3) RAS in mm, the centers of the voxels that are not 0."""
    return mask.grid.world(np.argwhere(mask.array)[:, ::-1])


def upright(up: np.ndarray, front: np.ndarray) -> np.ndarray:
    """3x3 rotation (right, anterior, superior) with `up` as it is and anterior as near to `front` as that allows."""
    up = up / np.linalg.norm(up)
    if np.linalg.norm(np.cross(front, up)) <= 0.1 * np.linalg.norm(front):
        front = _ANTERIOR if abs(up @ _ANTERIOR) < 0.8 else _SUPERIOR
    front = front - up * (front @ up)
    front = front / np.linalg.norm(front)
    return np.stack([np.cross(front, up), front, up], axis=1)


def depth_within(mask: np.ndarray, step_mm: float) -> np.ndarray:
    """Distance in mm from each pixel's center to the edge of a plane mask (y, x), 0 outside of it."""
    mask = np.pad(mask, 1)
    rows, columns = (np.arange(n) for n in mask.shape)
    # Squared distances add up axis by axis, so first along the rows, then along the columns.
    aside = np.where(mask[:, None, :], np.inf, (columns[:, None] - columns) ** 2.0).min(2)
    squared = (aside[None] + ((rows[:, None] - rows) ** 2.0)[:, :, None]).min(1)
    return np.maximum(0.0, np.sqrt(squared[1:-1, 1:-1]) - 0.5) * step_mm * mask[1:-1, 1:-1]


def _look(
    mask: Volume, points: np.ndarray, rotation: np.ndarray, canal_points: np.ndarray, tilted: bool
) -> tuple[BodyFrame | None, float]:
    """One look along the third column of `rotation`: a better frame, and the slope by which it turned up."""
    middle = points.mean(0)
    around = BodyFrame(middle, rotation, 0.0, 0.0, 0.0, 0.0)
    local = around.local(points)
    low, high = local.min(0) - 2 * LOOK_MM, local.max(0) + 2 * LOOK_MM
    grid = around.grid(low, high, LOOK_MM)
    inside = resample_intensity(mask, grid, 0.0, antialias=False) >= _HALF
    x, y, z = (low[n] + LOOK_MM * np.arange(size) for n, size in enumerate(grid.shape[::-1]))
    height = inside.sum(0)
    depth = depth_within(height > 0, LOOK_MM)
    if not depth.any():
        return None, 0.0
    canal = _canal(height > 0, x, y, around.local(canal_points))
    place, radius = _middle_of_body(depth, x, y, canal)
    behind, least = (_weighted_middle(height, x, y), _LEAST_WAY_BACK_MM) if canal is None else (canal, LOOK_MM)
    way = float(np.linalg.norm(place - behind))
    # Without an arch, the front is where it was taken for so far.
    forward = place - behind if way >= least else np.array([0.0, 1.0])

    rows, columns = np.nonzero(_disc(x - place[0], y - place[1], _ENDPLATE_SHARE * radius) & (height > 0))
    if not len(rows):
        return None, 0.0
    above_each = inside[:, rows, columns]
    top, bottom = z[len(z) - 1 - above_each[::-1].argmax(0)], z[above_each.argmax(0)]
    slope = np.zeros(2)
    if tilted:
        slope = (_slope(x[columns], y[rows], top) + _slope(x[columns], y[rows], bottom)) / 2
    here = float(np.median(top) + np.median(bottom)) / 2
    frame = BodyFrame(
        middle + rotation @ np.array([*place, here]),
        upright(rotation @ np.array([*-slope, 1.0]), rotation @ np.array([*forward, 0.0])),
        radius,
        float("nan") if canal is None else way,
        float(bottom.min()) - here,
        float(top.max()) - here,
    )
    return frame, float(np.linalg.norm(slope))


def _middle_of_body(
    depth: np.ndarray, x: np.ndarray, y: np.ndarray, canal: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """(2,) where the footprint is deepest, in front of the canal, and how deep. `depth` (y, x) mm: to its edge."""
    score = depth
    if canal is not None:
        # In the neck a joint may be as thick as the body. Joints come in pairs and lie to both sides of the canal, so
        # the sum of all that is around it points to the front.
        way = np.stack(np.broadcast_arrays(x - canal[0], (y - canal[1])[:, None]))
        way = way / np.maximum(np.linalg.norm(way, axis=0), LOOK_MM)
        front = (depth**2 * way).sum((1, 2))
        ahead = np.maximum(np.tensordot(front, way, 1), 0.0)
        score = depth * ahead if (depth * ahead).any() else depth
    deepest = np.unravel_index(score.argmax(), score.shape)
    radius = float(depth[deepest])
    # Of a wide body the deepest places form a ridge from side to side.
    ridge = (score >= 0.9 * score[deepest]) & _disc(x - x[deepest[1]], y - y[deepest[0]], radius)
    return _weighted_middle(ridge, x, y), radius


def _disc(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(x, y[:, None]) <= radius


def _weighted_middle(weight: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([weight.sum(0) @ x, weight.sum(1) @ y]) / weight.sum()


def _canal(footprint: np.ndarray, x: np.ndarray, y: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """(2,) middle of the canal in the plane of the footprint (y, x): of its labeled points (n, 3), else of the hole."""
    near = points[np.abs(points[:, 2]) < _CANAL_REACH_MM]
    near = near[(near[:, 0] > x[0]) & (near[:, 0] < x[-1])]
    if len(near):
        return near[:, :2].mean(0)
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(footprint.astype(np.uint8)))
    hole = components_of(sitk.GetArrayFromImage(filled) > footprint) == 1
    if hole.sum() * LOOK_MM**2 < _LEAST_CANAL_MM2:
        return None
    return _weighted_middle(hole, x, y)


def _slope(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(2,) slope along x and y of the plane through most of the points; spurs and dents are left out."""
    design = np.stack([x, y, np.ones_like(x)], axis=1)
    kept = np.ones(len(x), dtype=bool)
    for _ in range(3):
        plane, *_ = np.linalg.lstsq(design[kept], z[kept], rcond=None)
        residual = np.abs(z - design @ plane)
        kept = residual <= max(LOOK_MM, 2.0 * float(np.median(residual)))
    return plane[:2]
