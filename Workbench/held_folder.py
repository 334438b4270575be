"""A temporary folder that goes with its process: what a killed process left behind, the next one removes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .store.held_file import hold, is_abandoned

_LOCK = ".held"


class HeldFolder:
    """`path` is new and empty; where the system has no locks (Windows), it clears its temporary folder by itself."""

    def __init__(self, prefix: str) -> None:
        for lock in Path(tempfile.gettempdir()).glob(f"{prefix}*/{_LOCK}"):
            if is_abandoned(lock):
                shutil.rmtree(lock.parent, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = hold(self.path / _LOCK)

    def remove(self) -> None:
        """With all that is in it."""
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)
