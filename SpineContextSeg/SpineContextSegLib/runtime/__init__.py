"""Runtimes: a batch of windows in, class probabilities (and offsets) out; and the choice between them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import InputRefused

if TYPE_CHECKING:
    from ..model import Model

RUNTIMES = ("auto", "torch", "openvino")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "int8")


class _TorchUnusable(InputRefused):
    """Torch is there and can't be used."""


class Runtime(Protocol):
    """What runs a network.

    Attributes:
        name: "torch" or "openvino", for the report.
        device: "cpu", "cuda" or "mps"; may change to "cpu" when a GPU's memory doesn't suffice.
        precision: "fp32", "fp16" or "int8"; changes with the device.
        preferred_batch: windows that are best handed over at once; may shrink.
        blends_on_device: whether windows are better blended where the network runs than brought back one by one, by
            `on_device.blend_on_device`; changes with the device.
        warnings: sentences about what didn't go as asked.
    """

    name: str
    device: str
    precision: str
    preferred_batch: int
    blends_on_device: bool
    warnings: list[str]

    def prepare(self, size: Sequence[int]) -> None:
        """Windows of this size (three multiples of 8) will come: what has to be made ready for them may begin."""

    def rest(self) -> None:
        """No window will come for a while: the memory that a network takes to run may be given back."""

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Windows (n, channels, *size) float32 in the network's intensities and axis order -> the network's outputs
        (n, outputs, *size) float32: class probabilities, activation applied, then offsets where the card has them;
        (n, outputs) from a network that names what is in the middle of a window. Each size is a multiple of 8; all are
        the same within a call.
        """


def choose_runtime(
    model: Model, runtime: str = "auto", device: str = "auto", threads: int | None = None, precision: str = "auto"
) -> Runtime:
    """The runtime for a model: torch on a GPU where there is one, else OpenVINO, else torch on the CPU.

    A torch that can't be used is as good as none, unless it was asked for; the runtime's warnings say so.

    Args:
        model: whose weights are loaded and verified.
        runtime: "auto", "torch" or "openvino".
        device: "auto", "cpu", "cuda" or "mps".
        threads: CPU threads; None leaves the choice to the runtime.
        precision: "fp32"; "int8", with OpenVINO on a processor with 8-bit dot products; or "auto", the fastest of them
            that the model has weights for, and half precision on CUDA.

    Raises:
        InputRefused: when what was asked for isn't there; the message says what to install or to leave out.
    """
    if runtime not in RUNTIMES:
        raise InputRefused(f"There is no runtime named {runtime}; choose one of {', '.join(RUNTIMES)}.")
    if device not in DEVICES:
        raise InputRefused(f"There is no device named {device}; choose one of {', '.join(DEVICES)}.")
    if precision not in PRECISIONS:
        raise InputRefused(f"There is no precision named {precision}; choose one of {', '.join(PRECISIONS)}.")
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

    if precision == "int8":
        _check_int8(model, runtime, gpu_asked, has_openvino)
        runtime = "openvino"

    openvino_possible = has_openvino and model.card.has_openvino
    torch_asked, warnings = gpu_asked or runtime == "torch", []
    if runtime != "openvino" and has_torch and (torch_asked or device == "auto"):
        try:
            gpu = _gpu(device)
            if gpu or runtime == "torch":
                return _torch_runtime(model, gpu or "cpu", threads, precision)
        except _TorchUnusable as error:
            if torch_asked or not openvino_possible:
                raise
            warnings.append(f"OpenVINO runs on the CPU in place of torch: {error}")
    if openvino_possible:
        chosen = _openvino_runtime(model, threads, precision)
        chosen.warnings += warnings
        return chosen
    if has_torch:
        return _torch_runtime(model, "cpu", threads, precision)
    missing = "torch" if has_openvino else "OpenVINO or torch"
    raise InputRefused(f"Nothing is installed that could run the model {model.card.name}; install {missing}.")


def choose_helpers(
    model: Model, runtime: str = "auto", device: str = "auto", threads: int | None = None, precision: str = "auto"
) -> dict[str, Runtime]:
    """What runs a model's "locator" and "namer", those that it has. Arguments and errors as for `choose_runtime`."""
    # The fine network's 8 bits may be asked for where the others have none.
    precision = "auto" if precision == "int8" else precision
    helpers = {"locator": model.locator, "namer": model.namer}
    chosen = {
        name: choose_runtime(helper, runtime, device, threads, precision) for name, helper in helpers.items() if helper
    }
    for each in chosen.values():
        if each.name == "openvino":
            each.warnings.clear()  # that torch can't be used: the choice for the model itself has said so
    return chosen


@contextmanager
def _torch_needed() -> Iterator[None]:
    """Raises _TorchUnusable where torch, or safetensors, lacks files or can't load its libraries."""
    try:
        yield
    except (ImportError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise _TorchUnusable(f"Torch can't be used here ({reason}); install torch and safetensors anew.") from error


@_torch_needed()
def _gpu(device: str) -> str | None:
    """The GPU to use, None for the CPU. Raises InputRefused when one was asked for that torch can't use."""
    if device == "cpu":
        return None
    version = importlib.metadata.version("torch")  # a folder left behind by an older torch has none
    if device == "auto" and version.endswith("+cpu"):
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


def _check_int8(model: Model, runtime: str, gpu_asked: bool, has_openvino: bool) -> None:
    """Raises InputRefused when 8 bits were asked for together with what doesn't have them."""
    otherwise = "choose the precision auto or fp32"
    if runtime == "torch" or gpu_asked:
        raise InputRefused(f"8-bit weights run with OpenVINO on the CPU only; {otherwise}, or runtime and device auto.")
    if not has_openvino:
        raise InputRefused(f"8-bit weights need OpenVINO, which isn't installed; install it or {otherwise}.")
    if not model.card.has_openvino_int8:
        raise InputRefused(f"The model {model.card.name} has no 8-bit weights; {otherwise}.")
    if not _has_dot_products():
        raise InputRefused(f"This processor has no 8-bit dot products, so 8-bit weights would err; {otherwise}.")


def _has_dot_products() -> bool:
    from .eight_bit import has_dot_products

    return has_dot_products()


def _openvino_runtime(model: Model, threads: int | None, precision: str) -> Runtime:
    from .openvino_runtime import OpenVINORuntime

    if precision == "auto":
        precision = "int8" if model.card.has_openvino_int8 and _has_dot_products() else "fp32"
    return OpenVINORuntime(model, threads, precision)


@_torch_needed()
def _torch_runtime(model: Model, device: str, threads: int | None, precision: str) -> Runtime:
    from .torch_runtime import TorchRuntime

    return TorchRuntime.of(model, device, threads, half=precision == "auto")
