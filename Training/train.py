"""Train the network on generated anatomy and labelled scans: one GPU, or a CPU over hours; stops and resumes anywhere.

    python -m Training.make_anatomies --output runs/anatomies --count 100
    python -m Training.train --output runs/ct --anatomies runs/anatomies --steps 3000

Running the second command again goes on where it stopped, with a raised --steps for longer.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.model import read_card
from SpineContextSegLib.network import SpineContextResUNet

from . import loop
from .classes import CLASSES, merge_matrix
from .generated_patches import GeneratedPatches
from .losses import offset_loss, segmentation_loss
from .real_patches import RealPatches, load_real_scan

CARD = Path(__file__).parent / "cards" / "ct.json"
# Offsets are learnt last: with a weight of 1 they still erred by several mm in the neck when all else was learnt.
_OFFSET_WEIGHT = 2.0
# Generated bodies on the device: so many at the start, one more at every log line, later only the newest ones. One
# takes up to about 0.1 GB at 1.5 mm.
_FIRST_BODIES, _MOST_BODIES = 4, 32


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
    image, target = torch.stack([patch.hu for patch in patches]), torch.stack([patch.label for patch in patches])
    offsets = None
    if card.offset_unit_mm is not None:
        offsets = torch.stack([patch.offsets.flip(0) for patch in patches]) * (card.spacing_mm[0] / card.offset_unit_mm)
        offsets = offsets.transpose(2, 4).contiguous()
    # Patches are (k, j, i) = (S, A, R); the card's axis order is R, A, S.
    return Batch(
        network_input(image, card),
        target.transpose(1, 3).contiguous(),
        torch.stack([merge_matrix(name, patch.lacking) for name, patch in zip(names, patches)]).to(device),
        offsets,
    )


def network_input(hu: Tensor, card: ModelCard) -> Tensor:
    """HU (n, k, j, i) -> (n, 1, r, a, s) in the intensities of a card whose axis order is R, A, S."""
    (low, high), (a, b) = card.range_hu, card.scale
    image = (hu.clamp(low, high) - low) * ((b - a) / (high - low)) + a
    return image.transpose(1, 3)[:, None].contiguous(memory_format=torch.channels_last_3d)


def open_sources(arguments: argparse.Namespace, card: ModelCard, size: tuple[int, int, int]):
    """The sources of patches that the command line names, by what their labels separate, and the share of each."""
    spacing_mm, (modality, *_) = card.spacing_mm[0], card.modality
    sources: dict[str, object] = {"generated": GeneratedPatches(spacing_mm, size, arguments.device, modality)}
    shares = {"generated": 1.0}
    if arguments.real:
        scans = [load_real_scan(path, spacing_mm, arguments.around_mm, modality) for path in arguments.real]
        sources["vertebrae"] = RealPatches(scans, spacing_mm, size, arguments.device)
        shares["vertebrae"] = arguments.real_share
        shares["generated"] = 1.0 - arguments.real_share
    return sources, shares


def train(arguments: argparse.Namespace, network: nn.Module | None = None) -> None:
    """Run the training that the command line describes, of the card's network or of another one in its place."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    device, card = arguments.device, read_card(arguments.card)
    size = tuple(arguments.patch[::-1] if len(arguments.patch) == 3 else arguments.patch * 3)
    if card.classes != CLASSES:
        raise SystemExit(f"Nothing here teaches the classes of {card.name}: {', '.join(card.classes)}.")
    sources, shares = open_sources(arguments, card, size)
    network = network or SpineContextResUNet(1, card.out_channels, card.base_filters)
    if arguments.start_from:
        loop.start_from(network, load_file(arguments.start_from))

    def draw(step: int) -> Batch:
        if step % loop.LOG_EVERY == 0 or not len(sources["generated"]):
            fill_pool(sources["generated"], arguments, step)
        return draw_batch(sources, shares, card, arguments.batch, (arguments.seed, step), device)

    def loss_of(forward: loop.Forward, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits, found_offsets = forward(batch.image).tensor_split([len(card.classes)], 1)
        loss, parts = segmentation_loss(logits, batch.target, batch.merge)
        if batch.offsets is None:
            return loss, parts
        distance = offset_loss(found_offsets, batch.offsets)
        return loss + _OFFSET_WEIGHT * distance, parts | {"offsets": distance.detach()}

    loop.run(network, draw, loss_of, arguments)


def fill_pool(source: GeneratedPatches, arguments: argparse.Namespace, step: int) -> None:
    """Stored bodies when there is a folder of them; else generated ones, which follow from the step alone: a run that
    resumes has those that it would have had."""
    if arguments.anatomies:
        source.take_up(arguments.anatomies)
        if not len(source):
            raise SystemExit(f"{arguments.anatomies} holds no bodies; Training.make_anatomies makes some.")
        return
    first = arguments.seed + 100_000
    count = _FIRST_BODIES + step // loop.LOG_EVERY
    source.hold(range(first + max(0, count - _MOST_BODIES), first + count))


def build_parser() -> argparse.ArgumentParser:
    """The command line; `train` takes what it parses."""
    parser = argparse.ArgumentParser(prog="python -m Training.train", description=__doc__.splitlines()[0])
    add = parser.add_argument
    loop.add_arguments(parser, CARD, real_share=0.35, batch=2)
    add("--around-mm", type=float, help="of --real, keep only what lies this near to the labels: saves memory")
    add("--patch", type=int, nargs="+", default=[64], help="edge, or size along R, A and S, in voxels, multiples of 8")
    return parser


if __name__ == "__main__":
    train(build_parser().parse_args())
