"""What lies below a folder: links to folders are followed, and each folder is searched once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def folders_below(
    root: Path, on_error: Callable[[OSError], None] | None = None, left_out: Path | None = None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder once, `root` first, with the sorted names of the folders in it and of all else.

    As with `os.walk`, who takes a name out of the list of folders leaves that one out. Links to folders come last, so
    that a folder goes by its own name.

    Args:
        on_error: is told of a folder that can't be read.
        left_out: a folder that isn't searched.
    """
    # Without this a link to a folder above would be followed for ever.
    seen = {identity(left_out)} if left_out and left_out.exists() else set()
    waiting, links = [root], []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop()
        try:
            itself = identity(folder)
            if itself in seen:
                continue
            seen.add(itself)
            with os.scandir(folder) as entries:
                entries = {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}
        except OSError as error:
            if on_error:
                on_error(error)
            continue
        folders, others = [], []
        for name, entry in entries.items():
            (folders if _is_folder(entry) else others).append(name)
        yield folder, folders, others
        for name in folders:
            (links if entries[name].is_symlink() else waiting).append(folder / name)


def identity(path: Path) -> tuple[int, int]:
    """The same for all names of a file or folder. Raises OSError."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
