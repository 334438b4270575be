"""Patches of labelled real scans, with the scanner effects that a real scan can still be given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from SpineContextSegLib.labels import CANAL, DISCS, IGNORED, VERTEBRAE, levels_known
from SpineContextSegLib.labels import SACRUM as SACRUM_VALUE
from SpineContextSegLib.mr import in_units_of
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.resampling import ras_grid, resample_intensity
from SpineContextSegLib.volume import Grid, Volume, to_sitk

from .centers import offsets, real_centers
from .classes import BACKGROUND, BODY, DISC, SACRUM
from .classes import CANAL as CANAL_CLASS
from .labelled_scans import Numbering, labels_of, read_reference
from .sampling import AIR_HU, Deformation, Patch, outside, patch_coordinates, points_by_level, sample
from .smoothing import blur, noise

_BEYOND = 254  # no class
_ON_SPINE = 0.7
_JITTER_MM = 36.0
_ABOVE_SACRUM = frozenset((23, 24, 25))  # L4 to L6


@dataclass(frozen=True)
class RealScan:
    """A labelled scan on the network's grid: HU (of an MR standardized signal) int16, label (classes of anatomy) and
    level (VerSe values, 0 where the scan doesn't reach) uint8, all (k, j, i); body_centers as in `centers.py`; lacking:
    classes that nobody labelled, wherever they are."""

    name: str
    hu: Tensor
    label: Tensor
    level: Tensor
    body_centers: Tensor
    spine_points: np.ndarray  # see `points_by_level`
    lacking: frozenset[int] = frozenset()
    modality: str = "CT"


def target_classes(labels: np.ndarray) -> np.ndarray:
    """VerSe values -> classes of the source "vertebrae" (see `classes.py`); 255 stays 255."""
    target = np.full(labels.shape, BACKGROUND, np.uint8)
    target[np.isin(labels, list(VERTEBRAE))] = BODY
    target[labels == SACRUM_VALUE] = SACRUM
    target[np.isin(labels, list(DISCS))] = DISC
    target[labels == CANAL] = CANAL_CLASS
    target[labels == IGNORED] = IGNORED
    return target


def load_real_scan(
    image: Path, spacing_mm: float, around_mm: float | None = None, modality: str = "CT", numbering: Numbering = "verse"
) -> RealScan:
    """Read a scan and its labels (see `labels_of`), both on a RAS-aligned grid, the scan as inference does it.

    A voxel of the coarser grid takes the label that weighs most around it, so thin arches survive.

    Args:
        around_mm: keep only what lies this near to the box around the labels, so that many scans fit into memory.
        numbering: of the labels.

    Raises:
        InputRefused: the labels hold values that their numbering doesn't have.
    """
    volume, _ = read_volume(image)
    reference, _ = read_reference(labels_of(image), numbering)
    grid = ras_grid(volume.grid, spacing_mm)
    if around_mm is not None:
        grid = _around(reference, grid, around_mm)
    hu = resample_intensity(in_units_of(modality, volume), grid, AIR_HU)
    label = _majority(Volume(target_classes(reference.array), reference.affine), grid)
    # Which vertebra, wherever there is one: a facet that two share is bone, though neither has the larger part of it.
    only_levels = np.where(np.isin(reference.array, [*VERTEBRAE, SACRUM_VALUE]), reference.array, 0)
    level = _majority(Volume(only_levels, reference.affine), grid, among=np.unique(only_levels)[1:])
    level[level == IGNORED] = 0  # else whatever lies beyond the scan would be spine
    centers = real_centers(np.where(label == CANAL_CLASS, CANAL, np.where(label == BODY, level, 0)))
    return RealScan(
        stem(image),
        torch.from_numpy(hu.astype(np.int16)),
        torch.from_numpy(label),
        torch.from_numpy(level),
        centers,
        points_by_level(torch.from_numpy(np.where(np.isin(label, (BODY, SACRUM)), level, 0))),
        _lacking(label, level),
        modality,
    )


def _lacking(label: np.ndarray, level: np.ndarray) -> frozenset[int]:
    """Discs and canal where there are none; sacrum where there is none though what lies above it is labelled."""
    present, vertebrae = set(np.unique(label)), VERTEBRAE.intersection(np.unique(level))
    low = not levels_known(vertebrae) or vertebrae & _ABOVE_SACRUM
    return frozenset({DISC, CANAL_CLASS, *([SACRUM] if low else [])} - present)


def _around(labels: Volume, grid: Grid, margin_mm: float) -> Grid:
    """The part of an upright grid that lies within `margin_mm` of the box around all labels."""
    places = labels.grid.world(np.argwhere((labels.array > 0) & (labels.array != IGNORED))[:, ::-1])
    if not len(places):
        return grid
    origin, spacing = grid.affine[:3, 3], grid.spacing_mm
    low = np.floor((places.min(0) - margin_mm - origin) / spacing)
    high = np.ceil((places.max(0) + margin_mm - origin) / spacing) + 1
    sizes = grid.shape[::-1]
    return grid.crop(tuple(slice(int(max(a, 0)), int(min(b, n))) for a, b, n in zip(low, high, sizes))[::-1])


def _majority(labels: Volume, grid: Grid, among: np.ndarray | None = None) -> np.ndarray:
    """The label that weighs most at each voxel of a grid, of all or `among` some."""
    best = np.full(grid.shape, -1.0 if among is None else 0.0, np.float32)
    result = np.zeros(grid.shape, np.uint8)
    for value in np.unique(labels.array) if among is None else among:
        share = resample_intensity(Volume((labels.array == value).astype(np.float32), labels.affine), grid, 0.0)
        result[share > best] = value
        np.maximum(best, share, out=best)
    reference = to_sitk(Volume(result, grid.affine))
    nearest = sitk.Resample(to_sitk(labels), reference, sitk.Transform(), sitk.sitkNearestNeighbor, _BEYOND)
    result[sitk.GetArrayViewFromImage(nearest) == _BEYOND] = IGNORED
    return result


class RealPatches:
    """Draws (image, target) patches from labelled scans."""

    def __init__(self, scans: list[RealScan], spacing_mm: float, size_kji: tuple[int, int, int], device: str = "cpu"):
        self.scans = [
            replace(s, **{name: getattr(s, name).to(device) for name in ("hu", "label", "level", "body_centers")})
            for s in scans
        ]
        # A scan is drawn as often as it has spine, damped so that a small one still counts.
        weights = np.sqrt([len(torch.nonzero(s.label == BODY)) for s in scans])
        self.weights = weights / weights.sum()
        self.spacing_mm, self.size, self.device = spacing_mm, size_kji, device
        self.deformation = Deformation(log_scale=0.12, elastic_voxels=2.0)

    def draw(self, rng: np.random.Generator) -> Patch:
        """An augmented patch."""
        scan = self.scans[rng.choice(len(self.scans), p=self.weights)]
        if rng.random() < _ON_SPINE:
            center = scan.spine_points[rng.integers(len(scan.spine_points))]
        else:
            center = rng.uniform(0, scan.hu.shape)
        return self.cut(scan, center + rng.uniform(-1, 1, 3) * _JITTER_MM / self.spacing_mm, rng)

    def cut(self, scan: RealScan, center: np.ndarray, rng: np.random.Generator) -> Patch:
        """An augmented patch of one of the scans around a voxel index (k, j, i)."""
        points, to_array = patch_coordinates(center, self.size, self.deformation, rng)
        beyond = outside(tuple(scan.hu.shape), points).to(self.device)
        hu = torch.where(beyond, AIR_HU, sample([scan.hu], points, "bilinear")[0])
        # Beyond the scan there is nothing to find, as in the padding at inference.
        label, level = sample([scan.label, scan.level], points, "nearest").to(torch.uint8)
        label = torch.where(beyond, BACKGROUND, label)
        way = offsets(points, to_array, label, level, scan.body_centers)
        return Patch(self._rescan(hu, rng), label, level, way, scan.lacking)

    def _rescan(self, hu: Tensor, rng: np.random.Generator) -> Tensor:
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        if rng.random() < 0.3:
            hu = blur(hu, tuple(rng.uniform(0.2, 1.0, 3)))
        if rng.random() < 0.4:
            hu = hu + float(rng.uniform(3, 35)) * noise(hu.shape, tuple(rng.uniform(0.2, 0.8, 3)), generator)
        # Contrast between bone and soft tissue differs from scanner to scanner more than soft tissue itself.
        bone = (hu - 80.0).clamp_min(0)
        hu = hu + bone * float(rng.uniform(-0.25, 0.25))
        return hu * float(rng.uniform(0.95, 1.05)) + float(rng.uniform(-20, 20))
