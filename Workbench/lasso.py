"""Scissors that cut nothing where no lasso was drawn."""

from __future__ import annotations

from trame_slicer.segmentation import SegmentationEffectScissors
from trame_slicer.views import AbstractView
from vtkmodules.vtkCommonCore import vtkPoints


class Lasso(SegmentationEffectScissors):
    """A click has nothing inside, so that all would be cut away outside; a lasso that was begun ends with the tool."""

    def apply_points_display_coordinates(self, points_display: vtkPoints, view: AbstractView) -> None:
        """Cuts along a lasso that encloses something."""
        # A mouse that rests may send its place again.
        places = {points_display.GetPoint(n) for n in range(points_display.GetNumberOfPoints())}
        # Put down in the middle of a lasso, the tool sends what there is of it.
        if self.is_active and len(places) >= 3:
            super().apply_points_display_coordinates(points_display, view)
