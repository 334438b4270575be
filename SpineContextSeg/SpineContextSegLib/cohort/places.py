"""Where the results of every scan go: the tree of the input again, with names that never meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .records import read_record
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

    A scan keeps the place that its record holds, whatever was added beside it since. Others get a name that neither
    another scan nor any file has: that of the scan, with its ending, or with a number.

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
                owner = _owner(place)
                if owner is None and owned:
                    break
                if mark not in taken and (owner == scan.key or (owner is None and not owned)):
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


def _owner(place: Place) -> str | None:
    """The key of the scan whose record lies there; "" for files that aren't of a batch; None where nothing is."""
    record = read_record(place.record)
    if record is not None:
        return record["scan"]
    return "" if any(path.exists() or path.is_symlink() for path in place.files()) else None
