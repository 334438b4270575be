"""Writes the record beside every result: what was asked, of which files, and what came of it (`batch_records`)."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import __version__
from ..batch_records import is_of_content, is_ours, read_record, result_of
from ..model import Model
from ..outputs import share_alike

if TYPE_CHECKING:
    from .job import Job

State = Literal["done", "refused", "failed", "open"]
"""What became of a scan: segmented; can't be segmented; a fault, tried again by the next run; not its turn yet."""

# A record in this state says which files are just being put in place, in case that this is interrupted.
PLACING = "placing"
CORRECTED = "The segmentation was changed by hand since: levels and volumes given here are still those of the model."
# What the reports say instead of "done" where the corrected segmentation is not the one that was asked for.
KEPT = "done, corrected (other options)"
KEPT_WHY = (
    "It was made with other options, or saved in another format, and stays: move '{name}' away to segment the scan "
    "with those of this run."
)


def make_record(
    key: str, fingerprint: str, state: str, message: str = "", *, written: Iterable[str] = (), **details: object
) -> dict:
    """
    Args:
        key, fingerprint: of the scan, see `scans.Scan` and `checksums.fingerprint`.
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
    share_alike(partial, path)
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
    there = result_of(record, Path(job.record)).is_file()
    return record if there and is_of_content(record, files) else None


def as_it_is(record: dict, segmentation: Path) -> dict:
    """The record of a result that is done, with a word on it where the segmentation was corrected since.

    Raises:
        OSError: the segmentation can't be read.
    """
    return record if is_ours(segmentation, record["written"]) else record | {"message": CORRECTED}


def as_kept(record: dict, segmentation: Path) -> dict:
    """The record of a scan that has a corrected segmentation, where another one is asked for."""
    message = f"{CORRECTED} {KEPT_WHY.format(name=segmentation.name)}"
    return record | {"state": KEPT, "message": message, "files": [str(segmentation)]}


def facts_of(job: Job) -> dict:
    """What was asked for, and of which scan, as a record keeps it."""
    options = meant(job.digest, job.structures, job.force, job.ending)
    return {"name": job.name, "options": options, "source": job.source, "content": job.content}


def meant(digest: str, structures: str, force: bool, ending: str) -> dict[str, object]:
    """What is asked of a scan; another result is meant where one of these differs. See `Job`."""
    return {"model": digest, "structures": structures, "force": force, "ending": ending}


def model_digest(model: Model) -> str:
    """Changes with the cards of a model and its helpers, which name the checksums of all weights."""
    cards = [part.card.to_dict() for part in (model, model.locator, model.namer) if part]
    return hashlib.sha256(json.dumps(cards, sort_keys=True).encode("ascii")).hexdigest()
