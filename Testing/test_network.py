"""The network against the published description: keys, shapes, parameters, and a forward pass written out by hand."""

import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from model_cards import random_network
from safetensors.torch import save_file
from torch import nn

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.network import SpineContextResUNet, fold_batch_norm, load_checkpoint, network_from_state

BLOCKS = {"enc1": (1, 16), "enc2": (16, 32), "enc3": (32, 64), "dec3": (128, 64), "dec2": (64, 32), "dec1": (32, 16)}


def published_shapes():
    """Every key of a published state dict with its shape."""
    shapes = {}

    def convolution(key, outputs, inputs, size, transposed=False):
        shapes[f"{key}.weight"] = ((inputs, outputs) if transposed else (outputs, inputs)) + (size,) * 3
        shapes[f"{key}.bias"] = (outputs,)

    def norm(key, channels):
        shapes.update({f"{key}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{key}.num_batches_tracked"] = ()

    for block, (inputs, outputs) in BLOCKS.items():
        convolution(f"{block}.conv1", outputs, inputs, 3)
        convolution(f"{block}.conv2", outputs, outputs, 3)
        convolution(f"{block}.shortcut.0", outputs, inputs, 1)
        for key in ("bn1", "bn2", "shortcut.1"):
            norm(f"{block}.{key}", outputs)
    for dilation in (1, 2, 4, 8):
        convolution(f"bottleneck.d{dilation}", 128, 64, 3)
    norm("bottleneck.fusion.0", 512)
    convolution("bottleneck.fusion.2", 128, 512, 1)
    norm("bottleneck.fusion.3", 128)
    for key, inputs in (("up3", 128), ("up2", 64), ("up1", 32)):
        convolution(key, inputs // 2, inputs, 2, transposed=True)
    convolution("final", 1, 16, 1)
    return shapes


def published_forward(state, x):
    """The published network as arithmetic on its state dict, logits."""

    def convolution(x, key, **options):
        return F.conv3d(x, state[f"{key}.weight"], state[f"{key}.bias"], **options)

    def norm(x, key):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{key}.{name}"] for name in names))

    def block(x, key):
        inner = F.relu(norm(convolution(x, f"{key}.conv1", padding=1), f"{key}.bn1"))
        inner = norm(convolution(inner, f"{key}.conv2", padding=1), f"{key}.bn2")
        return F.relu(inner + norm(convolution(x, f"{key}.shortcut.0"), f"{key}.shortcut.1"))

    def up(x, key):
        return F.conv_transpose3d(x, state[f"{key}.weight"], state[f"{key}.bias"], stride=2)

    e1 = block(x, "enc1")
    e2 = block(F.max_pool3d(e1, 2), "enc2")
    e3 = block(F.max_pool3d(e2, 2), "enc3")
    low = F.max_pool3d(e3, 2)
    context = [convolution(low, f"bottleneck.d{n}", padding=n, dilation=n) for n in (1, 2, 4, 8)]
    context = F.relu(norm(torch.cat(context, 1), "bottleneck.fusion.0"))
    context = F.relu(norm(convolution(context, "bottleneck.fusion.2"), "bottleneck.fusion.3"))
    d3 = block(torch.cat([up(context, "up3"), e3], 1), "dec3")
    d2 = block(torch.cat([up(d3, "up2"), e2], 1), "dec2")
    d1 = block(torch.cat([up(d2, "up1"), e1], 1), "dec1")
    return convolution(d1, "final")


def test_parameters_and_keys_are_the_published_ones():
    network = SpineContextResUNet()
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_703_841
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == published_shapes()


def test_forward_is_the_published_arithmetic():
    network = random_network(out_channels=1, base_filters=16)
    x = torch.randn(2, 1, 16, 24, 32)
    with torch.inference_mode():
        logits = network(x)
        expected = published_forward(network.state_dict(), x)
    assert logits.shape == (2, 1, 16, 24, 32)
    assert logits.std() > 0.1
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_folding_keeps_the_result_and_the_original():
    network = random_network(out_channels=3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.randn(1, 1, 16, 24, 32)
    folded = fold_batch_norm(network)
    assert not any(isinstance(layer, nn.BatchNorm3d) for layer in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), network(x), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("form", ["bare.pth", "held.pth", "plain.safetensors"])
def test_every_form_of_checkpoint_loads_unchanged(tmp_path, form):
    state = random_network(out_channels=1, base_filters=16).state_dict()
    path = tmp_path / form
    if form == "plain.safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "model_state_dict": state} if form == "held.pth" else state, path)
    loaded = load_checkpoint(path)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    network = network_from_state(loaded, SpineContextResUNet())
    assert not network.training
    assert torch.equal(network.state_dict()["dec1.bn2.running_var"], state["dec1.bn2.running_var"])


class Malicious:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_checkpoint_that_would_run_code_is_refused_and_not_run(tmp_path, protocol):
    victim, path = tmp_path / "written", tmp_path / "model.pth"
    if protocol == "torch":
        torch.save({"model_state_dict": Malicious(victim)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(victim), protocol=2))
    with pytest.raises(InputRefused, match="model.pth isn't a checkpoint that can be read safely"):
        load_checkpoint(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.pth", b"not a checkpoint", "can be read safely"),
        ("empty.pth", b"", "can be read safely"),
        ("text.safetensors", b"not a checkpoint at all", "isn't a readable safetensors file"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputRefused, match=message):
        load_checkpoint(tmp_path / name)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, torch.zeros(2), {"model_state_dict": {"a": 1}}])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(InputRefused, match="holds no state dict"):
        load_checkpoint(tmp_path / "model.pth")


def test_a_state_dict_that_does_not_fit_names_the_first_difference():
    state = dict(random_network(out_channels=1).state_dict())
    with pytest.raises(InputRefused, match=r"final.weight has the shape \(1, 4, 1, 1, 1\) instead of \(8, 4,"):
        network_from_state(state, SpineContextResUNet(out_channels=8, base_filters=4))
    with pytest.raises(InputRefused, match="extra isn't part of it"):
        network_from_state(state | {"extra": torch.zeros(1)}, SpineContextResUNet(base_filters=4))
    del state["up2.bias"]
    with pytest.raises(InputRefused, match="up2.bias is missing"):
        network_from_state(state, SpineContextResUNet(base_filters=4))


def test_the_library_imports_no_torch():
    """Nor does the way of a model through OpenVINO: `test_runtime.py`."""
    code = (
        "import sys, SpineContextSegLib, SpineContextSegLib.model, SpineContextSegLib.sliding_window;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
