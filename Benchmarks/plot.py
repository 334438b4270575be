"""The results as a picture: seconds of every variant, and how time and memory grow with the scan."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .results import GrowthPoint, Results
from .variants import DEFAULT, FULL, PLAIN

_COLORS = {PLAIN: "#9aa0a6", FULL: "#e8a33d", DEFAULT: "#1f6fb2"}
_NAMES = {PLAIN: "(a) plain", FULL: "(b) full sweep", DEFAULT: "(c) default"}
_BY_THREADS = ("#7ab2de", "#1f6fb2")
_INPUT = "#9aa0a6"
_FAINT = "#5f6368"
_DPI = 140


def plot(results: Results, path: Path) -> None:
    """Write the picture (.png)."""
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    bars, time, memory = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _seconds(bars, results)
    by_threads: dict[int, list[GrowthPoint]] = {}
    for point in results.growth:
        if not point.runs.fault:
            by_threads.setdefault(point.threads, []).append(point)
    for color, (threads, points) in zip(_BY_THREADS, by_threads.items()):
        slices, name = [point.slices for point in points], "1 thread" if threads == 1 else f"{threads} threads"
        time.plot(slices, [point.runs.seconds for point in points], "o-", color=color, label=name)
        memory.plot(slices, [point.runs.peak_mb / 1000 for point in points], "o-", color=color, label=name)
    if by_threads:
        points = next(iter(by_threads.values()))
        gigabytes = [point.input_mb / 1000 for point in points]
        memory.plot([point.slices for point in points], gigabytes, "s--", color=_INPUT, label="the scan itself")
        for axes in (time, memory):
            axes.legend(frameon=False, loc="upper left")
    for axes, title, unit in ((time, "(c): time", "s"), (memory, "(c): peak memory", "GB")):
        _plain(axes, title)
        highest = 1.1 * axes.dataLim.y1 if by_threads else 1
        axes.set(xlabel="slices of 512 x 512, 1 mm", ylabel=unit, xlim=(0, None), ylim=(0, highest))
    where = f"{results.machine['processor']}, {results.machine['cores']} cores; {results.started}"
    figure.supxlabel(where, fontsize=8, color=_FAINT)
    figure.savefig(path, dpi=_DPI)


def _seconds(axes: Axes, results: Results) -> None:
    height = 0.8 / len(_NAMES)
    for place, key in enumerate(_NAMES):
        rows = [n + place * height for n in range(len(results.scans))]
        runs = [scan.runs[key] for scan in results.scans]
        seconds = [0.0 if of_scan.fault else of_scan.seconds for of_scan in runs]
        drawn = axes.barh(rows, seconds, height * 0.9, color=_COLORS[key], label=_NAMES[key])
        # The whole fault stands in the table.
        texts = [
            ("memory" if of_scan.fault == "memory" else "failed") if of_scan.fault else f"{of_scan.seconds:.1f} s"
            for of_scan in runs
        ]
        axes.bar_label(drawn, texts, padding=3, fontsize=8)
    axes.set_yticks([n + height for n in range(len(results.scans))], [scan.name for scan in results.scans])
    axes.invert_yaxis()
    axes.set(xlabel="s", xlim=(0, 1.15 * axes.get_xlim()[1]))
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(_NAMES))
    _plain(axes, f"File to file, threads: {results.threads}")


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
