"""Crops around vertebrae, to the voxel, and what a network says of them, through both runtimes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from geometry import LPS, OBLIQUE, SAGITTAL, centered_grid

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import SACRUM
from SpineContextSegLib.locate import Overview, overview
from SpineContextSegLib.model import load_model
from SpineContextSegLib.naming import crop_around, looks_of
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.volume import Grid, Volume

MIDDLE = np.array([12.0, -30.0, 55.0])
BALL_MM = 14.0


@pytest.fixture(scope="module")
def card(namer) -> dict:
    return namer.card.to_dict()


@pytest.mark.parametrize("axes", [np.eye(3), LPS, OBLIQUE, SAGITTAL], ids=["RAS", "LPS", "oblique", "sagittal"])
def test_crop_has_the_point_in_its_middle(card, axes):
    """A ball of bone in a scan on any grid: its middle is that of the crop, to half a voxel."""
    grid = centered_grid((1.5, 2.0, 3.0), (150, 150, 150), axes, MIDDLE + [9, -7, 5])
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)[..., ::-1]
    ball = np.linalg.norm(grid.world(indices.reshape(-1, 3)) - MIDDLE, axis=1).reshape(grid.shape) < BALL_MM
    volume = Volume(np.where(ball, 1000, 0).astype(np.int16), grid.affine)
    parsed = ModelCard.from_dict(card)
    crop = crop_around(MIDDLE, overview(volume, parsed.spacing_ras_mm), parsed)
    assert crop.shape == parsed.window_kji == (32, 16, 24)
    middle = np.argwhere(crop > 500).mean(0) - (np.array(crop.shape) - 1) / 2
    assert np.abs(middle).max() <= 0.5 + 0.1


@pytest.mark.parametrize("letters", ["RAS", "LPS", "SAL"])
def test_window_of_any_axis_order_fits_the_crop(card, letters):
    parsed = replace(ModelCard.from_dict(card), axis_order=letters)
    seen = Overview(np.zeros((50, 50, 50), np.float32), Grid((50, 50, 50), np.diag([4.0, 4, 4, 1])))
    assert parsed.to_network_axes(crop_around(np.array([80.0, 80, 80]), seen, parsed)).shape == parsed.roi_size


def test_crop_beyond_the_scan_holds_air(card):
    seen = Overview(np.full((10, 12, 14), 40, np.float32), Grid((10, 12, 14), np.diag([4.0, 4, 4, 1])))
    parsed = ModelCard.from_dict(card)
    crop = crop_around(np.array([0.0, 0, 0]), seen, parsed)
    assert (crop[16:26, 8:16, 12:24] == 40).all() and (crop[:15] == -1000).all() and (crop[27:] == -1000).all()
    assert (crop_around(np.array([0.0, 0, 9000]), seen, parsed) == -1000).all()


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_looks_are_probabilities_of_levels(namer, runtime):
    rng = np.random.default_rng(0)
    seen = Overview(rng.normal(100, 300, (40, 40, 40)).astype(np.float32), Grid((40, 40, 40), np.diag([4.0, 4, 4, 1])))
    centers = np.array([[80.0, 80, 120], [80, 80, 90], [84, 80, 60]])
    looks = looks_of(centers, seen, namer.card, choose_runtime(namer, runtime, "cpu", threads=1))
    assert set(looks) == {*range(1, 25), SACRUM}
    table = np.stack(list(looks.values()))
    assert table.shape == (25, 3) and (table > 0).all() and (table.sum(0) < 1 + 1e-5).all()
    # Each crop is looked at on its own.
    alone = looks_of(centers[1:2], seen, namer.card, choose_runtime(namer, "torch", "cpu", threads=1))
    assert np.allclose(table[:, 1], [share[0] for share in alone.values()], atol=1e-3)
    assert np.abs(table[:, 0] - table[:, 1]).max() > 0.01


def test_head_and_feet_exchanged(namer):
    """The crop of a scan that lies the other way, around the same vertebra."""
    hu = np.random.default_rng(1).normal(100, 300, (41, 40, 40)).astype(np.float32)
    grid = Grid((41, 40, 40), np.diag([4.0, 4, 4, 1]))
    runtime = choose_runtime(namer, "torch", "cpu", threads=1)
    # A crop of 40 planes starts at the lowest of 41 here, and at the second lowest of the mirrored scan.
    place, other_way = np.array([[80.0, 80, 80]]), np.array([[80.0, 80, 82]])
    turned = looks_of(place, Overview(hu, grid), namer.card, runtime, upside_down=True)
    scanned = looks_of(other_way, Overview(hu[::-1].copy(), grid), namer.card, runtime)
    straight = looks_of(place, Overview(hu, grid), namer.card, runtime)
    table, expected, plain = (np.stack(list(looks.values())) for looks in (turned, scanned, straight))
    assert np.allclose(table, expected, atol=1e-5) and np.abs(table - plain).max() > 0.01


def with_namer(tiny_model, namer_card, folder):
    """A model with offsets and a namer, of cards alone."""
    content = json.loads((tiny_model / "card.json").read_text())
    outputs = content["architecture"] | {"out_channels": len(content["classes"]) + 3}
    folder.mkdir()
    card = content | {"architecture": outputs, "offset_unit_mm": 10, "namer": "namer", "weights": {}}
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "namer").mkdir()
    (folder / "namer" / "card.json").write_text(json.dumps(namer_card))
    return load_model(folder)


def test_model_brings_its_namer(tiny_model, namer, tmp_path):
    model = with_namer(tiny_model, namer.card.to_dict(), tmp_path / "model")
    assert model.namer.card.classes[0] == "C1"
    assert load_model(tiny_model).namer is None
    with pytest.raises(InputRefused, match="has no safetensors|can't be read"):
        choose_helpers(model, "torch")


def test_network_of_the_wrong_kind_is_refused(tiny_model, tmp_path):
    segmenting = json.loads((tiny_model / "card.json").read_text())
    model = with_namer(tiny_model, segmenting, tmp_path / "model")
    with pytest.raises(InputRefused, match="namer.*must be a SpineContextLevels"):
        _ = model.namer


def test_namer_without_offsets_is_refused(card):
    with pytest.raises(InputRefused, match="namer is of no use without an offset_unit_mm"):
        ModelCard.from_dict(card | {"namer": "namer"})
