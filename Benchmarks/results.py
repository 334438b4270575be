"""What a bench found, and its form as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from .measured import Measurement
from .variants import DEFAULT, PLAIN


@dataclass(frozen=True)
class Runs:
    """All runs of one command on one scan; there is at least one, and none after one that failed."""

    measurements: list[Measurement]

    @property
    def fault(self) -> str | None:
        return self.measurements[-1].fault

    @property
    def seconds(self) -> float:
        """The median."""
        return median(run.seconds for run in self.measurements)

    @property
    def peak_mb(self) -> float:
        return max(run.peak_mb for run in self.measurements)

    @property
    def stages(self) -> dict[str, float]:
        """Median seconds of each stage; what the command doesn't see itself (its start and end) is the first."""
        names = list(dict.fromkeys(name for run in self.measurements for name in run.stages))
        inside = {name: median(run.stages.get(name, 0.0) for run in self.measurements) for name in names}
        outside = median(run.seconds - sum(run.stages.values()) for run in self.measurements)
        return {"start and end": outside, **inside}


@dataclass(frozen=True)
class ScanResult:
    """One scan with every variant.

    Attributes:
        name, about: what it is.
        shape_ijk, spacing_mm, input_mb: the input volume, along (i, j, k), and its size in memory.
        runs: by variant. dice_to_plain, dice_to_truth: of the binary spine, by variant, where they could be measured.
    """

    name: str
    about: str
    shape_ijk: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    input_mb: float
    runs: dict[str, Runs]
    dice_to_plain: dict[str, float] = field(default_factory=dict)
    dice_to_truth: dict[str, float] = field(default_factory=dict)

    def over_input_mb(self, variant: str) -> float:
        return self.runs[variant].peak_mb - self.input_mb

    def times_faster(self, variant: str) -> float | None:
        """Than the plain way; None where one of the two failed."""
        if any(key not in self.runs or self.runs[key].fault for key in (PLAIN, variant)):
            return None
        return self.runs[PLAIN].seconds / self.runs[variant].seconds


@dataclass(frozen=True)
class GrowthPoint:
    """The default on a body of so many slices, with so many threads; `spine_mm` of spine are in it."""

    slices: int
    spine_mm: float
    threads: int
    input_mb: float
    runs: Runs


@dataclass(frozen=True)
class Results:
    """Everything; `machine` as in `processor.machine`, `started` is date and time, `command` how to repeat it."""

    started: str
    command: str
    model: str
    threads: int
    rounds: int
    machine: dict
    scans: list[ScanResult]
    growth: list[GrowthPoint]


@dataclass(frozen=True)
class Target:
    """`value` is what was measured, None where that failed."""

    what: str
    value: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value is not None and (self.value >= self.limit if self.at_least else self.value <= self.limit)


# With the processor's 8-bit dot products, and without them, where the network runs in float32.
_TIMES_FASTER, _TIMES_FASTER_FLOAT32 = 40.0, 10.0
_DOT_PRODUCTS = {"avx_vnni", "avx512_vnni"}


def targets(results: Results) -> list[Target]:
    """The aims of the project that these scans can answer: scans named abdomen... and trunk..."""
    found = []
    times = _TIMES_FASTER if _DOT_PRODUCTS & set(results.machine["flags"]) else _TIMES_FASTER_FLOAT32
    for scan in results.scans:
        runs = scan.runs[DEFAULT]
        seconds, peak, over = (
            (None,) * 3 if runs.fault else (runs.seconds, runs.peak_mb / 1000, scan.over_input_mb(DEFAULT) / 1000)
        )
        limit = next((limit for name, limit in (("abdomen", 8.0), ("trunk", 20.0)) if scan.name.startswith(name)), None)
        if limit is None:
            continue
        found.append(Target(f"{scan.name}: time", seconds, limit, "s"))
        faster = Target(f"{scan.name}: times faster than plain", scan.times_faster(DEFAULT), times, "x", at_least=True)
        found.append(faster)
        if scan.name.startswith("trunk"):
            found.append(Target(f"{scan.name}: peak memory over the input", over, 1.5, "GB"))
            found.append(Target(f"{scan.name}: peak memory of the process", peak, 3.0, "GB"))
    return found
