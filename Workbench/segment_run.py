"""A segmentation in a child process (`SpineContextSegLib.worker`); the server answers all the while."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from SpineContextSegLib.errors import Cancelled, InputRefused, UnlikelyValues
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import (
    ENVIRONMENT,
    Request,
    WorkerResult,
    event_in,
    read_result,
    worker_arguments,
    write_request,
)

GRACE_SECONDS = 0.5
_LINE_BYTES = 1 << 22
_ENDED = (
    "The segmentation process ended before it was done, most likely because memory ran out: close other programs, or "
    "crop the scan."
)


class SegmentRun:
    """One run; `segment` once, `cancel` at any time."""

    def __init__(self, on_stage: Callable[[str], None], on_progress: Callable[[int, int], None]) -> None:
        """
        Args:
            on_stage: gets the name of each stage when it begins: "read", "load model", "segment".
            on_progress: gets windows done and windows in total.
        """
        self._on_stage, self._on_progress = on_stage, on_progress
        self._process: asyncio.subprocess.Process | None = None
        self._cancelled = False

    async def segment(self, volume: Volume, request: Request) -> WorkerResult:
        """
        Args:
            volume: HU (k, j, i); must stay as it is meanwhile.

        Raises:
            InputRefused, UnlikelyValues: the scan can't be segmented.
            Cancelled: by `cancel`.
            RuntimeError: the process failed; one sentence.
            OSError: disk full or not writable.
        """
        folder = Path(tempfile.mkdtemp(prefix="SpineContextSeg-"))
        try:
            await asyncio.to_thread(write_request, folder, volume, request)
            last = await self._work(folder)
            if last.get("event") != "done":
                raise _fault(last)
            return await asyncio.to_thread(read_result, folder)
        finally:
            await self._end()
            shutil.rmtree(folder, ignore_errors=True)

    def cancel(self) -> None:
        """Ends the process within a second, wherever it is."""
        self._cancelled = True
        if self._process is not None:
            # At the end of its stdin the worker tidies up and ends.
            self._process.stdin.close()
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._kill)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _work(self, folder: Path) -> dict:
        """The last event of the process."""
        if self._cancelled:
            raise Cancelled
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *worker_arguments(folder), stdin=pipe, stdout=pipe, limit=_LINE_BYTES,
            env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
        last: dict = {}
        async for line in self._process.stdout:
            event = event_in(line)
            if event is None:
                continue
            last = event
            if event["event"] == "stage":
                self._on_stage(event["name"])
            elif event["event"] == "progress":
                self._on_progress(event["done"], event["total"])
        await self._process.wait()
        if self._cancelled:
            raise Cancelled
        return last

    async def _end(self) -> None:
        """Leaves no process behind, also where this task was ended from outside."""
        if self._process is not None:
            self._kill()
            await self._process.wait()


def _fault(last: dict) -> Exception:
    if last.get("event") == "refused":
        return (UnlikelyValues if last["forcible"] else InputRefused)(last["message"])
    return RuntimeError(last["message"] if last.get("event") == "failed" else _ENDED)
