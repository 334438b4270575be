"""Where the results of every scan go: the tree of the input again, with names that never meet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..batch_records import is_of, read_record
from .scans import Scan

_RECORD, _PREVIEW = ".json", ".png"


@dataclass(frozen=True)
class Place:
    """Names of the files of one scan, in one folder; they differ from those of another place by `stem`."""

    folder: Path
    stem: str
    ending: str

    @property
    def segmentation(self) -> Path:
        return self.folder / (self.stem + self.ending)

    @property
    def preview(self) -> Path:
        return self.folder / (self.stem + _PREVIEW)

    @property
    def record(self) -> Path:
        return self.folder / (self.stem + _RECORD)

    def files(self) -> tuple[Path, ...]:
        return self.segmentation, self.preview, self.record


def place_scans(scans: Sequence[Scan], output: Path, ending: str) -> list[Place]:
    """A place for every scan, in their order.

    A scan keeps the place that its record holds, whatever was added beside it since. Others, also one of the same name
    from another folder, get a name that neither another scan nor any file has: that of the scan, with its ending, or
    with a number.

    Args:
        scans: each with another key.
        output: the folder for results.
        ending: of segmentations.
    """
    taken: set[tuple[Path, str]] = set()
    found: dict[str, Place] = {}
    for owned in (True, False):
        for scan in scans:
            if scan.key in found:
                continue
            for name in _names(scan):
                place = Place(output / scan.folder, name, ending)
                # Some disks take A and a for the same.
                mark = place.folder, name.casefold()
                if _is_part_of(place.segmentation, scan):
                    continue
                record = read_record(place.record)
                free = record is None and not _has_files(place)
                if free and owned:
                    break
                if mark not in taken and (free or (record is not None and _tells_of(record, scan))):
                    taken.add(mark)
                    found[scan.key] = place
                    break
    return [found[scan.key] for scan in scans]


def _names(scan: Scan) -> Iterator[str]:
    yield scan.stem
    if not scan.is_series:
        ending = scan.files[0].name[len(scan.stem) :]
        yield scan.stem + ending.replace(".", "_")
    number = 2
    while True:
        yield f"{scan.stem}_{number}"
        number += 1


def _has_files(place: Place) -> bool:
    # Of a folder that can't be read, who writes there tells.
    return any(os.path.lexists(path) for path in place.files())


def _is_part_of(segmentation: Path, scan: Scan) -> bool:
    """True where results lie beside their scan and are to have its format."""
    return os.path.exists(segmentation) and any(
        os.path.exists(path) and os.path.samefile(segmentation, path) for path in scan.files
    )


def _tells_of(record: Mapping, scan: Scan) -> bool:
    if record["scan"] != scan.key:
        return False
    # Records of earlier versions tell a scan by its name only.
    return "content" not in record or is_of(record, scan.source, scan.files)
