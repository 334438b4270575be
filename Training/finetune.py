"""Train a model on, on scans of one's own, and keep it where it is better on others.

`spinecontextseg finetune` is its command line. Everything it makes lies in one work folder, from which an interrupted
run goes on; the model appears among the user's only when it is whole and better.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.torch import load, load_file
from torch import Tensor
from tqdm import tqdm

from SpineContextSegLib.checks import check_input
from SpineContextSegLib.checksums import file_digest
from SpineContextSegLib.errors import Incomplete, InputRefused, UnlikelyValues
from SpineContextSegLib.evaluate import compare, identify_levels
from SpineContextSegLib.labels import VERTEBRAE
from SpineContextSegLib.model import CARD_FILE, Model, list_models, load_model, user_models_folder
from SpineContextSegLib.network import SpineContextResUNet
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.scores import BINARY
from SpineContextSegLib.text_header import data_files, names_data_elsewhere
from SpineContextSegLib.volume import Volume

from .average import average
from .classes import CLASSES
from .export import export
from .generated_patches import anatomy_file, store
from .generated_scans import generated_scan
from .labelled_scans import find_labelled, labels_of, read_labelled
from .loop import LOG_FILE, WEIGHTS_FILE, start_from
from .quantize import calibration_windows, quantize, with_int8
from .train import build_parser, train
from .verdict import Judged, Verdict, judge

_HELD_OUT_SHARE = 0.2
# Patches of generated bodies keep alive what the data set doesn't show: other regions, scanners, ages. With 6 bodies
# and 60 % of the patches from the data set, 200 steps cost the sample 0.011 of Dice.
_BODIES, _FIRST_BODY = 14, 90_000
_BODIES_FOLDER = "bodies"
_REAL_SHARE = 0.4
_LEARNING_RATE = 5e-4
_PATCH = 64
# Of what lies around the spine, as much as patches that are centered on it can reach.
_AROUND_MM = 80.0
_CALIBRATION_SCANS, _CALIBRATION_GENERATED = 6, 4
_GUARD, _GUARD_SEED = "(another kind)", 8_900_001


def finetune(
    dataset: Path, base: str, name: str, *, work: Path, hold_out: int | None, steps: int, threads: int | None
) -> str:
    """Train `base` on, on the labelled scans of a folder, and add it to the user's models as `name`.

    Args:
        dataset: see `labelled_scans.find_labelled`.
        work: folder of the run; a run that was interrupted goes on in it.
        hold_out: how many scans to judge by instead of learning from them, see `split`; None for a fifth of them.
        steps: of training, each on two patches.
        threads: of the judging; None for all cores.

    Returns a report. Raises:
        InputRefused: before any work.
        Incomplete: the new model isn't better; it stays in the work folder only.
    """
    model = load_model(base)
    held_out, taught = _checked(model, name, find_labelled(dataset), hold_out, steps, threads)
    _remember(work, model, held_out, taught, steps)
    # Where bars aren't shown, as in a log file, this is all there is to see for hours.
    print(
        f"Learns from {len(taught)} scans, holds out {len(held_out)}. Makes {_BODIES} generated bodies first, which "
        f"takes minutes ({work / _BODIES_FOLDER}); log of the training: {work / LOG_FILE}",
        flush=True,
    )
    print(
        "Scans of one patient are on one side where their names begin with the same sub-...; under two names one may "
        "be learnt from and the other judged on.",
        flush=True,
    )
    weights = _trained(model, taught, work, steps)
    new = _packed(model, name, _halfway(model, weights), taught, held_out, work, steps)
    before, guard_before = _judged("before", model, held_out, threads)
    after, guard_after = _judged("after", new, held_out, threads)
    verdict = judge(before, after, guard_before, guard_after)
    report = _report(before | {_GUARD: guard_before}, after | {_GUARD: guard_after}, verdict)
    if not verdict.better:
        print(report)
        raise Incomplete(f"{verdict.reason} {base} stays the better model; nothing was added to your models.")
    _write_results(new, before, after, verdict)
    return f"{report}\nAdded the model {name} in {_add_to_users(new.folder, name)}"


def split(scans: Mapping[Path, str], hold_out: int | None) -> tuple[list[Path], list[Path]]:
    """Scans to judge by, and scans to learn from: by a hash of their names, so that order and place don't matter.

    Those of one subject (`sub-...`, as in BIDS) and copies are on one side, as a spine that was learnt judges nothing;
    so some more than `hold_out` may be held out.

    Args:
        scans: each with the checksum of its voxels.
    """
    count = max(1, round(_HELD_OUT_SHARE * len(scans))) if hold_out is None else hold_out
    held_out: list[Path] = []
    taught: list[Path] = []
    for spine in sorted(_spines(scans), key=lambda paths: min(map(_place, paths))):
        (held_out if len(held_out) < count else taught).extend(spine)
    if not held_out or not taught:
        raise InputRefused(
            f"Of {len(scans)} labelled scans {count} can't be held out: at least one is needed to learn from and one "
            "of another subject, which is no copy of it, to judge by."
        )
    return sorted(held_out), sorted(taught)


def _spines(scans: Mapping[Path, str]) -> list[list[Path]]:
    """Scans of one subject, and copies, together."""
    spines: list[tuple[set[str], list[Path]]] = []
    for path, voxels in scans.items():
        marks, paths = {_subject(path), voxels}, [path]
        for spine in [spine for spine in spines if not marks.isdisjoint(spine[0])]:
            spines.remove(spine)
            marks |= spine[0]
            paths += spine[1]
        spines.append((marks, paths))
    return [paths for _, paths in spines]


def _place(scan: Path) -> str:
    """Where a scan comes in an order that means nothing."""
    return hashlib.sha256(_subject(scan).encode()).hexdigest()


def _subject(scan: Path) -> str:
    """Who is in a scan, as far as its name tells: else each is somebody else."""
    name = stem(scan)
    return name.partition("_")[0] if name.startswith("sub-") else name


def _checked(
    model: Model, name: str, scans: list[Path], hold_out: int | None, steps: int, threads: int | None
) -> tuple[list[Path], list[Path]]:
    if name in list_models():
        raise InputRefused(f"A model named {name} is there already: choose another --name.")
    if model.card.classes != CLASSES:
        raise InputRefused(
            f"The classes of {model.card.name} aren't those that are taught here ({', '.join(CLASSES)})."
        )
    if steps < 1:
        raise InputRefused("--steps must be at least 1.")
    if threads is not None and threads < 1:
        raise InputRefused("--threads must be at least 1.")
    model.card.from_dict(model.card.to_dict() | {"name": name})
    names = [stem(path) for path in scans]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise InputRefused(f"Several scans are called {twice[0]}: give each its own name.")
    left_out: dict[Path, UnlikelyValues] = {}
    fit: dict[Path, str] = {}
    for path in scans:
        try:
            fit[path] = _voxels(_checked_scan(path, model.card.modality[0]))
        except UnlikelyValues as refusal:
            left_out[path] = refusal
    if not fit:
        raise next(iter(left_out.values()))
    if left_out:
        print(
            f"Left out {len(left_out)} of {len(scans)} scans, whose values aren't what {model.card.name} was made for "
            f"({model.card.modality[0]}): {', '.join(map(stem, left_out))}",
            flush=True,
        )
    copies = defaultdict(list)
    for path, voxels in fit.items():
        copies[voxels].append(stem(path))
    for alike in copies.values():
        if len(alike) > 1:
            print(f"Copies of one scan, all held out or all learnt from: {', '.join(alike)}", flush=True)
    return split(fit, hold_out)


def _checked_scan(path: Path, modality: str) -> Volume:
    """Reads all of a scan and its labels, so that what is damaged or can't be right is told now and not after hours.

    Raises:
        UnlikelyValues: a scan of another modality, as in a data set of CT and MR.
        InputRefused: anything else.
    """
    file = labels_of(path)
    volume, truth = read_labelled(path, file)
    try:
        check_input(volume, modality)
    except InputRefused as refusal:
        raise type(refusal)(f"'{path}': {refusal}") from refusal
    if not VERTEBRAE.intersection(np.unique(truth.array)):
        raise InputRefused(f"'{file}' holds no vertebra: label the scan, or take it out of the data set.")
    return volume


def _voxels(scan: Volume) -> str:
    """Checksum of its values, in whatever type and order of axes they are stored."""
    along = np.abs(scan.grid.directions).argmax(axis=0)
    backward = [2 - axis for axis in range(3) if scan.grid.directions[along[axis], axis] < 0]
    upright = np.flip(scan.array, backward).transpose(2 - np.argsort(along))
    return hashlib.sha256(np.ascontiguousarray(upright, np.float32)).hexdigest()


def _remember(work: Path, model: Model, held_out: list[Path], taught: list[Path], steps: int) -> None:
    """Write down what the run is about; one that goes on must be about the same, or it would be judged by scans it
    knows, or keep what it learnt from labels that were corrected since."""
    content = {
        "model": {kind: weight.sha256 for kind, weight in model.card.weights.items()},
        "held_out": [_told_apart(path) for path in held_out],
        "taught": [_told_apart(path) for path in taught],
        "steps": steps,
    }
    file = work / "run.json"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != content:
        raise InputRefused(
            f"'{work}' holds a run with other scans, labels, --steps or of another model: choose another --work."
        )
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (work / CARD_FILE).write_text(json.dumps(model.card.to_dict()), encoding="utf-8")
    (work / "start.safetensors").write_bytes(model.read("safetensors"))


def _told_apart(scan: Path) -> dict[str, object]:
    """Where a scan lies, and the SHA-256 of all that is read of it and of its labels."""
    headers = scan, labels_of(scan)
    voxels = (file for path in headers if names_data_elsewhere(path) for file in data_files(path))
    return {"scan": str(scan.resolve()), "sha256": [file_digest(path) for path in (*headers, *voxels)]}


def _trained(model: Model, taught: list[Path], work: Path, steps: int) -> Path:
    bodies = work / _BODIES_FOLDER
    bodies.mkdir(exist_ok=True)
    for seed in tqdm(range(_FIRST_BODY, _FIRST_BODY + _BODIES), desc="generated bodies", unit="body", disable=None):
        if not anatomy_file(bodies, seed).exists():
            store(bodies, seed, model.card.spacing_mm[0])
    train(build_parser().parse_args([
        "--output", str(work), "--card", str(work / CARD_FILE), "--start-from", str(work / "start.safetensors"),
        "--anatomies", str(bodies), "--real", *map(str, taught), "--real-share", str(_REAL_SHARE),
        "--around-mm", str(_AROUND_MM), "--patch", str(_PATCH), "--steps", str(steps),
        "--learning-rate", str(_LEARNING_RATE),
    ]))  # fmt: skip
    return work / WEIGHTS_FILE


def _halfway(base: Model, learnt: Path) -> dict[str, Tensor]:
    """Half of what is forgotten comes back that way, and most of what was learnt stays, see `average`."""
    network = SpineContextResUNet(1, base.card.out_channels, base.card.base_filters)
    start_from(network, load(base.read("safetensors")))
    return average(network.state_dict(), load_file(learnt), 0.5)


def _packed(
    base: Model, name: str, state: dict, taught: list[Path], held_out: list[Path], work: Path, steps: int
) -> Model:
    """The trained network as a model's folder, in 8 bits too where the base has them."""
    card = base.card.to_dict() | {
        "name": name,
        "version": "1",
        "description": f"{base.card.name} {base.card.version} trained on with {len(taught)} scans. Research use only.",
        "training": {
            "from": f"{base.card.name} {base.card.version}", "scans": len(taught), "held_out": len(held_out),
            "steps": steps, "base": base.card.training,
        },
        "results": {},
    }  # fmt: skip
    for folder in ("exported", "model"):
        shutil.rmtree(work / folder, ignore_errors=True)
    helpers = {kind: Path(str(base.folder / kind)) for kind in ("locator", "namer") if getattr(base.card, kind)}
    new = export(state, card, work / "exported", helpers)
    if "openvino_int8.xml" not in base.card.weights:
        return new
    windows = calibration_windows(new.card, taught[:_CALIBRATION_SCANS], _CALIBRATION_GENERATED)
    return with_int8(new, *quantize(new, windows), work / "model")


def _judged(side: str, model: Model, scans: list[Path], threads: int | None) -> tuple[dict[str, Judged], Judged]:
    """How a model does on scans, by their names, and on a scan of another kind; as installed: located, in the precision
    that this processor runs best."""
    runtime, helpers = choose_runtime(model, threads=threads), choose_helpers(model, threads=threads)

    def judged(volume: Volume, truth: Volume) -> Judged:
        labels = segment(volume, model, runtime, **helpers, structures="all").labels
        levels = identify_levels(labels, truth)
        whole = levels.whole if levels else None
        dice = compare(labels, truth)[0][BINARY].dice
        return Judged(dice, whole.identified if whole else 0, len(whole.vertebrae) if whole else 0)

    bar = tqdm(scans, desc=f"judging {side}", unit="scan", disable=None)
    found = {stem(path): judged(read_volume(path)[0], read_labels(labels_of(path))) for path in bar}
    return found, judged(*_guard_scan(model.card.modality[0]))


def _guard_scan(modality: str) -> tuple[Volume, Volume]:
    """A scan and its labels that the data set has nothing to do with, and that no shipped model has learnt from."""
    scan = generated_scan(_GUARD_SEED, modality)
    return scan.image, scan.labels


def _report(before: dict[str, Judged], after: dict[str, Judged], verdict: Verdict) -> str:
    width = max(map(len, before))
    lines = [f"{'Held out'.ljust(width)}  Dice before  after   levels before  after"]
    for name, first in before.items():
        second = after[name]
        levels = [f"{each.identified}/{each.asked}" if each.asked else "-" for each in (first, second)]
        lines.append(f"{name.ljust(width)}  {first.dice:11.4f}  {second.dice:.4f}  {levels[0]:>13}  {levels[1]:>5}")
    return "\n".join([*lines, verdict.reason])


def _write_results(model: Model, before: dict[str, Judged], after: dict[str, Judged], verdict: Verdict) -> None:
    """Figures of the held-out scans into the card, without their names, which may be those of patients."""
    file = model.folder / CARD_FILE
    card = json.loads(file.read_text(encoding="utf-8"))
    card["results"]["held_out"] = {
        side: [round(scan.dice, 4) for scan in scans.values()] for side, scans in (("before", before), ("after", after))
    } | {"verdict": verdict.reason}
    file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _add_to_users(folder: Path, name: str) -> Path:
    destination = user_models_folder() / name
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{name}.") as temporary:
        shutil.copytree(folder, Path(temporary) / name).rename(destination)
    return destination
