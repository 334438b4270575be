"""The voxels of segments: binary labelmaps of vtkSegment as arrays, and arrays as labelmaps that segments share."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ..label_boxes import bounding_box
from ..volume import Grid, Volume
from .volumes import volume_from_image

BINARY_LABELMAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
REFERENCE_GEOMETRY = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
"""The parameter of a segmentation that holds the grid of the volume that it was made on."""
# Of a voxel: geometry that went through a file differs by rounding, another lattice by much more.
_LATTICE_TOLERANCE = 1e-3


def labelmap_of(segment):
    """The vtkOrientedImageData that holds the segment and perhaps others, None where it has no voxels."""
    image = segment.GetRepresentation(BINARY_LABELMAP)
    return None if image is None or image.IsEmpty() else image


def voxels_of(image) -> Volume:
    """A view of the labels (k, j, i) of a vtkOrientedImageData that isn't empty."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return volume_from_image(image, matrix)


def labelmap_from(labels: np.ndarray, grid: Grid):
    """A vtkOrientedImageData on the lattice of `grid`, cut to what `labels` holds; empty if that is nothing.

    `labels` is uint8 or bool (k, j, i). The indices of the image are those of the grid, so that all cuts of a grid have
    one image-to-world matrix.
    """
    return _cut(labels, slicer.util.vtkMatrixFromArray(grid.affine), (0, 0, 0))


def part_of(image, mask: np.ndarray):
    """A vtkOrientedImageData with 1 where `mask` holds, bool (k, j, i) of all of `image`, with the indices of `image`.

    Cut to what the mask holds; empty if that is nothing.
    """
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return _cut(mask, matrix, image.GetExtent()[::2])


def copy_with(image, labels: set[int]):
    """A copy of a vtkOrientedImageData that holds only these labels."""
    copy = slicer.vtkOrientedImageData()
    copy.DeepCopy(image)
    if not copy.IsEmpty():
        for plane in voxels_of(copy).array:
            plane[~np.isin(plane, list(labels))] = 0
    return copy


def place_in(grid: Grid, part: Volume) -> tuple[slice, slice, slice] | None:
    """Where the voxels of `part` lie in `grid` (k, j, i); None where they are not voxels of it, or reach out of it."""
    to_grid = np.linalg.inv(grid.affine) @ part.affine
    start = np.rint(to_grid[:3, 3]).astype(int)
    end = start + part.array.shape[::-1]
    expected = np.eye(4)
    expected[:3, 3] = start
    # At the far end of the part, where an error of the axes shows most.
    reach = np.append(part.array.shape[::-1], 1)
    if (np.abs(to_grid - expected) * reach).max() > _LATTICE_TOLERANCE:
        return None
    if (start < 0).any() or (end > grid.shape[::-1]).any():
        return None
    k, j, i = (slice(first, last) for first, last in zip(start[::-1], end[::-1]))
    return k, j, i


def on_grid(image, grid: Grid) -> Volume:
    """The labels of a vtkOrientedImageData at the voxel centers of `grid`, 0 outside of it."""
    reference, moved = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    reference.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    reference.SetExtent([bound for n in grid.shape[::-1] for bound in (0, n - 1)])
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, reference, moved)
    return voxels_of(moved)


def _cut(labels: np.ndarray, matrix, first_index: tuple[int, int, int]):
    """A vtkOrientedImageData of what isn't 0 in `labels` (k, j, i), whose first voxel has the index (i, j, k)."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(matrix)
    box = bounding_box(labels)
    if box is None:
        return image
    part = np.ascontiguousarray(labels[box], np.uint8)
    image.SetExtent(
        [first + bound for cut, first in zip(box[::-1], first_index) for bound in (cut.start, cut.stop - 1)]
    )
    scalars = numpy_to_vtk(part.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image
