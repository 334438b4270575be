"""Other architectures, trained alike: their sizes, and the whole way in miniature."""

import argparse

import pytest

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
    arguments = argparse.Namespace(
        output=tmp_path / "run", anatomies=tmp_path / "bodies", test=[], only=["ResUNet without context", "UNETR"],
        steps=1, bodies=1, learning_rate=1e-3, seed=0, bfloat16=False,
    )  # fmt: skip
    results = compare(arguments)
    assert list(results) == arguments.only and results["UNETR"]["parameters"] > 5e6
    (scores,) = results["UNETR"]["dice"].values()
    assert all(0 <= dice <= 1 for dice in scores.values())
    lines = table(results).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| ResUNet without context | 1.4 M |")
    # What was trained is not trained again.
    assert compare(arguments)["UNETR"]["dice"] == results["UNETR"]["dice"]
