"""Scissors that cut nothing where no lasso was drawn."""

from __future__ import annotations

import numpy as np
from trame_slicer.segmentation import SegmentationEffectScissors
from trame_slicer.views import AbstractView
from vtkmodules.vtkCommonCore import vtkPoints

# Pixels of the screen. Less is a stroke that went there and back.
_NARROWEST = 2


class Lasso(SegmentationEffectScissors):
    """A click or a straight stroke has nothing inside, so that all would be cut away outside; a lasso that was begun
    ends with the tool."""

    def apply_points_display_coordinates(self, points_display: vtkPoints, view: AbstractView) -> None:
        """Cuts along a lasso that encloses something."""
        places = [points_display.GetPoint(n)[:2] for n in range(points_display.GetNumberOfPoints())]
        # Put down in the middle of a lasso, the tool sends what there is of it.
        if self.is_active and _width(np.array(places)) > _NARROWEST:
            super().apply_points_display_coordinates(points_display, view)


def _width(places: np.ndarray) -> float:
    """Of the points (n, 2), across the way along which they spread most; 0 where there are none."""
    if not len(places):
        return 0.0
    across = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)[2][-1]
    return float(np.ptp(places @ across))
