"""Notices when a run has lost what it needs: its nodes, the scene, the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

CLOSED = "The scene was closed, so the run was stopped."
QUIT = "The application was closed, so the run was stopped."
NO_VOLUME = "The input volume was removed, so the run was stopped."
NO_SEGMENTATION = "The output segmentation was removed, so the run was stopped."


class Watch:
    """Calls `stop(reason, at once)` when it is time to stop; at once means that there is no later."""

    def __init__(
        self,
        volume_node: vtkMRMLScalarVolumeNode,
        segmentation_node: vtkMRMLSegmentationNode | None,
        stop: Callable[[str, bool], None],
    ) -> None:
        self._volume_node, self._segmentation_node, self._stop = volume_node, segmentation_node, stop
        self._scene = scene = volume_node.GetScene()
        self._tags = [
            scene.AddObserver(scene.StartCloseEvent, self._on_close),
            scene.AddObserver(scene.NodeRemovedEvent, self._on_node_removed),
        ]
        slicer.app.connect("aboutToQuit()", self._on_quit)

    def end(self) -> None:
        """Stops watching."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        slicer.app.disconnect("aboutToQuit()", self._on_quit)

    def _on_close(self, *_: object) -> None:
        self._stop(CLOSED, True)

    def _on_quit(self) -> None:
        self._stop(QUIT, True)

    def _on_node_removed(self, *_: object) -> None:
        if self._volume_node.GetScene() is None:
            self._stop(NO_VOLUME, False)
        elif self._segmentation_node is not None and self._segmentation_node.GetScene() is None:
            self._stop(NO_SEGMENTATION, False)
