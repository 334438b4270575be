"""Voxels that go from one segment to another, on whatever labelmaps the two lie; surfaces follow, others stay."""

from __future__ import annotations

import slicer

from .labelmaps import BINARY_LABELMAP, labelmap_of, on_grid, part_of, voxels_of

_Logic = slicer.vtkSlicerSegmentationsModuleLogic


def give(segmentation_node, source_id: str, target_id: str, mask=None):
    """Takes voxels from one segment and adds them to another.

    Args:
        mask: vtkOrientedImageData, not 0 where voxels are to be given; None gives all.

    Returns:
        vtkOrientedImageData with 1 where voxels were given, None where there were none.
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
    part = part_of(image, given)
    _Logic.SetBinaryLabelmapToSegment(
        part, segmentation_node, target_id, _Logic.MODE_MERGE_MASK, part.GetExtent(), False, [source_id]
    )
    if labelmap_of(source) is not labelmap_of(target):
        rest = part_of(image, given)
        kept = voxels_of(rest).array
        kept[:] = kept == 0
        _Logic.SetBinaryLabelmapToSegment(
            rest, segmentation_node, source_id, _Logic.MODE_MERGE_MIN, rest.GetExtent(), False, []
        )
    return part


def add_beside(segmentation, segment, segment_id: str, neighbor_id: str, before_id: str = "") -> None:
    """Adds a vtkSegment without voxels on the labelmap that another one lies on, in the list before `before_id`."""
    neighbor = segmentation.GetSegment(neighbor_id)
    label = segmentation.GetUniqueLabelValueForSharedLabelmap(neighbor_id)
    image = neighbor.GetRepresentation(BINARY_LABELMAP)
    slicer.vtkOrientedImageDataResample.CastImageForValue(image, label)
    segment.SetLabelValue(label)
    segment.AddRepresentation(BINARY_LABELMAP, image)
    segmentation.AddSegment(segment, segment_id, before_id)
