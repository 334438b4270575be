"""OpenVINO on the CPU: only its inference core is used."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..model import Model

CONVERSION_TOOLS = "openvino.tools"


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
    """Runs a model's OpenVINO IR, one window at a time, in float32; the activation is part of the IR."""

    name = "openvino"
    device = "cpu"
    preferred_batch = 1

    def __init__(self, model: Model, threads: int | None = None):
        """Read, verify and compile the IR for the card's roi_size; `threads` None leaves the number to OpenVINO.

        Raises InputRefused when a file is missing or isn't the one that the card names.
        """
        openvino = import_openvino()
        card = model.card
        core = openvino.Core()
        # From memory: OpenVINO's file functions fail on some non-ASCII paths, and what was verified is what is run.
        weights = np.frombuffer(model.read("openvino.bin"), np.uint8)
        network = core.read_model(model.read("openvino.xml"), openvino.Tensor(weights))
        self._shape = (1, card.in_channels, *card.roi_size)
        network.reshape(list(self._shape))
        # Without the precision hint, some processors would silently compute in bfloat16.
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        self._request = core.compile_model(network, "CPU", config).create_infer_request()
        self._classes = len(card.classes)
        self.warnings: list[str] = []

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """See Runtime."""
        result = np.empty((len(windows), self._classes, *self._shape[2:]), np.float32)
        for window, probabilities in zip(windows, result):
            self._request.infer([np.ascontiguousarray(window[None], np.float32)], share_inputs=True)
            probabilities[...] = self._request.get_output_tensor().data[0]
        return result
