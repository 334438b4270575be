"""What an evaluation found, and how it is shown: statistics over scans, text table, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from . import labels
from .identification import Identification, LabelledVertebra
from .metrics import NAN, Agreement
from .outputs import write_complete

BINARY, VERTEBRAE, SACRUM, DISCS, CANAL = "Spine (binary)", "Vertebrae", "Sacrum", "Discs", "Canal"
LEVEL_ROWS = {
    labels.structure(value).abbreviation: value
    for offset in (0, labels.DISC_OFFSET)
    for value in (offset + level for level in labels.LEVEL_ORDER if level != labels.SACRUM)
}
"""Names of the rows for single vertebrae, then single discs, top to bottom, and their values."""

LOW_DICE = 0.8
METRICS = tuple(metric.name for metric in fields(Agreement))
_DISTANCES = "average_surface_distance_mm", "hausdorff95_mm"

_COLUMNS = (
    ("Dice", "dice", ".4f"),
    ("ASD mm", "average_surface_distance_mm", ".2f"),
    ("HD95 mm", "hausdorff95_mm", ".2f"),
    ("Volume ml", "volume_difference_ml", "+.2f"),
    ("Volume %", "volume_difference_percent", "+.1f"),
    ("Recall", "recall", ".4f"),
    ("Precision", "precision", ".4f"),
)


@dataclass(frozen=True)
class Case:
    """One scan: figures by structure, top rows first; levels: None where either side doesn't tell vertebrae apart.

    scan: its name in the tables of a batch, "" where that isn't known.
    """

    name: str
    prediction: Path
    reference: Path
    structures: dict[str, Agreement]
    levels: Identification | None = None
    scan: str = ""


@dataclass(frozen=True)
class Statistics:
    """One figure over the scans in which it could be measured; `sd` is the sample standard deviation."""

    count: int
    mean: float
    sd: float
    median: float
    minimum: float
    percentile5: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Statistics:
        measured = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
        if not measured.size:
            return cls(0, NAN, NAN, NAN, NAN, NAN, NAN)
        sd = float(measured.std(ddof=1)) if measured.size > 1 else NAN
        low, middle = (float(part) for part in np.percentile(measured, (5, 50)))
        smallest, largest = float(measured.min()), float(measured.max())
        return cls(measured.size, float(measured.mean()), sd, middle, smallest, low, largest)


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured; `notes` are sentences about what was left out and why.

    not_compared: names of what isn't among `cases`, each with the sentence that says why.
    """

    cases: list[Case]
    notes: list[str]
    reference_numbering: str
    not_compared: list[tuple[str, str]] = field(default_factory=list)

    def structures(self) -> list[str]:
        """Names of the structures in any case: groups first, then levels from top to bottom."""
        present = {name for case in self.cases for name in case.structures}
        order = (BINARY, VERTEBRAE, SACRUM, DISCS, CANAL, *LEVEL_ROWS)
        return [name for name in order if name in present]

    def values(self, structure: str, metric: str) -> list[float]:
        """One figure of one structure in every case that has the structure."""
        return [getattr(case.structures[structure], metric) for case in self.cases if structure in case.structures]

    def statistics(self, structure: str, metric: str) -> Statistics:
        return Statistics.of(self.values(structure, metric))

    def count_low(self, structure: str) -> int:
        """In how many cases Dice lies below 0.8."""
        return sum(value < LOW_DICE for value in self.values(structure, "dice"))

    def levels(self) -> list[tuple[str, Identification]]:
        """Name of the case and which vertebrae are identified, for the cases in which both sides tell them apart."""
        return [(case.name, case.levels) for case in self.cases if case.levels]

    def identified(self, structure: str) -> list[float]:
        """1 for each case in which this vertebra is identified, 0 for each in which it isn't."""
        of_cases = [_by_name(found) for _, found in self.levels()]
        return [float(vertebrae[structure].identified) for vertebrae in of_cases if structure in vertebrae]

    def table(self) -> str:
        """Aligned text: one case with all its structures, or the cases' binary figures and a summary by structure.

        Then, where both sides tell vertebrae apart, how many are identified.
        """
        if len(self.cases) == 1:
            case = self.cases[0]
            blocks = [f"{case.name}\n{_aligned(_figures('Structure', case.structures))}"]
        else:
            binary = {case.name: case.structures[BINARY] for case in self.cases}
            blocks = [
                f"{BINARY}, {len(self.cases)} cases\n{_aligned(_figures('Case', binary))}",
                "\n".join(["Dice over the cases", _aligned(self._summary_rows()), *self._without_distances()]),
            ]
        if levels := self.levels():
            errors = [f"{name}: {found.errors()}." for name, found in levels if found.errors()]
            blocks.append("\n".join([f"Levels\n{_aligned(_level_rows(levels))}", *errors]))
        blocks.append("Volume: prediction minus reference. ASD: average symmetric surface distance.")
        return "\n\n".join(blocks + (["\n".join(self.notes)] if self.notes else [])) + "\n"

    def write_csv(self, path: Path) -> None:
        """One row for each structure of each case (`statistic` = case), then rows of statistics without a case."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        about = ("case", "scan", "prediction", "reference")
        writer.writerow(("statistic", *about, "structure", *METRICS, "identified", "found_as"))
        none = [""] * len(about)
        for case in self.cases:
            files = case.name, case.scan, case.prediction, case.reference
            vertebrae = _by_name(case.levels)
            for name, result in case.structures.items():
                level = _level_cells(vertebrae[name]) if name in vertebrae else ("", "")
                figures = (_blank_nan(getattr(result, metric)) for metric in METRICS)
                writer.writerow(("case", *files, name, *figures, *level))
        for name in self.structures():
            columns = [asdict(self.statistics(name, metric)) for metric in METRICS]
            columns.append(asdict(Statistics.of(self.identified(name))))
            for statistic in columns[0]:
                writer.writerow((statistic, *none, name, *(_blank_nan(column[statistic]) for column in columns), ""))
            low = f"dice below {LOW_DICE}"
            writer.writerow((low, *none, name, self.count_low(name), *[""] * (len(METRICS) + 1)))
        write_whole(Path(path), text.getvalue())

    def write_json(self, path: Path) -> None:
        """The same as an object with `cases` and `summary`; what couldn't be measured is null."""
        summary = {
            name: {
                "dice_below_0.8": self.count_low(name),
                **{metric: asdict(self.statistics(name, metric)) for metric in METRICS},
                **({"identified": asdict(Statistics.of(identified))} if (identified := self.identified(name)) else {}),
            }
            for name in self.structures()
        }
        cases = [
            {
                "name": case.name,
                "scan": case.scan or None,
                "prediction": str(case.prediction),
                "reference": str(case.reference),
                "structures": {name: asdict(result) for name, result in case.structures.items()},
                "levels": _levels_in_full(case.levels) if case.levels else None,
            }
            for case in self.cases
        ]
        content = {
            "reference_numbering": self.reference_numbering,
            "notes": self.notes,
            "not_compared": [{"name": name, "why": why} for name, why in self.not_compared],
            "cases": cases,
            "summary": summary,
            "levels": _level_summary([found for _, found in self.levels()]),
        }
        write_whole(Path(path), json_text(content))

    def _summary_rows(self) -> list[list[str]]:
        rows = [["Structure", "n", "mean", "SD", "median", "min", "5th %", f"< {LOW_DICE}", "ASD mm", "HD95 mm"]]
        for name in self.structures():
            dice = self.statistics(name, "dice")
            figures = (dice.mean, dice.sd, dice.median, dice.minimum, dice.percentile5)
            distances = (self.statistics(name, metric).mean for metric in _DISTANCES)
            rows.append(
                [name, str(dice.count), *(_number(value, ".4f") for value in figures), str(self.count_low(name))]
                + [_number(value, ".2f") for value in distances]
            )
        return rows

    def _without_distances(self) -> list[str]:
        """A sentence on the structures whose distances are means of fewer cases than their Dice: those that were missed
        altogether don't make them worse."""
        fewer: dict[tuple[int, int], list[str]] = {}
        for name in self.structures():
            dice, *distances = (self.statistics(name, metric).count for metric in ("dice", *_DISTANCES))
            if min(distances) < dice:
                fewer.setdefault((min(distances), dice), []).append(name)
        parts = [f"{', '.join(names)}: {count} of {of} cases" for (count, of), names in fewer.items()]
        why = "ASD and HD95 leave out cases in which nothing was found or no distance can be measured."
        return [f"{why} {'; '.join(parts)}."] if parts else []


def json_text(content: dict) -> str:
    """Indented JSON; what couldn't be measured (NaN) is null."""
    return json.dumps(_null_nan(content), indent=2, allow_nan=False) + "\n"


def _by_name(levels: Identification | None) -> dict[str, LabelledVertebra]:
    return {labels.level_name(vertebra.value): vertebra for vertebra in levels.vertebrae} if levels else {}


def _level_cells(vertebra: LabelledVertebra) -> tuple[int, str]:
    return int(vertebra.identified), labels.level_name(vertebra.found) if vertebra.found else ""


def _levels_in_full(levels: Identification) -> dict:
    each = {name: {**asdict(found), "identified": found.identified} for name, found in _by_name(levels).items()}
    extra = [labels.level_name(value) for value in levels.extra]
    return {"all": levels.figures(), "whole": levels.whole.figures(), "each": each, "extra": extra}


def _level_summary(levels: list[Identification]) -> dict | None:
    """All vertebrae pooled, and the mean of the cases' own figures; of all labelled and of the whole ones."""
    scans = {"all": levels, "whole": [found.whole for found in levels]}
    if not levels:
        return None
    return {
        name: {
            "pooled": Identification.pooled(of_cases).figures(),
            "mean_of_cases": {
                figure: Statistics.of(found.figures()[figure] for found in of_cases).mean
                for figure in ("identification_rate", "dice", "shape_dice")
            },
        }
        for name, of_cases in scans.items()
    }


def _level_rows(levels: list[tuple[str, Identification]]) -> list[list[str]]:
    figures = ("identified", "of", "rate %", "Dice")
    rows = [["Case", *figures, "|", "whole only:", *figures]]
    if len(levels) > 1:
        levels = [*levels, ("All", Identification.pooled(found for _, found in levels))]
    for name, found in levels:
        cells = []
        for part in (found, found.whole):
            numbers = _number(100 * part.rate, ".1f"), _number(part.mean_dice, ".4f")
            cells += [str(part.identified), str(len(part.vertebrae)), *numbers]
        rows.append([name, *cells[:4], "|", "", *cells[4:]])
    return rows


def _figures(first: str, results: dict[str, Agreement]) -> list[list[str]]:
    rows = [[first, *(title for title, _, _ in _COLUMNS)]]
    for name, result in results.items():
        rows.append([name, *(_number(getattr(result, metric), form) for _, metric, form in _COLUMNS)])
    return rows


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *numbers in rows:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def write_whole(path: Path, text: str) -> None:
    """As UTF-8; an interrupted run leaves an earlier file as it was."""
    write_complete(path, lambda partial: partial.write_bytes(text.encode("utf-8")))


def _blank_nan(value: float) -> float | str:
    return "" if math.isnan(value) else value


def _null_nan(content):
    if isinstance(content, dict):
        return {key: _null_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_null_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content
