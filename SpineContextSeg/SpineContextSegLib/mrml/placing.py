"""New files in a folder of the user: names that every system takes, all of them or none, never over another file."""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputRefused

# What Windows refuses in a name, and what means a folder anywhere.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
# A name has at most 255 bytes on most disks; two of these, a number and an ending fit in.
_LIMIT_BYTES = 100


def portable_name(text: str, otherwise: str) -> str:
    """A file name (without ending) that Windows, macOS and Linux take, as close to `text` as possible."""
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    name = name.encode("utf-8", "ignore")[:_LIMIT_BYTES].decode("utf-8", "ignore")
    # Windows drops dots and blanks at the end; a dot at the beginning hides a file.
    name = name.rstrip(". ").lstrip(". ")
    if not name.strip("_"):
        return otherwise
    return f"_{name}" if name.split(".")[0].lower() in _RESERVED else name


def distinct(names: Iterable[str]) -> list[str]:
    """The names with a number added to every repeated one; "L1" and "l1" are one name on Windows and macOS."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate = next(c for c in _numbered(name) if c.lower() not in taken)
        taken.add(candidate.lower())
        result.append(candidate)
    return result


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder` for files under construction, on the same disk; removed whatever happens.

    Raises:
        InputRefused: `folder` does not exist or nothing can be written there.
        OSError: what was done inside met a disk that is full or the like; one sentence.
    """
    try:
        staging = tempfile.TemporaryDirectory(prefix=".export-", dir=folder, ignore_cleanup_errors=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputRefused(f"The folder '{folder}' does not exist: choose another one.") from error
    except OSError as error:
        raise InputRefused(
            f"Nothing can be written to the folder '{folder}' ({error.strerror}): choose another one."
        ) from error
    with staging as path:
        try:
            yield Path(path)
        except OSError as error:
            if error.errno is None:
                raise
            raise incomplete(folder) from error


def place(
    folder: Path, stem: str, files_for: Callable[[str], dict[str, Path]], finish: Callable[[str], None]
) -> list[Path]:
    """Moves finished files into `folder`, all or none.

    Args:
        stem: what the names shall begin with; a number is added where one of them is taken.
        files_for: file name -> finished file in the staging folder, for such a stem.
        finish: called with a stem that is free, before the files are moved.

    Returns:
        Where the files are now.

    Raises:
        OSError: nothing is left behind in `folder`.
    """
    for candidate in _numbered(stem):
        files = files_for(candidate)
        if any((folder / name).exists() for name in files):
            continue
        finish(candidate)
        reserved: list[Path] = []
        try:
            for name in files:
                # An empty file of our own holds the place: no other program can take it between the look and the move.
                (folder / name).open("x").close()
                reserved.append(folder / name)
            for target, source in zip(reserved, files.values()):
                os.replace(source, target)
            return reserved
        except FileExistsError:
            _remove(reserved)
        except BaseException:
            _remove(reserved)
            raise
    raise AssertionError("numbers don't end")


def incomplete(folder: Path) -> OSError:
    """What to raise where `folder`, chosen by the user, holds less than it should."""
    return OSError(f"'{folder}' took no more data: is the disk full or protected?")


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
