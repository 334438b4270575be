"""A command as a child process: its wall time and its peak memory, as the operating system measured them.

The child is started by a small process of its own (this file, run as a script): what the system reports of a child
includes what the process that started it held, and the bench itself holds whole scans.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

from SpineContextSegLib.memory import free_memory_bytes

OUT_OF_MEMORY = "memory"
# In the sentence with which the library says it.
_MEMORY_WORDS = "not enough memory"


@dataclass(frozen=True)
class Measurement:
    """One run of a command.

    Attributes:
        seconds: from before the process starts to its end.
        peak_mb: the most memory that it held at once, in MB (10^6 bytes).
        fault: None when it did its work, "memory" when memory ran out, else the last line that it said.
        stages: seconds of each stage, as the command itself reports them.
    """

    seconds: float
    peak_mb: float
    fault: str | None = None
    stages: dict[str, float] = field(default_factory=dict)


def measure(command: list[str]) -> Measurement:
    """Run a command without input, its output thrown away. It gets no more memory than is free, so that one that asks
    for more fails alone, and nothing else on the computer or in the container is ended in its place (Linux)."""
    free = free_memory_bytes()
    limit = "" if free is None else str(free)
    launcher = subprocess.run([sys.executable, __file__, limit, *command], capture_output=True, text=True)
    try:
        ended = json.loads(launcher.stdout)
    except json.JSONDecodeError:
        return Measurement(0.0, 0.0, _last_line(launcher.stderr) or "can't be started")
    return Measurement(ended["seconds"], ended["peak_mb"], _fault(ended["exit_code"], ended["said"]))


def _fault(exit_code: int, said: str) -> str | None:
    if exit_code == 0:
        return None
    # The system kills without a word when memory runs out.
    if exit_code == -signal.SIGKILL or _MEMORY_WORDS in said:
        return OUT_OF_MEMORY
    return _last_line(said) or f"exit code {exit_code}"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _launch(limit: str, command: list[str]) -> dict:
    """Run the command with so many bytes of memory ("" for any number), and say how it ended."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    # Linux counts in KiB, macOS in bytes.
    peak_mb = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"seconds": seconds, "peak_mb": peak_mb, "exit_code": os.waitstatus_to_exitcode(status), "said": said}


if __name__ == "__main__":
    print(json.dumps(_launch(sys.argv[1], sys.argv[2:])))
