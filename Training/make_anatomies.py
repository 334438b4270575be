"""Generate bodies and store them for training: slow to make, quick to render from.

    python -m Training.make_anatomies --output runs/anatomies --count 100

A body that is stored already is left alone, so the command can be stopped and run again, and run side by side with
another --first-seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from SpineContextSegLib.model import read_card

from .anatomy.plan import REGIONS, draw_plan
from .generated_patches import anatomy_file, store
from .train import CARD


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.make_anatomies", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--regions", nargs="+", choices=REGIONS, help="only the seeds that show one of these")
    parser.add_argument("--card", type=Path, default=CARD, help="card of the network that is trained: its spacing")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    spacing = read_card(arguments.card).spacing_mm[0]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.count)
    if arguments.regions:
        seeds = [seed for seed in seeds if draw_plan(seed).region in arguments.regions]
    for seed in tqdm(seeds, unit="body"):
        if not anatomy_file(arguments.output, seed).exists():
            store(arguments.output, seed, spacing, arguments.device)


if __name__ == "__main__":
    main()
