"""Segment labelled scans with a model and score them: a table, a JSON file and a picture of every scan.

    python -m Training.evaluate_scans --model spinecontext-ct --output runs/evaluation SCAN.nii.gz ...

The labels lie beside each scan as *_labels.nii.gz, in VerSe's numbering or, for scans named by --totalsegmentator, in
that of TotalSegmentator; for scans named by --subregions as *_subregions.nii.gz, in that of TPTBox.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from SpineContextSegLib.evaluate import compare, identify_levels
from SpineContextSegLib.model import load_model
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.preview import write_preview
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.scores import Case, Evaluation
from SpineContextSegLib.writing import write_segmentation

from .labelled_scans import labels_of
from .subregions import from_subregions


def evaluate_scans(
    model_name: str, scans: list[Path], output: Path, totalsegmentator: frozenset[str] = frozenset(),
    threads: int | None = None, everywhere: bool = False, subregions: frozenset[str] = frozenset(),
) -> tuple[Evaluation, dict[str, dict]]:  # fmt: skip
    """Segment `scans`, write labels and pictures to `output`; returns the scores and each scan's report.

    totalsegmentator: names of the scans whose labels have that numbering instead of VerSe's.
    everywhere: look closely at the whole body and not only where the spine was located.
    subregions: names of the scans whose labels are parts of vertebrae without levels.
    """
    output.mkdir(parents=True, exist_ok=True)
    model = load_model(model_name)
    runtime = choose_runtime(model, threads=threads)
    helpers = choose_helpers(model, threads=threads)
    cases, notes, reports = [], [], {}
    for image in tqdm(scans, unit="scan", disable=None):
        name = stem(image)
        volume, _ = read_volume(image)
        result = segment(volume, model, runtime, **helpers, everywhere=everywhere, structures="all")
        written = output / f"{name}_segmentation.nii.gz"
        write_segmentation(result.labels, written)
        write_preview(volume, result.labels, output / f"{name}.png", title=name)
        numbering = "totalsegmentator" if name in totalsegmentator else "verse"
        reference = image.with_name(f"{name}_subregions.nii.gz") if name in subregions else labels_of(image)
        truth = from_subregions(read_labels(reference)) if name in subregions else read_labels(reference)
        scores, case_notes = compare(result.labels, truth, reference_numbering=numbering)
        levels = identify_levels(result.labels, truth, reference_numbering=numbering) if result.levels_known else None
        cases.append(Case(name, written, reference, scores, levels))
        notes += [f"{name}: {note}" for note in case_notes]
        reports[name] = {**result.report(), "scores": {row: asdict(score) for row, score in scores.items()}}
    return Evaluation(cases, notes, "verse"), reports


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.evaluate_scans", description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path, nargs="+", help="scans (.nii.gz)")
    parser.add_argument("--model", required=True, help="name or folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of scans with that numbering")
    parser.add_argument("--subregions", nargs="*", default=[], help="names of scans labelled by parts of vertebrae")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--everywhere", action="store_true", help="don't locate the spine first")
    arguments = parser.parse_args()
    evaluation, reports = evaluate_scans(
        arguments.model, arguments.scans, arguments.output, frozenset(arguments.totalsegmentator), arguments.threads,
        arguments.everywhere, frozenset(arguments.subregions),
    )
    (arguments.output / "scores.json").write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")
    print(evaluation.table())


if __name__ == "__main__":
    main()
