"""The record that a batch leaves beside every result: what was asked, of which files, and what came of it.

A later run goes by it, and so does who pairs or measures the results. What writes it is `cohort.records`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .checksums import file_digest, has_checksum, is_unchanged
from .errors import InputRefused

FORMATS = ("seg.nrrd", "nii.gz", "nrrd", "mha")
"""Of segmentations; the first is Slicer's."""
_KEYS = {"scan", "state", "fingerprint", "written"}


def read_record(path: Path) -> dict | None:
    """The record of a scan; None where there is none, or something else."""
    try:
        content = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and _KEYS <= set(content) else None


def check_no_record(path: Path) -> None:
    """Tells before any work whether another file may be written there: without its record, a batch makes its result
    anew, and a corrected one no longer belongs to its scan. Raises InputRefused."""
    if path.suffix.lower() == ".json" and read_record(path) is not None:
        raise InputRefused(f"'{path}' is the record of a batch, which its next run needs: choose another name.")


def is_ours(segmentation: Path, written: Collection[str]) -> bool:
    """Whether a result may be put there: nothing lies there, an empty file, or one of `written`, as the record has them
    (see `cohort.records.make_record`).

    Raises:
        OSError: the file can't be read.
    """
    there = segmentation.is_file() and segmentation.stat().st_size > 0
    return not there or file_digest(segmentation) in written


def result_of(record: Mapping, path: Path) -> Path:
    """Where the result that a record at this path tells of lies: beside it, also where both were renamed since."""
    return path.with_name(path.stem + _ending(Path(record["files"][0])))


def record_path(segmentation: Path) -> Path:
    """Where the record that tells of a segmentation lies, if there is one."""
    return segmentation.with_name(segmentation.name[: -len(_ending(segmentation))] + ".json")


def _ending(segmentation: Path) -> str:
    name = segmentation.name.lower()
    return next((f".{ending}" for ending in FORMATS if name.endswith(f".{ending}")), segmentation.suffix)


def is_earlier(segmentation: Path, record: Mapping | None) -> bool:
    """Whether an earlier run wrote it in another format: it stays beside the result.

    Raises:
        OSError: the file can't be read.
    """
    if record is None or record["state"] != "done" or _ending(segmentation) == _ending(Path(record["files"][0])):
        return False
    return is_ours(segmentation, record["written"])


def is_of(record: Mapping, source: Path, files: Sequence[Path]) -> bool:
    """Whether a record tells of this scan, and not of another one of the same name: the scan still lies where it did,
    or its files are the same wherever they lie now."""
    return told_source(record) == str(source) or is_of_content(record, files)


def is_of_content(record: Mapping, files: Sequence[Path]) -> bool:
    """Whether a record tells of what the files of a scan of the same name hold; they are read only where their sizes or
    dates have changed."""
    called = Path(told_source(record)).name
    return is_unchanged(files, record.get("content")) or has_checksum(files, record.get("checksum"), called)


def has_gone(record: Mapping) -> bool:
    """Whether the scan of a record no longer lies where it did, as on another computer."""
    return not os.path.exists(told_source(record))


def told_source(record: Mapping) -> str:
    """The file or folder of its scan, where that lay last. Earlier versions told it of results only."""
    return record.get("source") or record.get("input", {}).get("path", "")
