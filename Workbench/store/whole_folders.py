"""Folders that are there with all their files, safely on the disk, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# End of the names of hidden folders that are no part of anything yet.
PARTIAL = ".partial"
# Nobody works on one folder for so long: a process was killed, or the power went.
_ABANDONED_SECONDS = 24 * 3600
# What file systems answer that can write down files, but not folders.
_NO_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def claimed(parent: Path, name: str) -> Iterator[bool]:
    """Whether `name` is this process's alone in `parent` until the end; after a crash nobody gets it for a day.

    Raises:
        OSError: not writable.
    """
    mark = parent / f".{name}{PARTIAL}"
    try:
        mark.mkdir()
    except FileExistsError:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            mark.rmdir()


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Gives a hidden folder beside `target` to be filled, which becomes `target` at the end; on an exception it goes.

    Raises:
        OSError: disk full, not writable, or there is a folder `target` with something in it.
    """
    partial = target.with_name(f".{uuid.uuid4().hex}{PARTIAL}")
    partial.mkdir()
    try:
        yield partial
        for parent, _, names in os.walk(partial, topdown=False):
            for name in names:
                _flush(Path(parent, name))
            _flush_folder(Path(parent))
        os.rename(partial, target)
        _flush_folder(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Removes a folder of which no part may be taken for the whole; as far as the disk lets it be removed."""
    hidden = folder.with_name(f".{uuid.uuid4().hex}{PARTIAL}")
    try:
        os.rename(folder, hidden)
    except OSError:
        return
    shutil.rmtree(hidden, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Removes what processes left that were killed while they filled or removed a folder in `parent`, a day after."""
    for path in parent.glob(f".*{PARTIAL}"):
        try:
            abandoned = time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
        except OSError:  # another process has removed it
            continue
        if abandoned:
            shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows writes down by itself what folders hold
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(handle)
