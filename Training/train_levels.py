"""Train the network that says which vertebra is in the middle of a crop, or none; stops and resumes anywhere.

    python -m Training.make_anatomies --output runs/anatomies4 --count 800 --card Training/cards/ct_namer.json
    python -m Training.train_levels --output runs/namer --anatomies runs/anatomies4 --steps 3000

A locator's weights are a good start (--start-from): both see bodies at the same spacing. With a card of an MR network
(--card) the bodies are scanned as MR.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from SpineContextSegLib.model import read_card
from SpineContextSegLib.network import network_for

from . import loop
from .generated_patches import GeneratedPatches
from .level_crops import Batch, LevelCrops, draw_batch
from .real_patches import RealPatches, load_real_scan
from .train import fill_pool

CARD = Path(__file__).parent / "cards" / "ct_namer.json"


def train(arguments: argparse.Namespace) -> None:
    """Run the training that the command line describes."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    card = read_card(arguments.card)
    spacing, size, (modality, *_) = card.spacing_mm[0], card.roi_size[::-1], card.modality

    generated = GeneratedPatches(spacing, size, arguments.device, modality)
    crops, shares = [LevelCrops(generated)], [1.0]
    if arguments.real:
        scans = [load_real_scan(path, spacing, modality=modality) for path in arguments.real]
        crops.append(LevelCrops(RealPatches(scans, spacing, size, arguments.device)))
        if not crops[-1].levels():
            raise SystemExit("--real shows no vertebra that is told apart: give labels of each level and of the canal.")
        shares = [1 - arguments.real_share, arguments.real_share]

    network = network_for(card)
    if arguments.start_from:
        loop.start_from(network, load_file(arguments.start_from))

    def draw(step: int) -> Batch:
        if step % loop.LOG_EVERY == 0 or not len(generated):
            fill_pool(generated, arguments, step)
            crops[0].take_up()
        return draw_batch(crops, shares, card, arguments.batch, (arguments.seed, step))

    def loss_of(forward: loop.Forward, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = forward(batch.image).float()
        loss = nn.functional.cross_entropy(logits, batch.target)
        right = (logits.argmax(1) == batch.target).float().mean()
        return loss, {"cross_entropy": loss.detach(), "right": right}

    loop.run(network, draw, loss_of, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m Training.train_levels", description=__doc__.splitlines()[0])
    loop.add_arguments(parser, CARD, real_share=0.2, batch=16)
    return parser


if __name__ == "__main__":
    train(_parser().parse_args())
