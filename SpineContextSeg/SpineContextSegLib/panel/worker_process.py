"""The worker as a child process of the application: its events become calls, its end becomes one outcome."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import qt

from ..worker import ENVIRONMENT, LOG_BYTES, event_in, worker_arguments

# Twice this is the longest that a cancelled process lives: to end by itself, then to be killed.
GRACE_MS = 500
# On Windows, SIGTERM ends a process just as surely.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

NOT_STARTED = "The segmentation process could not be started ({python}): check that Slicer is installed completely."
NOT_BEGUN = "The segmentation process ended before it began to work: look at the details, and install the module again."
CRASHED = (
    "The segmentation process crashed, perhaps for lack of memory: close other programs and try again, or choose "
    "another runtime."
)
KILLED = (
    "The segmentation process was ended from outside, most likely because memory ran out: close other programs, or "
    "limit the run to a region of interest."
)
CANCELLED = "The segmentation was cancelled."


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        kind: "done": the result can be read; "refused": the input can't be segmented; "failed"; "cancelled".
        message: one sentence for the user, empty when done.
        log: for a developer, after a fault: traceback, exit code and the end of what the process wrote to stderr.
        forcible: whether `Request.force` would help a refused input.
    """

    kind: Literal["done", "refused", "failed", "cancelled"]
    message: str = ""
    log: str = ""
    forcible: bool = False


class WorkerProcess:
    """One run of the worker, without blocking the application.

    `on_end` is called exactly once after `start`, when the process has ended, within `start` where the system
    refuses to start it at once. The request folder is the caller's to remove, then.
    """

    def __init__(
        self,
        request_folder: Path,
        *,
        whole: Path | None = None,
        on_stage: Callable[[str], None],
        on_progress: Callable[[int, int], None],
        on_end: Callable[[Outcome], None],
        python: str | None = None,
    ) -> None:
        """
        Args:
            request_folder: filled by `worker.write_request`.
            whole: the folder that goes where this application does, as `worker.worker_arguments` gets it.
            on_stage: gets the name of each stage when it begins: "read", "load model", "segment".
            on_progress: gets windows done and windows in total.
            on_end: gets the outcome.
            python: the interpreter; None takes Slicer's own (a launcher that starts the real one as its child),
                or the running one where there is none.
        """
        self._arguments = worker_arguments(request_folder, whole)
        self._python = python or shutil.which("PythonSlicer") or sys.executable
        self._on_stage, self._on_progress, self._on_end = on_stage, on_progress, on_end
        self._process: qt.QProcess | None = None
        self._cancelled = False
        self._worker_pid: int | None = None
        self._last_event: dict | None = None
        self._unread = b""
        self._errors = b""
        self._grace: qt.QTimer | None = None

    @property
    def is_running(self) -> bool:
        """From `start` until just before `on_end` is called."""
        return self._process is not None

    def start(self) -> None:
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in ENVIRONMENT.items():
            environment.insert(name, value)
        process = self._process = qt.QProcess()
        process.setProcessEnvironment(environment)
        for event, slot in self._connections():
            process.connect(event, slot)
        process.start(self._python, self._arguments)

    def _connections(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        return (
            ("readyReadStandardOutput()", self._read_events),
            ("errorOccurred(QProcess::ProcessError)", self._on_error),
            ("finished(int,QProcess::ExitStatus)", self._on_finished),
        )

    def cancel(self, wait: bool = False) -> None:
        """Ends the process, its children too, within a second; the outcome is "cancelled" then, however far it got.

        Without effect before the start and after the end.

        Args:
            wait: block until it has ended and `on_end` has been called.
        """
        process = self._process
        if process is None:
            return
        if not self._cancelled:
            self._cancelled = True
            # At the end of its stdin the worker tidies up and ends, the launcher then too.
            process.closeWriteChannel()
            grace = self._grace = qt.QTimer()
            grace.setSingleShot(True)
            grace.setInterval(GRACE_MS)
            grace.connect("timeout()", self._kill)
            grace.start()
        if wait and not process.waitForFinished(GRACE_MS):
            self._kill()
            process.waitForFinished(GRACE_MS)

    def _kill(self) -> None:
        """For a worker that doesn't come to it, as it loads a large library or waits for memory that is swapped out."""
        if self._process is None:
            return
        if self._worker_pid is not None:
            # It may have ended just now. Its id isn't another's yet: the launcher, which waits for it, still lives.
            with suppress(OSError):
                os.kill(self._worker_pid, KILL)
        self._process.kill()

    def _read_events(self) -> None:
        self._unread += self._process.readAllStandardOutput().data()
        while b"\n" in self._unread:
            line, _, self._unread = self._unread.partition(b"\n")
            self._take(line)

    def _take(self, line: bytes) -> None:
        event = event_in(line)
        if event is None:
            self._errors += line + b"\n"
        elif event["event"] == "started":
            self._worker_pid = event["pid"]
        elif not self._cancelled:
            if event["event"] == "stage":
                self._on_stage(event["name"])
            elif event["event"] == "progress":
                self._on_progress(event["done"], event["total"])
            else:
                self._last_event = event

    def _on_error(self) -> None:
        # After any other error, `finished` follows.
        if self._process is not None and self._process.error() == qt.QProcess.FailedToStart:
            log = f"{self._python}: {self._process.errorString()}"
            self._end(Outcome("failed", NOT_STARTED.format(python=self._python), log))

    def _on_finished(self) -> None:
        try:
            self._read_events()
            self._errors += self._process.readAllStandardError().data()
        finally:
            self._end(self._outcome())

    def _outcome(self) -> Outcome:
        event = self._last_event or {}
        if event.get("event") == "done":
            return Outcome("done")
        if event.get("event") == "refused":
            return Outcome("refused", event["message"], forcible=event["forcible"])
        errors = self._errors[-LOG_BYTES:].decode("utf-8", "backslashreplace")
        log = f"{event.get('log', '')}Exit code {self._process.exitCode()} of {self._python}\n{errors}"
        return Outcome("failed", event.get("message") or self._why_it_ended(), log)

    def _why_it_ended(self) -> str:
        """Exit codes don't tell: a launcher ends with 1, whatever happened to its child."""
        if self._worker_pid is None:
            return NOT_BEGUN
        # What Python's faulthandler, which the worker turns on, writes at a crash on all systems.
        if b"Fatal Python error" in self._errors or b"Windows fatal exception" in self._errors:
            return CRASHED
        return KILLED

    def _end(self, outcome: Outcome) -> None:
        process, self._process = self._process, None
        # A connection holds what it calls, and with it the run and its volume, as long as its sender lives.
        for event, slot in self._connections():
            process.disconnect(event, slot)
        if self._grace is not None:
            self._grace.stop()
            self._grace.disconnect("timeout()", self._kill)
            self._grace = None
        # PythonQt deletes the process with the last reference to it, and this is one of its own signals.
        kept = [process]
        qt.QTimer.singleShot(0, lambda: kept.clear())
        self._on_end(Outcome("cancelled", CANCELLED) if self._cancelled else outcome)
