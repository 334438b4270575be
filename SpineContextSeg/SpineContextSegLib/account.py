"""What `segment` says about its work: the report for machines and the summary for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import __version__
from .pipeline import Result
from .volume import Grid

RESEARCH_ONLY = "Research use only: not for diagnosis or treatment."


@dataclass(frozen=True)
class Account:
    """One finished run.

    Attributes:
        source, grid, notes: the input, where its voxels lie, and what reading it brought to light.
        result: what was found.
        seconds: wall time of every stage, reading and writing included, in the order in which they ran.
        peak_memory_mb: of the process; None where the system doesn't say.
        files: what was written, the segmentation first.
    """

    source: Path
    grid: Grid
    notes: list[str]
    result: Result
    seconds: dict[str, float]
    peak_memory_mb: float | None
    files: list[Path]

    def report(self) -> dict:
        """For a JSON file. Shape and spacing are along (i, j, k), spacing in mm."""
        input_facts = {
            "path": str(self.source),
            "shape_ijk": list(self.grid.shape[::-1]),
            "spacing_mm": [round(float(step), 6) for step in self.grid.spacing_mm],
            "sheared": self.grid.is_sheared,
            "notes": self.notes,
        }
        return {
            "spinecontextseg": __version__,
            "research_use_only": True,
            "input": input_facts,
            **self.result.report(),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "seconds_total": round(sum(self.seconds.values()), 3),
            "peak_memory_mb": self.peak_memory_mb and round(self.peak_memory_mb, 1),
            "files": [str(path) for path in self.files],
        }

    def summary(self) -> str:
        """A few aligned lines for a terminal."""
        result = self.result
        found = result.report()["structures"]
        names = max((len(item["name"]) for item in found), default=0)
        structures = [f"{item['name']:<{names}}  {item['volume_ml']:8.1f} ml" for item in found]
        stages = [f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items() if seconds >= 0.05]
        peak = "not known" if self.peak_memory_mb is None else f"{self.peak_memory_mb:.0f} MB at most"
        size = " x ".join(map(str, self.grid.shape[::-1]))
        spacing = " x ".join(f"{step:.3g}" for step in self.grid.spacing_mm)
        sections = {
            "Scan": [f"{self.source.name}: {size} voxels of {spacing} mm"],
            "Found": structures or ["no spine"],
            "Seconds": [f"{sum(self.seconds.values()):.1f} ({', '.join(stages)})"],
            "Memory": [peak],
            "Model": [
                f"{result.model}, {result.windows} windows, {result.runtime} on {result.device}, {result.precision}"
            ],
            "Files": [str(path) for path in self.files],
        }
        lines = [
            f"{title if first else '':<8} {text}"
            for title, texts in sections.items()
            for first, text in zip([True] + [False] * len(texts), texts)
        ]
        return "\n".join([*lines, RESEARCH_ONLY])
