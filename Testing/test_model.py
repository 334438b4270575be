"""Model cards and folders: validation, axes, intensities, SHA-256, registration, export."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from model_cards import CLASSES, card_content, random_network, sigmoid_content
from safetensors.torch import load_file, save, save_file

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.model import list_models, load_model, read_card, register_model, user_models_folder
from SpineContextSegLib.network import SCALE, full_precision
from SpineContextSegLib.runtime import choose_runtime
from Training import export as export_module
from Training.export import export, main
from Training.quantize import quantize, with_int8


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder that `export` made; the tests don't change it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    export(random_network().state_dict(), card_content(), folder)
    return folder


@pytest.fixture
def users_models(tmp_path, monkeypatch):
    folder = tmp_path / "user's models"
    monkeypatch.setenv("SPINECONTEXTSEG_MODELS", str(folder))
    return folder


def changed(path, value):
    """The content of a card with the field at `path` ("intensity.scale") changed."""
    content = json.loads(json.dumps(card_content()))
    *groups, last = path.split(".")
    place = content
    for group in groups:
        place = place[group]
    place[last] = value
    return content


def test_card_survives_its_json():
    card = ModelCard.from_dict(card_content())
    assert card.structures == {
        1: ("vertebral_body", "posterior_elements"), 26: ("sacrum",), 61: ("spinal_canal",), 200: ("disc",),
    }  # fmt: skip
    assert ModelCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("name", "two words", "name"),
        ("name", "../evil", "name"),
        ("modality", "CT", "modality must be a list"),
        ("modality", [], "modality must be a list"),
        ("modality", ["ct"], "modality must be a list"),
        ("modality", ["CT", "XX"], "modality must be a list"),
        ("modality", None, "wrong type"),
        ("architecture.name", "UNet", "architecture.name"),
        ("architecture.in_channels", 2, "architecture.in_channels"),
        ("architecture.out_channels", 7, "architecture.out_channels"),
        ("architecture.base_filters", 0, "architecture.base_filters"),
        ("activation", "relu", "activation"),
        ("classes", list(CLASSES[1:]) + ["background"], "classes"),
        ("classes", ["background"] * 8, "classes"),
        ("structures", {}, "structures"),
        ("structures", {"1": ["rib"], "26": ["rib"]}, "structures"),
        ("structures", {"1": ["tooth"]}, "structures"),
        ("structures", {"1": ["background"]}, "structures"),
        ("structures", {"0": ["rib"]}, "structures"),
        ("structures", {"1": ["vertebral_body"], "27": ["sacrum"]}, "(27)"),
        ("structures", {"vertebra": ["rib"]}, "wrong type"),
        ("spacing_mm", [1, 1], "spacing_mm"),
        ("spacing_mm", [1, 1, -1], "spacing_mm"),
        ("spacing_mm", [1, 1, 1e9], "spacing_mm"),
        ("spacing_mm", 1, "wrong type"),
        ("axis_order", "RAR", "axis_order"),
        ("axis_order", "RLS", "axis_order"),
        ("intensity.range_hu", [2000, -1000], "intensity.range_hu"),
        ("intensity.scale", [1, 1], "intensity.scale"),
        ("pad_value", 0, "pad_value"),
        ("roi_size", [32, 24, 12], "roi_size"),
        ("overlap", 1, "overlap"),
        ("spine_from", 0, "spine_from must lie between 0 and 1"),
        ("spine_from", 1, "spine_from must lie between 0 and 1"),
        ("spine_from", -1, "spine_from must lie between 0 and 1"),
        ("spine_from", float("nan"), "spine_from must lie between 0 and 1"),
        ("spine_from", "x", "wrong type"),
        ("locator", "..", "locator"),
        ("locator", "../other", "locator"),
        ("locator", "locator", "roi_size"),  # a side of 16 voxels has no room along the spine
        ("weights", {"safetensors": {"file": "../model", "sha256": "0" * 64}}, "weights.safetensors.file"),
        ("weights", {"openvino": {"xml": {"file": "m.xml", "sha256": "0"}}}, "weights.openvino.xml.sha256"),
    ],
)
def test_impossible_cards_are_refused_by_field(path, value, field):
    with pytest.raises(InputRefused) as refused:
        ModelCard.from_dict(changed(path, value))
    assert field in str(refused.value)
    assert "\n" not in str(refused.value) and str(refused.value).endswith("correct it.")


def test_from_which_probability_a_voxel_is_spine_survives_the_json():
    card = ModelCard.from_dict(card_content(spine_from=0.4))
    content = json.loads(json.dumps(card.to_dict()))
    assert (card.spine_from, card.inside, content["spine_from"]) == (0.4, 102, 0.4)
    assert ModelCard.from_dict(content) == card
    unsaid = ModelCard.from_dict(card_content())
    assert (unsaid.spine_from, unsaid.inside) == (0.5, 128)


def test_offsets_without_vertebrae_to_tell_apart_are_refused():
    content = card_content(offset_unit_mm=10, structures={"26": ["sacrum"]})
    content["architecture"]["out_channels"] += 3
    with pytest.raises(InputRefused, match="offset_unit_mm must be null where the structures have no 1"):
        ModelCard.from_dict(content)


@pytest.mark.parametrize("name", [key for key in card_content() if key not in ("training", "results")])
def test_a_missing_field_is_named(name):
    content = card_content()
    del content[name]
    with pytest.raises(InputRefused, match=f"lacks the field {name}"):
        ModelCard.from_dict(content)


def test_intensities_reach_the_ends_of_the_scale():
    card = ModelCard.from_dict(card_content())
    for dtype in (np.int16, np.int32, np.float32, np.float64):
        result = card.normalize(np.array([-3000, -1000, 500, 1250, 2000, 30000], dtype))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, [-1, -1, 0, 0.5, 1, 1], atol=1e-6)
    assert card.normalize(np.array([-1000], np.int16)) == card.pad_value


@pytest.mark.parametrize(("order", "steps"), [("RAS", (1, 2, 3)), ("SAR", (3, 2, 1)), ("LPS", (-1, -2, 3)),
                                              ("AIR", (2, -3, 1))])  # fmt: skip
def test_axes_point_where_the_card_says(order, steps):
    """Along each network axis, the index in the volume moves by one step in the direction of the axis' letter."""
    card = ModelCard.from_dict(card_content(axis_order=order))
    k, j, i = np.indices((4, 5, 6))
    volume = i * 1 + j * 2 * 10 + k * 3 * 100  # R by 1, A by 20, S by 300
    network = card.to_network_axes(volume)
    weight = {1: 1, 2: 20, 3: 300}
    for axis, step in enumerate(steps):
        assert (np.diff(network, axis=axis) == np.sign(step) * weight[abs(step)]).all()
    classes = np.stack([network, -network])
    np.testing.assert_array_equal(card.to_volume_axes(network), volume)
    np.testing.assert_array_equal(card.to_volume_axes(classes), np.stack([volume, -volume]))
    np.testing.assert_array_equal(card.to_network_axes(np.stack([volume, -volume])), classes)


def test_spacing_is_told_along_r_a_and_s():
    assert ModelCard.from_dict(card_content(axis_order="SAR", spacing_mm=[3, 2, 1])).spacing_ras_mm == (1, 2, 3)
    assert ModelCard.from_dict(card_content(axis_order="AIR", spacing_mm=[2, 3, 1])).spacing_ras_mm == (1, 2, 3)


def test_air_needs_no_network():
    card = ModelCard.from_dict(card_content())
    np.testing.assert_array_equal(card.known_outputs(np.full((2, 2, 2), -1024, np.int16)), [1] + [0] * 7)
    assert card.known_outputs(np.array([[[-1024, -999]]], np.int16)) is None
    thinner = changed("intensity.air_hu", -300)
    assert ModelCard.from_dict(thinner).known_outputs(np.array([[[-1024, -301]]], np.int16)) is not None
    spine = ModelCard.from_dict(sigmoid_content())
    np.testing.assert_array_equal(spine.known_outputs(np.full((2, 2, 2), -1024, np.int16)), [0])


def test_structures_add_up_their_classes():
    card = ModelCard.from_dict(card_content())
    probabilities = np.arange(8, dtype=np.float32)
    np.testing.assert_array_equal(card.structure_matrix([1, 26, 200]) @ probabilities, [1 + 2, 3, 4])


def test_export_writes_two_files_of_the_same_network(exported):
    model = load_model(exported)
    content = json.loads((exported / "card.json").read_text())
    assert set(content["weights"]) == {"safetensors", "openvino"}
    assert content["training"] == {"data": "none"}
    windows = np.random.default_rng(0).uniform(-1, 1, (3, 1, *model.card.roi_size)).astype(np.float32)
    by_torch, by_openvino = (choose_runtime(model, name, "cpu", 1)(windows) for name in ("torch", "openvino"))
    assert by_torch.shape == by_openvino.shape == (3, 8, *model.card.roi_size)
    assert by_torch.std() > 0.05
    np.testing.assert_allclose(by_torch, by_openvino, atol=1e-4)
    trained = random_network()
    with torch.inference_mode():
        expected = torch.softmax(trained(torch.from_numpy(windows)), 1).numpy()
    np.testing.assert_allclose(by_torch, expected, atol=5e-3)  # the rounding to half precision


def test_large_convolutions_are_stored_once_in_8_bits(tmp_path):
    architecture = {"name": "SpineContextResUNet", "base_filters": 16, "in_channels": 1, "out_channels": 8}
    network = random_network(base_filters=16)
    model = export(network.state_dict(), card_content(architecture=architecture), tmp_path / "full")
    window = np.random.default_rng(0).uniform(-1, 1, (1, 1, *model.card.roi_size)).astype(np.float32)
    with_8_bits = with_int8(model, *quantize(model, [window]), tmp_path / "both")
    assert sum(file.stat().st_size for file in with_8_bits.folder.iterdir()) < 2_400_000

    stored = load_file(with_8_bits.folder / "model.safetensors")
    assert stored["bottleneck.d8.weight"].dtype == stored["up3.weight"].dtype == torch.int8
    for key in ("bottleneck.d8.weight", "up3.weight"):
        folded = export_module._without_batch_norm(network)[key].float()
        assert ((full_precision(stored)[key] - folded).abs() <= 0.51 * stored[key + SCALE]).all()
    both = (choose_runtime(with_8_bits, name, "cpu", 1, "fp32") for name in ("torch", "openvino"))
    by_torch, by_openvino = (runtime(window) for runtime in both)
    np.testing.assert_allclose(by_torch, by_openvino, atol=1e-4)
    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(window)), 1).numpy()
    np.testing.assert_allclose(by_torch, expected, atol=0.05)


def test_a_constant_that_only_two_neighboring_tensors_hold_together_is_stored():
    """The last byte of one and the first of the next, between which the constants come to lie."""
    state = {"a": torch.tensor([8 << 56]), "b": torch.full((4,), 1.2345)}
    constant = b"\x08" + state["b"].numpy().tobytes()[:7]
    assert constant in save(state)
    xml = b'<net><layer type="Const"><data element_type="i64" shape="1" offset="0" size="8"/></layer></net>'
    tree, stored = export_module._stored_once(xml, constant, state)
    [place] = re.findall(rb'offset="(\d+)"', tree)
    assert stored[int(place) :][:8] == constant


def test_export_refuses_weights_that_half_precision_cannot_hold(tmp_path):
    state = random_network().state_dict()
    state["enc1.bn1.weight"][0] = 1e6
    with pytest.raises(ValueError, match="enc1.conv1.weight"):
        export(state, card_content(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_export_command(tmp_path):
    torch.save({"model_state_dict": random_network().state_dict()}, tmp_path / "last.pth")
    (tmp_path / "card.json").write_text(json.dumps(card_content()))
    output = tmp_path / "out" / "tiny"
    main(["--checkpoint", str(tmp_path / "last.pth"), "--card", str(tmp_path / "card.json"), "--output", str(output)])
    assert load_model(output).card.has_openvino
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("kind", ["safetensors", "openvino.xml", "openvino.bin"])
def test_changed_weights_are_refused(exported, tmp_path, kind):
    model = load_model(exported)
    assert len(model.read(kind)) > 1000
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    victim = tmp_path / model.card.weights[kind].file
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    runtime = "torch" if kind == "safetensors" else "openvino"
    with pytest.raises(InputRefused, match=rf"{victim.name} of the model tiny isn't the one .* SHA-256"):
        choose_runtime(load_model(tmp_path), runtime, "cpu", 1)
    victim.unlink()
    with pytest.raises(InputRefused, match=rf"{victim.name} of the model tiny can't be read"):
        choose_runtime(load_model(tmp_path), runtime, "cpu", 1)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_published_checkpoint_is_registered_listed_and_run(tmp_path, users_models, suffix):
    network = random_network(out_channels=1, base_filters=16)
    checkpoint = tmp_path / f"best{suffix}"
    if suffix == ".pth":
        torch.save({"model_state_dict": network.state_dict()}, checkpoint)
    else:
        save_file(network.state_dict(), checkpoint)
    (tmp_path / "card.json").write_text(json.dumps(sigmoid_content(name="published")))
    model = register_model(checkpoint, tmp_path / "card.json")
    assert model.folder == users_models / "published" == user_models_folder() / "published"
    assert list_models()["published"] == model.folder
    stored = load_file(model.folder / "model.safetensors")
    assert all(torch.equal(value, stored[key]) for key, value in network.state_dict().items())

    model = load_model("published")
    windows = np.random.default_rng(0).uniform(-1, 1, (1, 1, *model.card.roi_size)).astype(np.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(network(torch.from_numpy(windows))).numpy()
    runtime = choose_runtime(model, device="cpu")
    assert runtime.name == "torch"
    np.testing.assert_allclose(runtime(windows), expected, atol=1e-5)
    with pytest.raises(InputRefused, match="published is there already"):
        register_model(checkpoint, tmp_path / "card.json")


def test_a_checkpoint_that_does_not_fit_its_card_leaves_nothing(tmp_path, users_models):
    torch.save(random_network(out_channels=1).state_dict(), tmp_path / "best.pth")
    (tmp_path / "card.json").write_text(json.dumps(sigmoid_content()))
    with pytest.raises(InputRefused, match="doesn't fit"):
        register_model(tmp_path / "best.pth", tmp_path / "card.json")
    assert not users_models.exists()


def test_registering_without_torch_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputRefused, match="needs torch"):
        register_model(tmp_path / "best.pth", tmp_path / "card.json")


def test_unknown_models_and_unreadable_cards_are_refused(tmp_path, users_models):
    (users_models / "mine").mkdir(parents=True)
    (users_models / "mine" / "card.json").write_text(json.dumps(card_content(name="mine")))
    with pytest.raises(InputRefused, match="no model yours; give one of these .*mine"):
        load_model("yours")
    with pytest.raises(InputRefused, match="no model"):
        load_model(tmp_path)
    for text, message in (("{", "can't be read as JSON"), ("[]", "must be a JSON object")):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(InputRefused, match=message):
            load_model(tmp_path)
    with pytest.raises(InputRefused, match="can't be read"):
        read_card(tmp_path / "missing.json")


def test_embedded_models_have_names_and_whole_weights():
    """Every model that ships is named like its folder, and both forms of its weights are what its card says."""
    for name, folder in list_models().items():
        if "SpineContextSegLib" in str(folder):
            model = load_model(name)
            assert model.card.name == name
            for kind in ("safetensors", "openvino.xml", "openvino.bin"):
                assert model.read(kind)
