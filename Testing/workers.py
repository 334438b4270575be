"""Real worker processes for tests: requests, stand-ins for PythonSlicer, and a caller without Qt."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from pathlib import Path

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import Request, worker_arguments, write_request

# As on a user's disk: spaces, a quote, letters outside the code page.
AWKWARD_NAME = "Größe 'L' 脊柱"

# As Slicer's launcher does, a crash of the child becomes exit code 1 and a line on stderr.
_LAUNCHER = """\
#!{python}
import os, subprocess, sys
{setup}
child = subprocess.Popen([{python!r}, *sys.argv[1:]])
open({pid_file!r}, "w").write(str(child.pid))
code = child.wait()
open({code_file!r}, "w").write(str(code))
if code < 0:
    print("error: the application has crashed", file=sys.stderr)
sys.exit(1 if code < 0 else code)
"""

_IN_THE_MIDDLE = """
import os, sys, threading, time, traceback
def computing():
    frame = sys._current_frames()[threading.main_thread().ident]
    return any("sliding_window" in frame.f_code.co_filename for frame, _ in traceback.walk_stack(frame))
def disturb():
    while not computing():
        time.sleep(0.01)
    {statement}
threading.Thread(target=disturb, daemon=True).start()
"""


def in_the_middle(statement: str) -> str:
    """For `Launcher(inside=...)`: the statement runs while the network does, in another thread."""
    return _IN_THE_MIDDLE.format(statement=statement)


class Launcher:
    """An executable script.

    Args:
        folder: where to put the script; exists.
        setup: statements that the launcher runs first; its child inherits limits and environment.
        inside: statements that the child runs before anything else.
    """

    def __init__(self, folder: Path, setup: str = "", inside: str = "") -> None:
        self.program = folder / "launcher"
        self._pid_file, self._code_file = folder / "pid", folder / "code"
        if inside:
            (folder / "sitecustomize.py").write_text(inside, encoding="utf-8")
            setup += f"\nos.environ['PYTHONPATH'] = {str(folder)!r}"
        files = {"pid_file": str(self._pid_file), "code_file": str(self._code_file)}
        text = _LAUNCHER.format(python=sys.executable, setup=setup, **files)
        self.program.write_text(text, encoding="utf-8")
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    @property
    def child(self) -> int:
        """Process id of the real Python that was started last."""
        return int(self._pid_file.read_text())

    @property
    def child_code(self) -> int | None:
        """Exit code of the real Python; None where the launcher didn't live to see it."""
        return int(self._code_file.read_text()) if self._code_file.exists() else None


class Worker:
    """A worker started by a caller that holds its pipes; `options` are those of `subprocess.Popen`."""

    def __init__(self, folder: Path, program: Path | str = sys.executable, **options) -> None:
        command = [str(program), *worker_arguments(folder)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(command, **pipes, **options)

    def event(self) -> dict:
        """The next event; fails where the line is no event."""
        return json.loads(self.process.stdout.readline())

    def wait_for(self, name: str) -> None:
        while self.event()["event"] != name:
            pass

    def end(self) -> tuple[list[dict], str, int]:
        """All events to the end, stderr and the exit code; stdin stays open until then, as a caller keeps it."""
        with self.process:
            events = [json.loads(line) for line in self.process.stdout]
            errors = self.process.stderr.read().decode()
            code = self.process.wait()
        return events, errors, code

    def hang_up(self) -> float:
        """Closes stdin; seconds until the process has ended."""
        with self.process:
            started = time.monotonic()
            self.process.stdin.close()
            self.process.wait(timeout=10)
            return time.monotonic() - started


def request_for(model: Path, **options) -> Request:
    """For OpenVINO on one thread, unless told otherwise."""
    usual = dict(runtime="openvino", device="cpu", threads=1, structures="spine", force=False)
    return Request(model=str(model), **(usual | options))


def run_worker(folder: Path, volume: Volume, request: Request, **options) -> tuple[list[dict], str, int]:
    """Events, stderr and exit code of a whole run; `options` as those of `Worker`."""
    write_request(folder, volume, request)
    return Worker(folder, **options).end()


def is_one_sentence(text: str) -> bool:
    """Is it one for users, rather than an error of Python in disguise?"""
    return text.endswith(".") and "\n" not in text and text.count(". ") == 0 and "Something went wrong" not in text
