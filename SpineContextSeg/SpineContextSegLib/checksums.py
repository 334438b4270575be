"""Whether files are still the same: by name, size and time at once, or by what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path


def file_digest(path: Path) -> str:
    """The SHA-256 of what a file holds, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_unchanged(files: Iterable[Path], content: str | None) -> bool:
    """Whether all files are there, and as they were when this was their `fingerprint`, without options."""
    try:
        return content == fingerprint(files, {})
    except OSError:
        return False


def fingerprint(files: Iterable[Path], options: Mapping[str, object]) -> str:
    """Changes with the name, size or time of any of the files, and with the options.

    Raises:
        OSError: a file has gone.
    """
    stated = ((path.name, path.stat()) for path in files)
    facts = [(name, facts.st_size, facts.st_mtime_ns) for name, facts in stated]
    content = json.dumps([sorted(facts), sorted(options.items())])
    return hashlib.sha256(content.encode("ascii")).hexdigest()


def has_checksum(files: Sequence[Path], told: object, called: str = "") -> bool:
    """Whether all files are there, and what they hold has this `checksum`, whatever their names and dates.

    Args:
        files: of a scan.
        told: by a record. Those of earlier versions change with the names of the files, too.
        called: the name of a single file when that was told.
    """
    try:
        # Most others are told by their size, without reading them.
        if not isinstance(told, dict) or told.get("bytes") != bytes_of(files):
            return False
        digests = _digests(files)
    except OSError:
        return False
    names = [[path.name for path in files], *([[called]] if len(files) == 1 else [])]
    forms = [sorted(digests), *(sorted(zip(some, digests, strict=True)) for some in names)]
    return told.get("sha256") in map(_sha256, forms)


def checksum(files: Sequence[Path]) -> dict[str, object]:
    """Of what a scan's files hold; a copy has the same, whatever it is called.

    Raises:
        OSError: a file has gone, or can't be read.
    """
    return {"bytes": bytes_of(files), "sha256": _sha256(sorted(_digests(files)))}


def bytes_of(files: Iterable[Path]) -> int:
    """What all files hold together. Raises OSError."""
    return sum(path.stat().st_size for path in files)


def _digests(files: Iterable[Path]) -> list[str]:
    stated = ((path, path.stat()) for path in files)
    return [_digest_at(path, facts.st_size, facts.st_mtime_ns) for path, facts in stated]


def _sha256(content: list) -> str:
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()


@cache
def _digest_at(path: Path, size: int, time_ns: int) -> str:
    """As `file_digest`; several steps ask for it, and a scan is large."""
    return file_digest(path)
