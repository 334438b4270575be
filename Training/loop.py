"""The training loop: draws the next batch while the network works on this one, stops and resumes anywhere."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from SpineContextSegLib.network import full_precision

from . import checkpoint
from .thin_convolutions import exact_where_thin
from .unfold import unfold

WEIGHTS_FILE, LOG_FILE = "network.safetensors", "log.jsonl"
LOG_EVERY = 25
_WARM_UP_STEPS = 50
_DECAY_FROM = 0.6  # of all steps; before it the learning rate is constant, so a run can be prolonged
_BATCH_NORM_MOMENTUM = 0.05
_GRADIENT_CLIP = 2.0
_WEIGHT_DECAY = 1e-4
_SAVE_EVERY_SECONDS = 300
Batch = TypeVar("Batch")
Forward = Callable[[Tensor], Tensor]


def run(
    network: nn.Module,
    draw: Callable[[int], Batch],
    loss_of: Callable[[Forward, Batch], tuple[Tensor, dict[str, Tensor]]],
    arguments: argparse.Namespace,
) -> None:
    """Train a network.

    Args:
        draw: the batch of a step; depends on nothing but the step and the seed, so that a run that resumes draws what
            it would have drawn.
        loss_of: the loss of a batch, and its parts, detached, for the log.
        arguments: those that `add_arguments` adds.
    """
    device = arguments.device
    network = network.to(device, memory_format=torch.channels_last_3d)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = _BATCH_NORM_MOMENTUM
    optimizer = torch.optim.AdamW(network.parameters(), arguments.learning_rate, weight_decay=_WEIGHT_DECAY)
    step, seconds = checkpoint.restore(arguments.output, network, optimizer)
    half = device == "cuda" if arguments.bfloat16 is None else arguments.bfloat16
    if half and device == "cpu":
        exact_where_thin(network)
    compiled = torch.compile(network) if arguments.compile else network

    def forward(image: Tensor) -> Tensor:
        # The network alone: a loss in bfloat16 would lose what small probabilities say.
        with torch.autocast(device, torch.bfloat16, enabled=half):
            return compiled(image)

    log = (arguments.output / LOG_FILE).open("a", encoding="utf-8")
    log.write(json.dumps({key: str(value) for key, value in vars(arguments).items()}) + "\n")

    started, saved, history = time.monotonic() - seconds, time.monotonic(), []
    network.train()
    last = min(arguments.steps, arguments.stop_after or arguments.steps)
    bar = tqdm(initial=min(step, last), total=last, desc="training", unit="step", disable=None)
    with ThreadPoolExecutor(1) as drawer, bar:
        coming = drawer.submit(draw, step)
        while step < last:
            starts_frozen = arguments.start_from and not arguments.new_intensities
            if starts_frozen or step >= _DECAY_FROM * arguments.steps:
                freeze_batch_norm(network)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, arguments.steps, arguments.learning_rate)
            batch, coming = coming.result(), drawer.submit(draw, step + 1)
            torch.manual_seed(hash((arguments.seed, step)))  # of dropout, as it would have been in one go
            loss, parts = loss_of(forward, batch)
            if not torch.isfinite(loss):
                raise SystemExit(
                    f"The loss of step {step} is not a number: remove {arguments.output} and train with a smaller "
                    "--learning-rate."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_CLIP)
            optimizer.step()
            step += 1
            bar.update()
            history.append({name: float(value) for name, value in parts.items()})
            if step % LOG_EVERY == 0:
                mean = {name: round(float(np.mean([entry[name] for entry in history])), 4) for name in parts}
                log.write(json.dumps({"step": step, "seconds": round(time.monotonic() - started), **mean}) + "\n")
                log.flush()
                history.clear()
            if time.monotonic() - saved > _SAVE_EVERY_SECONDS or step == last:
                # The weights first: a run whose checkpoint says that it is done writes none any more.
                _save_weights(network, arguments.output / WEIGHTS_FILE)
                checkpoint.save(arguments.output, network, optimizer, step, time.monotonic() - started)
                saved = time.monotonic()


def _save_weights(network: nn.Module, file: Path) -> None:
    """An interrupted write leaves the file before."""
    part = file.with_name(f"{file.name}.part")
    save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, part)
    os.replace(part, file)


def start_from(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Take over weights, those that the network has too, in a form fit for training (see `unfold`). Outputs that they
    lack stay as they were drawn."""
    own, state = network.state_dict(), full_precision(state)
    for key in own.keys() & state.keys():
        if own[key].shape == state[key].shape:
            own[key] = state[key]
        elif own[key].shape[1:] == state[key].shape[1:]:
            rows = min(len(own[key]), len(state[key]))
            own[key][:rows] = state[key][:rows]
    network.load_state_dict(own)
    unfold(network)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, constant, then a cosine to 2 % of the peak."""
    done = step / steps
    fall = 0.5 * (1 + np.cos(np.pi * max(0.0, done - _DECAY_FROM) / (1 - _DECAY_FROM)))
    return float(peak * min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.02 + 0.98 * fall))


def freeze_batch_norm(network: nn.Module) -> None:
    """Use running statistics from here on, as inference does: batches are too small for their own to be steady."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eval()


def add_arguments(parser: argparse.ArgumentParser, card: Path, real_share: float, batch: int) -> None:
    """What every training is told on the command line; the last three are defaults."""
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of the run: checkpoint, weights, log")
    add("--card", type=Path, default=card, help="card of the network: spacing, intensities, classes, size")
    add("--anatomies", type=Path, help="folder of stored bodies; without it they are generated on the device")
    add("--real", type=Path, nargs="*", default=[], help="CTs (.nii.gz), VerSe labels beside them as *_labels.nii.gz")
    add("--real-share", type=float, default=real_share, help="share of the examples that come from --real")
    add("--batch", type=int, default=batch)
    add("--start-from", type=Path, help="weights (.safetensors) to start from, with frozen batch norm")
    add("--new-intensities", action="store_true",
        help="what --start-from saw looked otherwise (CT instead of MR): batch norm is frozen late, as without it")
    add("--steps", type=int, required=True)
    add("--stop-after", type=int, help="step at which to stop this time; the learning rate still follows --steps")
    add("--learning-rate", type=float, default=2e-3)
    add("--seed", type=int, default=0)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--bfloat16", action=argparse.BooleanOptionalAction,
        help="compute in bfloat16 (default: on a GPU); a gain only where the processor has AVX-512 BF16")
    add("--compile", action="store_true", help="torch.compile: needs a C++ compiler, pays off after some minutes")
