"""The worklist: which scans there are, how far each one is, and what was noted; one SQLite file in the data folder."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from SpineContextSegLib.cohort.scans import find_scans
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.outputs import check_target

from .database import DATABASE, changing, prepare, reading
from .entries import OPEN, Change, Entry, State
from .exported import without_exported
from .fingerprint import fingerprints
from .versions import Version, Versions


class Worklist:
    """See `open`. Every method reads or writes the file anew, so any thread and any number of workbenches may use it.

    Methods raise InputRefused (one sentence: what is wrong and what to do) where the request can't be met, and OSError
    (one sentence too) where the disk is full, the file is gone or another program keeps it locked; nothing is changed
    then. Scans in the data folder are known by their place in it, so that it can be moved as a whole.
    """

    def __init__(self, folder: Path, by: str) -> None:
        self._folder, self._path, self._by = folder, folder / DATABASE, by

    @classmethod
    def open(cls, folder: str | Path, by: str) -> Worklist:
        """The worklist of a data folder, made where there is none.

        Args:
            folder: exists and can be written to.
            by: the user whose changes these are.

        Raises:
            InputRefused: no such folder, it can't be written to, the file is of a newer version, or it is damaged (it
                is kept under another name then, and opening again starts a new one).
            OSError: disk full, or locked by another program for ten seconds.
        """
        folder = Path(os.path.abspath(folder))
        check_target(folder / DATABASE)
        prepare(folder / DATABASE)
        return cls(folder, by)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self._folder

    def add(self, paths: Iterable[str | Path], on_problem: Callable[[str], None] | None = None) -> list[Entry]:
        """Adds scans: files, DICOM folders, or folders to be searched for both.

        A scan that is listed already is not listed twice, whatever it is called now: its entry is returned, and follows
        it here unless it is still where it was. A folder with several DICOM series in it is one scan, see
        `read_dicom_folder`. Sets that were exported are passed over, unless they are named themselves.

        Args:
            paths: what to add.
            on_problem: called with a sentence for each thing that can't be added. Without it, the first one is raised
                and nothing is added.

        Raises:
            InputRefused: a path is missing, no scan or unreadable, and `on_problem` isn't given.
        """
        problem = on_problem or _refuse
        identities: dict[Path, tuple[str, ...]] = {}
        for path in paths:
            for scan in _scans(Path(os.path.abspath(path)), problem):
                try:
                    identities[scan] = fingerprints(scan)
                except (InputRefused, OSError) as error:
                    problem(f"'{scan}' can't be read ({error}).")
        numbers: dict[int, None] = {}
        with changing(self._path) as connection:
            for scan, known_by in identities.items():
                numbers[self._add(connection, scan, known_by)] = None
        self.note_versions(numbers)
        by_number = {entry.number: entry for entry in self.entries()}
        return [by_number[number] for number in numbers]

    def note_versions(self, numbers: Iterable[int]) -> None:
        """Of these entries, the new ones that have a saved result or correction, as from outside, become what they are.

        Scans that can't be read stay as they are.
        """
        for number in numbers:
            entry = self.entry(number)
            if entry.state is State.NEW:
                with suppress(InputRefused, OSError):
                    state = _open_state(Versions(entry.scan, self._folder))
                    if state is not State.NEW:
                        self.set_state(number, state)

    def entries(self) -> list[Entry]:
        """All, in the order of their numbers."""
        return self._select("ORDER BY number")

    def entry(self, number: int) -> Entry:
        """Raises InputRefused where there is none with this number."""
        found = self._select("WHERE number = ?", number)
        if not found:
            raise _no_entry(number)
        return found[0]

    def history(self, number: int) -> list[Change]:
        """Every change of an entry, the oldest first: what two people wrote at once is not lost for either."""
        with reading(self._path) as connection:
            rows = connection.execute(
                "SELECT what, before, after, changed, by FROM change WHERE number = ? ORDER BY id", (number,)
            ).fetchall()
        return [Change(what, before, after, datetime.fromisoformat(at), by) for what, before, after, at, by in rows]

    def locate(self, number: int) -> Path:
        """The scan of an entry, after a look that it is there and is the one that was added.

        Raises:
            InputRefused: it is gone, or another scan has taken its place.
            OSError: it can't be read.
        """
        entry = self.entry(number)
        with reading(self._path) as connection:
            (added,) = connection.execute("SELECT fingerprint FROM entry WHERE number = ?", (number,)).fetchone()
        if not entry.scan.exists():
            raise InputRefused(
                f"'{entry.scan}' is gone: connect its disk, or add the scan from where it is now; its corrections are "
                "found again."
            )
        if added not in fingerprints(entry.scan):
            raise InputRefused(
                f"'{entry.scan}' is not the scan that was added as number {number}, its content is another one: put "
                "the first one back, or add this one, which becomes an entry of its own."
            )
        return entry.scan

    def versions(self, number: int) -> Versions:
        """Where the labels of an entry are kept. Raises as `locate`."""
        return Versions(self.locate(number), self._folder)

    def set_state(self, number: int, state: State, reason: str | None = None, seen: int | None = None) -> Entry:
        """Changes the state.

        DONE means the newest saved correction or model's result of this moment, which `accepted` tells and the dataset
        holds; later versions don't change that until the scan is set to DONE again.

        Args:
            reason: why it is REJECTED.
            seen: number of the version that whoever says DONE has looked at.

        Raises:
            InputRefused: REJECTED without a reason; DONE with nothing saved, with another version saved than the one
                that was seen, or with work to be recovered (see `Versions.unsaved_autosave`).
        """
        reason = (reason or "").strip()
        if state is State.REJECTED and not reason:
            raise InputRefused("A scan is rejected with a reason: say why it can't be used.")
        accepted = self._version_to_accept(number, seen) if state is State.DONE else None
        self._change(
            number, state=state.value, reason=reason if state is State.REJECTED else None, accepted=accepted
        )
        return self.entry(number)

    def reopen(self, number: int) -> Entry:
        """Takes an entry out of DONE or REJECTED, to where it is by what is saved of it. Raises as `locate`."""
        return self.set_state(number, _open_state(self.versions(number)))

    def accepted(self, number: int) -> Version | None:
        """The version that was set to DONE, None where the entry is in another state.

        Raises:
            InputRefused: as `locate`, or that version is missing.
        """
        self.entry(number)
        with reading(self._path) as connection:
            (name,) = connection.execute("SELECT accepted FROM entry WHERE number = ?", (number,)).fetchone()
        if name is None:
            return None
        found = [version for version in self.versions(number).list() if version.folder.name == name]
        if not found:
            raise InputRefused(
                f"The version of number {number} that was set to done ('{name}') is missing: connect its disk, or set "
                "the scan to done again."
            )
        return found[0]

    def set_notes(self, number: int, text: str) -> Entry:
        """Replaces the notes; the earlier ones stay in `history`."""
        self._change(number, notes=text)
        return self.entry(number)

    def set_problem(self, number: int, problem: str | None) -> Entry:
        """Notes why a run on it came to nothing, or that one has come to something."""
        if self.entry(number).problem != problem:
            self._change(number, problem=problem)
        return self.entry(number)

    def next_open(self, after: int | None = None) -> Entry | None:
        """The first entry beyond number `after` that is neither done nor rejected."""
        states = [state.value for state in OPEN]
        marks = ", ".join("?" * len(states))
        found = self._select(f"WHERE number > ? AND state IN ({marks}) ORDER BY number LIMIT 1", after or 0, *states)
        return found[0] if found else None

    def previous(self, before: int) -> Entry | None:
        """The entry that stands before number `before`, in any state."""
        found = self._select("WHERE number < ? ORDER BY number DESC LIMIT 1", before)
        return found[0] if found else None

    def progress(self) -> dict[State, int]:
        """How many entries are in each state, 0 included, in the order of `State`."""
        with reading(self._path) as connection:
            counts = dict(connection.execute("SELECT state, count(*) FROM entry GROUP BY state"))
        return {state: counts.get(state.value, 0) for state in State}

    def _add(self, connection: sqlite3.Connection, scan: Path, identities: tuple[str, ...]) -> int:
        stored, now = self._stored(scan), _now()
        for identity in identities:
            row = connection.execute("SELECT number, scan FROM entry WHERE fingerprint = ?", (identity,)).fetchone()
            if row is None:
                continue
            number, before = row
            there = identities if before == stored else _identities(self._scan(before))
            # Else that one is still there, and another scan that earlier workbenches took for the same.
            if identity not in there or identities[0] in there:
                break
        else:
            return connection.execute(
                "INSERT INTO entry (scan, fingerprint, state, changed, by) VALUES (?, ?, ?, ?, ?)",
                (stored, identities[0], State.NEW.value, now, self._by),
            ).lastrowid
        if identity not in there:
            connection.execute("UPDATE entry SET scan = ? WHERE number = ?", (stored, number))
            _log(connection, number, "scan", before, stored, now, self._by)
        return number

    def _change(self, number: int, **columns: str | None) -> None:
        """Sets columns of one entry, and notes who did."""
        with changing(self._path) as connection:
            names = ", ".join(columns)
            before = connection.execute(f"SELECT {names} FROM entry WHERE number = ?", (number,)).fetchone()
            if before is None:
                raise _no_entry(number)
            now = _now()
            assignments = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(
                f"UPDATE entry SET {assignments}, changed = ?, by = ? WHERE number = ?",
                (*columns.values(), now, self._by, number),
            )
            for (name, new), old in zip(columns.items(), before, strict=True):
                if new != old:
                    _log(connection, number, name, old, new, now, self._by)

    def _version_to_accept(self, number: int, seen: int | None) -> str:
        versions = self.versions(number)
        if versions.unsaved_autosave():
            raise InputRefused(
                "There is work on this scan that was only saved in passing: open the scan again, and bring that back "
                "or discard it before the scan is done."
            )
        latest = versions.latest()
        if latest is None:
            raise InputRefused("Nothing was saved for this scan: segment it, or save a correction, before it is done.")
        if seen is not None and latest.number != seen:
            raise InputRefused(
                f"Version {latest.number} of this scan, saved by {latest.by}, is not the one that is shown: open the "
                "scan again and look at it before the scan is done."
            )
        return latest.folder.name

    def _select(self, rest: str, *values: object) -> list[Entry]:
        with reading(self._path) as connection:
            rows = connection.execute(
                f"SELECT number, scan, state, reason, problem, notes, changed, by FROM entry {rest}", values
            ).fetchall()
        return [
            Entry(
                n, self._scan(scan), Path(scan).name, State(state), reason, problem, notes,
                datetime.fromisoformat(at), by,
            )
            for n, scan, state, reason, problem, notes, at, by in rows
        ]  # fmt: skip

    def _stored(self, scan: Path) -> str:
        inside = scan.relative_to(self._folder) if scan.is_relative_to(self._folder) else scan
        text = inside.as_posix()
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputRefused(f"The name of '{text!a}' holds characters that are none: rename it.") from error
        return text

    def _scan(self, stored: str) -> Path:
        return self._folder / stored


def _open_state(versions: Versions) -> State:
    latest = versions.latest()
    if latest is None:
        return State.NEW
    return State.IN_CORRECTION if latest.kind == "correction" else State.SEGMENTED


def _scans(path: Path, problem: Callable[[str], None]) -> list[Path]:
    """The scans that lie at or below a path: files, and folders of DICOM files."""
    if not path.exists():
        problem(f"'{path}' does not exist: check the path.")
        return []
    try:
        cohort = find_scans(path, modalities=("CT", "MR"))
    except InputRefused as refusal:
        problem(str(refusal))
        return []
    unreadable = {path / where: f"'{where}': {sentence}" for where, sentence in cohort.unreadable.items()}
    told = without_exported(list(unreadable), path)
    for where in told:
        problem(unreadable[where])
    found = [scan.files[0].parent if scan.is_series and len(scan.files) > 1 else scan.files[0] for scan in cohort.scans]
    found = without_exported(found, path)
    if not found and not told:
        problem(f"'{path}' holds only scans of an exported set: name the folder of that set to look at them.")
    # What lies below a DICOM folder is read with it.
    return [scan for scan in dict.fromkeys(found) if not any(other in scan.parents for other in found)]


def _identities(scan: Path) -> tuple[str, ...]:
    """Of what lies there now; nothing where it is gone or can't be read."""
    try:
        return fingerprints(scan)
    except (InputRefused, OSError):
        return ()


def _refuse(sentence: str) -> None:
    raise InputRefused(sentence)


def _log(connection: sqlite3.Connection, number: int, *values: str | None) -> None:
    connection.execute(
        "INSERT INTO change (number, what, before, after, changed, by) VALUES (?, ?, ?, ?, ?, ?)", (number, *values)
    )


def _no_entry(number: int) -> InputRefused:
    return InputRefused(f"The worklist has no entry {number}: choose one that it lists.")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
