"""Which volume and which segmentation belong together, and which volume to begin with."""

from __future__ import annotations

import slicer

from ..volume import Grid
from .label_volume import reference_grid
from .labelmaps import labelmap_of, place_in, voxels_of
from .ours import our_segments, our_values
from .volumes import refusal, volume_from_node


def volume_of(segmentation_node):
    """The volume node that a segmentation was made on; None where there is none in the scene, or no segmentation."""
    if segmentation_node is None:
        return None
    return segmentation_node.GetNodeReference(segmentation_node.GetReferenceImageGeometryReferenceRole())


def adopt(segmentation_node, volume_node) -> None:
    """Makes a volume that of a segmentation which has none, if the segmentation was made on its grid.

    No file says which volume it was, and Slicer's copies of a segmentation don't either.
    """
    if segmentation_node is None or volume_of(segmentation_node) is not None or refusal(volume_node) is not None:
        return
    if _is_made_on(volume_from_node(volume_node).grid, segmentation_node.GetSegmentation()):
        segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)


def _is_made_on(grid: Grid, segmentation) -> bool:
    reference = reference_grid(segmentation)
    if reference is not None:
        return grid.same_as(reference)
    # Files of the command line don't tell the grid of the whole scan.
    images = {labelmap_of(segmentation.GetSegment(segment_id)) for segment_id in our_segments(segmentation).values()}
    images.discard(None)
    return bool(images) and all(place_in(grid, voxels_of(image)) is not None for image in images)


def segmentation_of(volume_node, chosen_id: str | None = None):
    """A segmentation node that belongs to a volume: the one with this ID, else the last that was made here, or None."""
    if volume_node is None:
        return None
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", volume_node.GetScene())
    own = [node for node in nodes if volume_of(node) == volume_node]
    chosen = [node for node in own if node.GetID() == chosen_id]
    made = [node for node in own if our_values(node)]
    return next(iter(chosen or reversed(made)), None)


def suggested_volume():
    """The volume that the slice views show if it can be segmented, else the first that can be, else None."""
    selection = slicer.app.applicationLogic().GetSelectionNode()
    shown = selection.GetActiveVolumeID() if selection else None
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    fit = [node for node in nodes if refusal(node) is None]
    return next((node for node in fit if node.GetID() == shown), fit[0] if fit else None)
