"""How much memory this process has needed at most, and how much this computer has to give."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .control_groups import memory_left_bytes


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


def free_memory_bytes() -> int | None:
    """What new processes can use without swapping; all that is built in where the system doesn't say more; or None."""
    if sys.platform == "win32":
        return _free_on_windows()
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        try:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return None
    left = memory_left_bytes()
    return free if left is None else max(0, min(free, left))


def _free_on_windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        # MEMORYSTATUSEX: two numbers of 32 bits, then seven of 64; the third field is what is free.
        _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("total", ctypes.c_uint64),
                    ("free", ctypes.c_uint64), ("others", ctypes.c_uint64 * 5)]  # fmt: skip

    status = Status(length=ctypes.sizeof(Status))
    return status.free if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
