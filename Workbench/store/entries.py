"""What the worklist tells of a scan: how far it is, what was noted, who changed what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path


class State(Enum):
    """How far a scan is; in the order of the work."""

    NEW = "new"
    SEGMENTED = "segmented"
    IN_CORRECTION = "in_correction"
    DONE = "done"
    REJECTED = "rejected"


OPEN = (State.NEW, State.SEGMENTED, State.IN_CORRECTION)


@dataclass(frozen=True)
class Entry:
    """One scan of the worklist, as it was when it was read.

    Attributes:
        number: from 1 on in the order in which scans were added; never given twice.
        scan: file or DICOM folder; it may be gone by now, see `Worklist.locate`.
        name: of the file or folder, to show.
        state: how far it is.
        reason: why it was rejected, else None.
        problem: why the last run on it came to nothing, else None.
        notes: free text, "" where there is none.
        changed: when state or notes were last changed (with time zone).
        by: the user who did.
    """

    number: int
    scan: Path
    name: str
    state: State
    reason: str | None
    problem: str | None
    notes: str
    changed: datetime
    by: str


@dataclass(frozen=True)
class Change:
    """What one user changed in an entry, before and after: "state", "reason", "problem", "notes", "scan" (where it
    lies) or "accepted" (which version was set to done)."""

    what: str
    before: str | None
    after: str | None
    changed: datetime
    by: str
