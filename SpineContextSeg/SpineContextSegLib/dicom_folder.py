"""Which files of a folder are DICOM, and which may have been some: nothing that is missing stays unsaid."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from .errors import InputRefused
from .folders import folders_below


def dicom_files(scan: Path) -> list[Path]:
    """All DICOM files below a folder, sorted, and what may be or hold some: see `slices_among`, and folders that can't
    be read. Links to folders are followed, each folder is searched once. A file is itself the only one.

    Raises:
        InputRefused: the folder can't be read.
    """
    if not scan.is_dir():
        return [scan]
    errors: list[OSError] = []
    found = [
        path
        for parent, _, names in folders_below(scan, errors.append)
        for path in slices_among([parent / name for name in names])
    ]
    for error in errors:
        if error.filename == str(scan):
            raise InputRefused(
                f"The folder '{scan}' can't be read ({error.strerror}): check its permissions and its disk."
            ) from error
    return sorted([*found, *(Path(error.filename) for error in errors)])


def slices_among(files: list[Path]) -> list[Path]:
    """The DICOM files among those of one folder, and what may have been some: files that can't be read and, beside
    DICOM files, empty ones. No slice can be read from these, but that can be told."""
    # A DICOMDIR is the table of contents of a medium.
    files = [path for path in files if path.name != "DICOMDIR"]
    found = {path for path in files if is_dicom_file(path)}
    return [path for path in files if path in found or _is_lost(path, beside_slices=bool(found))]


def _is_lost(path: Path, beside_slices: bool) -> bool:
    if path.name.startswith(".") or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return beside_slices and not file.read(1)
    except OSError:
        return True


def is_dicom_file(path: Path) -> bool:
    """True for a DICOM file, with or without the preamble of a proper one."""
    # To open a named pipe would wait for somebody to write to it.
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError:
        return False
    if start[128:] == b"DICM":
        return True
    # Old exports begin with the first element, of group 2 or 8, at once.
    return start[:4] in (b"\x02\x00\x00\x00", b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")


def is_dicom(scan: Path) -> bool:
    """Whether a scan is a folder of DICOM files or one of them."""
    return scan.is_dir() or is_dicom_file(scan)


def left_out(paths: Collection[Path]) -> list[str]:
    """One sentence each on the files and folders that no slice could be read from."""
    folders = sum(path.is_dir() for path in paths)
    files = len(paths) - folders
    notes = [f"{counted(files, 'file')} left out, damaged or without an image."] * bool(files)
    return notes + [f"{counted(folders, 'folder')} left out, as nothing in there can be read."] * bool(folders)


def counted(count: int, noun: str) -> str:
    """Such as "2 files were", "1 file was"."""
    return f"{count} {noun}{'s' if count != 1 else ''} {'were' if count != 1 else 'was'}"
