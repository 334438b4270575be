"""Slicer's Segment Editor, opened with our result."""

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


def save_state(segmentation_node: vtkMRMLSegmentationNode) -> None:
    """Lets Segment Editor's own undo take back, as one step, what is done to this segmentation next.

    Without effect where Segment Editor has not been opened yet, or with another segmentation.
    """
    widget = getattr(slicer.modules, "SegmentEditorWidget", None)
    if widget is not None and widget.editor.segmentationNode() == segmentation_node:
        widget.editor.saveStateForUndo()
