"""Where the results of every scan go: the tree of the input again, with names that never meet."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..batch_records import is_of, read_record
from .owners import owners, records_below
from .scans import Scan, listed

_RECORD, _PREVIEW = ".json", ".png"


@dataclass(frozen=True)
class Place:
    """Names of the files of one scan, in one folder; they differ from those of another place by `stem`.

    others: records of further results of this very scan, in other places.
    """

    folder: Path
    stem: str
    ending: str
    others: tuple[Path, ...] = ()

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


def place_scans(scans: Sequence[Scan], output: Path, ending: str, stays: Callable[[Scan, Place], bool]) -> list[Place]:
    """A place for every scan, in their order.

    A scan keeps the place of the record that tells of what it holds: one under another name, as when either was renamed
    or moved since, only where its result stays, as it may be a backup. Where a scan was replaced, it has the place of
    the one before it. Others, also one of the same name from another folder, get a name that neither another scan nor
    any file has: that of the scan, with its ending, or with a number.

    Args:
        scans: each with another key.
        output: the folder for results.
        ending: of segmentations.
        stays: whether the run segments nothing anew at a place of a scan.
    """
    records = records_below(output)
    scan_of = owners(scans, records, with_elsewhere=False)
    told: dict[str, dict[Path, Mapping]] = defaultdict(dict)
    for path, scan in scan_of.items():
        told[scan.key][path] = records[path]
    found: dict[str, Place] = {}
    for scan in scans:
        if place := _kept(scan, told[scan.key], output, ending, stays):
            found[scan.key] = place
    # A result that is left behind is the only one of its scan so far: not to be replaced by that of another.
    left = [Place(path.parent, path.stem, ending) for path, scan in scan_of.items() if scan.key not in found]
    taken = {_mark(place) for place in [*found.values(), *left]}
    for owned in (True, False):
        for scan in scans:
            if scan.key in found:
                continue
            for name in _names(scan):
                place = Place(output / scan.folder, name, ending)
                if _is_part_of(place.segmentation, scan):
                    continue
                record = read_record(place.record)
                free = record is None and not _has_files(place)
                if free and owned:
                    break
                if _mark(place) not in taken and (free or (record is not None and _tells_of(record, scan))):
                    taken.add(_mark(place))
                    found[scan.key] = place
                    break
    return [found[scan.key] for scan in scans]


def notes_on(scans: Sequence[Scan], places: Sequence[Place], output: Path) -> list[str]:
    """One sentence each on results that a person may look for elsewhere; both in the same order."""
    pairs = list(zip(scans, places, strict=True))
    renamed = [
        f"'{scan.name}' as '{_told(place.folder / place.stem, output)}'"
        for scan, place in pairs
        if not _is_called(place, scan, output)
    ]
    several = [
        " and ".join(f"'{_told(path, output)}'" for path in (place.record, *place.others))
        for _, place in pairs
        if place.others
    ]
    sentences = {
        "Found by what the scan holds, results stay under its earlier name": renamed,
        "Several results are of the same scan, keep one of each": several,
    }
    return [f"{sentence}: {len(names)} ({listed(names)})." for sentence, names in sentences.items() if names]


def _kept(
    scan: Scan, records: Mapping[Path, Mapping], output: Path, ending: str, stays: Callable[[Scan, Place], bool]
) -> Place | None:
    """The place of a scan by the records that tell of what it holds."""
    for path in sorted(records, key=lambda path: _is_further(path, records[path], scan, output)):
        place = Place(path.parent, path.stem, ending)
        if _is_part_of(place.segmentation, scan):
            continue
        own = records[path]["scan"] == scan.key and _is_called(place, scan, output)
        if own or stays(scan, place):
            others = [other for other in records if other != path and records[other]["state"] == "done"]
            return replace(place, others=tuple(others))
    return None


def _is_further(path: Path, record: Mapping, scan: Scan, output: Path) -> tuple[bool, bool, bool]:
    """Sorts records of one scan: last what has no result, or lies under another name than a batch would give it."""
    return record["state"] != "done", record["scan"] != scan.key, path.parent != output / scan.folder


def _mark(place: Place) -> tuple[Path, str]:
    # Some disks take A and a for the same.
    return place.folder, place.stem.casefold()


def _is_called(place: Place, scan: Scan, output: Path) -> bool:
    """Whether a place bears the name of its scan, with its ending or a number where that was taken."""
    rest = place.stem.removeprefix(scan.stem)
    named = place.stem.startswith(scan.stem) and (not rest or rest.startswith("_"))
    return named and place.folder == output / scan.folder


def _told(path: Path, output: Path) -> str:
    return path.relative_to(output).as_posix()


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
