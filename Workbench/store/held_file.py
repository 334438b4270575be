"""A file that its process holds for as long as it lives: the system lets go of it however the process ends."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a folder with an open file in it can't get its name: nothing is held there
    fcntl = None


def hold(path: Path) -> BinaryIO | None:
    """Makes the file; it is held until what is returned is closed or gone."""
    if fcntl is None:
        return None
    file = open(path, "xb")
    # Some network shares have no locks.
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def is_held(path: Path) -> bool:
    """Whether a living process, this one too, holds the file."""
    if fcntl is None:
        return False
    try:
        # Shared, so that two that look at once don't take each other for its holder.
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, as of earlier workbenches
        pass
    return False
