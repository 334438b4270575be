"""Model cards and networks for the tests: small windows, few filters, random weights that make a difference."""

import torch
from torch import nn

from SpineContextSegLib.network import SpineContextResUNet

CLASSES = ("background", "vertebral_body", "posterior_elements", "sacrum", "disc", "spinal_canal", "rib", "other_bone")
ROI_SIZE = (32, 24, 16)


def card_content(**changes):
    """The content of a valid card without weights, with some of its fields changed."""
    return {
        "name": "tiny",
        "version": "1",
        "description": "Random weights.",
        "modality": ["CT"],
        "architecture": {"name": "SpineContextResUNet", "base_filters": 4, "in_channels": 1, "out_channels": 8},
        "activation": "softmax",
        "classes": list(CLASSES),
        "structures": {
            "1": ["vertebral_body", "posterior_elements"], "26": ["sacrum"], "61": ["spinal_canal"], "200": ["disc"],
        },
        "spacing_mm": [1, 1, 1],
        "axis_order": "RAS",
        "intensity": {"range_hu": [-1000, 2000], "scale": [-1, 1]},
        "pad_value": -1,
        "roi_size": list(ROI_SIZE),
        "overlap": 0.5,
        "training": {"data": "none"},
        "results": {},
    } | changes  # fmt: skip


def sigmoid_content(**changes):
    """The content of a card for a published checkpoint: one channel, the whole spine, with a sigmoid."""
    architecture = {"name": "SpineContextResUNet", "base_filters": 16, "in_channels": 1, "out_channels": 1}
    published = {"architecture": architecture, "activation": "sigmoid", "classes": ["spine"]}
    return card_content(structures={"1": ["spine"]}, **published | changes)


def random_network(out_channels=8, base_filters=4, seed=0):
    """In eval mode, with batch norms that are far from the identity."""
    torch.manual_seed(seed)
    network = SpineContextResUNet(out_channels=out_channels, base_filters=base_filters).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.3, 2)
                layer.weight.uniform_(0.5, 2)
                layer.bias.normal_(0, 0.5)
        network.final.weight.mul_(4)
    return network
