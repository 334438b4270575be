"""Which of several predictions count as results of a scan, by the records that a batch left beside them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from .batch_records import is_earlier, is_of, is_ours, record_path, result_of
from .text_header import names_data_elsewhere

IS_SCAN = "by the batch's record it is the scan itself"
IS_EARLIER = "by the batch's record it is of an earlier run"
OF_ANOTHER = "by the batch's record it was made from another scan than the one beside the reference"


class Choice:
    """Takes out what is no result for a reference; `left_out` tells of each such file why."""

    def __init__(self, records: Mapping[Path, Mapping | None]) -> None:
        self._records = records
        self.left_out: dict[Path, str] = {}

    def among(self, found: Collection[Path], scans: Collection[Path]) -> list[Path]:
        """Those of `found` that count for the reference beside which `scans` lie.

        Raises:
            OSError: a file can't be read.
        """
        records = {path: record for path in found if (record := self._records[path])}
        of_scans = {path for path, record in records.items() if any(_is_of_file(record, scan) for scan in scans)}
        chosen = []
        for path in found:
            record = records.get(path)
            if is_scan_of(path, records.values()):
                why = IS_SCAN
            elif record and _is_outdated(path, record):
                why = IS_EARLIER
            elif record and path not in of_scans and (of_scans or _is_of_namesake(record, scans)):
                why = OF_ANOTHER
            else:
                chosen.append(path)
                continue
            self.left_out[path] = why
        return chosen


def is_scan_of(path: Path, records: Iterable[Mapping]) -> bool:
    """Whether one of the records tells that its result was made from this file."""
    return any(path.name == scan_name(record) and _is_of_file(record, path) for record in records)


def scan_name(record: Mapping) -> str:
    """The name of the file of its scan; of a series that of its folder and its UID."""
    return record["scan"].rpartition("/")[2]


def why_unclear(segmentations: Mapping[Path, Mapping | None]) -> str:
    """Why none of several segmentations of a scan, given with their records, is the one to go by.

    Raises:
        OSError: a file can't be read.
    """
    common = os.path.commonpath([path.parent for path in segmentations])
    names = {path: f"'{path.relative_to(common).as_posix()}'" for path in segmentations}
    corrected = [
        names[path] for path, record in segmentations.items() if record and not is_ours(path, record["written"])
    ]
    changed = f" ({' and '.join(corrected)} changed by hand)" * bool(corrected)
    return f"{' and '.join(names.values())} belong to the same scan{changed}: keep one."


def _is_outdated(path: Path, record: Mapping) -> bool:
    """Whether an earlier run wrote it, and a later one has put another one beside it or came to no end."""
    if record["state"] != "done":
        return is_ours(path, record["written"])
    return result_of(record, record_path(path)).is_file() and is_earlier(path, record)


def _is_of_namesake(record: Mapping, scans: Collection[Path]) -> bool:
    """Whether its scan is another one than that of the same name among `scans`. A converted one can't be compared, nor
    one with its voxels in other files."""
    alike = [scan for scan in scans if scan.name == scan_name(record) and not names_data_elsewhere(scan)]
    return bool(alike) and not any(_is_of_file(record, scan) for scan in alike)


def _is_of_file(record: Mapping, path: Path) -> bool:
    return is_of(record, Path(os.path.abspath(path)), [path])
