"""What a training run needs to go on where it stopped: about eight bytes for each parameter of the network."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CHECKPOINT_FILE = "checkpoint.pt"


def save(
    folder: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    """Write the state of a run; an interrupted write leaves the one before."""
    state = {
        "network": network.state_dict(),
        "optimizer": _halved(optimizer.state_dict()),
        "step": step,
        "seconds": seconds,
    }
    part = folder / f"{CHECKPOINT_FILE}.part"
    torch.save(state, part)
    os.replace(part, folder / CHECKPOINT_FILE)


def restore(folder: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Take up a run where `save` left it; returns the steps done and the seconds spent. (0, 0.0) when there is none."""
    if not (folder / CHECKPOINT_FILE).exists():
        return 0, 0.0
    state = torch.load(folder / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(_doubled(state["optimizer"]))
    return state["step"], state["seconds"]


def _halved(state: dict) -> dict:
    # Adam's two moments in bfloat16 bring a checkpoint from 20 MB to 14 MB; the weights stay exact.
    return _with_moments(state, torch.bfloat16)


def _doubled(state: dict) -> dict:
    return _with_moments(state, torch.float32)


def _with_moments(state: dict, dtype: torch.dtype) -> dict:
    moments = {
        key: {name: value.to(dtype) if name.startswith("exp_avg") else value for name, value in entry.items()}
        for key, entry in state["state"].items()
    }
    return {"state": moments, "param_groups": state["param_groups"]}

