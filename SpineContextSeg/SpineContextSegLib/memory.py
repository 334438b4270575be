"""How much memory this process has needed at most."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory_mb() -> float | None:
    """The largest resident size of this process so far, in MB (10^6 bytes); None where the system doesn't say."""
    if sys.platform == "win32":
        return None
    try:
        # getrusage would count what the parent process held when it started this one; VmHWM doesn't.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
