"""A place where scan after scan is segmented: one child process with a loaded model, started again when it breaks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import Cancelled
from ..worker import ENVIRONMENT, LOG_BYTES, process_arguments
from .job import Job
from .records import leave_record

TRIES = 3
# A network is compiled for every size of window that comes up, and memory that native libraries lose adds up.
SCANS_PER_PROCESS = 40
# To remove what isn't whole, then to be killed.
GRACE_S = 2.0

GIVEN_UP = (
    f"Its process ended without a word {TRIES} times, most likely because memory ran out or the file makes a library "
    "crash: try it alone with `spinecontextseg segment`, or run again with fewer --jobs."
)


class Station:
    """Runs one job at a time, in whatever thread asks; `stop` may come from another one."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: subprocess.Popen | None = None
        self._errors: IO[bytes] | None = None
        self._last_words = ""
        self._jobs_done = 0
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, job: Job) -> dict:
        """The record of a job, after up to three tries.

        Raises:
            Cancelled: it was stopped; nothing is left of the job.
            OSError: no process can be started.
        """
        for _ in range(TRIES):
            staging = Path(job.staging, uuid.uuid4().hex)
            try:
                answer = self._ask(job.staged_in(staging))
                if answer is not None:
                    return answer
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return leave_record(job, "failed", GIVEN_UP, log=self._last_words.splitlines())

    def stop(self) -> None:
        """Ends the process at once, and for good."""
        with self._lock:
            self._stopped = True
            self._end()

    def _ask(self, job: Job) -> dict | None:
        """The child's answer, None where it ended instead."""
        process = self._running()
        try:
            process.stdin.write(job.to_json().encode("ascii") + b"\n")
            process.stdin.flush()
            record = _record(process.stdout)
        except (OSError, ValueError):  # it has ended, or was stopped
            record = None
        with self._lock:
            if self._stopped:
                self._end()
                raise Cancelled
            self._jobs_done += 1
            if record is None or self._jobs_done >= SCANS_PER_PROCESS:
                self._end()
        return record

    def _running(self) -> subprocess.Popen:
        with self._lock:
            if self._stopped:
                raise Cancelled
            if self._process is not None and self._process.poll() is None:
                return self._process
            self._end()
            # A file, since nobody reads along, and a pipe would be full some day.
            self._errors = tempfile.TemporaryFile()
            self._jobs_done = 0
            with _signals_are_for_us():
                self._process = subprocess.Popen(
                    [sys.executable, *process_arguments("cohort.child", str(self._threads))],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=os.environ | ENVIRONMENT,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )  # fmt: skip
            return self._process

    def _end(self) -> None:
        """Waits for the process to remove what isn't whole; kills it where that takes long."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        with self._errors:
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - LOG_BYTES))
            self._last_words = self._errors.read().decode("utf-8", "backslashreplace")


def _record(lines: IO[bytes]) -> dict | None:
    """The next record, None at the end; passes over what others print before the process has its stdout for itself."""
    for line in lines:
        with suppress(ValueError):
            content = json.loads(line)
            if isinstance(content, dict):
                return content
    return None


@contextmanager
def _signals_are_for_us() -> Iterator[None]:
    """What is started inside never hears of Ctrl-C or a closed terminal: it ends when its stdin does. A session of its
    own would do that, too, but a user's `nice` wouldn't reach it."""
    if sys.platform == "win32":  # there, a new process group does it
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
