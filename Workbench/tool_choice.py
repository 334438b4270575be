"""The tools as they are set on the page: which one is in use, how large it is, which voxels it may change."""

from __future__ import annotations

import math

import numpy as np
from trame_server.state import State as PageState

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.mr import has_hounsfield_units
from SpineContextSegLib.views import display_range

from .editing import EFFECTS, Editing, Tool
from .numbers import BOUNDS, bounded

# Of a CT without metal.
_LEAST_HU, _BONE_HU, _GREATEST_HU = -200, 200, 3000
_ROUND_HU = 100


class ToolChoice:
    """Hands what was chosen and typed to `Editing`."""

    def __init__(self, editing: Editing, state: PageState) -> None:
        self._editing, self._state = editing, state
        self._bounds = _LEAST_HU, _GREATEST_HU
        editing.on_brush(self.follow_brush)

    def fit(self, scan: np.ndarray) -> None:
        """Offer limits that make sense among the values of a scan: bone of a CT, what an MR shows as gray."""
        finite = np.isfinite(scan)
        if has_hounsfield_units(scan):
            densest = max(_GREATEST_HU, float(scan.max(where=finite, initial=0)))
            self._bounds = _LEAST_HU, _ROUND_HU * math.ceil(densest / _ROUND_HU)
            limits, unit = (_BONE_HU, self._bounds[1]), "HU"
        else:
            # A spline, or a scaling, leaves an MR values below zero.
            self._bounds = float(scan.min(where=finite, initial=0)), float(scan.max(where=finite, initial=1))
            limits, unit = display_range(scan), "signal"
        self._state.update({"limits_bounds": list(self._bounds), "limits": list(limits), "limits_unit": unit})

    def choose(self, name: str) -> None:
        """A `Tool`; the one that is in use is put down."""
        tool = Tool(name)
        if self._state.running and tool is not Tool.NONE:
            raise InputRefused("Wait until the run has ended, or cancel it: its result replaces the segments.")
        tool = Tool.NONE if self._state.tool == tool.value else tool
        self.apply_sizes()
        self._editing.choose(tool)
        self._state.tool = tool.value

    def follow(self, effect_name: str) -> None:
        """The editor puts a tool down by itself, as where the chosen segment is gone or others are shown."""
        if effect_name in ("", EFFECTS[Tool.NONE].get_effect_name()):
            self._state.tool = Tool.NONE.value

    def follow_brush(self) -> None:
        """The wheel changes the brush that is in use, and knows no bounds."""
        given = self._editing.brush_mm()
        if given is not None:
            least, greatest = BOUNDS["brush_mm"]
            self._state.brush_mm = held = min(max(given, least), greatest)
            if held != given:
                self._editing.set_brush(held, bool(self._state.sphere))

    def apply_sizes(self) -> None:
        """A scene that was emptied has forgotten the sizes."""
        state = self._state
        self._editing.set_brush(bounded(state, "brush_mm"), bool(state.sphere))
        self._editing.limit_to(*bounded(state, "limits", self._bounds), bool(state.limited))
        self._editing.cut_away_outside(bool(state.keep_inside))

    def resize_brush(self, factor: float) -> None:
        """Within its bounds."""
        least, greatest = BOUNDS["brush_mm"]
        self._state.brush_mm = min(max(round(bounded(self._state, "brush_mm") * factor, 1), least), greatest)

    def smooth(self) -> None:
        """The chosen segment, in the way and by the size that are set."""
        self._editing.smooth(self._state.smoothing, bounded(self._state, "smoothing_mm"))

    def remove_small_islands(self) -> None:
        """Of the chosen segment, those below the size that is set."""
        self._editing.remove_small_islands(int(bounded(self._state, "island_voxels")))
