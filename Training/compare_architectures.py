"""Train several architectures alike, from nothing, and say how well each does on bodies that none of them saw.

    python -m Training.make_anatomies --output runs/anatomies4 --count 240 --first-seed 3000 \
        --card Training/cards/ct_locator.json
    python -m Training.compare_architectures --output runs/architectures --anatomies runs/anatomies4 --steps 300

Same card, same patches in the same order, same losses and steps for all. Training stops and resumes anywhere; the
table is made at the end, from networks that are all judged anew.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from SpineContextSegLib import metrics
from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.labels import IGNORED
from SpineContextSegLib.model import read_card
from SpineContextSegLib.pairing import stem
from SpineContextSegLib.scores import BINARY, CANAL, DISCS, SACRUM, VERTEBRAE

from .anatomy.generate import generate
from .architectures import ARCHITECTURES, parameters
from .classes import CANAL as CANAL_CLASS
from .classes import DISC, SPINE, VERTEBRA
from .classes import SACRUM as SACRUM_CLASS
from .loop import LOG_FILE, WEIGHTS_FILE
from .real_patches import load_real_scan
from .scanner import draw_recipe, render_ct
from .train import build_parser, network_input, train

CARD = Path(__file__).parent / "cards" / "ct_locator.json"
# Along R, A and S. SwinUNETR halves a window five times; a spine is longer than it is deep. The widest branch of the
# context block reaches 64 voxels: in a smaller patch all but its middle stays as it was drawn.
PATCH = (32, 32, 128)
_FIRST_SEED = 9_500_000
_STRUCTURES = {
    BINARY: SPINE, VERTEBRAE: VERTEBRA, SACRUM: (SACRUM_CLASS,), DISCS: (DISC,), CANAL: (CANAL_CLASS,),
}  # fmt: skip
Scan = tuple[torch.Tensor, torch.Tensor]
"""HU and classes of anatomy, both (k, j, i)."""


def generated_bodies(count: int, card: ModelCard) -> dict[str, Scan]:
    """Scans of bodies that no training draws, on the card's grid."""
    scans = {}
    for seed in tqdm(range(_FIRST_SEED, _FIRST_SEED + count), desc="bodies", unit="body", disable=None):
        body, recipe = generate(seed, card.spacing_mm[0]), draw_recipe(np.random.default_rng([seed, 9]))
        hu, seen = render_ct(body.tissue, body.bone, body.cortex, body.label, card.spacing_mm[0], recipe)
        scans[f"generated {seed}"] = hu, torch.where(seen, body.label, 0)
    return scans


def dice(network: nn.Module, scan: Scan, card: ModelCard, bfloat16: bool = False) -> dict[str, float]:
    """Dice of each structure that the labels hold, on the card's grid."""
    hu, label = scan
    inferer = SlidingWindowInferer(PATCH, overlap=0.25, mode="gaussian", padding_mode="replicate")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        found = inferer(network_input(hu[None].float(), card), network)[0].argmax(0).transpose(0, 2)
    found = torch.where(label == IGNORED, IGNORED, found)
    result = {}
    for name, classes in _STRUCTURES.items():
        found_here, there = (np.isin(each, classes) for each in (found, label))
        if there.any():
            result[name] = metrics.dice(found_here, there)
    return result


def compare(arguments: argparse.Namespace) -> dict[str, dict]:
    """Train each architecture, from where it was, and judge it. Name -> what is known of it.

    Raises InputRefused, before any work, where labels of a test scan hold values that their numbering doesn't have.
    """
    card, results = read_card(CARD), {}
    real: dict[str, Scan] = {}
    for path in arguments.test:
        numbering = "totalsegmentator" if stem(path) in arguments.totalsegmentator else "verse"
        scan = load_real_scan(path, card.spacing_mm[0], numbering=numbering)
        real[scan.name] = scan.hu, scan.label
    scans = generated_bodies(arguments.bodies, card) | real
    for name in arguments.only or ARCHITECTURES:
        folder = arguments.output / name.replace(" ", "_")
        torch.manual_seed(arguments.seed)
        network = ARCHITECTURES[name](len(card.classes), PATCH)
        started = time.monotonic()
        train(build_parser().parse_args([
            "--output", str(folder), "--card", str(CARD), "--anatomies", str(arguments.anatomies),
            "--patch", *map(str, PATCH), "--steps", str(arguments.steps), "--learning-rate",
            str(arguments.learning_rate), "--seed", str(arguments.seed), "--batch", "1",
            *(["--bfloat16"] if arguments.bfloat16 else []),
        ]), network)  # fmt: skip
        print(f"{name}: trained, {time.monotonic() - started:.0f} s this time", flush=True)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        network.cpu().eval()  # the training may have left it on a GPU, where the scans to judge by aren't
        results[name] = {
            "parameters": parameters(network),
            "training_s": _seconds_of(folder / LOG_FILE),
            "dice": {scan: dice(network, pair, card, arguments.bfloat16) for scan, pair in scans.items()},
        }
    return results


def table(results: dict[str, dict]) -> str:
    """Markdown: each architecture's size, its time, Dice of the generated bodies, then of each real scan."""
    real = [scan for scan in next(iter(results.values()))["dice"] if not scan.startswith("generated")]
    heads = ["architecture", "parameters", "training", "spine, mean", "5th percentile", "minimum", "vertebrae",
             "sacrum", "discs", "canal", *real]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, result in results.items():
        bodies = [scores for scan, scores in result["dice"].items() if scan.startswith("generated")]
        columns = {kind: [scores[kind] for scores in bodies if kind in scores] for kind in _STRUCTURES}
        spine = columns[BINARY]
        numbers = [np.mean(spine), np.percentile(spine, 5), np.min(spine)]
        numbers += [np.mean(columns[kind]) for kind in (VERTEBRAE, SACRUM, DISCS, CANAL)]
        numbers += [result["dice"][scan][BINARY] for scan in real]
        size, minutes = f"{result['parameters'] / 1e6:.1f} M", f"{result['training_s'] / 60:.0f} min"
        lines.append(f"| {' | '.join([name, size, minutes, *(f'{number:.3f}' for number in numbers)])} |")
    return "\n".join(lines)


def _seconds_of(log: Path) -> float:
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return max((entry["seconds"] for entry in entries if "seconds" in entry), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m Training.compare_architectures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--anatomies", type=Path, required=True, help="stored bodies at the spacing of ct_locator.json")
    parser.add_argument("--test", type=Path, nargs="*", default=[], help="labelled scans to judge by, too")
    parser.add_argument("--totalsegmentator", nargs="*", default=[], help="names of --test scans with that numbering")
    parser.add_argument("--only", nargs="*", choices=list(ARCHITECTURES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--bodies", type=int, default=40, help="generated ones to judge by")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="as for Training.train")
    print(table(compare(parser.parse_args())))


if __name__ == "__main__":
    main()
