"""Runtimes: a batch of windows in, class probabilities out; and the choice between them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import InputRefused

if TYPE_CHECKING:
    from ..model import Model

RUNTIMES = ("auto", "torch", "openvino")
DEVICES = ("auto", "cpu", "cuda", "mps")


class Runtime(Protocol):
    """What runs a network.

    Attributes:
        name: "torch" or "openvino", for the report.
        device: "cpu", "cuda" or "mps"; may change to "cpu" when a GPU's memory doesn't suffice.
        preferred_batch: windows that are best handed over at once; may shrink.
        warnings: sentences about what didn't go as asked.
    """

    name: str
    device: str
    preferred_batch: int
    warnings: list[str]

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Windows (n, channels, *roi_size) float32 in the network's intensities and axis order -> class probabilities
        (n, classes, *roi_size) float32, activation applied."""


def choose_runtime(model: Model, runtime: str = "auto", device: str = "auto", threads: int | None = None) -> Runtime:
    """The runtime for a model: torch on a GPU where there is one, else OpenVINO, else torch on the CPU.

    Args:
        model: whose weights are loaded and verified.
        runtime: "auto", "torch" or "openvino".
        device: "auto", "cpu", "cuda" or "mps".
        threads: CPU threads; None leaves the choice to the runtime.

    Raises:
        InputRefused: when what was asked for isn't there; the message says what to install or to leave out.
    """
    if runtime not in RUNTIMES:
        raise InputRefused(f"There is no runtime named {runtime}; choose one of {', '.join(RUNTIMES)}.")
    if device not in DEVICES:
        raise InputRefused(f"There is no device named {device}; choose one of {', '.join(DEVICES)}.")
    if threads is not None and threads < 1:
        raise InputRefused(f"The number of threads must be at least 1, not {threads}.")
    gpu_asked = device in ("cuda", "mps")
    if runtime == "openvino" and gpu_asked:
        raise InputRefused(f"OpenVINO runs on the CPU only here; choose the runtime auto or torch to use {device}.")
    has_torch, has_openvino = (importlib.util.find_spec(name) is not None for name in ("torch", "openvino"))
    if (runtime == "torch" or gpu_asked) and not has_torch:
        wish = f"The device {device} needs torch, which" if gpu_asked else "Torch"
        raise InputRefused(f"{wish} isn't installed; install it or leave the choice to auto.")
    if runtime == "openvino" and not has_openvino:
        raise InputRefused("OpenVINO isn't installed; install it or leave the choice to auto.")
    if runtime == "openvino" and not model.card.has_openvino:
        raise InputRefused(
            f"The model {model.card.name} has no weights for OpenVINO; choose the runtime torch, or export it to"
            " OpenVINO."
        )

    openvino_possible = has_openvino and model.card.has_openvino
    if runtime != "openvino" and has_torch and (gpu_asked or runtime == "torch" or device == "auto"):
        gpu = _gpu(device)
        if gpu or runtime == "torch":
            return _torch_runtime(model, gpu or "cpu", threads)
    if openvino_possible:
        from .openvino_runtime import OpenVINORuntime

        return OpenVINORuntime(model, threads)
    if has_torch:
        return _torch_runtime(model, "cpu", threads)
    missing = "torch" if has_openvino else "OpenVINO or torch"
    raise InputRefused(f"Nothing is installed that could run the model {model.card.name}; install {missing}.")


def _gpu(device: str) -> str | None:
    """The GPU to use, None for the CPU. Raises InputRefused when one was asked for that torch can't use."""
    if device == "cpu":
        return None
    if device == "auto" and importlib.metadata.version("torch").endswith("+cpu"):
        return None  # a CPU build says so in its version: no need to spend a second and 200 MB on importing it
    import torch

    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device == "auto":
        return next((name for name, is_available in available.items() if is_available()), None)
    if not available[device]():
        raise InputRefused(
            f"Torch finds no {device} device on this computer; install its driver and a torch build for it, or leave"
            " the choice to auto."
        )
    return device


def _torch_runtime(model: Model, device: str, threads: int | None) -> Runtime:
    from .torch_runtime import TorchRuntime

    return TorchRuntime.of(model, device, threads)
