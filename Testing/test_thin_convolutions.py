"""Training in bfloat16 where a convolution is wider than its input: gradients of what was given, not of leftovers."""

import pytest
import torch
from torch import nn

from Training.thin_convolutions import exact_where_thin


def leave_nan_in_free_memory():
    leftovers = [torch.full((2**size,), torch.nan) for size in range(8, 22) for _ in range(6)]
    del leftovers


@pytest.mark.parametrize(("kernel", "depth"), [(3, 1), (3, 2), (3, 3), (5, 4), (5, 2)])
def test_gradients_are_those_of_float32(kernel, depth):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(16, 64, kernel, padding=kernel // 2))
    image = torch.randn(1, 16, depth, 4, 8)
    network(image).square().mean().backward()
    right = network[0].weight.grad.clone()
    exact_where_thin(network)
    for _ in range(3):
        network.zero_grad()
        leave_nan_in_free_memory()
        with torch.autocast("cpu", torch.bfloat16):
            found = network(image)
        leave_nan_in_free_memory()
        found.float().square().mean().backward()
        assert found.dtype == (torch.float32 if depth < kernel else torch.bfloat16)
        assert (network[0].weight.grad - right).abs().max() < 0.01 * right.abs().max()
