"""The order of the runs, and the scores of what they wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import compare
from SpineContextSegLib.metrics import binary_spine, dice
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.scores import BINARY
from SpineContextSegLib.volume import Volume

from .bodies import Growing
from .journal import Journal
from .measured import Measurement
from .results import GrowthPoint, Runs, ScanResult
from .scans import Scan
from .variants import DEFAULT, PLAIN, VARIANTS, Variant, run


@dataclass(frozen=True)
class Bench:
    """How everything is run: model (name or folder), `rounds` runs of each command, folder for what the runs write."""

    model: str
    rounds: int
    folder: Path
    journal: Journal

    def compare(self, scan: Scan, threads: int, variants: Mapping[str, Variant] = VARIANTS) -> ScanResult:
        """A scan with every variant, one after the other in each round."""
        runs = self._rounds(scan, variants, threads)
        files = {key: self._output(scan, key) for key in variants if not runs[key].fault}
        found = {key: read_labels(file) for key, file in files.items()}
        to_plain = {key: spine_dice(labels, found[PLAIN]) for key, labels in found.items()} if PLAIN in found else {}
        to_truth = {}
        if scan.truth:
            truth = read_labels(scan.truth)
            for key, labels in found.items():
                scores, _ = compare(labels, truth, reference_numbering=scan.numbering)
                to_truth[key] = scores[BINARY].dice
        return ScanResult(
            scan.name, scan.about, scan.shape_ijk, scan.spacing_mm, scan.input_mb, runs, to_plain, to_truth
        )

    def grow(self, body: Growing, threads: Iterable[int]) -> list[GrowthPoint]:
        """The default on a body, with each number of threads."""
        return [
            GrowthPoint(
                body.slices, body.spine_mm, count, body.scan.input_mb,
                self._rounds(body.scan, {DEFAULT: VARIANTS[DEFAULT]}, count)[DEFAULT],
            )
            for count in threads
        ]  # fmt: skip

    def _rounds(self, scan: Scan, variants: Mapping[str, Variant], threads: int) -> dict[str, Runs]:
        scan.warm()
        done: dict[str, list[Measurement]] = {key: [] for key in variants}
        for number in range(1, self.rounds + 1):
            for key, variant in variants.items():
                # What failed once would fail again.
                if not any(before.fault for before in done[key]):
                    name = f"{scan.path.name}, {key}, {threads} threads, run {number}"
                    work = partial(run, variant, scan.path, self._output(scan, key), self.model, threads)
                    ended = self.journal.once(name, work)
                    done[key].append(ended)
                    how = ended.fault or f"{ended.seconds:.1f} s, {ended.peak_mb / 1000:.2f} GB"
                    print(f"{name}: {how}", flush=True)
        return {key: Runs(measurements) for key, measurements in done.items()}

    def _output(self, scan: Scan, variant: str) -> Path:
        return self.folder / f"{scan.path.name}_{variant}.seg.nrrd"


def spine_dice(one: Volume, other: Volume) -> float:
    """Of the binary spine of two results on one grid; 1 where both are empty. Unlike a comparison with a truth, it
    counts everything that only one of them found."""
    masks = binary_spine(one.array), binary_spine(other.array)
    if masks[0].shape != masks[1].shape:
        raise InputRefused("The two results lie on different grids; one of them isn't of this scan.")
    return dice(*masks)
