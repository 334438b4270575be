"""Runs for Python code that has no panel: wait for the end while the application stays alive, or get an exception."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import qt

from ..errors import Cancelled, InputRefused
from .runs import RunEnd, SegmentationRun

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode


def wait_for(create: Callable[[Callable[[RunEnd], None]], SegmentationRun]) -> RunEnd:
    """Starts the run that `create` makes of a callback for its end, and waits; events are processed meanwhile."""
    ends: list[RunEnd] = []
    loop = qt.QEventLoop()

    def ended(end: RunEnd) -> None:
        ends.append(end)
        loop.quit()

    run = create(ended)
    run.start()
    if not ends:
        loop.exec_()
    if not ends:
        # The application was told to end, which leaves every loop.
        run.cancel(wait=True)
    return ends[0]


def node_or_error(end: RunEnd) -> vtkMRMLSegmentationNode:
    """The segmentation node of a run; its warnings go to Slicer's log.

    Raises:
        InputRefused: the input can't be segmented.
        Cancelled: the run was stopped.
        RuntimeError: nothing was found, or there was a fault.
    """
    for warning in end.warnings:
        logging.warning(warning)
    if end.kind == "done":
        return end.segmentation_node
    raise {"refused": InputRefused, "cancelled": Cancelled}.get(end.kind, RuntimeError)(end.message)
