"""The folder for results: one batch at a time, and a corner of it for files that aren't whole yet."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ..checks import check_path
from ..errors import InputRefused

RUNNING, LOCK = ".running", "lock"


def check_folders(source: Path, output: Path) -> None:
    """
    Raises:
        InputRefused: the input is missing, a name is no text, or the output is a file, or is or holds the input.
    """
    if not source.exists():
        raise InputRefused(f"'{source}' does not exist: check the path.")
    for path in (source, output):
        check_path(path)
    if not source.is_file() and not source.is_dir():
        raise InputRefused(f"'{source}' is neither a file nor a folder: give the folder of the scans.")
    if output.exists() and not output.is_dir():
        raise InputRefused(f"'{output}' is a file: give a folder for the results.")
    inside, outside = source.resolve(), output.resolve()
    if inside.is_dir() and inside.is_relative_to(outside):
        raise InputRefused(
            f"The results can't go to '{output}', which is or holds the folder of the scans: give a folder of its own."
        )


@contextmanager
def only_batch(output: Path) -> Iterator[Path]:
    """While entered, no other batch can write to `output`, which is made where it isn't there.

    Yields an empty folder for files that aren't whole yet; it is removed at the end.

    Raises:
        InputRefused: another batch is running, or nothing can be written there.
    """
    corner = output / RUNNING
    try:
        corner.mkdir(parents=True, exist_ok=True)
        lock = os.open(corner / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputRefused(
            f"Nothing can be written to the folder '{output}' ({error.strerror}): choose another."
        ) from error
    try:
        _lock(lock, corner / LOCK, output)
        for left in corner.iterdir():  # by a batch that was killed
            if left.name != LOCK:
                shutil.rmtree(left, ignore_errors=True)
        staging = corner / uuid4().hex
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            with suppress(OSError):  # Windows keeps open files
                (corner / LOCK).unlink()
                corner.rmdir()
    finally:
        os.close(lock)


def _lock(file: int, path: Path, output: Path) -> None:
    """Locks an open file until it is closed, however this process ends. File systems without locks lock nothing."""
    busy = f"Another batch is writing to '{output}': wait for it, or choose another folder."
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # The kind of lock that network file systems know.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), path.stat()):
            return
    except (BlockingIOError, PermissionError, FileNotFoundError) as error:
        raise InputRefused(busy) from error
    except OSError:
        return
    raise InputRefused(busy)  # the other one has just ended, and removed the file that was locked here
