"""What one process is asked to do with one scan."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Job:
    """Paths are absolute; machines that share the work see the same files under them.

    Attributes:
        batch: which run it belongs to.
        key, fingerprint, content, written: see `records`.
        name: of the scan, for people.
        source, files, is_series, notes: see `scans.Scan`.
        segmentation, preview, record: to be written, the picture only `with_preview`; else none stays there.
        ending: of the segmentation.
        work: "segment", or "preview" where only the picture is missing.
        model, digest: name or folder of the model, and its `records.model_digest`.
        structures, force: as in `pipeline.segment`.
        staging: a folder for files that aren't whole yet, on the disk of the results; each try makes its own there.
    """

    batch: str
    key: str
    fingerprint: str
    content: str
    written: tuple[str, ...]
    name: str
    source: str
    files: tuple[str, ...]
    is_series: bool
    notes: tuple[str, ...]
    segmentation: str
    preview: str
    with_preview: bool
    record: str
    ending: str
    work: Literal["segment", "preview"]
    model: str
    digest: str
    structures: Literal["spine", "all"]
    force: bool
    staging: str

    def to_json(self) -> str:
        """One line of ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Job:
        content = json.loads(text)
        return cls(**content | {name: tuple(content[name]) for name in ("written", "files", "notes")})

    def staged_in(self, folder: Path) -> Job:
        return replace(self, staging=str(folder))
