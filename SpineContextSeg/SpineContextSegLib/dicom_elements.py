"""The elements of a DICOM file before its pixels, with those inside its sequences, which SimpleITK doesn't tell.

Encoding: DICOM PS3.5 7.1 (elements), 7.5 (sequences), 6.2.2 (sequences of unknown kind), A.5 (deflated).
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple, Union

# Tag -> what it holds: bytes, or the items of a sequence.
Elements = dict[int, Union[bytes, list["Elements"]]]

_SYNTAX, _PIXELS_GROUP, _PIXELS = 0x00020010, 0x7FE0, 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
# Headers are smaller, also those of thousands of frames; what comes after them need not be unpacked.
_UNPACKED_LIMIT_BYTES = 1 << 26


class _Coding(NamedTuple):
    """How elements are written: byte order as in `struct`, and whether each says of which kind it is."""

    order: str
    explicit: bool


_EXPLICIT, _IMPLICIT = _Coding("<", True), _Coding("<", False)
_CODINGS = {b"1.2.840.10008.1.2": _IMPLICIT, b"1.2.840.10008.1.2.2": _Coding(">", True)}
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def read_elements(path: Path, values: Collection[int], sequences: Collection[int]) -> Elements:
    """Those of the elements that are asked for, at the top of a file and in the sequences that are asked for.

    Args:
        path: a DICOM file.
        values, sequences: tags, group * 65536 + element; numbers come in the file's own byte order.

    Raises:
        ValueError: the header is damaged.
        OSError: the file can't be read.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            rest, at, coding = _after_meta(data)
            return _Walk(rest, frozenset(values), frozenset(sequences)).elements(at, len(rest), coding, top=True)[0]
        except (struct.error, zlib.error, RecursionError) as error:
            raise ValueError(f"the header of {path.name} is damaged") from error


def _after_meta(data) -> tuple[bytes, int, _Coding]:
    """Where the elements of the image begin, in which bytes, and how they are written."""
    at = 132 if data[128:132] == b"DICM" else 0
    syntax = None
    while data[at : at + 2] == b"\x02\x00":
        tag, _, length, at = _head(data, at, _EXPLICIT)
        if tag == _SYNTAX:
            syntax = data[at : at + length].strip(b"\x00 ")
        at += length
    if syntax is None:
        return data, at, _EXPLICIT if data[at + 4 : at + 6].isalpha() else _IMPLICIT
    if syntax == _DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[at:], _UNPACKED_LIMIT_BYTES), 0, _EXPLICIT
    return data, at, _CODINGS.get(syntax, _EXPLICIT)


def _head(data, at: int, coding: _Coding) -> tuple[int, bytes, int, int]:
    """Tag, kind (b"" where it isn't written), length, and where the value begins."""
    group, element = struct.unpack_from(coding.order + "HH", data, at)
    tag = group << 16 | element
    if group == 0xFFFE or not coding.explicit:
        return tag, b"", struct.unpack_from(coding.order + "I", data, at + 4)[0], at + 8
    kind = data[at + 4 : at + 6]
    if kind in _LONG:
        return tag, kind, struct.unpack_from(coding.order + "I", data, at + 8)[0], at + 12
    return tag, kind, struct.unpack_from(coding.order + "H", data, at + 6)[0], at + 8


class _Walk(NamedTuple):
    data: bytes
    values: frozenset[int]
    sequences: frozenset[int]

    def elements(self, at: int, end: int, coding: _Coding, top: bool = False) -> tuple[Elements, int]:
        """What is asked for of the elements from `at`, and where they end."""
        found: Elements = {}
        while at + 8 <= end:
            tag, kind, length, at = _head(self.data, at, coding)
            if tag == _ITEM_END or (top and tag >> 16 == _PIXELS_GROUP):
                return found, at
            # What is of unknown kind is written without kinds.
            inner = _IMPLICIT if kind == b"UN" else coding
            if length == _UNDEFINED and tag == _PIXELS:
                at = self._after_fragments(at, coding)
            elif length == _UNDEFINED or (tag in self.sequences and kind in (b"SQ", b"UN", b"")):
                items, at = self._items(at, end if length == _UNDEFINED else at + length, inner)
                if tag in self.sequences:
                    found[tag] = items
            else:
                if tag in self.values:
                    found[tag] = bytes(self.data[at : at + length])
                at += length
        return found, end

    def _items(self, at: int, end: int, coding: _Coding) -> tuple[list[Elements], int]:
        items = []
        while at + 8 <= end:
            tag, _, length, at = _head(self.data, at, coding)
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM:
                raise struct.error("no item")
            item, at = self.elements(at, end if length == _UNDEFINED else at + length, coding)
            items.append(item)
        return items, at

    def _after_fragments(self, at: int, coding: _Coding) -> int:
        """Where compressed pixels end, as those of an icon; they are no elements."""
        while True:
            tag, _, length, at = _head(self.data, at, coding)
            if tag == _SEQUENCE_END:
                return at
            at += length
