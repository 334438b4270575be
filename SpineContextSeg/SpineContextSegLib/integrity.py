"""Does a file hold the voxels that its header promises? ITK fills what is missing with zeros and says nothing."""

import zlib
from pathlib import Path

from .errors import InputRefused

# Deflate can't pack tighter than this (https://zlib.net/zlib_tech.html), so a header that promises more is wrong.
DEFLATE_LIMIT = 1032
# Small, because each may unpack to a thousand times its size.
CHUNK_BYTES = 1 << 16
HEADER_LIMIT_BYTES = 1 << 20


def check_complete(path: Path, promised_bytes: int, nifti_offset: int = 0) -> None:
    """Compares a file with its header before memory for the voxels is asked for; packed data is unpacked in passing.

    Args:
        path: `.nii`, `.nii.gz`, `.nrrd`, `.mha`; of other files only the size is compared.
        promised_bytes: size of all voxels according to the header.
        nifti_offset: where the voxels of a NIfTI file begin, once unpacked.

    Raises:
        InputRefused: the file is cut short or damaged, or its header promises more than the file can hold.
    """
    name = path.name.lower()
    stored = _stored_bytes(path)
    if promised_bytes > DEFLATE_LIMIT * stored:
        raise InputRefused(
            f"'{path.name}' is damaged, its header promises {promised_bytes / 1e6:.0f} MB of voxels but the file has "
            f"{stored / 1e6:.1f} MB: copy or export it again."
        )
    if name.endswith(".nii"):
        complete = stored >= nifti_offset + promised_bytes
    elif name.endswith(".nii.gz"):
        complete = _unpacks_to(path, 0, nifti_offset + promised_bytes)
    elif name.endswith(".mha"):
        fields, start = _text_header(path, b"elementdatafile", b"=")
        packed = fields.get(b"compresseddata", b"").lower() in (b"true", b"1")
        complete = _unpacks_to(path, start, promised_bytes) if packed else stored - start >= promised_bytes
    elif name.endswith(".nrrd"):
        fields, start = _text_header(path, b"", b":")
        encoding = fields.get(b"encoding", b"").lower()
        if encoding in (b"gzip", b"gz"):
            complete = _unpacks_to(path, start, promised_bytes)
        else:
            complete = encoding != b"raw" or stored - start >= promised_bytes
    else:
        complete = True
    if not complete:
        raise InputRefused(f"'{path.name}' is cut short or damaged: copy or export it again.")


def _stored_bytes(path: Path) -> int:
    """Size of the file, or of a detached header with its data files, which share the header's name."""
    if path.suffix.lower() in (".mhd", ".nhdr"):
        return sum(p.stat().st_size for p in path.parent.glob(f"{_glob_escape(path.stem)}*") if p.is_file())
    return path.stat().st_size


def _glob_escape(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _text_header(path: Path, last_key: bytes, separator: bytes) -> tuple[dict[bytes, bytes], int]:
    """Fields of a header of lines "key separator value", lower-case keys, up to and with `last_key` (NRRD: an empty
    line), and the byte where the data begins."""
    fields = {}
    with open(path, "rb") as file:
        while file.tell() < HEADER_LIMIT_BYTES:
            line = file.readline(HEADER_LIMIT_BYTES)
            if not line.endswith(b"\n"):
                break
            key, _, value = line.partition(separator)
            key = key.strip().lower()
            fields[key] = value.strip()
            if key == last_key:
                return fields, file.tell()
    raise InputRefused(f"'{path.name}' has a damaged header: copy or export it again.")


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
