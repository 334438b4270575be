"""One scan of a cohort as the report tells of it, and the same for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..batch_records import result_of
from ..labels import BINARY_SPINE, structure
from .places import Place
from .records import KEPT

COLUMNS = (
    "scan", "state", "message", "warnings", "model", "seconds", "levels", "confidence", "certain", "spine_ml",
    "volumes_ml", "segmentation",
)  # fmt: skip
NOT_TOLD_APART, NONE_FOUND = "not told apart", "none found"


@dataclass(frozen=True)
class Row:
    """
    Attributes:
        name: of the scan.
        record: see `records.make_record`.
        place: where its results are; None where there are none.
        earlier: whether this was known before this run.
    """

    name: str
    record: Mapping
    place: Place | None = None
    earlier: bool = False

    @property
    def state(self) -> str:
        return self.record["state"]

    @property
    def is_done(self) -> bool:
        return self.state in ("done", KEPT)

    @property
    def segmentation(self) -> Path:
        """Of a scan that is done."""
        return result_of(self.record, self.place.record)

    @property
    def message(self) -> str:
        return self.record["message"]

    @property
    def warnings(self) -> list[str]:
        """What reading and segmenting brought to light."""
        return [*self.record.get("input", {}).get("notes", []), *self.record.get("warnings", [])]

    @property
    def levels(self) -> str:
        """Those found, from top to bottom; in words where there are none or vertebrae aren't told apart; "" without
        result."""
        column = self.record.get("levels")
        if column:
            return " ".join(
                structure(item["value"]).abbreviation + ("*" if item["partial"] else "") for item in column["vertebrae"]
            )
        if not self.is_done:
            return ""
        return NOT_TOLD_APART if self.record["structures"] else NONE_FOUND

    @property
    def confidence(self) -> float | None:
        """0..1 over the levels; None where there are none."""
        return self.record["levels"]["confidence"] if self.record.get("levels") else None

    @property
    def certain(self) -> bool | None:
        return self.record["levels"]["certain"] if self.record.get("levels") else None

    @property
    def spine_ml(self) -> float | None:
        """Vertebrae and sacrum."""
        if not self.is_done:
            return None
        return round(sum(i["volume_ml"] for i in self.record["structures"] if i["value"] in BINARY_SPINE), 1)

    @property
    def volumes(self) -> list[str]:
        return [f"{item['name']} {item['volume_ml']:.1f}" for item in self.record.get("structures", [])]


def write_table(rows: Sequence[Row], output: Path, path: Path) -> None:
    """One line for every scan; several warnings, levels or volumes share a cell.

    Args:
        rows: of all scans.
        output: the folder that results are named from.
        path: of the file. Spreadsheets recognize its UTF-8 by the mark at its beginning.
    """
    with open(path, "w", encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            certain = {True: "yes", False: "no", None: ""}[row.certain]
            writer.writerow([
                row.name, row.state, row.message, " | ".join(row.warnings), row.record.get("model", ""),
                row.record.get("seconds_total", ""), row.levels, "" if row.confidence is None else row.confidence,
                certain, "" if row.spine_ml is None else row.spine_ml, "; ".join(row.volumes),
                row.segmentation.relative_to(output).as_posix() if row.is_done else "",
            ])  # fmt: skip
