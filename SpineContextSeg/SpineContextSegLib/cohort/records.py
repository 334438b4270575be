"""What stands beside every result: what was asked, of which files, and what came of it. A later run goes by it."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import __version__
from ..model import Model

if TYPE_CHECKING:
    from .job import Job

State = Literal["done", "refused", "failed", "open"]
"""What became of a scan: segmented; can't be segmented; a fault, tried again by the next run; not its turn yet."""

# A record in this state says which files are just being put in place, in case that this is interrupted.
PLACING = "placing"
CORRECTED = "The segmentation was changed by hand since: levels and volumes given here are still those of the model."
_KEYS = {"scan", "state", "fingerprint", "written"}


def read_record(path: Path) -> dict | None:
    """The record of a scan; None where there is none, or something else."""
    try:
        content = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and _KEYS <= set(content) else None


def make_record(
    key: str, fingerprint: str, state: str, message: str = "", *, written: Iterable[str] = (), **details: object
) -> dict:
    """
    Args:
        key, fingerprint: of the scan, see `scans.Scan` and `fingerprint`.
        state, message: what became of it; the sentence says why, where it isn't done.
        written: SHA-256 of every segmentation that may lie there, in whatever format, and is ours to replace.
        details: what else is known, such as `facts_of` and `Account.report`.
    """
    content = {"scan": key, "state": state, "message": message, "spinecontextseg": __version__}
    return content | details | {"fingerprint": fingerprint, "written": list(written)}


def write_record(record: Mapping, path: Path, staging: Path) -> None:
    """Writes it whole or not at all, and its folder; `staging` is a folder on the same disk. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # ASCII: a name may hold bytes that are no text anywhere.
    partial = staging / f"{uuid.uuid4().hex}.json"
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="ascii")
    os.replace(partial, path)


def leave_record(job: Job, state: str, message: str, **details: object) -> dict:
    """The record of a scan that came to nothing, written where the disk lets it be."""
    about = job.key, job.fingerprint, state, message
    record = make_record(*about, written=written_for(job), **facts_of(job), **details)
    if job.work == "preview":  # the segmentation stays what it is
        return (read_record(Path(job.record)) or record) | {"message": f"No picture could be made. {message}"}
    try:
        write_record(record, Path(job.record), Path(job.staging))
    except OSError:
        pass  # the report of the batch says it, and the next run tries again
    return record


def written_for(job: Job) -> list[str]:
    """Checksums of what may be replaced: those of the plan, and of what an earlier try of the job, or this one, was
    putting in place when it ended."""
    record = read_record(Path(job.record))
    return list(dict.fromkeys([*job.written, *(record["written"] if record else ())]))


def earlier_result(job: Job) -> dict | None:
    """The record of a result that was made of the same scan in another way, as by another model, and still lies
    there."""
    record, files = read_record(Path(job.record)), [Path(name) for name in job.files]
    if record is None or record["state"] != "done":
        return None
    there = Path(job.record).with_name(Path(record["files"][0]).name).is_file()
    same = is_unchanged(files, record.get("content")) or has_checksum(files, record)
    return record if there and same else None


def is_ours(segmentation: Path, written: Collection[str]) -> bool:
    """Whether a result may be put there: nothing lies there, an empty file, or one of `written` (see `make_record`).

    Raises:
        OSError: the file can't be read.
    """
    there = segmentation.is_file() and segmentation.stat().st_size > 0
    return not there or file_digest(segmentation) in written


def is_earlier(segmentation: Path, record: Mapping | None) -> bool:
    """Whether an earlier run wrote it in another format: it stays beside the result.

    Raises:
        OSError: the file can't be read.
    """
    if record is None or record["state"] != "done" or segmentation.name == Path(record["files"][0]).name:
        return False
    return is_ours(segmentation, record["written"])


def as_it_is(record: dict, segmentation: Path) -> dict:
    """The record of a result that is done, with a word on it where the segmentation was corrected since.

    Raises:
        OSError: the segmentation can't be read.
    """
    return record if is_ours(segmentation, record["written"]) else record | {"message": CORRECTED}


def facts_of(job: Job) -> dict:
    """What was asked for, and of which scan, as a record keeps it."""
    options = meant(job.digest, job.structures, job.force, job.ending)
    return {"options": options, "source": job.source, "content": job.content}


def meant(digest: str, structures: str, force: bool, ending: str) -> dict[str, object]:
    """What is asked of a scan; another result is meant where one of these differs. See `Job`."""
    return {"model": digest, "structures": structures, "force": force, "ending": ending}


def is_of(record: Mapping, source: Path, files: Sequence[Path]) -> bool:
    """Whether a record tells of this scan, and not of another one of the same name: the scan still lies where it did,
    or its files are the same wherever they lie now."""
    return (
        told_source(record) == str(source) or is_unchanged(files, record.get("content")) or has_checksum(files, record)
    )


def has_gone(record: Mapping) -> bool:
    """Whether the scan of a record no longer lies where it did, as on another computer."""
    return not os.path.exists(told_source(record))


def told_source(record: Mapping) -> str:
    """The file or folder of its scan, where that lay last. Earlier versions told it of results only."""
    return record.get("source") or record.get("input", {}).get("path", "")


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


def has_checksum(files: Sequence[Path], record: Mapping) -> bool:
    """Whether all files are there, and what they hold is what the record tells, whatever their dates."""
    told = record.get("checksum")
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


def model_digest(model: Model) -> str:
    """Changes with the cards of a model and its helpers, which name the checksums of all weights."""
    cards = [part.card.to_dict() for part in (model, model.locator, model.namer) if part]
    return hashlib.sha256(json.dumps(cards, sort_keys=True).encode("ascii")).hexdigest()


def file_digest(path: Path) -> str:
    """Raises OSError."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
