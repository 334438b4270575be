"""Single vertebrae by the shipped model, from CT to levels: a whole trunk, pieces of it, and what can't be named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from level_values import C7, L3, T5
from scipy.ndimage import distance_transform_edt

import SpineContextSegLib
from SpineContextSegLib import pipeline
from SpineContextSegLib.cli import main
from SpineContextSegLib.column import UNNAMED
from SpineContextSegLib.evaluate import identify_levels
from SpineContextSegLib.identification import cut_vertebrae
from SpineContextSegLib.labels import BINARY_SPINE, SACRUM, VERTEBRAE
from SpineContextSegLib.metrics import binary_spine, dice
from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Training.anatomy.generate import generate
from Training.classes import RIB
from Training.make_phantom import calm, make_phantom
from Training.scanner import draw_recipe

SAMPLE = Path(SpineContextSegLib.__file__).parent / "sample"
NAMES = "the result", "the truth"
LEAST_DICE = 0.8


@pytest.fixture(scope="module")
def segmented():
    model = load_model("spinecontext-ct")
    runtime, helpers = choose_runtime(model), choose_helpers(model)
    return lambda volume: segment(volume, model, runtime, **helpers, structures="all")


@pytest.fixture(scope="module")
def sample():
    return read_volume(SAMPLE / "phantom_ct.nii.gz")[0], read_labels(SAMPLE / "phantom_labels.nii.gz")


def planes(volume: Volume, first: int, last: int) -> Volume:
    piece = slice(first, last), slice(None), slice(None)
    return Volume(volume.array[piece], volume.grid.crop(piece).affine)


def planes_of(labels: Volume, *values: int) -> tuple[int, int]:
    found = np.flatnonzero(np.isin(labels.array, values).any((1, 2)))
    return int(found[0]), int(found[-1]) + 1


def check_spine_and_levels(result, truth, certain):
    """The spine is found, and its levels are right, or said to be uncertain where they are known to be."""
    assert dice(binary_spine(result.labels.array), binary_spine(truth.array)) > LEAST_DICE
    assert bool(result.column and result.column.levels.certain) is certain
    if certain:
        levels = identify_levels(result.labels, truth, names=NAMES)
        assert levels.whole.rate == 1.0, levels.whole.errors()


def test_every_vertebra_of_the_sample_is_named(segmented, sample):
    ct, truth = sample
    result = segmented(ct)
    levels = identify_levels(result.labels, truth, names=NAMES)
    assert levels.whole.rate == 1.0, levels.whole.errors()
    assert result.column.levels.certain and result.levels_known
    assert levels.whole.mean_dice > 0.8
    names = [entry["name"] for entry in result.report()["structures"]]
    assert any(name.endswith("vertebra") for name in names) and not any("unknown" in name for name in names)


def test_column_that_is_cut_at_both_ends(segmented, sample):
    """L1 to L3 and parts of their neighbors: the parts are there, and marked."""
    ct, truth = sample
    first, last = planes_of(truth, 20, 21, 22)
    piece, expected = planes(ct, first, last), planes(truth, first, last)
    result = segmented(piece)
    check_spine_and_levels(result, expected, certain=False)
    assert result.column.at_border[[0, -1]].all() and not result.column.at_border.all()
    assert sum(sentence.endswith("cut by the border of the scan.") for sentence in result.warnings) == 1


def test_who_is_told_that_levels_are_a_guess_is_told_what_puts_them_right(sample, tmp_path, capsys):
    """T6 to T8: no first or last rib."""
    ct, truth = sample
    write_volume(planes(ct, *planes_of(truth, 13, 14, 15)), tmp_path / "piece.nrrd")
    assert main(["segment", str(tmp_path / "piece.nrrd"), "-o", str(tmp_path / "spine.nrrd")]) == 0
    said = capsys.readouterr().err
    assert "uncertain" in said and "spinecontextseg levels --help" in said


@pytest.mark.parametrize(("value", "certain"), [(C7, True), (T5, False), (L3, False)])
def test_one_vertebra(segmented, sample, value, certain):
    ct, truth = sample
    first, last = planes_of(truth, value)
    result = segmented(planes(ct, first, last))
    check_spine_and_levels(result, planes(truth, first, last), certain)


@pytest.mark.parametrize(("first", "last"), [(0.0, 1.0), (0.0, 0.45), (0.3, 0.7), (0.55, 1.0)])
def test_scan_whose_head_and_feet_are_exchanged_is_not_named_for_certain(segmented, sample, first, last):
    ct, _ = sample
    part = slice(int(first * len(ct.array)), int(last * len(ct.array)))
    upside_down = segmented(Volume(np.ascontiguousarray(ct.array[::-1][part]), ct.affine))
    assert "head and feet" in " ".join(upside_down.warnings)
    assert upside_down.labels.array.any()
    assert upside_down.column is None or not upside_down.column.levels.certain


def test_a_sacrum_alone_is_no_named_column_and_that_is_said(segmented, sample, monkeypatch):
    """All that was taken for a vertebra looks like sacrum."""
    monkeypatch.setattr(pipeline, "looks_of", lambda centers, **_: {SACRUM: np.ones(len(centers))})
    ct, truth = sample
    first, last = planes_of(truth, SACRUM)
    result = segmented(planes(ct, first, (first + last) // 2))
    assert result.column is None and not result.levels_known
    assert SACRUM in result.volumes_ml and VERTEBRAE.isdisjoint(result.volumes_ml)
    assert UNNAMED in result.warnings


def test_screws_and_rods_in_three_vertebrae(segmented):
    recipe = replace(calm(draw_recipe(np.random.default_rng(1011))), metal="screws", streak_hu=150.0)
    ct, truth = make_phantom(1011, "abdomen", 2.0, recipe)
    assert np.count_nonzero(ct.array == ct.array.max()) > 500
    result = segmented(ct)
    check_spine_and_levels(result, truth, certain=True)
    found = {entry["value"] for entry in result.report()["levels"]["vertebrae"]}
    assert len(found) >= len(VERTEBRAE.intersection(np.unique(truth.array)) - cut_vertebrae(truth))


def test_ribs_are_left_out(segmented):
    seed, spacing_mm = 1011, 2.0
    anatomy = generate(seed, spacing_mm, region="chest")
    ct, truth = make_phantom(seed, "chest", spacing_mm)
    found = np.isin(segmented(ct).labels.array, list(BINARY_SPINE))
    rib = (anatomy.label == RIB).numpy()[:, ::-1, ::-1]
    from_spine = distance_transform_edt(~np.isin(truth.array, list(VERTEBRAE)), sampling=spacing_mm)
    aside = rib & (from_spine > 10)
    assert aside.sum() > 5000 and found[aside].mean() < 0.01
