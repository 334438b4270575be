"""Segment generated scans that nobody trained on and say how well, by region, slices and finding.

    python -m Training.evaluate_generated --model spinecontext-ct --output runs/generated --count 100

Each scan is a line of scores.jsonl as soon as it is done, so the command can be stopped and run again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import compare
from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import Result, segment
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.scores import BINARY, CANAL, DISCS, LOW_DICE, SACRUM, VERTEBRAE
from SpineContextSegLib.volume import Volume

from .generated_scans import generated_scan

# Training draws its bodies from seeds far below.
FIRST_SEED = 9_000_000
# Less spine than this in view (a tip at the edge) says nothing about a network.
_LEAST_SPINE_ML = 5.0
_ROWS = (BINARY, VERTEBRAE, SACRUM, DISCS, CANAL)


def evaluate_seed(seed: int, segmented: Callable[[Volume], Result], modality: str = "CT") -> dict | None:
    """Scores of the scan of a seed, a JSON object; None where it hardly shows spine."""
    scan = generated_scan(seed, modality)
    spine = np.isin(scan.labels.array, list(BINARY_SPINE)).sum() * scan.labels.grid.voxel_volume_mm3 / 1000
    if spine < _LEAST_SPINE_ML:
        return None
    entry = {"seed": seed, "region": scan.region, "slices": scan.slices, "traits": scan.traits}
    try:
        result = segmented(scan.image)
    except InputRefused as refusal:
        return {**entry, "refused": str(refusal), "dice": {BINARY: 0.0}}
    scores, _ = compare(result.labels, scan.labels)
    return {
        **entry,
        "dice": {row: round(scores[row].dice, 4) for row in _ROWS if row in scores and scores[row].reference_ml},
        "average_surface_distance_mm": round(scores[BINARY].average_surface_distance_mm, 3),
        "hausdorff95_mm": round(scores[BINARY].hausdorff95_mm, 2),
        "seconds": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
    }


def table(entries: list[dict]) -> str:
    """Binary Dice by group, then by structure, as Markdown."""
    lines = ["| scans | n | mean | SD | median | 5th percentile | minimum | below 0.8 |", f"|{'---|' * 8}"]

    def row(name: str, values: Iterable[float]) -> None:
        dice = np.array([value for value in values if not math.isnan(value)])
        if len(dice):
            sd = dice.std(ddof=1) if len(dice) > 1 else 0.0
            lines.append(
                f"| {name} | {len(dice)} | {dice.mean():.3f} | {sd:.3f} | {np.median(dice):.3f} "
                f"| {np.percentile(dice, 5):.3f} | {dice.min():.3f} | {(dice < LOW_DICE).sum()} |"
            )

    def group(word: str, of: Callable[[dict], Iterable[str]]) -> None:
        for name in sorted({name for entry in entries for name in of(entry)}):
            row(f"{word}: {name}", (entry["dice"][BINARY] for entry in entries if name in of(entry)))

    row("**all**, binary spine", (entry["dice"][BINARY] for entry in entries))
    group("region", lambda entry: [entry["region"]])
    group("slices", lambda entry: [entry["slices"]])
    group("finding", lambda entry: entry["traits"])
    for structure in _ROWS[1:]:
        row(f"all, {structure}", (entry["dice"].get(structure, math.nan) for entry in entries))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.evaluate_generated", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="name or folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--everywhere", action="store_true", help="don't locate the spine first")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / "scores.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    done = {entry["seed"]: entry for entry in map(json.loads, lines)}
    model = load_model(arguments.model)
    runtime = choose_runtime(model, threads=arguments.threads)
    helpers = choose_helpers(model, threads=arguments.threads)

    def segmented(image: Volume) -> Result:
        return segment(image, model, runtime, **helpers, everywhere=arguments.everywhere, structures="all")

    with file.open("a", encoding="utf-8") as log:
        for seed in tqdm(range(FIRST_SEED, FIRST_SEED + arguments.count), unit="scan"):
            if seed not in done:
                done[seed] = evaluate_seed(seed, segmented, model.card.modality[0]) or {"seed": seed, "dice": None}
                log.write(json.dumps(done[seed]) + "\n")
                log.flush()
    print(table([done[seed] for seed in sorted(done) if done[seed]["dice"]]))


if __name__ == "__main__":
    main()
