"""Voxels and where they are: arrays are (k, j, i), space is RAS in mm, and one affine joins the two.

SimpleITK is imported where it is used: Slicer imports this module at every start.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Cosine between axes, 0.03 degrees: above the rounding of headers, below any gantry tilt.
SHEAR_TOLERANCE = 5e-4


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxel centers.

    Args:
        shape: number of voxels along (k, j, i).
        affine: 4x4, homogeneous voxel index (i, j, k, 1) -> RAS position (R, A, S, 1) in mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self):
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or len(self.shape) != 3:
            raise ValueError(f"a grid needs 3 sizes and a 4x4 affine, not {self.shape} and {affine.shape}")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) distance between neighboring voxel centers along i, j, k, in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def plane_distances_mm(self) -> np.ndarray:
        """(3,) distance between neighboring planes of voxels of one i, j, k, in mm: less than `spacing_mm` where the
        grid is sheared."""
        return 1 / np.linalg.norm(np.linalg.inv(self.affine[:3, :3]), axis=1)

    @property
    def directions(self) -> np.ndarray:
        """3x3, columns are the unit vectors of i, j, k in RAS."""
        return self.affine[:3, :3] / self.spacing_mm

    @property
    def extent_mm(self) -> np.ndarray:
        """(3,) length covered along i, j, k, from voxel edge to voxel edge, in mm."""
        return self.spacing_mm * self.shape[::-1]

    @property
    def voxel_volume_mm3(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def is_sheared(self) -> bool:
        """True where the axes are not at right angles, as in a CT taken with a tilted gantry."""
        cosines = self.directions.T @ self.directions
        return bool(np.abs(cosines - np.eye(3)).max() > SHEAR_TOLERANCE)

    def world(self, indices_ijk: np.ndarray) -> np.ndarray:
        """RAS positions in mm, (..., 3), of voxel indices (i, j, k), (..., 3), whole or not."""
        return np.asarray(indices_ijk, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def corners(self) -> np.ndarray:
        """(8, 3) RAS positions in mm of the outer corners of the corner voxels."""
        ends = np.array(self.shape[::-1], dtype=np.float64) - 0.5
        sides = [(-0.5, end) for end in ends]
        return self.world(np.array(list(itertools.product(*sides))))

    def same_as(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """True where both have the same size and no corner lies more than `tolerance_mm` apart."""
        return self.shape == other.shape and bool(np.abs(self.corners() - other.corners()).max() <= tolerance_mm)

    def is_part_of(self, whole: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """True where its voxels are some of the other's, also where it runs the other way along an axis."""
        part = whole.crop(whole.box_of(self))
        apart = np.linalg.norm(part.corners()[:, None] - self.corners(), axis=2)
        return sorted(part.shape) == sorted(self.shape) and bool(apart.min(0).max() <= tolerance_mm)

    def box_of(self, part: "Grid") -> tuple[slice, slice, slice]:
        """Slices (k, j, i) that cut out where the voxels of another grid lie, as far as they lie within this one."""
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in part.shape[::-1]])).reshape(3, -1).T
        places = np.rint((part.world(ends) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T)
        first, last = (np.clip(places.astype(int), 0, self.shape[::-1]) for places in (places.min(0), places.max(0)))
        return tuple(slice(start, end + 1) for start, end in zip(first[::-1], last[::-1], strict=True))

    def crop(self, slices_kji: tuple[slice, slice, slice]) -> "Grid":
        """The grid of `array[slices_kji]`; the slices have step 1.

        Raises:
            ValueError: a slice has another step than 1.
        """
        bounds = [s.indices(n) for s, n in zip(slices_kji, self.shape)]
        if any(step != 1 for _, _, step in bounds):
            raise ValueError("a grid is cropped by slices of step 1")
        affine = self.affine.copy()
        affine[:3, 3] = self.world(np.array([start for start, _, _ in bounds[::-1]]))
        return Grid(tuple(max(0, stop - start) for start, stop, _ in bounds), affine)


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxel values (HU for a CT, label values for a segmentation) on a grid.

    Args:
        array: (k, j, i).
        affine: 4x4, (i, j, k, 1) -> (R, A, S, 1), mm.
    """

    array: np.ndarray
    affine: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "affine", Grid((1, 1, 1), self.affine).affine)

    @property
    def grid(self) -> Grid:
        return Grid(self.array.shape, self.affine)


def count_labels(array: np.ndarray) -> dict[int, int]:
    """Label value -> number of voxels, of whole numbers of any size (k, j, i), in rising order."""
    counts = Counter()
    # Plane by plane and without the background, as `np.bincount` turns its input into eight bytes per voxel.
    for plane in array:
        counts.update(_count(plane[plane != 0]))
    counts[0] = array.size - counts.total()
    return {value: counts[value] for value in sorted(counts) if counts[value]}


def _count(values: np.ndarray) -> dict[int, int]:
    # Many times faster than sorting, but knows nothing below 0 and needs memory up to the largest value.
    if not values.size or (values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max):
        counts = np.bincount(values.astype(np.intp))
        present = np.flatnonzero(counts)
        return dict(zip(present.tolist(), counts[present].tolist()))
    present, counts = np.unique(values, return_counts=True)
    return dict(zip(present.tolist(), counts.tolist()))


def set_geometry(image: sitk.Image, grid: Grid) -> None:
    """Puts a SimpleITK image (LPS) where `grid` (RAS) says; ITK keeps shear in its direction matrix."""
    lps = LPS_FROM_RAS @ grid.affine
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / grid.spacing_mm).ravel().tolist())


def lps_affine(origin, spacing, direction) -> np.ndarray:
    """4x4 IJK -> RAS of what SimpleITK states in LPS (3 numbers, 3 numbers, 9 numbers row by row)."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(direction, (3, 3)) * np.asarray(spacing)
    lps[:3, 3] = origin
    return LPS_FROM_RAS @ lps


def to_sitk(volume: Volume) -> sitk.Image:
    """A SimpleITK image with a copy of the voxels, at the same place in space."""
    import SimpleITK as sitk

    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = sitk.GetImageFromArray(array)
    set_geometry(image, volume.grid)
    return image


def array_of(image: sitk.Image) -> np.ndarray:
    """The voxels (k, j, i) of a three-dimensional SimpleITK image, without a copy; they live as long as the array."""
    import SimpleITK as sitk

    # SimpleITK's own view would point to nothing once the image is gone.
    place = sitk.GetArrayViewFromImage(image).__array_interface__
    writeable = place | {"data": (place["data"][0], False)}
    return np.asarray(SimpleNamespace(__array_interface__=writeable, owner=image))


def from_sitk(image: sitk.Image) -> Volume:
    """A volume of the voxels of a three-dimensional SimpleITK image, without a copy, at the same place in space."""
    return Volume(array_of(image), lps_affine(image.GetOrigin(), image.GetSpacing(), image.GetDirection()))
