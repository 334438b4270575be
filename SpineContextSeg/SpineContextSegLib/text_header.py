"""The text header of an NRRD or MetaImage file: what it states, and which files hold the voxels where it doesn't."""

import os
import re
from pathlib import Path

HEADER_LIMIT_BYTES = 1 << 20
NRRD_ENDINGS, META_IMAGE_ENDINGS = (".nrrd", ".nhdr"), (".mha", ".mhd")
DETACHED_ENDINGS = (".mhd", ".nhdr")
# "ElementDataFile = scan.raw" of MetaImage, "data file: scan.raw" of NRRD.
_DATA_FILE = re.compile(rb"^[ \t]*(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*(.*?)[ \t\r]*$", re.I | re.M)
# A file for each slice: "slice%03d.raw" with the first number, the last one and the step; MetaImage may leave them out.
_PATTERN = re.compile(r"(.*)%(0?\d?\d?)[diu](\S*)(?:\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?[1-9]\d{0,8}).*)?")
# More than any scan has; a header may promise billions.
_MOST_SLICES = 10_000


def read_fields(path: Path) -> tuple[dict[bytes, bytes], int | None]:
    """What stands before the voxels.

    Args:
        path: of NRRD or MetaImage, by the ending of its name.

    Returns:
        Lower-case name of a field -> its text; and the byte where the data begins, None where the header has no end, as
        one that is cut short.

    Raises:
        OSError: it can't be read.
    """
    # NRRD ends its header with an empty line.
    separator, last = (b":", b"") if path.name.lower().endswith(NRRD_ENDINGS) else (b"=", b"elementdatafile")
    fields = {}
    with open(path, "rb") as file:
        while file.tell() < HEADER_LIMIT_BYTES:
            line = file.readline(HEADER_LIMIT_BYTES)
            name, _, text = line.partition(separator)
            name = name.strip().lower()
            fields[name] = text.strip()
            if not line.endswith(b"\n"):
                break
            if name == last:
                return fields, file.tell()
    return fields, None


def names_data_elsewhere(path: Path) -> bool:
    """Whether a file of this name is a header whose voxels lie in other files."""
    return path.name.lower().endswith(DETACHED_ENDINGS)


def data_files(header: Path) -> list[Path]:
    """The files that a detached header (`.mhd`, `.nhdr`) names for its voxels.

    Returns:
        One, there or not; of several, by a list or a pattern, those that are there. The header itself where it says
        that the voxels follow in it (LOCAL), nothing where it names none.
    """
    name, rest = _stated(header)
    if name in ("", "LOCAL"):
        return [header] if name else []
    if not _is_several(name, header):
        return [header.parent / name]
    if name.split()[0] == "LIST":
        names = [_name(line.strip()) for line in rest.splitlines()]
    else:
        names = _numbered(name)
    return [header.parent / name for name in names if os.path.isfile(header.parent / name)]


def names_several(header: Path) -> bool:
    """Whether a detached header names its voxels' files by a list or a pattern."""
    return _is_several(_stated(header)[0], header)


def _is_several(name: str, header: Path) -> bool:
    return (name.split()[:1] == ["LIST"] or "%" in name) and not os.path.isfile(header.parent / name)


def _stated(header: Path) -> tuple[str, bytes]:
    """What a header says about where its voxels are, "" where it says nothing, and what follows."""
    try:
        with open(header, "rb") as file:
            content = file.read(HEADER_LIMIT_BYTES)
    except OSError:
        return "", b""
    stated = _DATA_FILE.search(content)
    return (_name(stated[1]), content[stated.end() :]) if stated else ("", b"")


def _name(stated: bytes) -> str:
    return stated.decode("utf-8", "surrogateescape")


def _numbered(pattern: str) -> list[str]:
    parts = _PATTERN.fullmatch(pattern)
    if parts is None:
        return []
    before, width, after, *limits = parts.groups()
    numbers = range(_MOST_SLICES)
    if limits[0] is not None:
        first, last, step = map(int, limits)
        numbers = range(first, last + (1 if step > 0 else -1), step)[:_MOST_SLICES]
    return [f"{before}{number:{width}}{after}" for number in numbers]
