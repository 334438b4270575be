"""The folder that a run works in: it holds voxels of a person, so it goes with the run, however that ends."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

FOLDER_PREFIX = "SpineContextSeg-"
_LOCK = "lock"


class RunFolder:
    """`path` is new. The system lets go of its lock however this process ends, so that the next one can remove it."""

    def __init__(self, root: Path) -> None:
        """Raises OSError: nothing can be written there."""
        root.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=root))
        self._file = open(self.path / _LOCK, "wb")
        # Not every file system has locks; there the folder of a crash stays.
        with suppress(OSError):
            _lock(self._file)
            # Whoever looks before doesn't take it for abandoned.
            self._file.write(b"locked")
            self._file.flush()

    def remove(self) -> None:
        """With all that is in it."""
        self._file.close()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned(root: Path) -> None:
    """Removes the folders of runs whose application is gone."""
    for path in root.glob(f"{FOLDER_PREFIX}*/{_LOCK}"):
        # Of a run that goes on, of another user, or just gone.
        with suppress(OSError):
            with open(path, "rb+") as file:
                _lock(file)
                is_abandoned = bool(file.read(1))
            if is_abandoned:
                shutil.rmtree(path.parent, ignore_errors=True)


def _lock(file: BinaryIO) -> None:
    """Until it is closed; raises OSError where another one has it, also in this process."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
