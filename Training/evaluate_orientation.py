"""Is it noticed when head and feet are exchanged? Scans and pieces of them, as they are and with their slices reversed.

    python -m Training.evaluate_orientation --model spinecontext-ct --generated 9400003 9400007 --real SCAN.nii.gz ...
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from SpineContextSegLib.model import load_model
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.pipeline import Result, segment
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.volume import Volume

from .generated_scans import generated_scan
from .level_scans import seen_part

# Shares of the slices: the whole scan, and pieces that overlap.
PIECES = (0.0, 1.0), (0.0, 0.45), (0.3, 0.7), (0.55, 1.0)
NOTICED, CERTAIN, UNSURE, UNNAMED = "head and feet exchanged", "certain", "uncertain", "unnamed"


def verdict(result: Result) -> str:
    """What the user is told of the levels."""
    if result.column is None:
        return UNNAMED
    if result.column.levels.upside_down:
        return NOTICED
    return CERTAIN if result.column.levels.certain else UNSURE


def pieces(image: Volume) -> Iterator[tuple[bool, Volume]]:
    """Each piece of a scan as it is, and with its slices in the opposite order (True)."""
    for first, last in PIECES:
        part = slice(int(first * len(image.array)), int(last * len(image.array)))
        piece = Volume(image.array[part], image.grid.crop((part, slice(None), slice(None))).affine)
        yield False, piece
        yield True, Volume(np.ascontiguousarray(piece.array[::-1]), piece.affine)


def table(verdicts: Iterable[tuple[bool, str]]) -> str:
    """Markdown: how often each verdict was given, upright and reversed."""
    counts = Counter(verdicts)
    lines = [f"| slices | {NOTICED} | {CERTAIN} | {UNSURE} | {UNNAMED} |", "|---|---|---|---|---|"]
    for reversed_, name in ((False, "as they are"), (True, "reversed")):
        numbers = [counts[reversed_, kind] for kind in (NOTICED, CERTAIN, UNSURE, UNNAMED)]
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m Training.evaluate_orientation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", required=True, help="name or folder")
    parser.add_argument("--generated", type=int, nargs="*", default=[], help="seeds of generated scans")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="scans (.nii.gz)")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    runtime = choose_runtime(model, threads=arguments.threads)
    helpers = choose_helpers(model, threads=arguments.threads)
    scans = {f"seed {seed}": lambda seed=seed: _generated(seed, model.card.modality[0]) for seed in arguments.generated}
    scans |= {stem(path): lambda path=path: read_volume(path)[0] for path in arguments.real}
    verdicts = []
    for name, open_scan in scans.items():
        for reversed_, piece in pieces(open_scan()):
            said = verdict(segment(piece, model, runtime, **helpers))
            verdicts.append((reversed_, said))
            print(f"{name}, {len(piece.array)} slices{', reversed' * reversed_}: {said}", flush=True)
    print(table(verdicts))


def _generated(seed: int, modality: str) -> Volume:
    scan = generated_scan(seed, modality)
    return seen_part(scan.image, scan.labels)[0]


if __name__ == "__main__":
    main()
