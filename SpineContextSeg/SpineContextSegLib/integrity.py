"""Does a file hold the voxels that its header promises? ITK fills what is missing with zeros and says nothing."""

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import InputRefused
from .text_header import META_IMAGE_ENDINGS, data_files, names_data_elsewhere, names_several, read_fields

# Deflate can't pack tighter than this (https://zlib.net/zlib_tech.html), so a header that promises more is wrong.
DEFLATE_LIMIT = 1032
# Small, because each may unpack to a thousand times its size.
CHUNK_BYTES = 1 << 16


def check_data_file(path: Path) -> None:
    """Tells where the file is missing that a detached header names for its voxels: ITK blames the header, if any.

    Raises:
        InputRefused: it is missing.
    """
    files = data_files(path) if names_data_elsewhere(path) else []
    if len(files) == 1 and not os.path.isfile(files[0]):
        raise InputRefused(f"'{files[0].name}', which holds the voxels of '{path.name}', is missing: copy both.")


def check_size(path: Path, promised_bytes: int, nifti_offset: int = 0) -> None:
    """Compares a file with its header before memory for the voxels is asked for.

    Fast where the file itself states its size, as gzip does at its end; whether the voxels are undamaged is for
    `check_voxels`.

    Args:
        path: of `.nhdr` only the size is compared, as ITK itself refuses what is cut short there.
        promised_bytes: size of all voxels according to the header.
        nifti_offset: where the voxels of a NIfTI file begin, once unpacked.

    Raises:
        InputRefused: the file is cut short or damaged, or its header promises more than the file can hold.
    """
    stored = _stored_bytes(path)
    if stored is not None and promised_bytes > DEFLATE_LIMIT * stored:
        raise InputRefused(
            f"'{path.name}' is damaged, its header promises {promised_bytes / 1e6:.0f} MB of voxels but the file has "
            f"{stored / 1e6:.1f} MB: copy or export it again."
        )
    data, size = _data_of(path), nifti_offset + promised_bytes
    if data.encoding != "gzip" or _gzip_end(path)[1] != size % 2**32:
        _refuse_unless_whole(path, data, size)


def check_voxels(path: Path, voxels: np.ndarray, promised_bytes: int, nifti_offset: int = 0) -> bool:
    """Compares a file with the voxels that were read from it or written to it.

    Its checksum tells at once that it holds them. Where it doesn't, as reading has scaled them or swapped their bytes,
    the file is unpacked once more.

    Returns:
        True where the voxels are those of the file to the last bit, False where they may differ.

    Raises:
        InputRefused: the file is cut short or damaged.
    """
    data, held = _data_of(path), np.ascontiguousarray(voxels)
    if data.encoding == "gzip":
        before = _unpacked_start(path, nifti_offset) if nifti_offset else b""
        exact = zlib.crc32(held, zlib.crc32(before)) == _gzip_end(path)[0]
    else:
        exact = data.encoding == "zlib" and zlib.adler32(held) == int.from_bytes(_last_bytes(data.files[0], 4), "big")
    if not exact:
        _refuse_unless_whole(path, data, nifti_offset + promised_bytes)
    return exact


def check_complete(path: Path, promised_bytes: int, nifti_offset: int = 0) -> None:
    """Both where the voxels aren't at hand: packed data is unpacked in passing. Arguments as of `check_size`.

    Raises:
        InputRefused: the file is cut short or damaged, or its header promises more than the file can hold.
    """
    check_size(path, promised_bytes, nifti_offset)
    _refuse_unless_whole(path, _data_of(path), nifti_offset + promised_bytes)


@dataclass(frozen=True)
class _Data:
    """Where voxels are stored: in which files, how ("raw", "gzip", "zlib", or "" where that isn't looked into), from
    which byte of the first file on, and in how many parts, one for each file."""

    files: list[Path]
    encoding: str
    start: int = 0
    parts: int = 1


def _data_of(path: Path) -> _Data:
    name = path.name.lower()
    if name.endswith(".nii"):
        return _Data([path], "raw")
    if name.endswith(".nii.gz"):
        return _Data([path], "gzip")
    if name.endswith(META_IMAGE_ENDINGS):
        return _data_of_meta_image(path)
    if name.endswith(".nrrd"):
        fields, start = _whole_header(path)
        encodings = {b"gzip": "gzip", b"gz": "gzip", b"raw": "raw"}
        return _Data([path], encodings.get(fields.get(b"encoding", b"").lower(), ""), start)
    return _Data([path], "")


def _data_of_meta_image(path: Path) -> _Data:
    """Where a file is missing or too short, ITK leaves what lies in memory. Of several, each has to hold a slice: of
    larger parts ("LIST 3D") it misreads the first voxels."""
    fields, start = _whole_header(path)
    encoding = "zlib" if fields.get(b"compresseddata", b"").lower() in (b"true", b"1") else "raw"
    files = data_files(path) if names_data_elsewhere(path) else [path]
    slices = int(fields[b"dimsize"].split()[2]) if names_several(path) else 1
    return _Data(files, encoding, start if files == [path] else 0, slices)


def _refuse_unless_whole(path: Path, data: _Data, size: int) -> None:
    if data.encoding == "zlib" and data.parts > 1:
        raise InputRefused(f"'{path.name}' keeps packed voxels in several files: save the scan as .nrrd.")
    if data.encoding == "raw":
        held = [min(file.stat().st_size, size // data.parts + data.start) for file in data.files]
        whole = sum(held) - data.start >= size
    else:
        whole = not data.encoding or _unpacks_to(data.files[0], data.start, size)
    if not whole:
        raise InputRefused(f"'{path.name}' is cut short or damaged: copy or export it again.")


def _gzip_end(path: Path) -> tuple[int, int]:
    """Checksum of the unpacked data, and its size modulo 2^32; of the last part, where the file is in several."""
    return struct.unpack("<2I", _last_bytes(path, 8).rjust(8, b"\0"))


def _last_bytes(path: Path, count: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(-min(count, path.stat().st_size), 2)
        return file.read()


def _unpacked_start(path: Path, count: int) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(count)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return b""


def _stored_bytes(path: Path) -> int | None:
    """Size of the file, or of the one that a detached header names; None for several files."""
    files = data_files(path) if names_data_elsewhere(path) else [path]
    return files[0].stat().st_size if len(files) == 1 else None


def _whole_header(path: Path) -> tuple[dict[bytes, bytes], int]:
    fields, start = read_fields(path)
    if start is None:
        raise InputRefused(f"'{path.name}' has a damaged header: copy or export it again.")
    return fields, start


def _unpacks_to(path: Path, start: int, expected_bytes: int) -> bool:
    """True where the gzip or zlib data from byte `start` on is whole and unpacks to `expected_bytes` or more."""
    unpacked = 0
    unpacker = zlib.decompressobj(wbits=47)
    with open(path, "rb") as file:
        file.seek(start)
        try:
            while chunk := file.read(CHUNK_BYTES):
                while chunk:
                    unpacked += len(unpacker.decompress(chunk))
                    chunk = unpacker.unused_data
                    if unpacker.eof:
                        if unpacked >= expected_bytes:
                            return True
                        unpacker = zlib.decompressobj(wbits=47)
        except zlib.error:
            return False
    return False
