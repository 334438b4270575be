"""The files that a command writes: checked before the work, and all of them there at the end or none."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from .errors import InputRefused
from .interruption import Interruption

_DOUBLE_ENDINGS = (".seg.nrrd", ".nii.gz")


def check_target(path: Path, endings: tuple[str, ...] = ()) -> None:
    """Tells before any work whether a file can be written at `path`.

    Raises:
        InputRefused: another ending than one of `endings`, a folder, or no folder to write to.
    """
    if endings and not path.name.lower().endswith(endings):
        raise InputRefused(f"'{path.name or path}' must end with {' or '.join(endings)}: choose such a name.")
    check_place(path)
    if path.name.lower() in endings:
        raise InputRefused(f"'{path.name}' is an ending without a name: put one before it.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputRefused(
            f"Nothing can be written to the folder '{path.parent}' ({error.strerror}): write somewhere else."
        ) from error


def make_folder(folder: Path) -> None:
    """With all above it, where it isn't there. Raises InputRefused: it can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputRefused(f"The folder '{folder}' can't be made ({error.strerror}): choose another.") from error


def check_place(path: Path) -> None:
    """Tells whether `path` can be the name of a file in a folder that exists.

    Raises:
        InputRefused: it can't, or is a folder itself.
    """
    try:
        is_folder = path.is_dir()
        path.exists()
    except OSError as error:
        raise InputRefused(f"'{path}' can't be the name of a file ({error.strerror}): choose another.") from error
    if is_folder:
        raise InputRefused(f"'{path}' is a folder: give the name of a file to write.")
    if not path.parent.is_dir():
        raise InputRefused(f"The folder '{path.parent}' does not exist: create it or write somewhere else.")


def check_replaceable(path: Path) -> None:
    """Tells before any work whether a file, if there is one at `path`, lets itself be replaced.

    Not for a database that is in use: here it is opened and closed, which gives up all locks that this process has on
    it.

    Raises:
        InputRefused: it is protected, or on Windows another program has it open.
    """
    # Of a link, only the link is replaced.
    if path.is_symlink() or not path.is_file():
        return
    try:
        with open(path, "r+b"):
            pass
    except OSError as error:
        raise InputRefused(_not_replaceable(path, error)) from error


def _not_replaceable(path: Path, error: OSError) -> str:
    return f"'{path}' can't be replaced ({error.strerror}): is it open in another program, or protected?"


def check_distinct(paths: dict[str, Path]) -> None:
    """Tells whether all paths (what it is -> where) are different files, links looked through.

    Raises:
        InputRefused: two of them are the same file.
    """
    names = list(paths)
    for n, name in enumerate(names):
        for other in names[:n]:
            if _same(paths[name], paths[other]):
                raise InputRefused(f"The {name} '{paths[name]}' is the same file as the {other}: choose another name.")


def _same(one: Path, other: Path) -> bool:
    # What can't be looked at is told by who reads or writes it.
    if os.path.exists(one) and os.path.exists(other):
        return one.samefile(other)
    return one.resolve() == other.resolve()


class Outputs:
    """Files under construction beside their targets; leaving without an exception puts all in place, else none.

    Args:
        interruption: signals wait while the files are put in place.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._staged: dict[Path, Path] = {}

    def stage(self, target: Path) -> Path:
        """Where to write what shall become `target`: a hidden name in the same folder, with the same ending."""
        self._staged[target] = _hidden_beside(target)
        return self._staged[target]

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self._interruption.held():
                    for target, partial in self._staged.items():
                        _put_in_place(partial, target)
        finally:
            for partial in self._staged.values():
                partial.unlink(missing_ok=True)


def write_complete(path: Path, write: Callable[[Path], object], partial: Path | None = None) -> None:
    """One file, there when it is complete; a failure or an interruption leaves an earlier one as it was, and no other.

    Args:
        write: called with where to write it first.
        partial: that place, on the same disk; None for a hidden name beside `path`, with the same ending.
    """
    partial = partial or _hidden_beside(path)
    try:
        write(partial)
        share_alike(partial, path)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _hidden_beside(path: Path) -> Path:
    """No process takes the name of another, and none is too long for the disk."""
    ending = next((e for e in _DOUBLE_ENDINGS if path.name.lower().endswith(e)), path.suffix)
    return path.with_name(f".{uuid.uuid4().hex}{ending.lower()}")


def share_alike(partial: Path, target: Path) -> None:
    """Gives a file the group and the rights of the one that it is to replace, if there is one and the disk knows any.

    Of a link, only the link is replaced: what it leads to may be protected.
    """
    if target.is_symlink():
        return
    try:
        if hasattr(os, "chown"):
            # First: rights are those of a group. Where it can't be given, a new file's are right.
            os.chown(partial, -1, target.stat().st_gid)
        shutil.copymode(target, partial)
    except OSError:
        pass


def _put_in_place(partial: Path, target: Path) -> None:
    share_alike(partial, target)
    try:
        os.replace(partial, target)
    except PermissionError as error:
        # As it is, it names the hidden file.
        raise PermissionError(_not_replaceable(target, error)) from error


def print_if_possible(text: str, stream: TextIO | None = None) -> None:
    """Print what is only said about finished work, to stdout or another stream: a closed pipe or a full disk behind it
    doesn't undo the work."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError:
        # Else Python tries again at its end, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
