"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from .results import GrowthPoint, Results, Runs, ScanResult, targets
from .variants import DEFAULT, PLAIN, VARIANTS

# Of the total: a stage above it would be worth the next look.
_LARGE_SHARE = 0.25
_NETWORK = "network"


def table(results: Results) -> str:
    """Everything that was measured, and on what."""
    return "\n\n".join([
        "# Speed and memory",
        _conditions(results),
        _scans(results.scans),
        "## Targets", _targets(results),
        "## Where the time of (c) goes", _stages(results.scans),
        "## Growth of (c) with the scan", _growth(results.growth),
    ]) + "\n"  # fmt: skip


def _conditions(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    flags = " ".join(machine["flags"]) or "flags not known"
    variants = "\n".join(f"- ({key}) {variant.title}" for key, variant in VARIANTS.items())
    return f"""\
{machine["processor"]} ({flags}), {machine["cores"]} cores, {machine["memory_gb"]} GB, {machine["system"]}. Load when it
started: {machine["load"]} (0 is an idle computer). {versions}.

{results.started}, `{results.command}`, model {results.model}, threads: {results.threads}.

{variants}

Every run is a process of its own, from file to file. Seconds run from before it starts to its end, so loading Python
and packages (for (a) PyTorch and MONAI) is in them, but not in those of the network. They are the median; rounds of a,
b, c: {results.rounds}. The scan's file was read once before. Memory is the peak that the operating system states;
"over input" is without the scan's own voxels. Dice is of the binary spine (vertebrae and sacrum). (a) reads, resamples,
drops pieces and writes with this project's own functions, so that the difference is the inference; (b) leaves the air
around the body out, so its windows lie elsewhere and the results differ a little. "memory" means that it ran out."""


def _scans(scans: Iterable[ScanResult]) -> str:
    rows = []
    for scan in scans:
        for key, runs in scan.runs.items():
            first = key == next(iter(scan.runs))
            size = f"{_by(scan.shape_ijk)}, {_by(scan.spacing_mm)} mm"
            rows.append([
                f"**{scan.name}**, {scan.about}" if first else "", size if first else "", f"({key})", *_figures(runs),
                "-" if runs.fault else f"{scan.over_input_mb(key) / 1000:.2f}",
                _number(scan.dice_to_plain.get(key), ".4f") if key != PLAIN else "-",
                _number(scan.dice_to_truth.get(key), ".4f"),
                _number(scan.times_faster(key), ".1f") if key != PLAIN else "-",
            ])  # fmt: skip
    return _markdown(
        ["scan", "voxels", "", "seconds", "all runs", "network s", "peak GB", "over input GB", "Dice to (a)",
         "Dice to truth", "times faster than (a)"], rows,
    )  # fmt: skip


def _targets(results: Results) -> str:
    rows = [
        [
            target.what, _number(target.value, ".2f"),
            f"{'at least' if target.at_least else 'at most'} {target.limit:g} {target.unit}",
            "met" if target.met else "**not met**",
        ]
        for target in targets(results)
    ]  # fmt: skip
    if not rows:
        return "None of these scans has one."
    return _markdown(["target", "measured", "aim", ""], rows)


def _stages(scans: Iterable[ScanResult]) -> str:
    stages = {scan.name: scan.runs[DEFAULT].stages for scan in scans if not scan.runs[DEFAULT].fault}
    if not stages:
        return "No run of it succeeded."
    names = list(dict.fromkeys(stage for seconds in stages.values() for stage in seconds))
    rows = [[name, *(_number(seconds.get(stage), ".2f") for stage in names)] for name, seconds in stages.items()]
    large = [
        f"{stage} on {name} ({seconds[stage] / sum(seconds.values()):.0%})"
        for name, seconds in stages.items()
        for stage in seconds
        if stage != _NETWORK and seconds[stage] > _LARGE_SHARE * sum(seconds.values())
    ]
    share = f"over a quarter of the total: {', '.join(large) or 'none'}."
    return (
        f"{_markdown(['scan', *names], rows)}\n\nMedian seconds; start and end is what the command can't see of itself."
        f" Stages other than the network {share}"
    )


def _growth(points: Iterable[GrowthPoint]) -> str:
    rows = [
        [
            str(point.slices), f"{point.spine_mm:.0f}", str(point.threads), *_figures(point.runs),
            f"{point.input_mb / 1000:.2f}",
            "-" if point.runs.fault else f"{(point.runs.peak_mb - point.input_mb) / 1000:.2f}",
        ]
        for point in points
    ]  # fmt: skip
    return _markdown(
        ["slices of 512 x 512, 1 mm", "mm of spine", "threads", "seconds", "all runs", "network s", "peak GB",
         "input GB", "over input GB"], rows,
    )  # fmt: skip


def _figures(runs: Runs) -> list[str]:
    """Seconds, those of all runs, those of the network, peak memory in GB; a fault takes the place of the seconds."""
    if runs.fault:
        return [runs.fault.replace("|", "/"), "-", "-", "-"]
    every = ", ".join(f"{run.seconds:.1f}" for run in runs.measurements)
    return [f"{runs.seconds:.1f}", every, _number(runs.stages.get(_NETWORK), ".1f"), f"{runs.peak_mb / 1000:.2f}"]


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


def _by(numbers: Iterable[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
