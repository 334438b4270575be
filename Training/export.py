"""A trained network as a model folder: safetensors, OpenVINO IR, and the card with their SHA-256.

    python -m Training.export --checkpoint runs/last.pth --card card.json --output models/name
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.model import Model, write_model
from SpineContextSegLib.network import (
    OPENVINO_CONSTANTS,
    SCALE,
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
# Convolutions with fewer weights cost no space worth rounding them.
_LARGE = 10_000
# Bytes; numbers are read where they lie.
_ALIGNED = 8
_NO_HELPERS: Mapping[str, Path] = MappingProxyType({})


def export(
    state: dict[str, Tensor], card: dict, destination: str | Path, helpers: Mapping[str, Path] = _NO_HELPERS
) -> Model:
    """Write a model's folder.

    Batch norms are folded into the convolutions first and the result is rounded: large convolutions to 8 bits with a
    scale for each output channel, the rest to half precision, so that both files hold the same network to the last bit:
    the safetensors in the published form with batch norms that do nothing, the IR without them and with the activation
    in it. It takes its weights out of the safetensors, where they are stored once; both run in float32.

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
    rounded = _in_8_bits(_without_batch_norm(network_from_state(state, network_for(parsed))), network_for(parsed))
    for key, value in rounded.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"The weight {key} isn't finite in half precision.")
    network = network_from_state(rounded, network_for(parsed))
    activation = Activation(parsed.activation, len(parsed.classes), parsed.out_channels)
    outputs = nn.Sequential(fold_batch_norm(network), activation)
    ir = openvino_ir(outputs, (1, parsed.in_channels, *parsed.roi_size), rounded)
    xml, stored = _stored_once(*ir, {key: value.contiguous() for key, value in rounded.items()})
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


def _in_8_bits(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network with the weights of its large convolutions as int8, and their scales.

    As NNCF rounds weights (symmetric, -127 to 127, for each output channel), so that the 8-bit IR has the same ones.
    """
    result = dict(state)
    for name, module in network.named_modules():
        key = f"{name}.weight"
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)) and state[key].numel() >= _LARGE:
            weight, channel = state[key].float(), int(isinstance(module, nn.ConvTranspose3d))
            largest = weight.abs().amax([axis for axis in range(weight.ndim) if axis != channel], keepdim=True)
            scale = torch.where(largest > 0, largest / 127, 1.0).half()
            result[key], result[key + SCALE] = (weight / scale.float()).round().clamp(-127, 127).char(), scale
    return result


@torch.inference_mode()
def openvino_ir(network: nn.Module, shape: tuple[int, ...], state: dict[str, Tensor]) -> tuple[bytes, bytes]:
    """The network as OpenVINO IR for inputs of this shape: the content of its .xml and its .bin. Weights are those that
    `state` holds, as whole numbers where they are so there, the rest float16.

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
    _as_whole_numbers(converted, state)
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "model.xml"
        openvino.save_model(converted, xml, compress_to_fp16=True)
        return xml.read_bytes(), xml.with_suffix(".bin").read_bytes()


def _stored_once(xml: bytes, binary: bytes, state: dict[str, Tensor]) -> tuple[bytes, bytes]:
    """An IR whose constants lie in a safetensors file: the new .xml, and that file with `state` and what else the IR
    needs, a few whole numbers under OPENVINO_CONSTANTS."""
    tree, constants = _constants(xml, binary)
    # Each on its own: what the end of one and the beginning of the next happen to be together may lie apart later.
    tensors = [tensor.numpy().tobytes() for tensor in state.values()]
    others = _together(constants.values(), tensors) or bytes(_ALIGNED)
    stored = save(state | {OPENVINO_CONSTANTS: torch.frombuffer(bytearray(others), dtype=torch.int64)})
    for place, constant in constants.items():
        place.set("offset", str(stored.index(constant)))
    return _text(tree), stored


def shared_with(stored: bytes, xml: bytes, binary: bytes) -> tuple[bytes, bytes]:
    """An IR without the constants that a file holds already: the new .xml and .bin. It is read from the .bin with that
    file behind it."""
    tree, constants = _constants(xml, binary)
    own = _together(constants.values(), [stored])
    for place, constant in constants.items():
        found = own.find(constant)
        place.set("offset", str(found if found >= 0 else len(own) + stored.index(constant)))
    return _text(tree), own


def _constants(xml: bytes, binary: bytes) -> tuple[ElementTree.Element, dict[ElementTree.Element, bytes]]:
    """The tree of an IR, and the constants in it by the elements that say where they are."""
    tree = ElementTree.fromstring(xml)
    places = [layer.find("data") for layer in tree.iter("layer") if layer.get("type") == "Const"]
    return tree, {place: binary[int(place.get("offset")) :][: int(place.get("size"))] for place in places}


def _together(constants: Iterable[bytes], stored: Iterable[bytes]) -> bytes:
    """Each of the constants that no part of what is `stored` holds, one behind the other."""
    lacking = dict.fromkeys(constant for constant in constants if not any(constant in part for part in stored))
    return b"".join(constant + bytes(-len(constant) % _ALIGNED) for constant in lacking)


def _text(tree: ElementTree.Element) -> bytes:
    return ElementTree.tostring(tree, xml_declaration=True, encoding="utf-8")


def _as_whole_numbers(network: openvino.Model, state: dict[str, Tensor]) -> None:
    """Put int8 times scale in the place of weights that are stored so, in place."""
    openvino = import_openvino()
    from openvino import opset13 as ops
    from openvino.utils import replace_node

    stored = {key.removesuffix(SCALE): scale for key, scale in state.items() if key.endswith(SCALE)}
    parts = [(state[key].contiguous().numpy(), scale.numpy()) for key, scale in stored.items()]
    # Weights of other shapes may hold the same numbers, such as zeros.
    by_content = {(whole.shape, (whole * scale.astype(np.float32)).tobytes()): (whole, scale) for whole, scale in parts}
    for node in network.get_ops():
        if node.get_type_name() != "Constant":
            continue
        if found := by_content.get((tuple(node.get_output_shape(0)), node.get_data().tobytes())):
            factors = (ops.convert(ops.constant(part), openvino.Type.f32) for part in found)
            replace_node(node, ops.multiply(*factors))


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
