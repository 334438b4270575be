"""Convolutions that are wider than what they are given, in float32 within a training in bfloat16.

oneDNN (of torch 2.13, on a CPU) computes the gradient of such a convolution's weights in bfloat16 from memory that
nobody wrote: of 3 x 3 x 3 where a patch is two voxels deep, of 5 x 5 x 5 where it is two to four. Such a training ends
in NaN after some steps, sooner or later from run to run, or goes on with wrong gradients. Dilated ones are right.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def exact_where_thin(network: nn.Module) -> None:
    """Make every `Conv3d` of a network leave autocast where its input (n, c, d, h, w) has fewer planes than it has."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1:
            module.forward = _exact_where_thin(module)


def _exact_where_thin(convolution: nn.Conv3d):
    plain = convolution.forward

    def forward(x: Tensor) -> Tensor:
        if x.shape[2] >= convolution.kernel_size[0]:
            return plain(x)
        with torch.autocast(x.device.type, enabled=False):
            return plain(x.to(convolution.weight.dtype))

    return forward
