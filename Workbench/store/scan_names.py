"""What a scan is called without the ending of its file."""

from __future__ import annotations

from SpineContextSegLib.reading import READABLE_ENDINGS

_LONGEST_FIRST = sorted(READABLE_ENDINGS, key=len, reverse=True)


def without_ending(name: str) -> str:
    """Only endings of readable files go: the dots in "1.3.6.1.4", as folders of DICOM files are called, are no ends."""
    ending = next((ending for ending in _LONGEST_FIRST if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)] or name
