"""torch on the CPU, on CUDA and on Apple's GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from ..network import Activation, fold_batch_norm, network_for, network_from_state

if TYPE_CHECKING:
    from ..model import Model

GPU_BATCH = 4
T = TypeVar("T")


class TorchRuntime:
    """Runs a network with its batch norms folded; on CUDA in half precision unless told not to, else in float32.

    When a GPU's memory doesn't suffice, the batch is halved; when it doesn't suffice for one window, or the GPU fails
    otherwise, the CPU takes over (and raises what wasn't the GPU's fault). Both are said in `warnings`.
    """

    name = "torch"

    def __init__(
        self, network: nn.Module, activation: nn.Module, device: str = "cpu", threads: int | None = None,
        half: bool = True,
    ):  # fmt: skip
        """`network`: (n, channels, *size) -> logits (n, outputs, *size), on the CPU and in eval mode, with batch norms
        folded; `activation`: what makes probabilities of them; `threads`: of torch, for the whole process; `half`: on
        CUDA."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.warnings: list[str] = []
        self.preferred_batch = 1 if device == "cpu" else GPU_BATCH
        self._half = half
        self._activation = activation
        self._on_cpu = network.to(memory_format=torch.channels_last_3d)
        self._place(device)

    @classmethod
    def of(cls, model: Model, device: str = "cpu", threads: int | None = None, half: bool = True) -> TorchRuntime:
        """For a model's safetensors. Raises InputRefused when they are missing, changed or don't fit the card."""
        card = model.card
        state = load(model.read("safetensors"))
        network = network_from_state(state, network_for(card))
        activation = Activation(card.activation, len(card.classes), card.out_channels)
        return cls(fold_batch_norm(network), activation, device, threads, half)

    def prepare(self, size: Sequence[int]) -> None:
        """Nothing is to be prepared; see Runtime."""

    def rest(self) -> None:
        """Nothing is held; see Runtime."""

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """See Runtime."""
        result, done = [], 0
        while done < len(windows):
            batch = windows[done : done + self.preferred_batch]
            outputs = self._tried(lambda batch=batch: self._outputs(torch.from_numpy(batch)).cpu().contiguous().numpy())
            if outputs is not None:
                result.append(outputs)
                done += len(batch)
        return result[0] if len(result) == 1 else np.concatenate(result)

    @property
    def blends_on_device(self) -> bool:
        """See Runtime."""
        return self.device != "cpu"

    def on_device(self, batch: Tensor) -> Tensor | None:
        """Windows (n, channels, *size) -> outputs (n, outputs, *size) float32 on the device; None when the GPU failed:
        then the runtime has made do and can be asked again."""
        return self._tried(lambda: self._outputs(batch))

    @torch.inference_mode()
    def _outputs(self, batch: Tensor) -> Tensor:
        x = batch.to(self.device, self._dtype, memory_format=torch.channels_last_3d)
        return self._activation(self._network(x).float())

    def _tried(self, run: Callable[[], T]) -> T | None:
        """What `run` returns, None when the GPU failed."""
        try:
            return run()
        except RuntimeError as error:
            if self.device == "cpu":
                raise
            reason, out_of_memory = str(error).splitlines()[0], _is_out_of_memory(error)
        # Here the error has gone, and with it what its traceback held of the GPU's memory.
        if out_of_memory and self.preferred_batch > 1:
            self.preferred_batch //= 2
            self.warnings.append(f"The GPU's memory didn't suffice; windows now run {self.preferred_batch} at a time.")
        else:
            self.fall_back(reason)
        return None

    def _place(self, device: str) -> None:
        self.device = device
        self.precision = "fp16" if device == "cuda" and self._half else "fp32"
        self._dtype = torch.float16 if self.precision == "fp16" else torch.float32
        try:
            self._network = self._on_cpu if device == "cpu" else copy.deepcopy(self._on_cpu).to(device, self._dtype)
        except RuntimeError as error:
            self.fall_back(str(error).splitlines()[0])

    def fall_back(self, reason: str) -> None:
        """Go on without the GPU."""
        self.warnings.append(f"The GPU ({self.device}) couldn't run the network, the CPU took over: {reason}")
        self.preferred_batch = 1
        self._place("cpu")


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own; Apple's GPU raises a plain RuntimeError."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error)
