"""Where a person points at: the crosshair and the slices of the views, in the coordinates of the world."""

from __future__ import annotations

import numpy as np
import slicer


def pointers(scene) -> list:
    """The nodes that point at a place: the crosshair first, then the slice of every view."""
    return [
        *slicer.util.getNodesByClass("vtkMRMLCrosshairNode", scene)[:1],
        *slicer.util.getNodesByClass("vtkMRMLSliceNode", scene),
    ]


def name_of(pointer) -> str:
    """What a person knows it as: "Crosshair", "Red slice"."""
    return "Crosshair" if pointer.IsA("vtkMRMLCrosshairNode") else f"{pointer.GetName()} slice"


def plane_at(pointer) -> tuple[np.ndarray, np.ndarray | None]:
    """A point (R, A, S) in mm and the direction across the slice; the crosshair has no direction, None."""
    if pointer.IsA("vtkMRMLCrosshairNode"):
        return np.array(pointer.GetCrosshairRAS()), None
    slice_to_ras = slicer.util.arrayFromVTKMatrix(pointer.GetSliceToRAS())
    return slice_to_ras[:3, 3], slice_to_ras[:3, 2]
