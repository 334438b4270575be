"""Stand-ins for PythonSlicer: programs that start the real Python as their child and wait for it."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

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
