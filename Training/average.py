"""Weights between those before and after a training: most of what was learnt, and less lost of what was known.

    python -m Training.average BEFORE.safetensors AFTER.safetensors --share 0.5 --output between.safetensors

Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from SpineContextSegLib.model import read_card
from SpineContextSegLib.network import network_for

from .loop import start_from
from .train import CARD


def average(before: dict[str, Tensor], after: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The state dict that lies a `share` of the way from one to the other; both of the same network."""
    return {
        key: torch.lerp(value, after[key], share) if value.is_floating_point() else value
        for key, value in before.items()
    }


def trainable(file: Path, card: Path) -> dict[str, Tensor]:
    """Weights of a run or of an exported model, in the form that training gives them."""
    network = network_for(read_card(card))
    start_from(network, load_file(file))
    return network.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.average", description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="weights that the other run started from, exported ones too")
    parser.add_argument("after", type=Path, help="network.safetensors of the run")
    parser.add_argument("--card", type=Path, default=CARD, help="card of the network")
    parser.add_argument("--share", type=float, default=0.5, help="of the later weights")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    before, after = (trainable(file, options.card) for file in (options.before, options.after))
    save_file({key: value.contiguous() for key, value in average(before, after, options.share).items()}, options.output)


if __name__ == "__main__":
    main()
