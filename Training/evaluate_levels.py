"""Is the spine found, with every vertebra at its level? On generated scans that nobody trained on, and on real ones.

    python -m Training.evaluate_levels --model spinecontext-ct --output runs/levels --count 200 --real SCAN.nii.gz ...

Each scan is a line of scans.jsonl as soon as it is done, so the command can be stopped and run again; another model
needs another folder. levels.md, levels.json and the pictures of what was taken for what are written at the end. Labels
of real scans lie beside them, see `evaluate_scans`.

Vertebrae in which the scan ends are left out of the figures, as VerSe leaves them out of its labels; the last columns
count them too. "All levels right": every vertebra that is wholly in view is identified (`identification.py`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from tqdm import tqdm

from SpineContextSegLib.column import UNNAMED
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import identify_levels
from SpineContextSegLib.identification import Identification
from SpineContextSegLib.labels import VERTEBRAE, levels_known
from SpineContextSegLib.model import CARD_FILE, load_model
from SpineContextSegLib.on_grid import on_grid_of
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.pipeline import Result, segment
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.scores import json_text
from SpineContextSegLib.volume import Volume, count_labels

from .card_figures import note_generated
from .confusion_picture import draw_confusion
from .dice_tables import dice_table, structure_dice
from .generated_scans import generated_scan
from .labelled_scans import labels_of, read_labelled
from .level_scans import level_scan
from .level_tables import ScoredScan, figures, grouped, table_by_group, table_by_level
from .surface_tables import surface_figures, surface_table

# Training draws its bodies from seeds far below.
FIRST_SEED = 9_200_000
_GENERATED, _REAL = "generated", "real"


def score(name: str, groups: dict[str, list[str]], segmented: Callable[[], Result], truth: Volume) -> ScoredScan:
    """Segment a scan and hold its levels against the truth.

    Args:
        groups: what the scan belongs to, by kind.
        segmented: does the work; where the scan is refused, all its vertebrae are missed.
        truth: labels (k, j, i) on the grid of the result, VerSe values.

    Raises:
        InputRefused: the truth doesn't tell vertebrae apart.
    """
    try:
        result = segmented()
    except InputRefused as refusal:
        nothing = Volume(np.zeros_like(truth.array), truth.affine)
        missed, shape = _identified(nothing, truth, name), _shape(nothing, truth)
        return ScoredScan(name, groups, missed, None, None, f"Refused: {refusal}", {}, *shape)
    verdict = result.report()["levels"]
    if verdict is None:
        verdict = {"certain": False, "confidence": 0.0, "reason": UNNAMED}
    levels = _identified(result.labels, truth, name)
    return ScoredScan(
        name, groups, levels, verdict["certain"], verdict["confidence"], verdict["reason"], result.seconds,
        *_shape(result.labels, truth),
    )  # fmt: skip


def _shape(found: Volume, truth: Volume) -> tuple[dict[str, float], dict[str, float]]:
    """Whatever the levels: Dice of structures, and where the surface of the spine lies."""
    return structure_dice(found.array, truth.array), surface_figures(found.array, truth.array, truth.grid)


def score_real(image: Path, segmented: Callable[[Volume], Result], totalsegmentator: Collection[str]) -> ScoredScan:
    """Segment a scan and hold its levels against the labels beside it.

    Args:
        segmented: as in `score`, of the scan.
        totalsegmentator: names of the scans whose labels have that numbering instead of VerSe's.

    Raises:
        InputRefused: as `score` and `read_labelled`.
    """
    name = stem(image)
    ct, truth = read_labelled(image, labels_of(image), "totalsegmentator" if name in totalsegmentator else "verse")
    # Labels may be stored in another order of axes than their scan.
    on_the_same = Volume(on_grid_of(truth, ct.grid, (f"the truth of {name}", name)), ct.affine)
    return score(name, {"scan": [name]}, lambda: segmented(ct), on_the_same)


def _identified(labels: Volume, truth: Volume, name: str) -> Identification:
    if not levels_known(VERTEBRAE.intersection(count_labels(labels.array))):
        # A lone C1 reads like labels that don't tell vertebrae apart: it counts as nothing found.
        labels = Volume(np.zeros_like(labels.array), labels.affine)
    levels = identify_levels(labels, truth, names=("the result", f"the truth of {name}"))
    if levels is None:
        raise InputRefused(f"The labels of {name} don't tell vertebrae apart.")
    return levels


def report(generated: list[ScoredScan], real: list[ScoredScan], model: str, output: Path) -> str:
    """Write levels.json and the pictures to `output`; returns the tables as Markdown."""
    parts, content = [f"# Levels by {model}"], {"model": model}
    for kind, scans in ((_GENERATED, generated), (_REAL, real)):
        if not scans:
            continue
        groups, pooled = grouped(scans), Identification.pooled(scan.levels for scan in scans)
        title = f"{len(scans)} {kind} scans"
        draw_confusion(pooled.whole, output / f"confusion_{kind}.png", f"{title}, vertebrae wholly in view")
        parts += [f"## {title}", table_by_group(groups), table_by_level(pooled.whole), _wrong_ones(scans)]
        if kind == _GENERATED:
            parts += ["Dice of structures:", dice_table([(scan.groups, scan.dice) for scan in scans])]
            parts += ["Binary spine:", surface_table([(scan.groups, scan.surface) for scan in scans])]
        content[kind] = {
            "groups": {name: figures(of_group) for name, of_group in groups.items()},
            "scans": [scan.to_json() for scan in scans],
        }
    (output / "levels.json").write_text(json_text(content), encoding="utf-8")
    return "\n\n".join(part for part in parts if part) + "\n"


def _wrong_ones(scans: list[ScoredScan]) -> str:
    lines = []
    for scan in scans:
        if not scan.all_right:
            said = scan.reason if scan.certain is None else f"confidence {scan.confidence:.2f}"
            lines.append(f"- {scan.name} ({said}): {scan.levels.whole.errors()}")
    return "\n".join(["Scans with a wrong level:", "", *lines]) if lines else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.evaluate_levels", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="name or folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200, help="generated scans")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="others for tuning than for the report")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="scans (.nii.gz) of the model's modality")
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of real scans with that numbering")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--note", action="store_true", help="put the figures of generated scans into the model's card")
    parser.add_argument("--everywhere", action="store_true", help="look closely not only where the spine was located")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    model = load_model(arguments.model)
    if model.card.offset_unit_mm is None:
        raise InputRefused(f"{model.card.name} doesn't tell vertebrae apart: there are no levels to evaluate.")
    runtime = choose_runtime(model, threads=arguments.threads)
    helpers = choose_helpers(model, threads=arguments.threads)

    def segmented(image: Volume) -> Result:
        return segment(image, model, runtime, **helpers, everywhere=arguments.everywhere, structures="all")

    def score_generated(seed: int) -> ScoredScan | None:
        scan = level_scan(generated_scan(seed, model.card.modality[0]))
        return scan and score(f"seed {seed}", scan.groups, lambda: segmented(scan.image), scan.labels)

    seeds = range(arguments.first_seed, arguments.first_seed + arguments.count)
    jobs = {f"seed {seed}": lambda seed=seed: score_generated(seed) for seed in seeds}
    jobs |= {
        str(image): lambda image=image: score_real(image, segmented, arguments.totalsegmentator)
        for image in arguments.real
    }
    done = run_once(jobs, arguments.output / "scans.jsonl")
    generated = [scan for scan in (done[f"seed {seed}"] for seed in seeds) if scan]
    if arguments.note:
        note_generated(generated, Path(model.folder) / CARD_FILE)
    text = report(
        generated, [done[str(image)] for image in arguments.real],
        f"{model.card.name} {model.card.version}", arguments.output,
    )  # fmt: skip
    (arguments.output / "levels.md").write_text(text, encoding="utf-8")
    print(text)


def run_once(jobs: dict[str, Callable[[], ScoredScan | None]], journal: Path) -> dict[str, ScoredScan | None]:
    """What each job gives (None: nothing to score), from the journal where it was done before."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    entries = {entry["job"]: entry["scan"] for entry in map(json.loads, lines)}
    done = {job: ScoredScan.from_json(entry) if entry else None for job, entry in entries.items()}
    with journal.open("a", encoding="utf-8") as log:
        for job, work in tqdm(jobs.items(), unit="scan", disable=None):
            if job not in done:
                done[job] = work()
                log.write(json.dumps({"job": job, "scan": done[job].to_json() if done[job] else None}) + "\n")
                log.flush()
    return done


if __name__ == "__main__":
    main()
