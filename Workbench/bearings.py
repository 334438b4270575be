"""Where one is: letters at the edges of the slices, the place of each slice, and what lies under the mouse."""

from __future__ import annotations

from functools import partial

import numpy as np
import slicer
from trame_server.state import State as PageState
from trame_slicer.views import SliceView

from .scene import Scene

# Of the axes R, A and S, where they increase and where they decrease.
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))
_FIRST = 100.0
EDGES = ("left", "right", "top", "bottom")


def name_of(view: SliceView) -> str:
    """Of what the page's state says about a view; its orientation is another one once it is turned to a tilted scan."""
    return f"bearings_{view.get_singleton_tag().lower()}"


class Bearings:
    """Follows the slice views of a `Scene`, however they are turned and moved."""

    def __init__(self, scene: Scene, state: PageState) -> None:
        self._scene, self._state = scene, state
        for view in scene.app.view_manager.get_slice_views():
            view.modified.connect(self._show)
            # Before Slicer's own, which takes the event for itself.
            view.interactor().AddObserver("MouseMoveEvent", partial(self._show_under_mouse, view), _FIRST)
            self._show(view)

    def _show(self, view: SliceView) -> None:
        to_ras = slicer.util.arrayFromVTKMatrix(view.get_view_node().GetSliceToRAS())
        right, up, normal = to_ras[:3, :3].T
        letters = (_letter(-right), _letter(right), _letter(up), _letter(-up))
        self._state[name_of(view)] = {
            **dict(zip(EDGES, letters, strict=True)), "place": _coordinate(to_ras[:3, 3], np.abs(normal).argmax()),
        }  # fmt: skip

    def _show_under_mouse(self, view: SliceView, *_: object) -> None:
        x, y = view.interactor().GetEventPosition()
        point = view.get_view_node().GetXYToRAS().MultiplyPoint((x, y, 0, 1))
        value = self._scene.value_at(point[:3])
        words = "  ".join(_coordinate(point, axis) for axis in range(3))
        self._state.under_mouse = "" if value is None else f"{words}:  {value:.5g} {self._state.limits_unit}"


def _letter(direction: np.ndarray) -> str:
    axis = np.abs(direction).argmax()
    return _LETTERS[axis][int(direction[axis] < 0)]


def _coordinate(point: np.ndarray, axis: int) -> str:
    """Of a point (R, A, S) in mm, in words: "L 12.5 mm"."""
    return f"{_LETTERS[axis][int(point[axis] < 0)]} {abs(point[axis]):.1f} mm"
