"""Patches out of larger arrays under a random affine and elastic map, sampled on the array's own device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from SpineContextSegLib.labels import SACRUM

AIR_HU = -1000.0  # what lies beyond an array
_POINTS_KEPT = 4000


@dataclass(frozen=True)
class Patch:
    """What a source draws, all (k, j, i): hu float32; label uint8 classes of anatomy, 255 = ignore; level uint8 VerSe
    values; offsets float32 (3, k, j, i), see `centers.offsets`; lacking: classes that the label calls background."""

    hu: Tensor
    label: Tensor
    level: Tensor
    offsets: Tensor
    lacking: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Deformation:
    """How far a patch may turn, stretch and bend; degrees, natural log of scale, voxels.

    rotation_deg: about the axes k (S), j (A) and i (R). Vertebrae tilt forward and back more than anything: a network
    that saw 8 degrees took half of the arches of a bent upper chest for those of the vertebra above.
    """

    rotation_deg: tuple[float, float, float] = (8.0, 10.0, 16.0)
    log_scale: float = 0.10
    log_anisotropy: float = 0.05
    elastic_voxels: float = 1.5
    mirror: bool = True


def patch_coordinates(
    center_kji: np.ndarray, size_kji: tuple[int, int, int], deformation: Deformation, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Where each voxel of a patch lies in the array: float32 (d, h, w, 3), voxel indices (k, j, i), and the linear part
    of that map, (3, 3).

    The mirror is left-right (axis i of a RAS-aligned array), the only symmetry of the body.
    """
    turn = np.deg2rad(rng.normal(0, deformation.rotation_deg, 3))
    matrix = _rotation(*turn)
    scale = np.exp(rng.normal(0, deformation.log_scale) + rng.normal(0, deformation.log_anisotropy, 3))
    if deformation.mirror and rng.random() < 0.5:
        scale[2] *= -1
    matrix = torch.from_numpy((matrix @ np.diag(scale)).astype(np.float32))
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size_kji]
    local = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    points = local @ matrix.T + torch.from_numpy(np.asarray(center_kji, np.float32))
    amplitude = rng.uniform(0, deformation.elastic_voxels)
    knots = torch.from_numpy(rng.standard_normal((1, 3, 5, 5, 5)).astype(np.float32)) * amplitude
    bend = interpolate(knots, size=size_kji, mode="trilinear", align_corners=True)[0]
    return points + bend.movedim(0, -1), matrix


def sample(arrays: list[Tensor], points_kji: Tensor, mode: str) -> Tensor:
    """Values of `arrays`, all (k, j, i), at `points_kji` (d, h, w, 3): float32 (arrays, d, h, w).

    mode: "nearest" or "bilinear" (which in three dimensions is trilinear). Only the box that the points touch is read,
    so a small patch of a large array is cheap. Outside: the edge's value.
    """
    shape = torch.tensor(arrays[0].shape)
    last = shape - 1
    low, high = (bound.long() for bound in (points_kji.amin((0, 1, 2)).floor(), points_kji.amax((0, 1, 2)).ceil()))
    low = torch.minimum(low.clamp_min(0), last)
    high = torch.maximum(torch.minimum(high, last), low)
    box = torch.stack([a[low[0]:high[0] + 1, low[1]:high[1] + 1, low[2]:high[2] + 1] for a in arrays]).float()
    scale = 2 / (high - low).clamp_min(1).float()
    normalized = ((points_kji - low) * scale - 1).flip(-1).to(box.device)
    return grid_sample(box[None], normalized[None], mode=mode, padding_mode="border", align_corners=True)[0]


def outside(shape_kji: tuple[int, ...], points_kji: Tensor) -> Tensor:
    """Bool (d, h, w): the point lies more than half a voxel outside an array of this shape."""
    last = torch.tensor(shape_kji, dtype=torch.float32) - 0.5
    return ((points_kji < -0.5) | (points_kji > last)).any(-1)


def some_points(mask: Tensor, at_most: int = _POINTS_KEPT) -> np.ndarray:
    """Voxel indices of a mask (k, j, i), int16 (n, 3), evenly thinned."""
    points = torch.nonzero(mask)
    step = -(-len(points) // at_most) or 1
    return points[::step].to(torch.int16).cpu().numpy()


def worth(level: int) -> int:
    """How many levels a VerSe value counts for: the sacrum is as long as four vertebrae, and looks unlike them."""
    return 4 if level == SACRUM else 1


def points_by_level(level: Tensor) -> np.ndarray:
    """Voxel indices, int16 (n, 3), about as many of each level other than 0: necks count as much as lumbar spines."""
    levels = torch.unique(level[level > 0]).tolist()
    share = _POINTS_KEPT // max(sum(map(worth, levels)), 1)
    each = [some_points(level == value, share * worth(value)) for value in levels]
    return np.concatenate(each) if each else np.empty((0, 3), np.int16)


def _rotation(about_k: float, about_j: float, about_i: float) -> np.ndarray:
    matrix = np.eye(3)
    for angle, (a, b) in ((about_k, (1, 2)), (about_j, (0, 2)), (about_i, (0, 1))):
        plane = np.eye(3)
        plane[a, a] = plane[b, b] = np.cos(angle)
        plane[a, b], plane[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ plane
    return matrix
