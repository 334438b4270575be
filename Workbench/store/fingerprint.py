"""Which scan is it? By its content, so that neither a new name nor a new place makes it another one, nor the same name
the same one."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from SpineContextSegLib.dicom_folder import is_dicom_file
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.text_header import HEADER_LIMIT_BYTES, data_files, names_data_elsewhere

_BLOCK_BYTES = 1 << 16
_BLOCKS = 16
# The header of a DICOM file, with the UID that no other image has.
_DICOM_HEADER_BYTES = 1 << 13
# Modality, in explicit or implicit value representation, and the modalities of what is written about images.
_MODALITY = re.compile(rb"\x08\x00\x60\x00(?:CS..|..\x00\x00)([A-Z]+)", re.DOTALL)
_NO_IMAGES = (b"SEG", b"SR", b"RTSTRUCT")
# What earlier workbenches saw of where a header has its voxels.
_EARLIER_DATA_FILE = re.compile(
    rb"^(?:ElementDataFile\s*=|data file\s*:)\s*(\S[^\r\n]*?)\s*$", re.IGNORECASE | re.MULTILINE
)


def fingerprints(scan: Path) -> tuple[str, ...]:
    """64 hexadecimal digits that stand for a scan, a file or a folder of DICOM files; and, where they are others, those
    that earlier workbenches took: for a folder, from all its DICOM files; for a header that lists its voxels' files,
    from the header alone, which scans of two patients may share.

    Taken from the size and from 16 blocks spread over the file, its header and its end (in `.gz`, a checksum of
    everything) among them; of a folder, from size and header of each DICOM image, whatever these are called. So it
    takes a moment also for a large scan. A file that was packed anew counts as another scan; a DICOM SEG, a report or
    contours that are put beside the images don't.

    Raises:
        InputRefused: there is no such file or folder, or no DICOM image in the folder.
        OSError: it can't be read.
    """
    if scan.is_dir():
        paths = [Path(parent, name) for parent, _, names in os.walk(scan) for name in names if name != "DICOMDIR"]
        files = sorted(_of_start(path) for path in paths if is_dicom_file(path))
        images = [file for file in files if file[1]]
        if not images:
            raise InputRefused(f"'{scan}' holds no DICOM images: give the folder of a CT series.")
        whole = [hashlib.sha256(b"".join(digest for digest, _ in some)).hexdigest() for some in (images, files)]
        return tuple(dict.fromkeys(whole))
    if not scan.is_file():
        raise InputRefused(f"'{scan}' does not exist: check the path, and that its disk is connected.")
    parts = [(scan,)]
    if names_data_elsewhere(scan):
        voxels = (path for path in data_files(scan) if path != scan and path.is_file())
        parts = [(scan, *voxels), _earlier_parts(scan)]
    return tuple(hashlib.sha256(b"".join(map(_of_blocks, some))).hexdigest() for some in dict.fromkeys(parts))


def _earlier_parts(header: Path) -> tuple[Path, ...]:
    """What earlier workbenches read for a header: twice the header itself where they saw no statement in it."""
    with open(header, "rb") as file:
        stated = _EARLIER_DATA_FILE.search(file.read(HEADER_LIMIT_BYTES))
    data = header.parent / stated[1].decode("utf-8", "surrogateescape") if stated else header
    return (header, data) if os.path.isfile(data) else (header,)


def _of_blocks(path: Path) -> bytes:
    size = path.stat().st_size
    digest = hashlib.sha256(b"%d" % size)
    last = max(0, size - _BLOCK_BYTES)
    with open(path, "rb") as file:
        for start in sorted({last * n // (_BLOCKS - 1) for n in range(_BLOCKS)}):
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.digest()


def _of_start(path: Path) -> tuple[bytes, bool]:
    """Of size and header, and whether it is an image."""
    with open(path, "rb") as file:
        start = file.read(_DICOM_HEADER_BYTES)
    modality = _MODALITY.search(start)
    is_image = modality is None or modality[1] not in _NO_IMAGES
    return hashlib.sha256(b"%d" % path.stat().st_size + start).digest(), is_image
