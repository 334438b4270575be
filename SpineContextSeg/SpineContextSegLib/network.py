"""SpineContextResUNet: a small 3D U-Net with a multi-dilation context block (arXiv 2605.20760).

Module names are the published ones, so that a published state dict loads unchanged.
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from .card import NAMING, ModelCard
from .errors import InputRefused

CONTEXT_DILATIONS = (1, 2, 4, 8)
_DROPOUT = 0.2


# What an OpenVINO IR needs beside the weights that it shares with the network, see `Training.export`.
OPENVINO_CONSTANTS = "openvino.constants"
# Weights that are stored as int8 have their scale beside them, of a shape that they can be multiplied with.
SCALE = ".scale"


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with batch norm, and a shortcut that is a 1x1x1 convolution where channels change."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm3d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, kernel_size=1), nn.BatchNorm3d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, d, h, w) -> (n, out_channels, d, h, w)"""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ContextBlock(nn.Module):
    """Four parallel 3x3x3 convolutions of growing dilation, concatenated and fused."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.d1, self.d2, self.d4, self.d8 = (
            nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=dilation, dilation=dilation)
            for dilation in CONTEXT_DILATIONS
        )
        fused = out_channels * len(CONTEXT_DILATIONS)
        self.fusion = nn.Sequential(
            nn.BatchNorm3d(fused),
            nn.ReLU(inplace=True),
            nn.Conv3d(fused, out_channels, kernel_size=1),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, d, h, w) -> (n, out_channels, d, h, w)"""
        return self.fusion(torch.cat([self.d1(x), self.d2(x), self.d4(x), self.d8(x)], dim=1))


class ContextEncoder(nn.Module):
    """The way down: what the networks here have in common."""

    def __init__(self, in_channels: int, base_filters: int):
        super().__init__()
        f = base_filters
        self.enc1 = ResidualBlock(in_channels, f)
        self.enc2 = ResidualBlock(f, 2 * f)
        self.enc3 = ResidualBlock(2 * f, 4 * f)
        self.pool = nn.MaxPool3d(2)
        self.bottleneck = ContextBlock(4 * f, 8 * f)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(n, in_channels, d, h, w) -> features at full, half, quarter and eighth size."""
        e1 = self.enc1(x)
        e2 = self.enc2(self.pool(e1))
        e3 = self.enc3(self.pool(e2))
        return e1, e2, e3, self.bottleneck(self.pool(e3))


class SpineContextResUNet(ContextEncoder):
    """The published network without its last sigmoid: it returns logits, the activation is stated by the model card.

    With one input channel, one output channel and 16 base filters it has 1,703,841 parameters.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, base_filters: int = 16):
        super().__init__(in_channels, base_filters)
        f = base_filters
        self.up3 = nn.ConvTranspose3d(8 * f, 4 * f, kernel_size=2, stride=2)
        self.dec3 = ResidualBlock(8 * f, 4 * f)
        self.up2 = nn.ConvTranspose3d(4 * f, 2 * f, kernel_size=2, stride=2)
        self.dec2 = ResidualBlock(4 * f, 2 * f)
        self.up1 = nn.ConvTranspose3d(2 * f, f, kernel_size=2, stride=2)
        self.dec1 = ResidualBlock(2 * f, f)
        self.final = nn.Conv3d(f, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, d, h, w) -> logits (n, out_channels, d, h, w); d, h and w are multiples of 8."""
        e1, e2, e3, context = self.encode(x)
        out = self.dec3(torch.cat([self.up3(context), e3], dim=1))
        out = self.dec2(torch.cat([self.up2(out), e2], dim=1))
        out = self.dec1(torch.cat([self.up1(out), e1], dim=1))
        return self.final(out)


class SpineContextLevels(ContextEncoder):
    """Which vertebra is in the middle of a crop: the way down of the network above, and one linear layer over where
    things are.

    Its encoder has the names of the published network's, so that weights of one start the other.
    """

    def __init__(self, in_channels: int, out_channels: int, base_filters: int, size: Sequence[int]):
        """`size`: of the crops, three multiples of 8."""
        super().__init__(in_channels, base_filters)
        self.squeeze = nn.Conv3d(8 * base_filters, 2 * base_filters, kernel_size=1)
        self.final = nn.Linear(2 * base_filters * math.prod(n // 8 for n in size), out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, *size) -> logits (n, out_channels)"""
        features = torch.relu(self.squeeze(self.encode(x)[-1]))
        return self.final(nn.functional.dropout(features.flatten(1), _DROPOUT, self.training))


Network = TypeVar("Network", bound=ContextEncoder)


class Activation(nn.Module):
    """Logits -> probabilities of the first `classes` outputs; outputs beyond them, offsets, stay as they are."""

    def __init__(self, name: str, classes: int, outputs: int):
        """`name`: "softmax" over the classes, or "sigmoid" for each of them; `outputs`: classes and the rest."""
        super().__init__()
        self.name, self.classes, self.all_classes = name, classes, classes == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, outputs, ...) -> the same shape."""
        logits = x[:, : self.classes]
        probabilities = torch.softmax(logits, 1) if self.name == "softmax" else torch.sigmoid(logits)
        return probabilities if self.all_classes else torch.cat([probabilities, x[:, self.classes :]], 1)


def load_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors` or `.pth` (bare, or held under `model_state_dict`), on the CPU.

    A `.pth` is read with `weights_only=True`: nothing in the file is executed.
    Raises InputRefused when the file isn't such a checkpoint, FileNotFoundError when there is none.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputRefused(f"{path.name} isn't a readable safetensors file ({error}); get a new copy.") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputRefused(
            f"{path.name} isn't a checkpoint that can be read safely (tensors only, as torch.save writes a state dict);"
            " save the state dict alone and try again."
        ) from error
    if isinstance(content, dict) and "model_state_dict" in content:
        content = content["model_state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputRefused(
            f"{path.name} holds no state dict, neither bare nor under model_state_dict; save one and try again."
        )
    return dict(content)


def full_precision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as it is stored -> as the network has it: whole numbers times their scale, and only its own keys."""
    own = {key: value for key, value in state.items() if not key.endswith(SCALE) and key != OPENVINO_CONSTANTS}
    return {key: value * state[key + SCALE].float() if key + SCALE in state else value for key, value in own.items()}


def network_for(card: ModelCard) -> SpineContextResUNet | SpineContextLevels:
    """The untrained network that a card describes."""
    channels = card.in_channels, card.out_channels, card.base_filters
    if card.architecture == NAMING:
        return SpineContextLevels(*channels, card.roi_size)
    return SpineContextResUNet(*channels)


def network_from_state(state: dict[str, Tensor], network: Network) -> Network:
    """The network with these weights, in eval mode.

    Raises InputRefused when a key is missing, unknown or of another shape, and names the first one.
    """
    expected = network.state_dict()
    state = full_precision(state)
    fault = next((f"{key} is missing" for key in expected if key not in state), None)
    fault = fault or next((f"{key} isn't part of it" for key in state if key not in expected), None)
    fault = fault or next(
        (
            f"{key} has the shape {tuple(state[key].shape)} instead of {tuple(value.shape)}"
            for key, value in expected.items()
            if state[key].shape != value.shape
        ),
        None,
    )
    if fault:
        raise InputRefused(
            f"The checkpoint doesn't fit the {type(network).__name__} of its model card ({fault}); correct the card or"
            " choose another checkpoint."
        )
    network.load_state_dict(state)
    return network.eval()


def fold_batch_norm(network: Network) -> Network:
    """A copy for inference whose batch norms are folded into the convolutions before them: same result, less work.

    The copy is in eval mode; its state dict no longer has the published keys.
    """
    folded = copy.deepcopy(network).eval()
    for block in folded.modules():
        if isinstance(block, ResidualBlock):
            block.conv1, block.bn1 = fuse_conv_bn_eval(block.conv1, block.bn1), nn.Identity()
            block.conv2, block.bn2 = fuse_conv_bn_eval(block.conv2, block.bn2), nn.Identity()
            if len(block.shortcut):
                block.shortcut = nn.Sequential(fuse_conv_bn_eval(*block.shortcut))
        elif isinstance(block, ContextBlock):
            _fold_context(block)
    return folded


def _fold_context(block: ContextBlock) -> None:
    """The first norm acts on the concatenation: each convolution takes its own run of the norm's channels."""
    norm, _, fuse, fused_norm, _ = block.fusion
    width = block.d1.out_channels
    for n, conv in enumerate((block.d1, block.d2, block.d4, block.d8)):
        own = slice(n * width, (n + 1) * width)
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean[own], norm.running_var[own], norm.eps,
            norm.weight[own], norm.bias[own],
        )
    block.fusion = nn.Sequential(
        nn.ReLU(inplace=True), fuse_conv_bn_eval(fuse, fused_norm), nn.ReLU(inplace=True)
    )
