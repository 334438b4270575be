"""What many tests need: a real network whose weights are set by hand, and a small CT whose bone is known exactly."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.model import Model
from SpineContextSegLib.network import SpineContextResUNet, network_for
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.slicer_env.fixtures import *  # noqa: F403
from Training.export import export
from Training.train_levels import CARD as NAMER_CARD

# A shell ignores these for what it starts in the background, and so would every process that a test means to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# The hand-set network calls everything above this "vertebral body".
BONE_THRESHOLD_HU = 250.0
_HU_RANGE = 1000.0
_STEEPNESS = 400.0
CLASSES = ("background", "vertebral_body", "posterior_elements", "sacrum", "disc", "spinal_canal", "rib", "other_bone")


def bone_threshold_state(base_filters: int) -> dict[str, torch.Tensor]:
    """A state dict with which the network is a threshold at 250 HU, for intensities of -1000..1000 HU as -1..1.

    The one path that isn't zero: the shortcut of the first block, its skip connection, the shortcut of the last block.
    """
    network = SpineContextResUNet(1, len(CLASSES), base_filters)
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv3d, torch.nn.ConvTranspose3d)):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    with torch.no_grad():
        network.enc1.shortcut[0].weight[0, 0] = 1.0
        network.dec1.shortcut[0].weight[0, base_filters] = 1.0
        network.final.weight[1, 0] = _STEEPNESS
        network.final.bias[1] = -_STEEPNESS * BONE_THRESHOLD_HU / _HU_RANGE
        network.final.bias[2:] = -100.0
    return network.state_dict()


def model_card(name: str, base_filters: int, roi_size: tuple[int, int, int], spacing_mm: float) -> dict:
    """The content of a card for `bone_threshold_state`."""
    return {
        "name": name,
        "version": "0",
        "description": "Calls everything dense bone; for tests.",
        "modality": ["CT"],
        "architecture": {
            "name": "SpineContextResUNet", "base_filters": base_filters, "in_channels": 1, "out_channels": len(CLASSES),
        },
        "activation": "softmax",
        "classes": list(CLASSES),
        "structures": {
            "1": ["vertebral_body", "posterior_elements"], "26": ["sacrum"], "61": ["spinal_canal"], "200": ["disc"],
        },
        "spacing_mm": [spacing_mm] * 3,
        "axis_order": "RAS",
        "intensity": {"range_hu": [-_HU_RANGE, _HU_RANGE], "scale": [-1, 1], "air_hu": -500},
        "pad_value": -1,
        "roi_size": list(roi_size),
        "overlap": 0.5,
    }  # fmt: skip


@pytest.fixture(scope="session")
def namer(tmp_path_factory) -> Model:
    """Says of each crop something else, nothing sensible."""
    content = json.loads(NAMER_CARD.read_text())
    content |= {"architecture": content["architecture"] | {"base_filters": 2}, "roi_size": [24, 16, 32]}
    torch.manual_seed(3)
    network = network_for(ModelCard.from_dict(content))
    # As drawn, it would say the same of everything.
    network.squeeze.weight.data *= 30
    network.final.weight.data *= 100
    return export(network.state_dict(), content, tmp_path_factory.mktemp("models") / "namer")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """Folder of a model that takes milliseconds: 2 base filters, 2 mm, windows of 32 voxels."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    export(bone_threshold_state(2), model_card("tiny", 2, (32, 32, 32), 2.0), folder)
    return folder


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory) -> Path:
    """The same answers, but many windows of a larger network, so that there is time to interrupt it."""
    folder = tmp_path_factory.mktemp("models") / "slow"
    export(bone_threshold_state(16), model_card("slow", 16, (48, 48, 48), 1.0), folder)
    return folder


@pytest.fixture(scope="session")
def unhurried_model(tmp_path_factory) -> Path:
    """The same answers within seconds: time to kill its process, and to wait for another that does the scan again."""
    folder = tmp_path_factory.mktemp("models") / "unhurried"
    export(bone_threshold_state(8), model_card("unhurried", 8, (48, 48, 48), 2.0), folder)
    return folder


@dataclass(frozen=True)
class SampleScan:
    """A CT on disk, the same in memory, and the mask (k, j, i) of its dense bone."""

    path: Path
    volume: Volume
    bone: np.ndarray


@pytest.fixture(scope="session")
def sample_scan(tmp_path_factory) -> SampleScan:
    """A body of fat and muscle with a leaning column of blocks of bone, at 2 x 2 x 2.5 mm, in DICOM's orientation."""
    shape, spacing = (60, 60, 70), np.array([2.0, 2.0, 2.5])
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = (80.0, 55.0, -40.0)
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    radius = np.hypot((i - 35) / 31, (j - 30) / 25)
    hu[radius < 1] = -100.0
    hu[radius < 0.85] = 50.0
    middle = 35 + (k - 30) * 0.15
    bone = (np.abs(i - middle) < 9) & (np.abs(j - 34) < 8) & (k % 12 < 9)
    bone |= (np.abs(i - middle) < 2) & (j >= 42) & (j < 50) & (k % 12 < 5)
    hu[bone] = 600.0
    hu += np.random.default_rng(0).normal(0.0, 15.0, shape)
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    volume = Volume(np.rint(hu).astype(np.int16), affine)
    write_volume(volume, path)
    return SampleScan(path, volume, bone)
