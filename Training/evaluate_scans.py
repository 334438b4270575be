"""Segment labelled scans with a model and score them: a table, a JSON file and a picture of every scan.

    python -m Training.evaluate_scans --model spinecontext-ct --output runs/evaluation SCAN.nii.gz ...

The labels lie beside each scan as *_labels.nii.gz, in VerSe's numbering or, for scans named by --totalsegmentator, in
that of TotalSegmentator; for scans named by --subregions as *_subregions.nii.gz, in that of TPTBox. All labels are
checked before the first scan is segmented; scores.json holds every scan as soon as it is done.
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
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.runtime import PRECISIONS, choose_helpers, choose_runtime
from SpineContextSegLib.scores import Case, Evaluation, write_whole
from SpineContextSegLib.writing import write_segmentation

from .labelled_scans import Numbering, labels_of, read_labelled, read_reference


def evaluate_scans(
    model_name: str, scans: list[Path], output: Path, totalsegmentator: frozenset[str] = frozenset(),
    threads: int | None = None, everywhere: bool = False, subregions: frozenset[str] = frozenset(),
    precision: str = "auto",
) -> Evaluation:  # fmt: skip
    """Segment `scans`, write labels, pictures and scores.json, each scan's report, to `output`.

    totalsegmentator: names of the scans whose labels have that numbering instead of VerSe's.
    everywhere: look closely at the whole body and not only where the spine was located.
    subregions: names of the scans whose labels are parts of vertebrae without levels.
    precision: see `choose_runtime`.

    Raises:
        InputRefused: labels can't be read, hold values that their numbering doesn't have or lie on another grid than
            their scan; before anything is segmented.
    """
    references = [_reference(image, totalsegmentator, subregions) for image in scans]
    for image, (file, numbering) in zip(scans, references):
        read_labelled(image, file, numbering)
    output.mkdir(parents=True, exist_ok=True)
    model = load_model(model_name)
    runtime = choose_runtime(model, threads=threads, precision=precision)
    helpers = choose_helpers(model, threads=threads, precision=precision)
    cases, notes, reports = [], [], {}
    for image, (file, numbering) in zip(tqdm(scans, unit="scan", disable=None), references):
        name = stem(image)
        volume, _ = read_volume(image)
        result = segment(volume, model, runtime, **helpers, everywhere=everywhere, structures="all")
        written = output / f"{name}_segmentation.nii.gz"
        write_segmentation(result.labels, written)
        write_preview(volume, result.labels, output / f"{name}.png", title=name)
        truth, left_out = read_reference(file, numbering)
        scores, case_notes = compare(result.labels, truth)
        levels = identify_levels(result.labels, truth) if result.levels_known else None
        cases.append(Case(name, written, file, scores, levels))
        notes += [f"{name}: {note}" for note in left_out + case_notes]
        reports[name] = {**result.report(), "scores": {row: asdict(score) for row, score in scores.items()}}
        write_whole(output / "scores.json", json.dumps(reports, indent=2) + "\n")
    return Evaluation(cases, notes, "verse")


def _reference(image: Path, totalsegmentator: frozenset[str], subregions: frozenset[str]) -> tuple[Path, Numbering]:
    """Where the labels of a scan lie, and their numbering."""
    name = stem(image)
    if name in subregions:
        return image.with_name(f"{name}_subregions.nii.gz"), "subregions"
    return labels_of(image), "totalsegmentator" if name in totalsegmentator else "verse"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.evaluate_scans", description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path, nargs="+", help="scans (.nii.gz)")
    parser.add_argument("--model", required=True, help="name or folder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of scans with that numbering")
    parser.add_argument("--subregions", nargs="*", default=[], help="names of scans labelled by parts of vertebrae")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto",
                        help="auto (default) takes 8 bits where model and processor have them")  # fmt: skip
    parser.add_argument("--everywhere", action="store_true", help="don't locate the spine first")
    arguments = parser.parse_args()
    evaluation = evaluate_scans(
        arguments.model, arguments.scans, arguments.output, frozenset(arguments.totalsegmentator), arguments.threads,
        arguments.everywhere, frozenset(arguments.subregions), arguments.precision,
    )
    print(evaluation.table())


if __name__ == "__main__":
    main()
