"""Scoring scans one after the other: labels are checked first, and what is scored is kept when a later scan fails."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.scores import BINARY
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Training import evaluate_scans as evaluation
from Training.evaluate_scans import evaluate_scans

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture(autouse=True)
def segmented(monkeypatch):
    """A program that finds L1 and L2 in every scan; what it was asked to segment."""
    seen = []

    def segment(volume, *_, **__):
        seen.append(volume)
        return SimpleNamespace(labels=labels(20, 21), levels_known=True, report=lambda: {"seconds": 1})

    monkeypatch.setattr(evaluation, "segment", segment)
    monkeypatch.setattr(evaluation, "load_model", lambda name: name)
    monkeypatch.setattr(evaluation, "choose_runtime", lambda *_, **__: None)
    monkeypatch.setattr(evaluation, "choose_helpers", lambda *_, **__: {})
    monkeypatch.setattr(evaluation, "write_preview", lambda *_, **__: None)
    return seen


def labels(upper, lower) -> Volume:
    array = np.zeros((16, 8, 8), np.uint8)
    array[9:15, 2:6, 2:6], array[2:8, 2:6, 2:6] = upper, lower
    return Volume(array, AFFINE)


def scan(folder, name, truth: Volume, ending="labels"):
    write_volume(Volume(np.where(truth.array, 500, 0).astype(np.int16), AFFINE), folder / f"{name}.nii.gz")
    write_volume(truth, folder / f"{name}_{ending}.nii.gz")
    return folder / f"{name}.nii.gz"


def test_each_scan_is_scored_in_its_own_numbering(tmp_path):
    scans = [
        scan(tmp_path, "verse", labels(20, 21)), scan(tmp_path, "ts", labels(31, 30)),
        scan(tmp_path, "parts", labels(49, 41), "subregions"),
    ]  # fmt: skip
    found = evaluate_scans("any", scans, tmp_path / "out", frozenset({"ts"}), subregions=frozenset({"parts"}))
    assert found.values(BINARY, "dice") == [1.0] * 3
    assert [case.levels and case.levels.rate for case in found.cases] == [1.0, 1.0, None]
    reports = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(reports) == ["verse", "ts", "parts"] and reports["ts"]["scores"][BINARY]["dice"] == 1.0


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_figures_come_in_the_precision_that_is_asked_for(tmp_path, monkeypatch, precision):
    seen = []
    for choose in ("choose_runtime", "choose_helpers"):
        monkeypatch.setattr(evaluation, choose, lambda *_, precision, **__: seen.append(precision) or {})
    asked = ["--precision", precision] if precision != "auto" else []
    command = [scan(tmp_path, "first", labels(20, 21)), "--model", "any", "--output", tmp_path / "out", *asked]
    monkeypatch.setattr(sys, "argv", ["evaluate_scans", *map(str, command)])
    evaluation.main()
    assert seen == [precision] * 2


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (labels(31, 30), "second_labels.nii.gz' holds 30, 31, which VerSe's numbering"),
        (Volume(labels(20, 21).array, np.eye(4)), "don't lie on the same grid"),
    ],
)
def test_labels_that_cannot_be_right_are_refused_before_any_scan_is_segmented(tmp_path, segmented, second, sentence):
    scans = [scan(tmp_path, "first", labels(20, 21)), scan(tmp_path, "second", second)]
    with pytest.raises(InputRefused, match=sentence):
        evaluate_scans("any", scans, tmp_path / "out")
    assert not segmented


def test_what_was_scored_is_kept_when_a_later_scan_fails(tmp_path, monkeypatch):
    scans = [scan(tmp_path, name, labels(20, 21)) for name in ("first", "second")]
    first = evaluation.segment

    def fails(volume, *arguments, **named):
        monkeypatch.setattr(evaluation, "segment", lambda *_, **__: 1 / 0)
        return first(volume, *arguments, **named)

    monkeypatch.setattr(evaluation, "segment", fails)
    with pytest.raises(ZeroDivisionError):
        evaluate_scans("any", scans, tmp_path / "out")
    assert list(json.loads((tmp_path / "out" / "scores.json").read_text())) == ["first"]
