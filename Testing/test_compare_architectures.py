"""Other architectures, trained alike: their sizes, and the whole way in miniature."""

import argparse

import numpy as np
import pytest

from SpineContextSegLib.scores import BINARY, SACRUM, VERTEBRAE
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Training import compare_architectures
from Training.architectures import ARCHITECTURES, parameters
from Training.compare_architectures import PATCH, compare, table
from Training.generated_patches import store


@pytest.mark.parametrize(
    ("name", "published"), [("SpineContextResUNet", 1_703_841), ("ResUNet without context", 1_424_545)]
)
def test_sizes_are_the_published_ones(name, published):
    assert parameters(ARCHITECTURES[name](1, PATCH)) == published


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
