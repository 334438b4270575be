"""Train the network on generated anatomy and labelled scans: one GPU, or a CPU over hours; stops and resumes anywhere.

    python -m Training.make_anatomies --output runs/anatomies --count 100
    python -m Training.train --output runs/ct --anatomies runs/anatomies --steps 3000

Running the second command again goes on where it stopped, with a raised --steps for longer.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.model import read_card
from SpineContextSegLib.network import SpineContextResUNet

from . import checkpoint
from .classes import vocabulary_of
from .generated_patches import GeneratedPatches
from .label_maps import load_atlas
from .losses import offset_loss, segmentation_loss
from .real_patches import RealPatches, load_real_scan

CARD = Path(__file__).parent / "cards" / "ct.json"
WEIGHTS_FILE = "network.safetensors"
_WARM_UP_STEPS = 50
_DECAY_FROM = 0.6  # of all steps; before it the learning rate is constant, so a run can be prolonged
_BATCH_NORM_MOMENTUM = 0.05
_GRADIENT_CLIP = 2.0
_WEIGHT_DECAY = 1e-4
_SAVE_EVERY_SECONDS = 300
_LOG_EVERY = 25


@dataclass
class Batch:
    """image (n, 1, r, a, s) in the network's intensities; target uint8 (n, r, a, s); merge (n, classes, classes);
    offsets (n, 3, r, a, s) along the same axes in the card's unit, None for a network without."""

    image: Tensor
    target: Tensor
    merge: Tensor
    offsets: Tensor | None


def draw_batch(sources: dict[str, object], shares: dict[str, float], card: ModelCard, size: int,
               seed: tuple[int, int], device: str) -> Batch:  # fmt: skip
    """Patches of all sources by their shares. `sources`: source of labels (see `classes.SOURCES`) -> patch source.

    `seed` is that of the run and the step, so a run that resumes draws what it would have drawn.
    """
    rng = np.random.default_rng(seed)
    names = rng.choice(list(shares), size=size, p=list(shares.values()))
    patches = [sources[name].draw(rng) for name in names]
    vocabulary = vocabulary_of(card)
    low, high = card.range_hu
    a, b = card.scale
    image = (torch.stack([patch.hu for patch in patches]).clamp(low, high) - low) * ((b - a) / (high - low)) + a
    target = torch.stack([vocabulary.target(patch.label, patch.level) for patch in patches])
    offsets = None
    if card.offset_unit_mm is not None:
        offsets = torch.stack([patch.offsets.flip(0) for patch in patches]) * (card.spacing_mm[0] / card.offset_unit_mm)
        offsets = offsets.transpose(2, 4).contiguous()
    # Patches are (k, j, i) = (S, A, R); the card's axis order is R, A, S.
    return Batch(
        image.transpose(1, 3)[:, None].contiguous(memory_format=torch.channels_last_3d),
        target.transpose(1, 3).contiguous(),
        torch.stack([vocabulary.merge_matrix(name) for name in names]).to(device),
        offsets,
    )


def open_sources(arguments: argparse.Namespace, spacing_mm: float, size: tuple[int, int, int]):
    """The sources of patches that the command line names, by what their labels separate, and the share of each."""
    sources: dict[str, object] = {"generated": GeneratedPatches(spacing_mm, size, arguments.device)}
    shares = {"generated": 1.0}
    if arguments.real:
        scans = [load_real_scan(path, spacing_mm) for path in arguments.real]
        sources["vertebrae"] = RealPatches(scans, spacing_mm, size, arguments.device)
        shares["vertebrae"] = arguments.real_share
    if arguments.label_map:
        sources["label_map"] = GeneratedPatches(spacing_mm, size, arguments.device)
        atlas = load_atlas(arguments.label_map, arguments.label_map_spacing, spacing_mm, arguments.device)
        sources["label_map"].add("atlas", atlas)
        shares["label_map"] = arguments.label_map_share
    shares["generated"] = 2.0 - sum(shares.values())
    return sources, shares


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, constant, then a cosine to 2 % of the peak."""
    done = step / steps
    fall = 0.5 * (1 + np.cos(np.pi * max(0.0, done - _DECAY_FROM) / (1 - _DECAY_FROM)))
    return float(peak * min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.02 + 0.98 * fall))


def start_from(network: SpineContextResUNet, state: dict[str, Tensor]) -> None:
    """Take over weights. Outputs that they lack stay as they were drawn; those of other classes are learnt anew."""
    own = network.state_dict()
    for key in ("final.weight", "final.bias"):
        rows = min(len(own[key]), len(state[key]))
        own[key][:rows] = state[key][:rows]
    network.load_state_dict(state | {key: own[key] for key in ("final.weight", "final.bias")})


def freeze_batch_norm(network: nn.Module) -> None:
    """Use running statistics from here on, as inference does: batches are too small for their own to be steady."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eval()


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line describes."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    device, card = arguments.device, read_card(arguments.card)
    size = tuple(arguments.patch[::-1] if len(arguments.patch) == 3 else arguments.patch * 3)
    vocabulary = vocabulary_of(card)
    spacing = card.spacing_mm[0]

    sources, shares = open_sources(arguments, spacing, size)

    network = SpineContextResUNet(1, card.out_channels, card.base_filters)
    if arguments.start_from:
        start_from(network, load_file(arguments.start_from))
    network = network.to(device, memory_format=torch.channels_last_3d)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = _BATCH_NORM_MOMENTUM
    optimizer = torch.optim.AdamW(network.parameters(), arguments.learning_rate, weight_decay=_WEIGHT_DECAY)
    step, seconds = checkpoint.restore(arguments.output, network, optimizer)
    forward = torch.compile(network) if arguments.compile else network

    def draw(step: int) -> Batch:
        if step % _LOG_EVERY == 0 or not len(sources["generated"]):
            _fill_pool(sources["generated"], arguments, step)
        return draw_batch(sources, shares, card, arguments.batch, (arguments.seed, step), device)

    log = (arguments.output / "log.jsonl").open("a", encoding="utf-8")
    log.write(json.dumps({key: str(value) for key, value in vars(arguments).items()}) + "\n")

    started, saved, history = time.monotonic() - seconds, time.monotonic(), []
    network.train()
    last = min(arguments.steps, arguments.stop_after or arguments.steps)
    # The next batch is drawn while the network works on this one.
    with ThreadPoolExecutor(1) as drawer:
        coming = drawer.submit(draw, step)
        while step < last:
            if arguments.start_from or step >= _DECAY_FROM * arguments.steps:
                freeze_batch_norm(network)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, arguments.steps, arguments.learning_rate)
            batch, coming = coming.result(), drawer.submit(draw, step + 1)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                outputs = forward(batch.image)
            logits, found_offsets = outputs.tensor_split([len(card.classes)], 1)
            loss, parts = segmentation_loss(logits, batch.target, batch.merge, vocabulary)
            if batch.offsets is not None:
                parts["offsets"] = offset_loss(found_offsets, batch.offsets)
                loss, parts["offsets"] = loss + parts["offsets"], parts["offsets"].detach()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_CLIP)
            optimizer.step()
            step += 1
            history.append({name: float(value) for name, value in parts.items()})
            if step % _LOG_EVERY == 0:
                mean = {name: round(float(np.mean([entry[name] for entry in history])), 4) for name in parts}
                spent, bodies = round(time.monotonic() - started), len(sources["generated"])
                log.write(json.dumps({"step": step, "seconds": spent, "bodies": bodies, **mean}) + "\n")
                log.flush()
                history.clear()
            if time.monotonic() - saved > _SAVE_EVERY_SECONDS or step == last:
                checkpoint.save(arguments.output, network, optimizer, step, time.monotonic() - started)
                weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
                save_file(weights, arguments.output / WEIGHTS_FILE)
                saved = time.monotonic()


def _fill_pool(source: GeneratedPatches, arguments: argparse.Namespace, step: int) -> None:
    """Stored bodies when there is a folder of them; else new ones, a few at the start and one at every log line."""
    if arguments.anatomies:
        source.take_up(arguments.anatomies)
        if not len(source):
            raise SystemExit(f"{arguments.anatomies} holds no bodies; Training.make_anatomies makes some.")
        return
    for _ in range(4 if not len(source) else 1):
        source.generate(arguments.seed + 100_000 + step + len(source))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m Training.train", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of the run: checkpoint, weights, log")
    add("--card", type=Path, default=CARD, help="card of the network: spacing, intensities, classes, size")
    add("--anatomies", type=Path, help="folder of stored bodies; without it they are generated on the device")
    add("--real", type=Path, nargs="*", default=[], help="CTs (.nii.gz), VerSe labels beside them as *_labels.nii.gz")
    add("--real-share", type=float, default=0.35, help="share of the patches that come from --real")
    add("--label-map", type=Path, help="SPL abdominal atlas (.nii.gz) to render as one more body")
    add("--label-map-spacing", type=float, nargs=3, default=(1.4, 1.4, 3.0), help="its true voxel size, mm")
    add("--label-map-share", type=float, default=0.1)
    add("--start-from", type=Path, help="weights (.safetensors) to start from, with frozen batch norm")
    add("--steps", type=int, required=True)
    add("--stop-after", type=int, help="step at which to stop this time; the learning rate still follows --steps")
    add("--batch", type=int, default=2)
    add("--patch", type=int, nargs="+", default=[64], help="edge, or size along R, A and S, in voxels, multiples of 8")
    add("--learning-rate", type=float, default=2e-3)
    add("--seed", type=int, default=0)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--compile", action="store_true", help="torch.compile: needs a C++ compiler, pays off after some minutes")
    return parser


if __name__ == "__main__":
    train(_parser().parse_args())
