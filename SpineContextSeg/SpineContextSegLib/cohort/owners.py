"""Which scan each record of a batch tells of: the one that holds what was segmented, wherever either lies by now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..batch_records import has_gone, is_of_content, read_record, told_source
from ..checksums import bytes_of, digests_of, sum_of
from ..folders import folders_below
from . import TABLE
from .results_folder import RUNNING
from .scans import Scan, series_of


def records_below(results: Path) -> dict[Path, dict]:
    """All records in a folder of results, if it is there; without those in hidden folders, and in the results of
    another batch, which has its own report or is running."""
    found = {}
    for folder, folders, names in folders_below(results):
        if folder != results and (TABLE in names or RUNNING in folders):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [folder / name for name in names if name.endswith(".json") and not name.startswith(".")]
        found |= {path: record for path in paths if (record := read_record(path)) is not None}
    return dict(sorted(found.items()))


class ByPlace:
    """Finds scans where records tell that they lie."""

    def __init__(self, scans: Sequence[Scan]) -> None:
        self._by_key = {scan.key: scan for scan in scans}
        self._by_source: dict[str, list[Scan]] = defaultdict(list)
        for scan in scans:
            self._by_source[str(scan.source)].append(scan)

    def in_tree(self, record: Mapping) -> Scan | None:
        """The scan at the same place below the folder of the scans, wherever that lies."""
        return self._by_key.get(record["scan"])

    def on_disk(self, record: Mapping) -> Scan | None:
        """The scan in the same file or folder, also where the batch saw more of the tree, or less."""
        there = self._by_source.get(told_source(record), ())
        return next((s for s in there if not s.is_series or series_of(s.key) == series_of(record["scan"])), None)

    def lies_elsewhere(self, record: Mapping) -> bool:
        """Whether what lies where the scan of a record did is none of these: it may still be that scan."""
        return told_source(record) not in self._by_source and not has_gone(record)


def owners(scans: Sequence[Scan], records: Mapping[Path, Mapping], *, with_elsewhere: bool = True) -> dict[Path, Scan]:
    """The scan of each record, as far as one of these holds what was segmented.

    Of copies each has the record of its own place. A record whose scan lies elsewhere, as one of a batch of another
    folder, is only for a scan that has none.

    Args:
        records: by their paths, of whatever scans.
        with_elsewhere: as who only reads them may use these, too.
    """
    places, found = ByPlace(scans), {}
    held: dict[str, list[Mapping]] = defaultdict(list)
    for path, record in records.items():
        at = filter(None, (places.in_tree(record), places.on_disk(record)))
        scan = next((scan for scan in at if is_of_content(record, scan.files)), None)
        if scan:
            found[path] = scan
            held[scan.key].append(record)
    alone = [path for path, record in records.items() if path not in found and isinstance(record.get("checksum"), dict)]
    elsewhere = {path for path in alone if places.lies_elsewhere(records[path])}
    alone = sorted((path for path in alone if with_elsewhere or path not in elsewhere), key=elsewhere.__contains__)
    by_content = _ByContent(scans, held) if alone else None
    for path in alone:
        record = records[path]
        same = by_content.holding(record)
        scan = next((scan for scan in same if not held[scan.key]), None)
        if scan is None and same and path not in elsewhere:
            scan = same[0]
        if scan:
            found[path] = scan
            held[scan.key].append(record)
    return found


class _ByContent:
    """Finds scans by what they hold: each is read once, where a record tells of its size.

    `held`: by the keys of scans, the records of those that have some. What they hold is known from there, without
    reading them.
    """

    def __init__(self, scans: Sequence[Scan], held: Mapping[str, Sequence[Mapping]]) -> None:
        self._held = held
        self._by_bytes: dict[int, list[Scan]] = defaultdict(list)
        for scan in scans:
            with suppress(OSError):  # who reads it tells that it has gone
                self._by_bytes[bytes_of(scan.files)].append(scan)
        self._by_sum: dict[int, dict[str, list[Scan]]] = {}
        # Of single files, as earlier versions' checksums change with a name that only a record tells.
        self._by_digest: dict[int, dict[str, list[Scan]]] = {}

    def holding(self, record: Mapping) -> list[Scan]:
        """The scans that hold what a record with a checksum tells of."""
        size, told = record["checksum"].get("bytes"), str(record["checksum"].get("sha256"))
        if size not in self._by_bytes:
            return []
        if size not in self._by_sum:
            self._read(size)
        if same := self._by_sum[size].get(told):
            return same
        called = [Path(told_source(record)).name]
        return next((same for one, same in self._by_digest[size].items() if sum_of([one], called) == told), [])

    def _read(self, size: int) -> None:
        by_sum = self._by_sum[size] = defaultdict(list)
        by_digest = self._by_digest[size] = defaultdict(list)
        for scan in self._by_bytes[size]:
            held = [record.get("checksum") for record in self._held.get(scan.key, ())]
            sums = {str(one.get("sha256")) for one in held if isinstance(one, dict)}
            if not held:
                with suppress(OSError):
                    digests = digests_of(scan.files)
                    sums = {sum_of(digests), sum_of(digests, [path.name for path in scan.files])}
                    if len(digests) == 1:
                        by_digest[digests[0]].append(scan)
            for one in sums:
                by_sum[one].append(scan)
