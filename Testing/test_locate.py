"""The coarse look: where spine might be, what is no spine, and what lies between two pieces of one."""

import json
import shutil

import numpy as np
import pytest
from conftest import bone_threshold_state, model_card

from SpineContextSegLib.errors import Cancelled, InputRefused
from SpineContextSegLib.locate import body_region, overview, spine_points
from SpineContextSegLib.model import CARD_FILE, Model, load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.volume import Volume
from Training.export import export


@pytest.fixture(scope="module")
def locator(tmp_path_factory):
    """Calls bone spine, at 4 mm."""
    folder = tmp_path_factory.mktemp("models") / "locator"
    return export(bone_threshold_state(2), model_card("locator", 2, (32, 32, 32), 4.0), folder)


@pytest.fixture(scope="module")
def runtime(locator):
    return choose_runtime(locator, threads=1)


def scan_with(*boxes, shape=(120, 60, 80), bone_hu=1200) -> Volume:
    """Soft tissue with boxes of bone, slices (k, j, i) in voxels of 2 mm."""
    array = np.full(shape, -1000, np.int16)
    array[:, 6:-6, 6:-6] = -100
    array[:, 12:-12, 12:-12] = 40
    for box in boxes:
        array[box] = bone_hu
    return Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]))


def found(volume: Volume, locator: Model, runtime) -> np.ndarray:
    return spine_points(overview(volume, locator.card.spacing_ras_mm), locator.card, runtime)


COLUMN = slice(0, 120), slice(24, 36), slice(34, 46)


def test_points_lie_on_the_bone_in_space(locator, runtime):
    volume = scan_with((slice(20, 80), slice(24, 36), slice(34, 46)))
    points = found(volume, locator, runtime)
    assert np.abs(points.min(0) - [68, 48, 40]).max() <= 4
    assert np.abs(points.max(0) - [90, 70, 158]).max() <= 4


def test_specks_inside_the_scan_are_left_out_and_pieces_at_its_border_are_not(locator, runtime):
    speck = slice(60, 64), slice(15, 20), slice(10, 15)  # 0.8 ml
    cut = slice(0, 8), slice(15, 20), slice(64, 69)  # 1.6 ml
    points = found(scan_with(COLUMN, speck, cut), locator, runtime)
    assert not (points[:, 0] < 40).any() and (points[:, 0] > 120).any()


def test_a_line_joins_pieces_of_an_interrupted_column(locator, runtime):
    upper, lower = (slice(90, 120), slice(24, 36), slice(50, 62)), (slice(0, 40), slice(24, 36), slice(20, 32))
    points = found(scan_with(upper, lower), locator, runtime)
    between = points[(points[:, 2] > 90) & (points[:, 2] < 170)]
    assert np.abs(np.diff(np.sort(np.unique(points[:, 2])))).max() <= 4.01
    assert np.all(np.diff(between[np.argsort(between[:, 2]), 0]) >= 0) and np.ptp(between[:, 0]) > 25


@pytest.mark.parametrize("bone", [(), [(slice(50, 54), slice(20, 24), slice(20, 24))]], ids=["none", "a speck"])
def test_nothing_is_nothing(locator, runtime, bone):
    assert found(scan_with(*bone), locator, runtime).shape == (0, 3)


def test_coarse_look_can_be_cancelled(locator, runtime):
    with pytest.raises(Cancelled):
        spine_points(overview(scan_with(COLUMN), 4.0), locator.card, runtime, cancelled=lambda: True)


def test_body_region_leaves_out_air_and_nothing_else():
    hu = np.full((40, 60, 80), -1000, np.int16)
    hu[5:, 20:40, 30:50] = 40
    hu[3, 3, 3] = 500
    assert body_region(hu, np.full(3, 2.0)) == (slice(0, 40), slice(15, 45), slice(25, 55))
    assert body_region(np.full((9, 9, 9), -1000, np.int16), np.full(3, 2.0)) == (slice(0, 9),) * 3
    assert body_region(hu, np.array([10.0, 5.0, 2.5])) == (slice(1, 40), slice(18, 42), slice(29, 51))


@pytest.fixture(scope="module")
def located_model(locator, tmp_path_factory):
    """Calls bone spine, at 2 mm, with the locator in its folder."""
    folder = tmp_path_factory.mktemp("models") / "located"
    card = model_card("located", 2, (64, 64, 64), 2.0)
    return export(bone_threshold_state(2), card, folder, {"locator": locator.folder})


def test_model_brings_its_locator(located_model, tiny_model):
    assert located_model.locator.card.spacing_mm == (4.0, 4.0, 4.0)
    assert load_model(tiny_model).locator is None and choose_helpers(load_model(tiny_model)) == {}


def test_located_result_is_that_of_the_full_sweep(located_model):
    """A column that leans over, in a wide scan: a fraction of the windows, the same voxels."""
    volume = scan_with(*[(slice(8 * n, 8 * n + 9), slice(40, 55), slice(20 + 5 * n, 40 + 5 * n)) for n in range(16)],
                       shape=(128, 160, 200))  # fmt: skip
    fine, helpers = choose_runtime(located_model, threads=1), choose_helpers(located_model, threads=1)
    full, along = (segment(volume, located_model, fine, **which, force=True) for which in ({}, helpers))
    assert full.labels.array.any()
    assert np.array_equal(full.labels.array, along.labels.array)
    assert along.windows < full.windows / 4


def test_where_the_coarse_look_finds_nothing_the_close_look_goes_everywhere(located_model):
    """Bone that is too thin for 4 mm."""
    volume = scan_with((slice(0, 120), slice(26, 34), slice(37, 39)), bone_hu=400)
    fine, helpers = choose_runtime(located_model, threads=1), choose_helpers(located_model, threads=1)
    assert not len(spine_points(overview(volume, 4.0), located_model.locator.card, helpers["locator"]))
    full, along = (segment(volume, located_model, fine, **which, force=True) for which in ({}, helpers))
    assert full.labels.array.any() and np.array_equal(full.labels.array, along.labels.array)
    assert along.windows == full.windows


def test_where_the_close_look_confirms_nothing_it_goes_everywhere_too(located_model, monkeypatch):
    """The coarse look pointed to a corner of the scan."""
    volume = scan_with(COLUMN)
    corner = np.zeros((1, 3))
    monkeypatch.setattr("SpineContextSegLib.pipeline.spine_points", lambda *_: corner)
    fine, helpers = choose_runtime(located_model, threads=1), choose_helpers(located_model, threads=1)
    full, misled = (segment(volume, located_model, fine, **which, force=True) for which in ({}, helpers))
    assert full.labels.array.any() and np.array_equal(full.labels.array, misled.labels.array)


def test_missing_or_blind_locator_is_named(located_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(located_model.folder, folder)
    card = folder / "locator" / CARD_FILE
    content = json.loads(card.read_text())
    content["structures"] = {"61": ["spinal_canal"]}
    card.write_text(json.dumps(content))
    with pytest.raises(InputRefused, match="finds no spine"):
        choose_helpers(load_model(folder))
    shutil.rmtree(folder / "locator")
    with pytest.raises(InputRefused, match="lacks its folder locator"):
        choose_helpers(load_model(folder))
