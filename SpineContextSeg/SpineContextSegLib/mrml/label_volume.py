"""Our segments together as one label map in label values, for whatever looks at the column as a whole."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ..volume import Grid, Volume
from .labelmaps import REFERENCE_GEOMETRY, labelmap_of, on_grid, place_in, voxels_of
from .ours import our_segments


def label_volume(segmentation, grid: Grid | None = None, *, on_top: int | None = None) -> Volume:
    """Label values (k, j, i), uint8, of our segments in a vtkSegmentation, in the node's own coordinates.

    Where segments overlap, the one on the labelmap further down the list is kept.

    Args:
        grid: what lies outside of it is left out; None takes the smallest one that holds all.
        on_top: value of a segment that is kept whole instead.
    """
    sharing: dict[object, dict[int, int]] = {}
    ours = our_segments(segmentation)
    for value, segment_id in ours.items():
        segment = segmentation.GetSegment(segment_id)
        image = labelmap_of(segment)
        if image is not None:
            sharing.setdefault(image, {})[segment.GetLabelValue()] = value
    grid = grid or _common_grid(segmentation, list(sharing))
    result = np.zeros(grid.shape, np.uint8)
    passes = list(sharing.items())
    if on_top in ours:
        segment = segmentation.GetSegment(ours[on_top])
        passes += [(labelmap_of(segment), {segment.GetLabelValue(): on_top})] if labelmap_of(segment) else []
    for image, values in passes:
        part = voxels_of(image)
        place = place_in(grid, part)
        if place is None:
            part, place = on_grid(image, grid), np.s_[:, :, :]
        table = np.zeros(max(values) + 2, np.uint8)
        table[list(values)] = list(values.values())
        for there, plane in zip(result[place], part.array):
            # Numbers that no segment of ours has are clipped to the end of the table, which is 0.
            kept = table.take(plane, mode="clip")
            np.copyto(there, kept, where=kept != 0)
    return Volume(result, grid.affine)


def reference_grid(segmentation) -> Grid | None:
    """The grid of the volume that a vtkSegmentation was made on, as it remembers it; None where it doesn't."""
    text = segmentation.GetConversionParameter(REFERENCE_GEOMETRY)
    return _grid_from(text) if text else None


def _common_grid(segmentation, images: list) -> Grid:
    if len(images) == 1:
        return voxels_of(images[0]).grid
    if not images:
        return Grid((1, 1, 1), np.eye(4))
    ids = vtk.vtkStringArray()
    for segment_id in our_segments(segmentation).values():
        ids.InsertNextValue(segment_id)
    return _grid_from(segmentation.DetermineCommonLabelmapGeometry(segmentation.EXTENT_UNION_OF_SEGMENTS, ids))


def _grid_from(text: str) -> Grid:
    """Of a geometry as vtkSegmentationConverter writes it."""
    image, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False)
    image.GetImageToWorldMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    affine[:3, 3] += affine[:3, :3] @ image.GetExtent()[::2]
    return Grid(image.GetDimensions()[::-1], affine)
