"""A file that its process holds for as long as it lives: the system lets go of it however the process ends.

It lies in no folder that gets another name or goes meanwhile: Windows and network shares don't allow that for a folder
with an open file in it, and whoever looks just then would take it for let go of.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where nothing is held
    fcntl = None

# Between making a file and holding it lie moments.
_YOUNG_SECONDS = 60.0


def hold(path: Path) -> BinaryIO:
    """Makes the file; it is held until what is returned is closed or gone."""
    file = open(path, "xb")
    # Some network shares have no locks.
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
    return file


def is_held(path: Path) -> bool:
    """Whether a living process, this one too, holds the file."""
    return _is_free(path) is False


def is_abandoned(path: Path) -> bool:
    """Whether the process that held the file has ended and left it behind."""
    try:
        return time.time() - path.stat().st_mtime > _YOUNG_SECONDS and _is_free(path) is True
    except OSError:  # just gone
        return False


def _is_free(path: Path) -> bool | None:
    """None where that can't be told: there are no locks, or no such file that this user may read."""
    if fcntl is None:
        return None
    try:
        # Shared, so that two that look at once don't take each other for its holder.
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
