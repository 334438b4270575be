"""Which segmentations of a folder belong to which scans of another, by the records of a batch or by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..batch_records import has_gone, is_earlier, is_of_content, is_ours, record_path
from ..dicom import read_dicom_files
from ..errors import InputRefused
from ..folders import identity
from ..itk_warnings import quiet_itk
from ..pairing import best_marked, candidates, label_files, record_beside
from ..reading import read_volume
from ..recorded_results import why_unclear
from ..text_header import names_data_elsewhere
from ..volume import Volume
from .owners import ByPlace, owners
from .scans import Scan, find_scans, listed

MODALITIES = ("CT", "MR")


@dataclass(frozen=True)
class Segmented:
    """A scan and the files that hold a segmentation of it, mostly one.

    `segmentations`: each with the record beside it, if there is one.
    """

    scan: Scan
    segmentations: Mapping[Path, Mapping | None]


@dataclass(frozen=True)
class Found:
    """What two folders hold.

    Attributes:
        segmented: sorted as `scans.Cohort`.
        problems: one line each on what can't be read, or belongs to no scan.
        notes: one sentence each on what else is to be known.
    """

    segmented: list[Segmented]
    problems: list[str]
    notes: list[str]

    def files(self) -> Iterator[Path]:
        """All that is read of what can be measured."""
        for segmented in self.segmented:
            yield from segmented.scan.files
            yield from segmented.segmentations


def find_segmented(source: Path, results: Path) -> Found:
    """Scans below a folder with their segmentations below another one, or the same.

    What a batch wrote belongs to the scan that holds what its record tells of, wherever both lie by now, else to the
    one in its place. A segmentation without a record belongs to the scan of its name (see `pairing.find_pairs`) in the
    same folder of the tree, else to the only one of its name.

    Args:
        source, results: absolute.

    Raises:
        InputRefused: there is no scan, no segmentation, or none that belongs to a scan.
    """
    within = source.resolve().is_relative_to(results.resolve())
    cohort = find_scans(source, None if within else results, MODALITIES)
    records = _segmentations(results, cohort.scans)
    if not records:
        raise InputRefused(f"'{results}' holds no segmentation: give the folder that `spinecontextseg batch` wrote.")
    finder = _Finder(cohort.scans, results, records)
    scan_of = _scans_of(finder, records)
    if not scan_of:
        raise InputRefused(
            f"No segmentation in '{results}' belongs to a scan in '{source}': give the folder of the scans that they "
            "were made from."
        )
    segmented = _segmented(cohort.scans, scan_of, records)
    alone = {path: record for path, record in records.items() if path not in scan_of}
    elsewhere = [path for path, record in alone.items() if record and _lies_elsewhere(record, source)]
    have = {one.scan.key for one in segmented}
    notes = {
        "Not measured, as they have no segmentation": [scan.name for scan in cohort.scans if scan.key not in have],
        "Left out, as their scans lie in other folders": [_name(path, results) for path in elsewhere],
        "Taken by their names, as they aren't where the batch found them": [
            scan.name for path, scan in scan_of.items() if finder.is_moved(path, records[path])
        ],
    }
    return Found(
        segmented,
        [f"{name}: {sentence}" for name, sentence in cohort.unreadable.items()]
        + [f"{_name(path, results)}: {_why_alone(alone[path], source)}" for path in alone if path not in elsewhere],
        [f"{sentence}: {len(names)} ({listed(names)})." for sentence, names in notes.items() if names],
    )


def segmentation_of(segmented: Segmented) -> tuple[Path, Mapping | None]:
    """The one file to go by, and what the batch said of it: nothing of one that was corrected since.

    Raises:
        InputRefused: there are several, or the batch came to no end with this scan.
        OSError: a file can't be read.
    """
    paths = list(segmented.segmentations)
    if len(paths) > 1:
        paths = [path for path, record in segmented.segmentations.items() if not is_earlier(path, record)]
    if len(paths) > 1:
        paths = [path for path in paths if not _is_of_a_copy(path, segmented)] or paths
    if len(paths) != 1:
        raise InputRefused(why_unclear(segmented.segmentations))
    [path] = paths
    record = segmented.segmentations[path]
    if record is None or not is_ours(path, record["written"]):
        return path, None
    if record["state"] != "done":
        raise InputRefused(
            f"'{path.name}' is of an earlier run, and the last one did not finish this scan: see the batch's report."
        )
    return path, record


def _is_of_a_copy(path: Path, segmented: Segmented) -> bool:
    """Whether the batch made it, and nobody changed it, of another file that held the same as the scan."""
    record = segmented.segmentations[path]
    return record is not None and record["scan"] != segmented.scan.key and is_ours(path, record["written"])


def is_of_another_content(scan: Scan, record: Mapping | None) -> bool:
    """Whether a scan doesn't hold any more what was segmented, as far as the record of its segmentation tells that."""
    return record is not None and "checksum" in record and not is_of_content(record, scan.files)


def is_of_another_scan(path: Path, record: Mapping | None) -> bool:
    """Whether a record tells that its result was made of none of the scans in a file or folder.

    Args:
        path: absolute.
    """
    if record is None or "checksum" not in record:
        return False
    try:
        scans = find_scans(path, modalities=MODALITIES).scans
        if names_data_elsewhere(path):
            # A batch of its folder counts in what shares the name of a header, such as notes.
            scans += [scan for scan in find_scans(path.parent, modalities=MODALITIES).scans if scan.source == path]
    except InputRefused:  # no scan for a batch, such as a single slice
        return False
    return bool(scans) and all(is_of_another_content(scan, record) for scan in scans)


def read_scan(scan: Scan) -> tuple[Volume, list[str]]:
    """The volume of a scan, and notes, one sentence each. Raises as `reading.read_volume`."""
    if not scan.is_series:
        return read_volume(scan.files[0])
    with quiet_itk():
        volume, notes = read_dicom_files(list(scan.files), str(scan.source))
    return volume, [*scan.notes, *notes]


def _segmentations(results: Path, scans: Sequence[Scan]) -> dict[Path, dict | None]:
    """Every segmentation below a folder, with the record beside it."""
    # A link may give them another name here. No slice of a series ends as labels do.
    of_scans = {identity(path) for scan in scans if not scan.is_series for path in scan.files}
    files = [path for path in label_files(results) if identity(path) not in of_scans]
    records = {path: record_beside(path) for path in files}
    # What is neither recorded nor called a segmentation may be a copy of a scan.
    unsure = [p for p, record in records.items() if record is None and not p.name.lower().endswith(".seg.nrrd")]
    left_out = set(unsure) - set(best_marked(unsure))
    return {path: record for path, record in records.items() if path not in left_out}


class _Finder:
    """Ways to tell the scan of a segmentation, given its path and the record beside it; None where there is none."""

    def __init__(self, scans: Sequence[Scan], results: Path, records: Mapping[Path, Mapping | None]) -> None:
        self._results = results
        self._places = ByPlace(scans)
        # Of several formats, one record tells.
        self._owners = owners(scans, {record_path(path): record for path, record in records.items() if record})
        self._by_name: dict[Path, list[Scan]] = defaultdict(list)
        self._names_in: dict[Path, list[Path]] = defaultdict(list)
        for scan in scans:
            # A series is called as its result would best be.
            name = scan.source / f"{scan.stem}.nrrd" if scan.is_series else scan.source
            self._by_name[name].append(scan)
            self._names_in[scan.folder].append(name)

    def told(self, path: Path, _: Mapping | None) -> Scan | None:
        """The scan that holds what the record tells of."""
        return self._owners.get(record_path(path))

    def in_place(self, _: Path, record: Mapping | None) -> Scan | None:
        """The scan that lies where the one of the record did; where that has gone, as on another computer, the one at
        the same place in the tree."""
        if record is None:
            return None
        return self._places.on_disk(record) or (self._places.in_tree(record) if has_gone(record) else None)

    def is_moved(self, path: Path, record: Mapping | None) -> bool:
        """Whether only the place in the tree tells the scan."""
        return record is not None and self.told(path, record) is None and self._places.on_disk(record) is None

    def named_alike(self, path: Path, record: Mapping | None) -> Scan | None:
        """The scan of the same name in the same folder of the tree."""
        return self._named(path, record, self._names_in.get(path.parent.relative_to(self._results), []))

    def named(self, path: Path, record: Mapping | None) -> Scan | None:
        """The only scan of that name."""
        return self._named(path, record, list(self._by_name))

    def _named(self, path: Path, record: Mapping | None, names: list[Path]) -> Scan | None:
        if record is not None:
            return None
        found = [scan for name in dict.fromkeys(candidates(path, names)) for scan in self._by_name[name]]
        return found[0] if len(found) == 1 else None


def _scans_of(finder: _Finder, records: Mapping[Path, Mapping | None]) -> dict[Path, Scan]:
    """The scan of each segmentation that has one."""
    found: dict[Path, Scan] = {}
    # What is sure comes first, and a scan that has what it needs gets nothing that is less so.
    for find in (finder.told, finder.in_place, finder.named_alike, finder.named):
        taken = {scan.key for scan in found.values()}
        told = {path: find(path, record) for path, record in records.items() if path not in found}
        found |= {path: scan for path, scan in told.items() if scan and scan.key not in taken}
    return found


def _segmented(
    scans: Sequence[Scan], scan_of: Mapping[Path, Scan], records: Mapping[Path, dict | None]
) -> list[Segmented]:
    files: dict[str, dict[Path, dict | None]] = defaultdict(dict)
    for path, scan in scan_of.items():
        files[scan.key][path] = records[path]
    return [Segmented(scan, files[scan.key]) for scan in scans if scan.key in files]


def _lies_elsewhere(record: Mapping, source: Path) -> bool:
    """Whether the scan of a record is there, and not below a folder: other batches may have written to theirs."""
    told = Path(record.get("source", ""))
    return told.is_absolute() and told.exists() and not told.resolve().is_relative_to(source.resolve())


def _why_alone(record: Mapping | None, source: Path) -> str:
    if record is None:
        return f"Which scan in '{source}' it is of can't be told: give it the name of its scan."
    return f"Its scan '{record.get('source') or record['scan']}' was not found in '{source}'."


def _name(path: Path, results: Path) -> str:
    return path.relative_to(results).as_posix()
