"""The whole way, with a real network whose answer is known: a threshold, and a threshold one voxel off to the side."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import BONE_THRESHOLD_HU, bone_threshold_state, model_card

from SpineContextSegLib.errors import Cancelled, InputRefused
from SpineContextSegLib.metrics import dice
from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.volume import Volume, from_sitk, to_sitk
from Training.export import export

STORED_AS = ["RAS", "LPS", "ASR", "SLP", "IPR"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def runtime(model):
    return choose_runtime(model, threads=1)


@pytest.fixture(scope="module")
def shifting(tmp_path_factory):
    """A network that calls a voxel bone when its neighbor to the right is: everything appears 2 mm to the left."""
    state = bone_threshold_state(2)
    for key in ("enc1.shortcut.0.weight", "enc1.conv1.weight", "enc1.conv2.weight"):
        state[key].zero_()
    state["enc1.conv1.weight"][0, 0, 2, 1, 1] = 1.0  # the network's first axis is R
    state["enc1.conv1.bias"][0] = 1.0  # keeps intensities of -1..1 above zero through the activations
    state["enc1.conv2.weight"][0, 0, 1, 1, 1] = 1.0
    state["final.bias"][1] -= state["final.weight"][1, 0].squeeze()
    folder = tmp_path_factory.mktemp("models") / "shifting"
    model = export(state, model_card("shifting", 2, (32, 32, 32), 2.0), folder)
    return model, choose_runtime(model, threads=1)


def stored_as(volume: Volume, orientation: str) -> Volume:
    return from_sitk(sitk.DICOMOrient(to_sitk(volume), "".join(map({"R": "L", "L": "R", "A": "P", "P": "A", "S": "S",
                                                                   "I": "I"}.get, orientation))))  # fmt: skip


def oblique(volume: Volume) -> Volume:
    """The same voxels, turned in space by 20 degrees about two axes."""
    a, b = np.deg2rad(20), np.deg2rad(-12)
    turn = np.eye(4)
    turn[:3, :3] = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    return Volume(volume.array, turn @ volume.affine)


def sheared(volume: Volume) -> Volume:
    """The same voxels with a gantry tilt of 15 degrees."""
    tilt = np.eye(4)
    tilt[1, 2] = np.tan(np.deg2rad(15))
    return Volume(volume.array, tilt @ volume.affine)


def center_mm(mask: np.ndarray, volume: Volume) -> np.ndarray:
    return volume.grid.world(np.argwhere(mask)[:, ::-1]).mean(0)


@pytest.mark.parametrize("orientation", STORED_AS)
def test_bone_is_found_in_place_however_the_voxels_are_stored(sample_scan, model, runtime, orientation):
    volume = stored_as(sample_scan.volume, orientation)
    truth = stored_as(Volume(sample_scan.bone.astype(np.uint8), sample_scan.volume.affine), orientation)
    result = segment(volume, model, runtime)
    assert result.labels.grid.same_as(volume.grid)
    assert set(np.unique(result.labels.array)) == {0, 1}
    assert dice(result.labels.array == 1, truth.array == 1) > 0.9
    assert np.allclose(center_mm(result.labels.array, result.labels), center_mm(truth.array, truth), atol=0.2)


def test_the_card_says_from_which_probability_on_a_voxel_is_spine(sample_scan, model, runtime):
    """On a slanted grid, whose voxels lie between those of the network."""
    volume = oblique(sample_scan.volume)
    models = [replace(model, card=replace(model.card, spine_from=share)) for share in (0.2, 0.5, 0.8)]
    found = [segment(volume, one, runtime).labels.array != 0 for one in models]
    for more, less in zip(found, found[1:]):
        assert not (less & ~more).any() and np.count_nonzero(more) > 1.02 * np.count_nonzero(less)


@pytest.mark.parametrize("turned", [oblique, sheared])
def test_bone_is_found_in_place_on_slanted_grids(sample_scan, model, runtime, turned):
    volume = turned(sample_scan.volume)
    result = segment(volume, model, runtime)
    assert result.labels.grid.same_as(volume.grid)
    assert dice(result.labels.array == 1, sample_scan.bone) > 0.85
    assert np.allclose(center_mm(result.labels.array, volume), center_mm(sample_scan.bone, volume), atol=0.3)


@pytest.mark.parametrize("turned", [lambda volume: volume, oblique, sheared], ids=["upright", "oblique", "sheared"])
def test_what_the_scan_cuts_may_be_small(sample_scan, model, runtime, turned):
    """A sliver at its last slices stays, one of the same size amid it goes."""
    array = np.minimum(sample_scan.volume.array, BONE_THRESHOLD_HU - 100).astype(np.int16)
    middle = array.shape[1] // 2, array.shape[2] // 2
    across = tuple(slice(at - 4, at + 4) for at in middle)
    array[16:40, across[0], across[1]] = BONE_THRESHOLD_HU + 800
    array[-2:, across[0], across[1]] = array[48:50, across[0], across[1]] = BONE_THRESHOLD_HU + 800
    found = segment(turned(Volume(array, sample_scan.volume.affine)), model, runtime, force=True).labels.array
    assert found[16:40].any() and found[-2:].any() and not found[46:52].any()


@pytest.mark.parametrize("orientation", STORED_AS)
def test_swapped_or_mirrored_axis_would_show(sample_scan, shifting, orientation):
    volume = stored_as(sample_scan.volume, orientation)
    truth = stored_as(Volume(sample_scan.bone.astype(np.uint8), sample_scan.volume.affine), orientation)
    found = segment(volume, *shifting).labels
    shift = center_mm(found.array, found) - center_mm(truth.array, truth)
    assert np.allclose(shift, [-2.0, 0.0, 0.0], atol=0.3)


def test_result_says_who_did_what(sample_scan, model, runtime):
    seen = []
    result = segment(sample_scan.volume, model, runtime, progress=lambda done, total: seen.append((done, total)))
    report = result.report()
    assert seen[-1] == (result.windows, result.windows) and len(seen) > 1
    assert report["levels_known"] is False
    assert [entry["name"] for entry in report["structures"]] == ["Vertebrae"]
    expected_ml = np.count_nonzero(sample_scan.bone) * sample_scan.volume.grid.voxel_volume_mm3 / 1000
    assert abs(report["structures"][0]["volume_ml"] - expected_ml) < 0.1 * expected_ml
    assert report["model"] == "tiny 0" and report["runtime"] == "openvino" and report["device"] == "cpu"
    assert set(report["seconds"]) == {"check", "resample", "locate", "network", "pieces", "map back", "check result"}


def test_cancel_stops_before_the_next_window(sample_scan, model, runtime):
    done = []
    with pytest.raises(Cancelled):
        segment(sample_scan.volume, model, runtime, progress=lambda n, total: done.append(n),
                cancelled=lambda: bool(done))  # fmt: skip
    assert len(done) == 1


def test_wrong_modality_is_refused_unless_forced(sample_scan, model, runtime):
    noise = Volume(np.random.default_rng(1).gamma(2.0, 150.0, (40, 40, 40)).astype(np.int16), np.diag([2.0, 2, 2, 1]))
    with pytest.raises(InputRefused):
        segment(noise, model, runtime)
    assert segment(noise, model, runtime, force=True).warnings


def test_no_spine_is_said(sample_scan, model, runtime):
    """Bone above the threshold is taken away: nothing is found and the result says so."""
    soft = np.minimum(sample_scan.volume.array, BONE_THRESHOLD_HU - 100).astype(np.int16)
    result = segment(Volume(soft, sample_scan.volume.affine), model, runtime)
    assert not result.labels.array.any() and result.volumes_ml == {}
    assert any("spine" in warning.lower() for warning in result.warnings)


def test_vertebrae_are_the_same_whatever_else_is_asked_for(sample_scan, tmp_path):
    """A network that calls bone below 600 HU vertebra and above it disc; between two such voxels it is undecided."""
    state = bone_threshold_state(2)
    slope = float(state["final.weight"][1, 0])
    state["final.weight"][4, 0] = 1.5 * slope
    state["final.bias"][4] = state["final.bias"][1] - 0.5 * slope * 0.6
    unsure = export(state, model_card("unsure", 2, (32, 32, 32), 2.0), tmp_path / "unsure")
    spine, everything = (
        segment(sample_scan.volume, unsure, choose_runtime(unsure, threads=1), structures=wanted).labels.array
        for wanted in ("spine", "all")
    )
    assert (everything == 200).any() and (spine == 1).any() and not (spine == 200).any()
    assert np.array_equal(spine == 1, everything == 1)
