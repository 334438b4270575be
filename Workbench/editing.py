"""The tools: painting, erasing, islands and smoothing of the chosen segment, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from trame_slicer.segmentation import (
    SegmentationEffectErase,
    SegmentationEffectIslands,
    SegmentationEffectNoTool,
    SegmentationEffectPaint,
    SegmentationEffectPaintErase,
    SegmentationEffectSmoothing,
)
from trame_slicer.segmentation.paint_effect_parameters import BrushDiameterMode
from trame_slicer.segmentation.scissors_effect_parameters import ScissorsEffectFillMode
from undo_stack import UndoCommand

from SpineContextSegLib.errors import InputRefused

from .lasso import Lasso
from .scene import Scene


class Tool(str, Enum):
    """What the left mouse button does in the views."""

    NONE = "none"
    PAINT = "paint"
    ERASE = "erase"
    SCISSORS = "scissors"


EFFECTS = {
    Tool.NONE: SegmentationEffectNoTool,
    Tool.PAINT: SegmentationEffectPaint,
    Tool.ERASE: SegmentationEffectErase,
    # Erases what lies inside or outside of the lasso, in all slices.
    Tool.SCISSORS: Lasso,
}
SMOOTHINGS = ("median", "fill gaps", "remove spikes")
_NO_SEGMENT = "No segment is chosen: click one in the list, or add one."


class Editing:
    """Changes segments of a `Scene`; every change goes onto its undo stack."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._editor = scene.editor

    def choose(self, tool: Tool) -> None:
        """
        Raises:
            InputRefused: no segment is chosen that it could work on.
        """
        if tool is not Tool.NONE:
            self._require_segment()
        self._editor.set_active_effect_type(EFFECTS[tool])

    def set_brush(self, diameter_mm: float, sphere: bool) -> None:
        """A disc as thick as a slice, or a ball."""
        for effect in self._brushes():
            effect.set_brush_diameter(diameter_mm, BrushDiameterMode.Absolute)
            effect.set_use_sphere_brush(sphere)

    def brush_mm(self) -> float | None:
        """Of the brush that is in use, None where none is."""
        effect = self._editor.active_effect
        # A scene that is being emptied has put it down already, and has forgotten its size.
        return effect.get_brush_diameter() if effect in self._brushes() and effect.is_active else None

    def on_brush(self, changed: Callable[[], None]) -> None:
        """`changed` is called whenever a brush may have become another one, as by the wheel."""
        for effect in self._brushes():
            effect.parameters_changed.connect(changed)

    def _brushes(self) -> list[SegmentationEffectPaintErase]:
        return [self._editor.get_effect(effect) for effect in (SegmentationEffectPaint, SegmentationEffectErase)]

    def cut_away_outside(self, outside: bool) -> None:
        """Whether scissors erase what lies outside of the lasso, and not what lies inside."""
        mode = ScissorsEffectFillMode.ERASE_OUTSIDE if outside else ScissorsEffectFillMode.ERASE_INSIDE
        self._editor.get_effect(Lasso).set_fill_mode(mode)

    def limit_to(self, low: float, high: float, limited: bool) -> None:
        """Whether tools change only voxels with these values of the scan."""
        node = self._editor.editor_node
        node.SetSourceVolumeIntensityMaskRange(low, high)
        node.SetSourceVolumeIntensityMask(limited)

    def keep_largest_island(self) -> None:
        """Raises InputRefused as `choose`."""
        with _Effect(self, SegmentationEffectIslands) as effect:
            effect.keep_largest_island()

    def remove_small_islands(self, voxels: int) -> None:
        """Removes pieces of fewer voxels. Raises InputRefused as `choose`."""
        with _Effect(self, SegmentationEffectIslands) as effect:
            effect.remove_small_islands(voxels)

    def smooth(self, way: str, kernel_mm: float) -> None:
        """`way` is one of `SMOOTHINGS`. Raises InputRefused as `choose`, and where the kernel is below two voxels."""
        spacing = self._scene.volume_node.GetSpacing()
        if kernel_mm < 2 * min(spacing):
            least = 2.5 * min(spacing)
            raise InputRefused(f"{kernel_mm:g} mm are too few to smooth here: take {least:.1f} mm or more.")
        with _Effect(self, SegmentationEffectSmoothing) as effect:
            smoothing = {
                "median": effect.apply_median_smoothing,
                "fill gaps": effect.apply_closing,
                "remove spikes": effect.apply_opening,
            }
            smoothing[way](kernel_mm, self._editor.active_segment_id)

    def undo(self) -> None:
        """Takes back the last change, if there is one."""
        self._scene.undo_stack.undo()

    def redo(self) -> None:
        """Does again what was taken back last, if there is anything."""
        self._scene.undo_stack.redo()

    def _require_segment(self) -> None:
        if not self._editor.active_segment_id:
            raise InputRefused(_NO_SEGMENT)


class _Effect:
    """An effect that works at once on the whole segment; the tool before it comes back."""

    def __init__(self, editing: Editing, effect_type: type) -> None:
        editing._require_segment()
        self._editor, self._type = editing._editor, effect_type

    def __enter__(self):
        self._before = self._editor.active_effect
        return self._editor.set_active_effect_type(self._type)

    def __exit__(self, *_) -> None:
        self._editor.set_active_effect(self._before) if self._before else self._editor.deactivate_effect()


class Change(UndoCommand):
    """A change that is done and taken back by two functions, such as a repair of levels."""

    def __init__(self, do: Callable[[], None], undo: Callable[[], None]) -> None:
        super().__init__()
        self._do, self._undo = do, undo

    def undo(self) -> None:
        self._undo()

    def redo(self) -> None:
        self._do()
