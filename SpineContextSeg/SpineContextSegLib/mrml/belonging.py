"""Which volume and which segmentation belong together, and which volume to begin with."""

from __future__ import annotations

import slicer

from .ours import our_values
from .volumes import refusal


def volume_of(segmentation_node):
    """The volume node that a segmentation was made on; None where there is none in the scene, or no segmentation."""
    if segmentation_node is None:
        return None
    return segmentation_node.GetNodeReference(segmentation_node.GetReferenceImageGeometryReferenceRole())


def segmentation_of(volume_node):
    """The last segmentation node that was made here on a volume, or None."""
    if volume_node is None:
        return None
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", volume_node.GetScene())
    made = [node for node in nodes if volume_of(node) == volume_node and our_values(node)]
    return made[-1] if made else None


def suggested_volume():
    """The volume that the slice views show if it can be segmented, else the first that can be, else None."""
    selection = slicer.app.applicationLogic().GetSelectionNode()
    shown = selection.GetActiveVolumeID() if selection else None
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    fit = [node for node in nodes if refusal(node) is None]
    return next((node for node in fit if node.GetID() == shown), fit[0] if fit else None)
