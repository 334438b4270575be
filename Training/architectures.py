"""Other networks that could stand where SpineContextResUNet does, to be trained alike and compared."""

from __future__ import annotations

from collections.abc import Callable

from monai.networks.nets import UNETR, BasicUNet, SwinUNETR, VNet
from torch import nn

from SpineContextSegLib.network import ResidualBlock, SpineContextResUNet

Make = Callable[[int, tuple[int, int, int]], nn.Module]
"""(classes, size of a patch along R, A and S) -> a network of one input channel."""


def _without_context(classes: int, _size: tuple[int, int, int]) -> nn.Module:
    """A residual block in the place of the context block, as in the ablation of arXiv 2605.20760."""
    network = SpineContextResUNet(1, classes)
    deepest, widest = network.enc3.conv2.out_channels, network.up3.in_channels
    network.bottleneck = ResidualBlock(deepest, widest)
    return network


# Sizes of the published comparison where MONAI's networks can be as small: U-Net 1.8 M parameters, SwinUNETR 3.7 M.
# UNETR always has twelve layers, V-Net one size.
ARCHITECTURES: dict[str, Make] = {
    "SpineContextResUNet": lambda classes, _size: SpineContextResUNet(1, classes),
    "ResUNet without context": _without_context,
    "3D U-Net": lambda classes, _size: BasicUNet(3, 1, classes, features=(18, 18, 36, 72, 144, 18)),
    "SwinUNETR": lambda classes, _size: SwinUNETR(1, classes, feature_size=12, depths=(1, 1, 1, 1)),
    "UNETR": lambda classes, size: UNETR(1, classes, size, feature_size=8, hidden_size=192, mlp_dim=768, num_heads=6),
    "V-Net": lambda classes, _size: VNet(3, 1, classes),
}


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(each.numel() for each in network.parameters())
