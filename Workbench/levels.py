"""Levels put right in the browser: the repairs of `SpineContextSegLib.mrml.levels`, on the stack of undos."""

from __future__ import annotations

from collections.abc import Callable

from SpineContextSegLib.mrml.levels import Levels, Vertebra
from SpineContextSegLib.mrml.planes import plane_at
from SpineContextSegLib.repair import counts_of, level_sequence

from .editing import Change
from .scene import Scene


class LevelRepair:
    """Repairs of the segmentation that is shown. Vertebrae are given by label value."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._levels: Levels | None = None

    @property
    def levels(self) -> Levels:
        """Of the segmentation that is shown now."""
        node = self._scene.segmentation_node
        if self._levels is None or not self._levels.is_of(node):
            self._levels = Levels(node)
        return self._levels

    @property
    def refusal(self) -> str:
        """Why there are no levels to put right, in one sentence; "" where there are."""
        if self._scene.segmentation_node is None:
            return "Open a scan and segment it first."
        return self.levels.refusal or ""

    def counts(self) -> tuple[int, int]:
        """Thoracic and lumbar vertebrae of the column as it is labelled now."""
        return counts_of(vertebra.value for vertebra in self.levels.vertebrae)

    def vertebrae(self) -> list[Vertebra]:
        """Those that are there, in the order of the levels."""
        return [] if self.refusal else self.levels.vertebrae

    def do(self, repair: str, which: int, level: int, thoracic: int, lumbar: int) -> list[str]:
        """Does a repair that can be undone with the rest.

        Args:
            repair: "rename", "up", "down", "swap", "merge" or "split" (at the axial slice).
            which: a vertebra that is there. level: what it is, for "rename" and "swap".
            thoracic, lumbar: how many vertebrae the column has.

        Returns:
            Remarks for the user.

        Raises:
            InputRefused: it can't be done; nothing was changed.
        """
        sequence, levels = level_sequence(thoracic, lumbar), self.levels
        axial = self._scene.app.view_manager.get_view("Red")
        point, normal = plane_at(axial.get_view_node()) if axial is not None else (None, None)
        repairs: dict[str, Callable[[], list[str]]] = {
            "rename": lambda: levels.rename(which, level, sequence),
            "up": lambda: levels.shift(-1, sequence),
            "down": lambda: levels.shift(1, sequence),
            "swap": lambda: levels.swap(which, level, sequence),
            "merge": lambda: levels.merge(which, sequence),
            "split": lambda: levels.split(which, point, normal, sequence),
        }
        remarks = repairs[repair]()
        self._scene.undo_stack.push(Change(repairs[repair], levels.undo))
        return remarks
