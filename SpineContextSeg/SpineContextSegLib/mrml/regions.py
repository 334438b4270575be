"""A markups region of interest as a box in a volume's own coordinates."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ..errors import InputRefused
from ..roi import Box
from .volumes import non_linear_parent


def box_in_volume(roi_node, volume_node) -> Box:
    """The box that the user sees around part of the volume, whatever linear transforms either of them is under.

    Args:
        roi_node: vtkMRMLMarkupsROINode.
        volume_node: a volume that `volumes.refusal` has nothing against.

    Returns:
        The box in the volume's own RAS, flat where nothing has been placed yet.

    Raises:
        InputRefused: the region is under a non-linear transform.
    """
    bending = non_linear_parent(roi_node)
    if bending is not None:
        raise InputRefused(
            f"The region '{roi_node.GetName()}' is under the non-linear transform '{bending.GetName()}': take it out "
            "of the transform."
        )
    roi_to_volume = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
        roi_node.GetParentTransformNode(), volume_node.GetParentTransformNode(), roi_to_volume
    )
    box_to_volume = slicer.util.arrayFromVTKMatrix(roi_to_volume) @ slicer.util.arrayFromVTKMatrix(
        roi_node.GetObjectToNodeMatrix()
    )
    return Box(box_to_volume, roi_node.GetSize())


def fit_to_volume(roi_node, volume_node) -> None:
    """Makes the box as large as the volume, along the axes of the world."""
    bounds = [0.0] * 6
    volume_node.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    roi_node.SetCenterWorld(*(low + high) / 2)
    roi_node.SetSizeWorld(*(high - low))
