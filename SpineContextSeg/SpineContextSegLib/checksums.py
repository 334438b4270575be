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


def has_checksum(files: Sequence[Path], told: object) -> bool:
    """Whether all files are there, and what they hold has this `checksum`, whatever their dates."""
    try:
        # Most others are told by their size, without reading them.
        return isinstance(told, dict) and told.get("bytes") == _bytes(files) and told == checksum(files)
    except OSError:
        return False


def checksum(files: Sequence[Path]) -> dict[str, object]:
    """Of what a scan's files hold, and of their names; a copy has the same.

    Raises:
        OSError: a file has gone, or can't be read.
    """
    stated = ((path, path.stat()) for path in files)
    digests = [(path.name, _digest_at(path, facts.st_size, facts.st_mtime_ns)) for path, facts in stated]
    content = json.dumps(sorted(digests))
    return {"bytes": _bytes(files), "sha256": hashlib.sha256(content.encode("ascii")).hexdigest()}


def _bytes(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


@cache
def _digest_at(path: Path, size: int, time_ns: int) -> str:
    """As `file_digest`; several steps ask for it, and a scan is large."""
    return file_digest(path)
