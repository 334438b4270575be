"""The process boundary of many scans: a job goes in as a line of JSON, its record comes out as one.

A scan may crash the interpreter or take all memory; its process ends then, and nothing else. The process takes one job
after the other, so that the model stays loaded. When its caller ends or closes the pipe to its stdin, it removes what
isn't whole and ends, whatever it is doing; also when nothing came for some minutes, as the caller on another machine
may have forgotten it. Its stdout carries nothing but records; whatever else prints there goes to stderr.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from ..threads import limit_threads
from ..worker import stdin_closed_on_windows
from .job import Job

CALLER_GONE, IDLE = 3, 4
IDLE_S = 300.0
_LOOK_EVERY_S = 0.1
_LINE_BYTES = 1 << 16


def main(arguments: Sequence[str]) -> int:
    """Works on jobs until stdin ends; the only argument is the number of threads."""
    out = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    os.dup2(2, 1)
    # A native crash leaves its place in the code on stderr.
    faulthandler.enable()
    limit_threads(int(arguments[0]))
    from .segmenter import Segmenter

    watch, segmenter = _Watch(), Segmenter(int(arguments[0]))
    for line in _lines():
        job = Job.from_json(line)
        with watch.over(job.staging):
            os.mkdir(job.staging)
            record = segmenter.run(job)
            shutil.rmtree(job.staging, ignore_errors=True)
            out.write(json.dumps(record) + "\n")
            out.flush()
    return 0


def _lines() -> Iterator[bytes]:
    """Lines of stdin as they come; read past Python's buffer, which would keep the watch from seeing the end."""
    unread = b""
    while block := os.read(0, _LINE_BYTES):
        *lines, unread = (unread + block).split(b"\n")
        yield from lines


class _Watch:
    """Ends the process when the caller has gone, or has had no work for long."""

    def __init__(self) -> None:
        self._staging: str | None = None
        self._idle_since = time.monotonic()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    @contextmanager
    def over(self, staging: str) -> Iterator[None]:
        """While a job is done in this folder."""
        self._staging = staging
        yield
        self._idle_since, self._staging = time.monotonic(), None

    def _look(self) -> None:
        gone = stdin_closed_on_windows if sys.platform == "win32" else _hangup()
        while True:
            time.sleep(_LOOK_EVERY_S)
            if gone():
                self._leave(CALLER_GONE)
            if self._staging is None and time.monotonic() - self._idle_since > IDLE_S:
                self._leave(IDLE)

    def _leave(self, code: int) -> NoReturn:
        staging = self._staging
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        os._exit(code)


def _hangup() -> Callable[[], bool]:
    """Asks whether nobody holds the other end of stdin any more."""
    poll = select.poll()
    poll.register(0, 0)
    return lambda: bool(poll.poll(0))
