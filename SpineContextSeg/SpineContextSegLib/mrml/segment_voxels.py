"""The segments of a segmentation node as arrays on a volume's grid: what Segment Editor shows now, hand edits included.

Both nodes are read in their own coordinates, and a parent transform counts only where the two have different ones: so
the voxels of the result lie on those of the volume, as in Slicer's own export of a label map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..labels import FIRST_OWN_VALUE
from ..volume import Grid
from .labelmaps import BINARY_LABELMAP, labelmap_of
from .ours import our_values


@dataclass(frozen=True, eq=False)
class SegmentVoxels:
    """One segment on the volume's grid.

    segment_id: in the segmentation node. segment: the vtkSegment. value: what a label map says for it.
    array: (k, j, i) whole numbers, perhaps shared with other segments. label: this segment's number in `array`.
    planes: the k where it has voxels. count: number of its voxels.
    exact: whether `array` holds it as it was drawn, neither resampled nor cut.
    """

    segment_id: str
    segment: object
    value: int
    array: np.ndarray
    label: int
    planes: slice
    count: int
    exact: bool


def read_segments(segmentation_node, volume_node, grid: Grid) -> tuple[list[SegmentVoxels], list[str]]:
    """All segments in the order of the list, those without voxels too; nothing in the scene is changed.

    A segment of ours has its VerSe value, any other one the next value from 300 on. Segments that lie on another grid
    take the value at the center of each voxel of the volume, as Slicer's own export does it.

    Args:
        grid: the volume's own.

    Returns:
        The segments, and remarks for the user, one sentence each, on what does not fit the volume's grid.
    """
    segmentation = segmentation_node.GetSegmentation()
    values = {segment_id: value for value, segment_id in our_values(segmentation_node).items()}
    layers = _Layers(segmentation_node, _transform_between(segmentation_node, volume_node), grid)
    segments = []
    foreign = FIRST_OWN_VALUE
    for segment_id in segmentation.GetSegmentIDs():
        if segment_id not in values:
            values[segment_id], foreign = foreign, foreign + 1
        segment = segmentation.GetSegment(segment_id)
        (array, exact), label = layers.of(segment_id, segment)
        counts = np.array([np.count_nonzero(plane == label) for plane in array])
        used = np.flatnonzero(counts)
        planes = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        segments.append(
            SegmentVoxels(segment_id, segment, values[segment_id], array, label, planes, int(counts.sum()), exact)
        )
    return segments, layers.remarks


def merge(segments: list[SegmentVoxels], grid: Grid) -> tuple[np.ndarray, int]:
    """One label map (k, j, i), uint8 or where needed uint16, and how many voxels more than one segment claims.

    Where segments overlap the one further down the list is kept, as in Slicer's own export.
    """
    merged = np.zeros(grid.shape, _number_type(segments))
    overlapping = 0
    for item in segments:
        for plane, source in _planes(merged, item):
            mask = source == item.label
            overlapping += int(np.count_nonzero(plane[mask]))
            plane[mask] = item.value
    return merged, overlapping


def overlap_remarks(voxels: int, where: str) -> list[str]:
    """For the user: what becomes of voxels of several segments `where` each has one; nothing where there are none."""
    if not voxels:
        return []
    return [
        f"Segments overlap in {voxels} voxels, of which {where} has the one further down the list: .seg.nrrd keeps "
        "them all."
    ]


def layers(segments: list[SegmentVoxels], grid: Grid) -> list[tuple[np.ndarray, list[SegmentVoxels]]]:
    """As few label maps (k, j, i) as first fit finds so that no segment covers another; one where nothing overlaps."""
    found: list[tuple[np.ndarray, list[SegmentVoxels]]] = []
    for item in segments:
        for array, members in found:
            if not any(plane[source == item.label].any() for plane, source in _planes(array, item)):
                break
        else:
            array, members = np.zeros(grid.shape, _number_type(segments)), []
            found.append((array, members))
        for plane, source in _planes(array, item):
            plane[source == item.label] = item.value
        members.append(item)
    return found


def name_of(item: SegmentVoxels) -> str:
    return item.segment.GetName() or item.segment_id


def _planes(array: np.ndarray, item: SegmentVoxels) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The planes of `array` and of the segment's own array, where the segment has voxels."""
    return zip(array[item.planes], item.array[item.planes])


def _number_type(segments: list[SegmentVoxels]) -> type:
    return np.uint8 if max((item.value for item in segments), default=0) < 256 else np.uint16


class _Layers:
    """Label maps of a segmentation on the volume's grid, each shared one brought there once."""

    def __init__(self, segmentation_node, transform, grid: Grid) -> None:
        self._node = segmentation_node
        self._has_labelmaps = segmentation_node.GetSegmentation().ContainsRepresentation(BINARY_LABELMAP)
        self._transform = transform
        self._reference = _empty_image(grid)
        self._known: dict[object, tuple[np.ndarray, bool]] = {}
        self.remarks: list[str] = []

    def of(self, segment_id: str, segment) -> tuple[tuple[np.ndarray, bool], int]:
        """The label map that holds the segment with whether it is exact, and the segment's number in it."""
        if self._has_labelmaps:
            image, label = labelmap_of(segment), segment.GetLabelValue()
        else:
            # Drawn as a surface or contours: a copy is converted, the node keeps what it has.
            image, label = slicer.vtkOrientedImageData(), 1
            slicer.modules.segmentations.logic().GetSegmentBinaryLabelmapRepresentation(
                self._node, segment_id, image, False
            )
        if image not in self._known:
            self._known[image] = self._on_grid(image, segment.GetName())
        return self._known[image], label

    def _on_grid(self, image, name: str) -> tuple[np.ndarray, bool]:
        shape = self._reference.GetDimensions()[::-1]
        if image is None or image.IsEmpty():
            return np.zeros(shape, np.uint8), True
        remark = self._misfit(image, name)
        if remark:
            self.remarks.append(remark)
        moved = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            image, self._reference, moved, False, False, self._transform
        )
        return vtk_to_numpy(moved.GetPointData().GetScalars()).reshape(shape), not remark

    def _misfit(self, image, name: str) -> str:
        """What is lost on the way to the volume's grid, "" if nothing is."""
        resample = slicer.vtkOrientedImageDataResample
        if self._transform is not None or not resample.DoGeometriesMatch(image, self._reference):
            return (
                f"Segment '{name}' was drawn on another grid than the volume's and was resampled for these files: "
                "save the segmentation itself to keep it as it is."
            )
        used, allowed = [0, -1, 0, -1, 0, -1], self._reference.GetExtent()
        resample.CalculateEffectiveExtent(image, used)
        if any(used[2 * n] < allowed[2 * n] or used[2 * n + 1] > allowed[2 * n + 1] for n in range(3)):
            return (
                f"Segment '{name}' reaches beyond the volume: what lies outside is not in these files, save the "
                "segmentation itself to keep it."
            )
        return ""


def _empty_image(grid: Grid):
    """A vtkOrientedImageData that states the grid and has no voxels."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent([bound for n in grid.shape[::-1] for bound in (0, n - 1)])
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    return image


def _transform_between(segmentation_node, volume_node):
    """From the segmentation's own coordinates to the volume's, or None where both have the same parent."""
    from_node, to_node = segmentation_node.GetParentTransformNode(), volume_node.GetParentTransformNode()
    if from_node is to_node:
        return None
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(from_node, to_node, transform)
    return transform
