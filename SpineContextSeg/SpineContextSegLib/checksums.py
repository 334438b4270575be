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
        digests = digests_of(files)
    except OSError:
        return False
    names = [path.name for path in files]
    return told.get("sha256") in (sum_of(digests), sum_of(digests, names), sum_of(digests, [called] * len(files)))


def checksum(files: Sequence[Path]) -> dict[str, object]:
    """Of what a scan's files hold; a copy has the same, whatever it is called.

    Raises:
        OSError: a file has gone, or can't be read.
    """
    return {"bytes": bytes_of(files), "sha256": sum_of(digests_of(files))}


def bytes_of(files: Iterable[Path]) -> int:
    """What all files hold together. Raises OSError."""
    return sum(path.stat().st_size for path in files)


def digests_of(files: Iterable[Path]) -> list[str]:
    """The `file_digest` of each. Raises OSError."""
    stated = ((path, path.stat()) for path in files)
    return [_digest_at(path, facts.st_size, facts.st_mtime_ns) for path, facts in stated]


def sum_of(digests: Sequence[str], names: Sequence[str] | None = None) -> str:
    """What `checksum` makes of the digests of files; that of earlier versions, where names are given."""
    content = sorted(digests if names is None else zip(names, digests, strict=True))
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()


@cache
def _digest_at(path: Path, size: int, time_ns: int) -> str:
    """As `file_digest`; several steps ask for it, and a scan is large."""
    return file_digest(path)
