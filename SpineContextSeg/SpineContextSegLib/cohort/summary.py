"""A run over a cohort as it stands: what became of every scan, in sentences and as the two reports."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..batch_records import read_record
from ..errors import InputRefused
from ..interruption import Interruption
from ..outputs import Outputs, check_replaceable
from . import PAGE, TABLE
from .page import TITLE, write_page
from .places import Place
from .plan import Plan
from .records import KEPT, make_record
from .rows import COLUMNS, Row, write_table
from .scans import Cohort, listed

_BEGINNING_BYTES = 1000


def check_reports(folder: Path) -> None:
    """Tells before any work whether the reports can be written to a folder, if it is there.

    Raises:
        InputRefused: a file with the name of one lies there that is none, or that can't be replaced.
    """
    for name, words in ((TABLE, ",".join(COLUMNS[:3])), (PAGE, f"<title>{TITLE}")):
        path = folder / name
        if not os.path.lexists(path):
            continue
        check_replaceable(path)
        try:
            with open(path, "rb") as file:
                beginning = file.read(_BEGINNING_BYTES)
            ours = not beginning or words.encode() in beginning
        except OSError:
            ours = False
        if not ours:
            raise InputRefused(
                f"'{path}' is no report of a batch, and would be overwritten: move it away, or choose another folder "
                "with --report."
            )


class Summary:
    """Takes records as they come; can be written at any time."""

    def __init__(self, cohort: Cohort, places: Sequence[Place], plan: Plan, facts: dict[str, str]) -> None:
        """`places` in the order of the scans; `facts` as for `write_page`."""
        self._cohort, self._plan, self._facts = cohort, plan, facts
        self._places = dict(zip((scan.key for scan in cohort.scans), places, strict=True))
        self._records = dict(plan.settled)
        self._started, self._clock = datetime.now(), time.perf_counter()

    def add(self, key: str, record: dict) -> None:
        self._records[key] = record

    def add_unheard(self) -> None:
        """Adds the scans that have a result by now of which no word came, as the run ended first."""
        for job in self._plan.jobs:
            if job.key in self._records or not Path(job.segmentation).is_file():
                continue
            record = read_record(Path(job.record))
            if record and record["state"] == "done" and record["fingerprint"] == job.fingerprint:
                self.add(job.key, record)

    def rows(self) -> list[Row]:
        """One for each scan, and for each folder or file that couldn't be read."""
        rows = [Row(name, make_record(name, "", "refused", text)) for name, text in self._cohort.unreadable.items()]
        for scan in self._cohort.scans:
            record = self._records.get(scan.key) or make_record(scan.key, "", "open", "The run ended before its turn.")
            earlier = self._plan.settled.get(scan.key) is record
            rows.append(Row(scan.name, record, self._places[scan.key], earlier))
        return rows

    def known_before(self) -> str:
        """What was known of scans before this run, such as "4 done before, 1 refused ('b.nii.gz')"; "" where nothing
        was."""
        names: dict[str, list[str]] = defaultdict(list)
        for row in self.rows():
            if row.earlier or row.place is None:
                names[row.state].append(row.name)
        words = {"done": "done before", KEPT: "corrected, made with other options", "refused": "refused"}
        told = [
            f"{len(names[state])} {word}" + f" ({listed(names[state])})" * (state != "done")
            for state, word in words.items()
            if names[state]
        ]
        return ", ".join(told)

    def not_done(self) -> str:
        """Which scans have no segmentation, such as "1 refused, 2 failed"; "" where all have one."""
        states = Counter(row.state for row in self.rows())
        words = {"refused": "refused", "failed": "failed", "open": "not begun"}
        return ", ".join(f"{states[state]} {word}" for state, word in words.items() if states[state])

    def write(self, output: Path, folder: Path) -> None:
        """Writes both reports, each whole or not at all, and one where the other can't be; also during an interruption.

        Args:
            output: where the results lie.
            folder: for the reports.

        Raises:
            OSError: disk full or not writable, as where another program has a report open.
        """
        rows = self.rows()
        seconds = time.perf_counter() - self._clock
        facts = self._facts | {"When": f"{self._started:%Y-%m-%d %H:%M}, took {_duration(seconds)}"}
        # Not the interruption of the command, which has been asked for, perhaps, and would leave no report.
        try:
            with Outputs(Interruption()) as outputs:
                write_table(rows, output, outputs.stage(folder / TABLE))
        finally:
            with Outputs(Interruption()) as outputs:
                write_page(rows, facts, self._cohort.notes, outputs.stage(folder / PAGE), folder)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "min": minutes, "s": seconds}
    return " ".join(f"{number} {unit}" for unit, number in parts.items() if number) or "less than 1 s"
