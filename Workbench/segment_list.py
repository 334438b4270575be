"""The list of segments on the page, and what clicks in it do."""

from __future__ import annotations

import colorsys
from itertools import count

from trame_server.state import State as PageState

from SpineContextSegLib.errors import InputRefused

from .numbers import bounded
from .scene import Scene
from .store.versions import hex_color


class SegmentList:
    """The segments of a `Scene`: names, colors, which are seen, which one is chosen."""

    def __init__(self, scene: Scene, state: PageState) -> None:
        self._scene, self._editor, self._state = scene, scene.editor, state

    def show(self, *_: object) -> None:
        """Lists what is there now."""
        self._state.segments = [
            {"id": segment_id, "name": item.name, "color": item.color_hex,
             "visible": bool(self._editor.get_segment_visibility(segment_id))}
            for segment_id, item in self._editor.get_all_segment_properties().items()
        ]  # fmt: skip
        self._state.active_segment = self._editor.active_segment_id

    def choose(self, segment_id: str) -> None:
        """Tools work on it from now on."""
        self._editor.set_active_segment_id(segment_id)
        self.show()

    def toggle(self, segment_id: str) -> None:
        """Hides or shows a segment."""
        self._editor.set_segment_visibility(segment_id, not self._editor.get_segment_visibility(segment_id))
        self.show()

    def add(self) -> None:
        """A new one without voxels, chosen."""
        if self._scene.segmentation_node is None:
            raise InputRefused("Open a scan first.")
        taken = {hex_color(item.color) for item in self._editor.get_all_segment_properties().values()}
        color = next(color for number in count() if hex_color(color := _bright(number)) not in taken)
        self._editor.add_empty_segment(segment_color=color)
        self.show()

    def remove(self, segment_id: str) -> None:
        """Can be undone. Where it was the chosen one, the one above it is chosen then, or the first."""
        others = self._editor.get_segment_ids()
        if segment_id not in others:
            return
        place = others.index(segment_id)
        others.remove(segment_id)
        # Before it is gone, and not by the editor's own removal, which chooses whatever stands above it.
        if segment_id == self._editor.active_segment_id:
            self._editor.set_active_segment_id(others[max(place - 1, 0)] if others else "")
        self._editor.active_segmentation.remove_segment(segment_id)

    def let_go(self) -> None:
        """No tool is in use where the chosen segment is gone, as when it was undone."""
        if self._editor.active_segment_id not in self._editor.get_segment_ids():
            self._editor.set_active_segment_id("")

    def edit(self, segment_id: str) -> None:
        """Shows its name and color to be changed."""
        self.choose(segment_id)
        item = self._editor.get_segment_properties(segment_id)
        self._state.update({"renaming": segment_id, "new_name": item.name, "new_color": item.color_hex})

    def apply_name(self) -> None:
        """Gives the segment that they were asked for the name and color that were typed."""
        segment_id, self._state.renaming = self._state.renaming, ""
        item = self._editor.get_segment_properties(segment_id)
        if item is not None and str(self._state.new_name).strip():
            item.name, item.color_hex = str(self._state.new_name).strip()[:100], self._state.new_color
            self._editor.set_segment_properties(segment_id, item)

    def set_opacity(self) -> None:
        """Of all of them in the slices, as it is set on the page."""
        display = self._editor.active_segmentation_display
        if display is not None:
            display.set_opacity_2d(bounded(self._state, "opacity"))


def _bright(number: int) -> list[float]:
    """A color of its own for each number, which is seen on the scan and on the dark page; Slicer's own is any one."""
    return list(colorsys.hsv_to_rgb(0.618 * number % 1, 0.8, 0.95))
