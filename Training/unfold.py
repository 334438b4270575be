"""Exported weights made fit to be trained on."""

from __future__ import annotations

import torch
from torch import nn

from SpineContextSegLib.network import ContextBlock, ResidualBlock


@torch.no_grad()
def unfold(network: nn.Module) -> None:
    """Give weights in which batch norms were folded (see `export`) the spread that they had when they were drawn, and
    their batch norms the rest, in place. The network computes the same; one with batch norms of its own stays as it is.

    Folded weights are up to three times smaller and six times larger than drawn ones, and steps of AdamW are of one
    size: 50 steps of 1e-3 from folded weights took a trained network's Dice in training from 0.76 to 0.59.
    """
    for convolution, norm, own in _pairs(network):
        if not _does_nothing(norm, own):
            continue
        weight = convolution.weight
        drawn = (3 * weight[0].numel()) ** -0.5  # standard deviation of PyTorch's uniform draw
        factor = (weight.flatten(1).square().mean(1).sqrt() / drawn).clamp_min(1e-3)
        weight /= factor.reshape(-1, *[1] * (weight.ndim - 1))
        convolution.bias /= factor
        norm.weight[own] = factor


def _pairs(network: nn.Module):
    """Each convolution, the batch norm behind it, and which of that norm's channels are its own."""
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            yield block.conv1, block.bn1, slice(None)
            yield block.conv2, block.bn2, slice(None)
            if len(block.shortcut):
                yield *block.shortcut, slice(None)
        elif isinstance(block, ContextBlock):
            norm, _, fuse, fused_norm, _ = block.fusion
            width = block.d1.out_channels
            for n, branch in enumerate((block.d1, block.d2, block.d4, block.d8)):
                yield branch, norm, slice(n * width, (n + 1) * width)
            yield fuse, fused_norm, slice(None)


def _does_nothing(norm: nn.BatchNorm3d, own: slice) -> bool:
    return bool(
        (norm.weight[own] == 1).all() and not norm.bias[own].any() and not norm.running_mean[own].any()
        and torch.allclose(norm.running_var[own] + norm.eps, torch.ones(()))
    )  # fmt: skip
