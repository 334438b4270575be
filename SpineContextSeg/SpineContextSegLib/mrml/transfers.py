"""Voxels that go from one segment to another, on whatever labelmaps the two lie; surfaces follow, others stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from ..volume import Grid
from .labelmaps import BINARY_LABELMAP, labelmap_of, on_grid, part_of, voxels_of

_Logic = slicer.vtkSlicerSegmentationsModuleLogic


@dataclass(frozen=True, eq=False)
class Given:
    """vtkOrientedImageData with 1 where voxels were given, and where the target had them before (None: nowhere)."""

    voxels: object
    had_before: object = None


def give(segmentation_node, source_id: str, target_id: str, mask=None, *, keeps=None) -> Given | None:
    """Takes voxels from one segment and adds them to another.

    Args:
        mask: vtkOrientedImageData, not 0 where voxels are to be given; None gives all.
        keeps: vtkOrientedImageData, not 0 where the source keeps what it gives, so that the two overlap.

    Returns:
        None where there were no voxels to be given.
    """
    segmentation = segmentation_node.GetSegmentation()
    source, target = segmentation.GetSegment(source_id), segmentation.GetSegment(target_id)
    image = labelmap_of(source)
    if image is None:
        return None
    labels = voxels_of(image)
    given = labels.array == source.GetLabelValue()
    if mask is not None:
        given &= on_grid(mask, labels.grid).array != 0
    if not given.any():
        return None
    part, had = part_of(image, given), given & _mask_of(target, labels.grid)
    both = part_of(image, had) if had.any() else None
    if keeps is not None:
        given &= on_grid(keeps, labels.grid).array == 0
        segmentation.SeparateSegmentLabelmap(target_id)
    _Logic.SetBinaryLabelmapToSegment(
        part, segmentation_node, target_id, _Logic.MODE_MERGE_MASK, part.GetExtent(), False, [source_id]
    )
    if labelmap_of(source) is not labelmap_of(target) and given.any():
        rest = part_of(image, given)
        kept = voxels_of(rest).array
        kept[:] = kept == 0
        _Logic.SetBinaryLabelmapToSegment(
            rest, segmentation_node, source_id, _Logic.MODE_MERGE_MIN, rest.GetExtent(), False, []
        )
    return Given(part, both)


def take_back(segmentation_node, source_id: str, target_id: str, given: Given) -> None:
    """The target returns what `give` gave it, as far as it still has it, but for what it had before."""
    give(segmentation_node, target_id, source_id, given.voxels, keeps=given.had_before)


def _mask_of(segment, grid: Grid) -> np.ndarray:
    """Where a segment has voxels (k, j, i)."""
    image = labelmap_of(segment)
    if image is None:
        return np.zeros(grid.shape, bool)
    return on_grid(part_of(image, voxels_of(image).array == segment.GetLabelValue()), grid).array != 0


def add_beside(segmentation, segment, segment_id: str, neighbor_id: str, before_id: str = "") -> None:
    """Adds a vtkSegment without voxels on the labelmap that another one lies on, in the list before `before_id`."""
    neighbor = segmentation.GetSegment(neighbor_id)
    label = segmentation.GetUniqueLabelValueForSharedLabelmap(neighbor_id)
    image = neighbor.GetRepresentation(BINARY_LABELMAP)
    slicer.vtkOrientedImageDataResample.CastImageForValue(image, label)
    segment.SetLabelValue(label)
    segment.AddRepresentation(BINARY_LABELMAP, image)
    segmentation.AddSegment(segment, segment_id, before_id)
