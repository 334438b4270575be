"""Looks at the processes of this machine (Linux): is a worker still there, which one is it."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def working_on(folder: Path) -> list[int]:
    """IDs of the processes that name a folder, or something in it, on their command line; this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it ended while we looked
            continue
        if state != "Z" and any(word.startswith(os.fsencode(folder)) for word in words):
            found.append(int(entry.name))
    return found


def kill_workers(folder: Path) -> None:
    """Kills them as the system does when memory runs out."""
    for process in working_on(folder):
        os.kill(process, signal.SIGKILL)
