"""Other architectures, trained alike: their sizes, and the whole way in miniature."""

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import one_hot

from SpineContextSegLib.labels import IGNORED
from SpineContextSegLib.model import read_card
from SpineContextSegLib.scores import BINARY, DISCS, SACRUM, VERTEBRAE
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Training import compare_architectures
from Training.architectures import ARCHITECTURES, parameters
from Training.classes import BACKGROUND, BODY, CLASSES, DISC, POSTERIOR, RIB
from Training.classes import SACRUM as SACRUM_CLASS
from Training.compare_architectures import PATCH, compare, table
from Training.generated_patches import store
from Training.loop import LOG_FILE, WEIGHTS_FILE


@pytest.mark.parametrize(
    ("name", "published"), [("SpineContextResUNet", 1_703_841), ("ResUNet without context", 1_424_545)]
)
def test_sizes_are_the_published_ones(name, published):
    assert parameters(ARCHITECTURES[name](1, PATCH)) == published


class Told(nn.Module):
    """Classes read off from the image, 100 HU each; of each class what `taken_for` says instead."""

    def __init__(self, card, taken_for):
        super().__init__()
        self.card, self.taken_for = card, taken_for

    def forward(self, image):
        (low, high), (a, b) = self.card.range_hu, self.card.scale
        classes = (((image[:, 0] - a) * (high - low) / (b - a) + low) / 100).round().long()
        for value, other in self.taken_for.items():
            classes[classes == value] = other
        return 10.0 * one_hot(classes, len(CLASSES)).movedim(-1, 1)


def test_dice_is_that_of_the_most_probable_classes_where_they_lie(monkeypatch):
    """On a volume of which no two axes are alike, larger than a window along one of them and smaller along another."""
    monkeypatch.setattr(compare_architectures, "PATCH", (16, 16, 16))
    label = torch.zeros(40, 12, 20, dtype=torch.uint8)
    label[2:32, 1:5, 3:8] = BODY  # 600 voxels
    label[2:32, 5:7, 3:8] = POSTERIOR  # 300
    label[33:38, 1:5, 3:8] = SACRUM_CLASS  # 100
    label[2:32, 8:10, 15:17] = RIB  # 120
    label[4:8, 1:5, 10:12] = DISC  # 32
    hu = 100 * label.to(torch.int16)
    card = read_card(compare_architectures.CARD)
    right = {BINARY: 1.0, VERTEBRAE: 1.0, SACRUM: 1.0, DISCS: 1.0}
    assert compare_architectures.dice(Told(card, {}), (hu, label), card) == right
    half = compare_architectures.dice(Told(card, {POSTERIOR: BACKGROUND, RIB: DISC}), (hu, label), card)
    assert half == pytest.approx(
        {BINARY: 2 * 700 / (700 + 1000), VERTEBRAE: 2 * 600 / (600 + 900), SACRUM: 1.0, DISCS: 2 * 32 / (152 + 32)}
    )
    # What the labels say nothing about counts nowhere.
    unsure = torch.where(label == RIB, IGNORED, label)
    assert compare_architectures.dice(Told(card, {RIB: DISC}), (hu, unsure), card) == right


def test_one_step_and_its_table(tmp_path, monkeypatch):
    monkeypatch.setattr(compare_architectures, "PATCH", (32, 32, 32))
    (tmp_path / "bodies").mkdir()
    store(tmp_path / "bodies", 3000, 4.0)
    # 25 and 27 are sacrum and L5 in TotalSegmentator's numbering, L6 and coccyx in VerSe's.
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[4:12, 8:16, 8:16], labels[12:20, 8:16, 8:16] = 25, 27
    write_volume(Volume(np.where(labels, 600, 0).astype(np.int16), np.diag([4.0, 4, 4, 1])), tmp_path / "real.nii.gz")
    write_volume(Volume(labels, np.diag([4.0, 4, 4, 1])), tmp_path / "real_labels.nii.gz")
    arguments = argparse.Namespace(
        output=tmp_path / "run", anatomies=tmp_path / "bodies", test=[tmp_path / "real.nii.gz"],
        totalsegmentator=["real"], only=["ResUNet without context", "UNETR"], steps=1, bodies=1, learning_rate=1e-3,
        seed=0, bfloat16=False,
    )  # fmt: skip
    results = compare(arguments)
    assert list(results) == arguments.only and results["UNETR"]["parameters"] > 5e6
    for scores in results["UNETR"]["dice"].values():
        assert all(0 <= dice <= 1 for dice in scores.values())
    assert set(results["UNETR"]["dice"]["real"]) == {BINARY, VERTEBRAE, SACRUM}
    lines = table(results).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| ResUNet without context | 1.4 M |")
    # Trained to the end, it isn't trained again; judging gives the same.
    assert compare(arguments)["UNETR"]["dice"] == results["UNETR"]["dice"]


class OnAnotherDevice(nn.Conv3d):
    """Where training leaves a network on a GPU: it takes nothing from the CPU until it is brought back."""

    is_away = False

    def cpu(self):
        self.is_away = False
        return super().cpu()

    def forward(self, image):
        assert not self.is_away
        return super().forward(image)


def test_what_was_trained_on_a_gpu_is_judged_beside_the_scans(tmp_path, monkeypatch):
    def trained(arguments, network):
        network.is_away = True
        arguments.output.mkdir(parents=True)
        save_file(network.state_dict(), arguments.output / WEIGHTS_FILE)
        (arguments.output / LOG_FILE).touch()

    monkeypatch.setattr(compare_architectures, "train", trained)
    monkeypatch.setattr(compare_architectures, "PATCH", (16, 16, 16))
    monkeypatch.setitem(ARCHITECTURES, "away", lambda outputs, patch: OnAnotherDevice(1, outputs, 1))
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[4:12, 8:16, 8:16] = 20
    for values, ending in ((labels * 20, ""), (labels, "_labels")):
        write_volume(Volume(values, np.diag([4.0, 4, 4, 1])), tmp_path / f"real{ending}.nii.gz")
    arguments = argparse.Namespace(
        output=tmp_path / "run", anatomies=tmp_path, test=[tmp_path / "real.nii.gz"], totalsegmentator=[],
        only=["away"], steps=1, bodies=0, learning_rate=1e-3, seed=0, bfloat16=False,
    )  # fmt: skip
    assert BINARY in compare(arguments)["away"]["dice"]["real"]
