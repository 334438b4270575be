"""The middle of each vertebra's body, and how far it is from there: what tells touching vertebrae apart.

Centers are kept in a table by VerSe value, float32 (256, 3), voxel indices (k, j, i); NaN where a vertebra isn't there
or nobody knows its middle, as where the border of a real scan cuts its body.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from SpineContextSegLib.labels import C1, CANAL, VERTEBRAE, levels_known

from .anatomy.generate import Anatomy
from .classes import BODY, POSTERIOR, VERTEBRA

_LEAST_VOXELS = 20
_SEGMENT_MM = 25.0


def generated_centers(anatomy: Anatomy) -> Tensor:
    """Centers of a generated body: measured, and as planned where the border cuts a body."""
    label, level = anatomy.label, anatomy.level
    # C1 has no body: the middle of the whole ring stands for it.
    whole = (level == C1) & ((label == BODY) | (label == POSTERIOR))
    centers = centers_of(torch.where((label == BODY) | whole, level, 0))
    for vertebra in anatomy.plan.vertebrae:
        if centers[vertebra.value].isnan().any() and vertebra.value != C1:
            planned = (vertebra.center - np.array(anatomy.origin_mm)) / anatomy.spacing_mm
            centers[vertebra.value] = torch.from_numpy(planned[::-1].astype(np.float32))
    return centers


def real_centers(values: np.ndarray) -> Tensor:
    """Centers of a labelled scan, VerSe values (k, j, i) on an upright grid: what lies in front of the canal is body.

    A plane without canal takes the front of the nearest plane with it; a scan without canal has no centers. Nor has one
    whose vertebrae weren't told apart: their common value is that of C1.
    """
    canal = values == CANAL
    planes = np.flatnonzero(canal.any((1, 2)))
    if not len(planes) or not levels_known(VERTEBRAE.intersection(np.unique(values))):
        return torch.full((256, 3), float("nan"))
    rows = np.arange(values.shape[1])
    last_rows = np.where(canal.any(2), rows, -1).max(1)
    front = last_rows[planes[np.abs(np.arange(len(values))[:, None] - planes).argmin(1)]]
    body = (rows > front[:, None])[:, :, None] | (values == C1)
    return centers_of(torch.from_numpy(np.where(body & np.isin(values, list(VERTEBRAE)), values, 0)))


def centers_of(bodies: Tensor) -> Tensor:
    """Table of centers from VerSe values uint8 (k, j, i) in the voxels of bodies alone."""
    points = torch.nonzero(bodies)
    values = bodies[tuple(points.T)].long()
    counts = torch.zeros(256, device=bodies.device).index_add_(0, values, torch.ones(len(values), device=bodies.device))
    sums = torch.zeros(256, 3, device=bodies.device).index_add_(0, values, points.float())
    centers = sums / counts[:, None]
    centers[counts < _LEAST_VOXELS] = float("nan")
    at_border = ((points == 0) | (points == torch.tensor(bodies.shape, device=bodies.device) - 1)).any(1)
    centers[values[at_border]] = float("nan")
    return centers


def sacral_centers(sacrum: Tensor, spacing_mm: float) -> Tensor:
    """Middles of the first and of the second segment of a sacrum, (n, 3) voxel indices, from where it is (k, j, i).

    They may be taken for vertebrae."""
    points = torch.nonzero(sacrum).float()
    if not len(points):
        return points
    depth = (points[:, 0].max() - points[:, 0]) * spacing_mm
    bands = [points[(depth >= upper) & (depth < upper + _SEGMENT_MM)] for upper in (0, _SEGMENT_MM)]
    return torch.stack([band.mean(0) for band in bands if len(band) >= _LEAST_VOXELS] or [points.mean(0)])


def offsets(points_kji: Tensor, to_array: Tensor, label: Tensor, level: Tensor, centers: Tensor) -> Tensor:
    """From each voxel of a patch to the middle of its vertebra's body: float32 (3, d, h, w), patch voxels (k, j, i).

    NaN outside vertebrae and where the middle isn't known.

    Args:
        points_kji: (d, h, w, 3) where the patch's voxels lie in the array, see `sampling.patch_coordinates`.
        to_array: (3, 3) the linear part of that map. Its bend is left out: it moves a center by a voxel or two.
        label: uint8 (d, h, w) classes of the patch.
        level: uint8 (d, h, w) VerSe values of the patch.
        centers: of the array.
    """
    way = (centers[level.long()] - points_kji.to(centers.device)) @ torch.linalg.inv(to_array).T.to(centers.device)
    vertebra = torch.isin(label, torch.tensor(VERTEBRA, dtype=label.dtype, device=label.device))
    return torch.where(vertebra[..., None], way, float("nan")).movedim(-1, 0)
