"""A trained network as a model folder: safetensors, OpenVINO IR, and the card with their SHA-256.

    python -m Training.export --checkpoint runs/last.pth --card card.json --output models/name
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import torch
from safetensors.torch import save
from torch import Tensor, nn

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.model import Model, write_model
from SpineContextSegLib.network import (
    OPENVINO_CONSTANTS,
    Activation,
    ContextEncoder,
    fold_batch_norm,
    load_checkpoint,
    network_for,
    network_from_state,
)
from SpineContextSegLib.runtime.openvino_runtime import import_openvino
from SpineContextSegLib.scores import BINARY

if TYPE_CHECKING:
    import openvino

_HELPERS = "locator", "namer"
_NO_HELPERS: Mapping[str, Path] = MappingProxyType({})


def export(
    state: dict[str, Tensor], card: dict, destination: str | Path, helpers: Mapping[str, Path] = _NO_HELPERS
) -> Model:
    """Write a model's folder.

    Batch norms are folded into the convolutions first and the result is rounded to half precision, so that both files
    hold the same network to the last bit: the safetensors in the published form with batch norms that do nothing, the
    IR without them and with the activation in it. It takes its weights out of the safetensors, where they are stored
    once, as float16; both run in float32.

    Args:
        state: the network's state dict, in the published form.
        card: the content of the card's JSON; `weights` in it is replaced.
        destination: the new folder.
        helpers: "locator", "namer" -> the folders of these models; they become part of the new folder.

    Raises:
        InputRefused: when the card can't be used, the weights don't fit it, or the folder is there already.
        ValueError: when a weight isn't finite in half precision.
    """
    parsed = ModelCard.from_dict({key: value for key, value in card.items() if key != "weights"})
    half = _without_batch_norm(network_from_state(state, network_for(parsed)))
    for key, value in half.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"The weight {key} isn't finite in half precision.")
    network = network_from_state(half, network_for(parsed))
    activation = Activation(parsed.activation, len(parsed.classes), parsed.out_channels)
    outputs = nn.Sequential(fold_batch_norm(network), activation)
    ir = openvino_ir(outputs, (1, parsed.in_channels, *parsed.roi_size))
    xml, stored = _stored_once(*ir, {key: value.contiguous() for key, value in half.items()})
    weights = {
        "safetensors": ("model.safetensors", stored),
        "openvino.xml": ("model.xml", xml),
        "openvino.bin": ("model.safetensors", stored),
    }
    named = {name: name if name in helpers else None for name in _HELPERS}
    model = write_model(card | named, weights, Path(destination))
    for name, folder in helpers.items():
        shutil.copytree(folder, model.folder / name)
    return model


def _without_batch_norm(network: ContextEncoder) -> dict[str, Tensor]:
    """A state dict in the published form: float16 convolutions that hold the batch norms, which then do nothing."""
    folded = fold_batch_norm(network).state_dict()
    # The norm before the fusing convolution is gone there, which moves that one to the front.
    moved = {key.replace("fusion.1.", "fusion.2."): value.half() for key, value in folded.items()}
    state = network.state_dict() | moved
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            neutral = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0 - module.eps}
            state |= {f"{name}.{key}": torch.full((module.num_features,), value) for key, value in neutral.items()}
    return state


@torch.inference_mode()
def openvino_ir(network: nn.Module, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """The network as OpenVINO IR for inputs of this shape, weights as float16: the content of its .xml and its .bin.

    Goes through the PyTorch front end itself: `openvino.convert_model` would start telemetry.
    """
    openvino = import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    front_end = FrontEndManager().load_by_framework("pytorch")
    options = {"check_trace": False}  # the network has no branches that a second trace could show
    decoder = TorchScriptPythonDecoder(network.eval(), example_input=torch.zeros(shape), trace_kwargs=options)
    converted = front_end.convert(front_end.load(decoder))
    converted.reshape(list(shape))
    fold_constants(converted)
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "model.xml"
        openvino.save_model(converted, xml, compress_to_fp16=True)
        return xml.read_bytes(), xml.with_suffix(".bin").read_bytes()


def _stored_once(xml: bytes, binary: bytes, state: dict[str, Tensor]) -> tuple[bytes, bytes]:
    """An IR whose constants lie in a safetensors file: the new .xml, and that file with `state` and what else the IR
    needs, a few whole numbers under OPENVINO_CONSTANTS."""
    tree = ElementTree.fromstring(xml)
    places = [layer.find("data").attrib for layer in tree.iter("layer") if layer.get("type") == "Const"]
    constants = [binary[int(place["offset"]) :][: int(place["size"])] for place in places]
    weights = save(state)
    others = b"".join(dict.fromkeys(constant for constant in constants if constant not in weights))
    padded = bytearray(others.ljust(-(-max(len(others), 1) // 8) * 8, b"\0"))
    stored = save(state | {OPENVINO_CONSTANTS: torch.frombuffer(padded, dtype=torch.int64)})
    for place, constant in zip(places, constants):
        place["offset"] = str(stored.index(constant))
    return ElementTree.tostring(tree, xml_declaration=True, encoding="utf-8"), stored


def fold_constants(network: openvino.Model) -> None:
    """Replace what is known beforehand by its value, in place; windows of other sizes still fit.

    The torch front end leaves every bias as a reshape by the number of axes of its convolution, which quantization
    doesn't take for a bias.
    """
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(network)


def _spine_figures(scores: Path) -> dict[str, dict[str, float]]:
    """Figures of the binary spine, by scan, from the scores.json of an evaluation."""
    content = json.loads(scores.read_text(encoding="utf-8"))
    return {
        scan: {name: round(value, 4) for name, value in report["scores"][BINARY].items() if math.isfinite(value)}
        for scan, report in content.items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m Training.export", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help=".pth or .safetensors")
    parser.add_argument("--card", type=Path, required=True, help="the model card (JSON); its weights are filled in")
    parser.add_argument("--output", type=Path, required=True, help="the model's new folder")
    parser.add_argument("--results", nargs="*", default=[], metavar="KIND=FILE",
                        help="scores.json of Training.evaluate_scans; KIND: unseen, left_out or seen")  # fmt: skip
    for name in _HELPERS:
        parser.add_argument(f"--{name}", type=Path, help="the finished folder of this model, which becomes part of it")
    options = parser.parse_args(arguments)
    card = json.loads(options.card.read_text(encoding="utf-8"))
    card["results"] = {}
    for kind, scores in (entry.split("=", 1) for entry in options.results):
        card["results"].setdefault(kind, {}).update(_spine_figures(Path(scores)))
    helpers = {name: getattr(options, name) for name in _HELPERS if getattr(options, name)}
    export(load_checkpoint(options.checkpoint), card, options.output, helpers)


if __name__ == "__main__":
    main()
