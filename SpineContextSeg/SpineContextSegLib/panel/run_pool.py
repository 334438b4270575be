"""The runs of one module logic: made alike for the panel and for Python code, and ended together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import qt

from ..errors import Cancelled, InputRefused
from .run_folder import remove_abandoned
from .runs import RunEnd, RunOptions, SegmentationRun

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class RunPool:
    """Knows the runs that have not ended yet, and removes what those of a session that crashed have left."""

    def __init__(self, temporary_root: Path) -> None:
        self._temporary_root = temporary_root
        remove_abandoned(temporary_root)
        self._runs: list[SegmentationRun] = []

    def start(
        self,
        volume_node: vtkMRMLScalarVolumeNode | None,
        options: RunOptions,
        segmentation_node: vtkMRMLSegmentationNode | None = None,
        *,
        on_status: Callable[[str], None] = lambda text: None,
        on_progress: Callable[[int, int, float | None], None] = lambda done, total, seconds_left: None,
        on_end: Callable[[RunEnd], None] = lambda end: None,
    ) -> SegmentationRun:
        """Starts a run, see `SegmentationRun`; a refused one has ended when this returns."""

        def ended(end: RunEnd) -> None:
            self._runs.remove(run)
            on_end(end)

        run = SegmentationRun(
            volume_node, options, segmentation_node=segmentation_node, temporary_root=self._temporary_root,
            on_status=on_status, on_progress=on_progress, on_end=ended,
        )  # fmt: skip
        self._runs.append(run)
        run.start()
        return run

    def cancel(self, wait: bool = False) -> None:
        """Ends all runs, see `SegmentationRun.cancel`."""
        for run in list(self._runs):
            run.cancel(wait=wait)

    def wait_for(
        self,
        volume_node: vtkMRMLScalarVolumeNode | None,
        options: RunOptions,
        segmentation_node: vtkMRMLSegmentationNode | None = None,
        *,
        on_progress: Callable[[int, int, float | None], None],
        on_end: Callable[[RunEnd], None],
    ) -> vtkMRMLSegmentationNode:
        """Starts a run and waits for its end; events are processed meanwhile. Warnings go to Slicer's log.

        Returns:
            The segmentation node that was written.

        Raises:
            InputRefused: the input can't be segmented.
            Cancelled: the run was stopped.
            RuntimeError: nothing was found, or there was a fault.
        """
        ends: list[RunEnd] = []
        loop = qt.QEventLoop()

        def ended(end: RunEnd) -> None:
            ends.append(end)
            loop.quit()

        run = self.start(volume_node, options, segmentation_node, on_progress=on_progress, on_end=ended)
        if not ends:
            loop.exec_()
        if not ends:
            # The application was told to end, which leaves every loop.
            run.cancel(wait=True)
        end = ends[0]
        on_end(end)
        for warning in end.warnings:
            logging.warning(warning)
        if end.kind == "done":
            return end.segmentation_node
        raise {"refused": InputRefused, "cancelled": Cancelled}.get(end.kind, RuntimeError)(end.message)
