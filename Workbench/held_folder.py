"""A temporary folder that goes with its process: what a killed process left behind, the next one removes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which clears its temporary folder by itself
    fcntl = None

_LOCK = ".held"
# Between making a folder and holding it lie moments.
_YOUNG_SECONDS = 60.0


class HeldFolder:
    """`path` is new and empty. The system lets go of its lock however the process ends, so none is taken by mistake."""

    def __init__(self, prefix: str) -> None:
        if fcntl:
            _remove_abandoned(prefix)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = open(self.path / _LOCK, "wb")
        if fcntl:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """With all that is in it."""
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_abandoned(prefix: str) -> None:
    for lock in Path(tempfile.gettempdir()).glob(f"{prefix}*/{_LOCK}"):
        # Of another user, or just gone.
        with suppress(OSError), open(lock, "rb+") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > _YOUNG_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
