"""Disks that are full, protected or pulled out: real file systems, mounted where only one process sees them (Linux)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ALONE = ["unshare", "--user", "--map-root-user", "--mount"]


def _can_mount() -> bool:
    if sys.platform != "linux":
        return False
    try:
        tried = subprocess.run([*_ALONE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="this system lets nobody mount a small disk for a test")


def run_with_mounts(code: str, *arguments: object) -> None:
    """Runs Python code as a script that may call `mount` and `umount`; it fails where the code does."""
    command = [*_ALONE, sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
