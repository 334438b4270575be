"""Slicer's Segment Editor: opened with our result, and without an undo that would bring back what was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


def open_editor(segmentation_node: vtkMRMLSegmentationNode, volume_node: vtkMRMLScalarVolumeNode | None) -> None:
    """Switches to Segment Editor with this segmentation and, where there is one, this volume chosen."""
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setSegmentationNode(segmentation_node)
    if volume_node is not None:
        editor.setSourceVolumeNode(volume_node)


def forget_undo(segmentation_node: vtkMRMLSegmentationNode) -> None:
    """Empties the undo history of Segment Editor if it has this segmentation chosen.

    Its states are from before a run wrote into the segmentation: restored, they would mix with the new result.
    """
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)
    if widget is not None and widget.editor.segmentationNode() == segmentation_node:
        # The history belongs to the choice of a segmentation; choosing one also chooses its volume.
        volume_node = widget.editor.sourceVolumeNode()
        widget.editor.setSegmentationNode(None)
        widget.editor.setSegmentationNode(segmentation_node)
        widget.editor.setSourceVolumeNode(volume_node)
