"""OpenVINO on the CPU: only its inference core is used."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputRefused

if TYPE_CHECKING:
    from ..model import Model

CONVERSION_TOOLS = "openvino.tools"
# Without the precision hint, some processors would silently compute in bfloat16 what isn't 8-bit.
SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
# Precision -> the card's name for the IR.
IR = {"fp32": "openvino", "int8": "openvino_int8"}
# Scans of a cohort have windows of many sizes, and what is compiled for one takes some 30 MB even at rest.
SIZES_KEPT = 4


def import_openvino() -> ModuleType:
    """The package `openvino` without its conversion tools, which would pull in its telemetry.

    `openvino` itself goes on without them where they can't be imported; that is how they are held back here. They
    stay importable afterwards.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules[CONVERSION_TOOLS] = None
    try:
        import openvino
    finally:
        del sys.modules[CONVERSION_TOOLS]
    return openvino


class OpenVINORuntime:
    """Runs one of a model's OpenVINO IRs, one window at a time; the activation is part of the IR.

    Compiled for every size of window, beside other work where that was announced: it takes as long as a window. The
    last few sizes are kept.
    """

    name = "openvino"
    device = "cpu"
    preferred_batch = 1
    blends_on_device = False

    def __init__(
        self, model: Model, threads: int | None = None, precision: str = "fp32", settings: Mapping = SETTINGS
    ):  # fmt: skip
        """Read and verify the IR of a precision, "fp32" or "int8"; `threads` None leaves the number to OpenVINO;
        `settings`: OpenVINO's, for the CPU.

        Raises InputRefused when a file is missing or isn't the one that the card names.
        """
        openvino = import_openvino()
        self.precision = precision
        self.warnings: list[str] = []
        self._settings = dict(settings) | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
        self._core = openvino.Core()
        # From memory: OpenVINO's file functions fail on some non-ASCII paths, and what was verified is what is run.
        content = model.read(f"{IR[precision]}.bin")
        if precision == "int8" and "safetensors" in model.card.weights:
            # Where `Training.quantize` found the weights already.
            content += model.read("safetensors")
        weights = np.frombuffer(content, np.uint8)
        self._network = self._core.read_model(model.read(f"{IR[precision]}.xml"), openvino.Tensor(weights))
        outputs = self._network.output(0).partial_shape[1]
        if outputs != model.card.out_channels:
            named = f"{len(model.card.classes)} classes" + (" and offsets" if model.card.offset_unit_mm else "")
            raise InputRefused(
                f"The network of the model {model.card.name} has {outputs} outputs, but its card names {named};"
                " correct the card."
            )
        self._requests: dict[tuple[int, ...], Future] = {}
        self._compiler = ThreadPoolExecutor(1)

    def prepare(self, size: Sequence[int]) -> None:
        """See Runtime."""
        if tuple(size) in self._requests:
            # To the end, as the first one is the next to go.
            self._requests[tuple(size)] = self._requests.pop(tuple(size))
            return
        if len(self._requests) == SIZES_KEPT:
            del self._requests[next(iter(self._requests))]
        self._requests[tuple(size)] = self._compiler.submit(self._compiled, tuple(size))

    def rest(self) -> None:
        """See Runtime. Nothing has to be compiled again."""
        for request in self._requests.values():
            request.result().get_compiled_model().release_memory()

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """See Runtime."""
        self.prepare(windows.shape[2:])
        request = self._requests[windows.shape[2:]].result()
        result = np.empty((len(windows), *request.get_output_tensor().shape[1:]), np.float32)
        for window, outputs in zip(windows, result):
            request.infer([np.ascontiguousarray(window[None], np.float32)], share_inputs=True)
            outputs[...] = request.get_output_tensor().data[0]
        return result

    def _compiled(self, size: tuple[int, ...]):
        self._network.reshape([1, 1, *size])
        return self._core.compile_model(self._network, "CPU", self._settings).create_infer_request()
