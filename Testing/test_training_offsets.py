"""What the fine network learns of single vertebrae: offsets to the middle of a body."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.network import SpineContextResUNet
from Training.anatomy.generate import generate
from Training.centers import C1, centers_of, generated_centers, offsets, real_centers
from Training.classes import BODY, POSTERIOR
from Training.generated_patches import GeneratedPatches, StoredAnatomy, store
from Training.loop import WEIGHTS_FILE
from Training.losses import offset_loss
from Training.sampling import Deformation, patch_coordinates
from Training.train import CARD, build_parser, draw_batch, train

SPACING_MM = 3.0
# A body with its neck cut by the border, and its vertebrae on a curve.
SEED = 5


@pytest.fixture(scope="module")
def anatomy():
    return generate(SEED, SPACING_MM, region="chest")


def whole_levels(anatomy):
    vertebra = (anatomy.label == BODY) | (anatomy.label == POSTERIOR)
    return [int(v) for v in anatomy.level[vertebra].unique()]


def test_centers_lie_in_their_bodies(anatomy):
    centers = generated_centers(anatomy)
    levels = whole_levels(anatomy)
    assert len(levels) > 8
    inside = 0
    for level in levels:
        index = centers[level].round().long()
        if level != C1 and all(0 <= n < size for n, size in zip(index, anatomy.level.shape)):
            assert anatomy.level[tuple(index)] == level and anatomy.label[tuple(index)] == BODY
            inside += 1
    assert inside > 8
    absent = set(range(256)) - {v.value for v in anatomy.plan.vertebrae}
    assert centers[list(absent)].isnan().all()


def test_cut_body_keeps_its_planned_center(anatomy):
    measured = centers_of(torch.where(anatomy.label == BODY, anatomy.level, 0))
    cut = [v for v in whole_levels(anatomy) if measured[v].isnan().any() and v != C1]
    assert cut and torch.isfinite(generated_centers(anatomy)[cut]).all()


@pytest.mark.parametrize("mirror", [False, True])
def test_offsets_of_a_turned_patch_meet_in_one_place(anatomy, mirror):
    """In the patch's own voxels, however it was turned, stretched and mirrored."""
    centers = generated_centers(anatomy)
    levels = whole_levels(anatomy)
    middle = centers[levels[len(levels) // 2]].numpy()
    still = Deformation(rotation_deg=(15, 15, 15), elastic_voxels=0, mirror=mirror)
    points, to_array = patch_coordinates(middle, (40, 40, 40), still, np.random.default_rng(4))
    index = points.round().long()
    for axis, size in enumerate(anatomy.level.shape):
        index[..., axis].clamp_(0, size - 1)
    label, level = (array[tuple(index.movedim(-1, 0))] for array in (anatomy.label, anatomy.level))
    found = offsets(points, to_array, label, level, centers)
    vertebra = (label == BODY) | (label == POSTERIOR)
    assert (torch.isfinite(found).all(0) == vertebra).all()
    own = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij"))
    ends = (own + found)[:, vertebra]
    for value in level[vertebra].unique():
        crowd = ends[:, level[vertebra] == value]
        assert (crowd.std(1) < 1e-3).all()
    middle_value = anatomy.level[tuple(np.rint(middle).astype(int))]
    assert torch.allclose(ends[:, level[vertebra] == middle_value].mean(1), torch.tensor([19.5] * 3), atol=1e-3)


def test_real_center_lies_in_front_of_the_canal():
    values = np.zeros((30, 40, 30), np.uint8)
    values[5:15, 20:34, 8:22] = 20  # body
    values[5:15, 4:12, 13:17] = 20  # spinous process
    values[:, 13:19, 12:18] = 61
    values[15:30, 20:34, 8:22] = 19  # reaches the border: its middle isn't known
    centers = real_centers(values)
    assert centers[20].tolist() == [9.5, 26.5, 14.5]
    assert centers[19].isnan().all()
    assert real_centers(np.where(values == 61, 0, values)).isnan().all()


def test_offset_loss_counts_only_what_is_known():
    truth = torch.full((1, 3, 2, 2, 2), float("nan"))
    found = torch.ones_like(truth, requires_grad=True)
    assert offset_loss(found, truth).item() == 0.0
    truth[:, :, 0] = 1.0
    assert offset_loss(found, truth).item() == 0.0
    truth[:, :, 0] = 3.0
    assert offset_loss(found, truth).item() == pytest.approx(1.9, abs=1e-6)


def test_batch_holds_offsets_along_the_networks_axes(anatomy):
    """R, A, S and not (k, j, i), in the card's unit: voxel and offset end at the center of the vertebra."""
    content = json.loads(CARD.read_text())
    card = ModelCard.from_dict(content | {"spacing_mm": [SPACING_MM] * 3})
    source = GeneratedPatches(SPACING_MM, (24, 32, 40))
    source.deformation = Deformation(elastic_voxels=0)
    source.add("body", StoredAnatomy.of(anatomy))
    batch = draw_batch({"generated": source}, {"generated": 1.0}, card, 4, (0, 1), "cpu")
    assert batch.image.shape == (4, 1, 40, 32, 24) and batch.offsets.shape == (4, 3, 40, 32, 24)
    own = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in (40, 32, 24)], indexing="ij"))
    steps = batch.offsets * (card.offset_unit_mm / SPACING_MM)
    vertebrae = 0
    for step in steps:
        known = torch.isfinite(step).all(0)
        ends = (own + step)[:, known].T
        # A vertebra has hundreds of voxels; the ends fall on a handful of places.
        assert len(torch.unique(ends.round(decimals=1), dim=0)) <= len(ends) / 10
        vertebrae += len(ends)
    assert vertebrae > 500


def test_network_with_offsets_starts_from_one_without(tmp_path, monkeypatch):
    monkeypatch.setattr("Training.loop.LOG_EVERY", 1)
    folder = tmp_path / "bodies"
    folder.mkdir()
    store(folder, 1, 4.0)
    without = tmp_path / "without.json"
    content = json.loads(CARD.read_text()) | {"spacing_mm": [4.0] * 3}
    with_offsets = tmp_path / "with.json"
    with_offsets.write_text(json.dumps(content))
    content["architecture"] = content["architecture"] | {"out_channels": 8}
    without.write_text(json.dumps(content | {"offset_unit_mm": None}))
    common = ["--steps", "2", "--batch", "1", "--patch", "16", "16", "24", "--device", "cpu"]
    common += ["--anatomies", str(folder)]
    train(build_parser().parse_args(["--output", str(tmp_path / "a"), "--card", str(without), *common]))
    first = tmp_path / "a" / WEIGHTS_FILE
    more = ["--output", str(tmp_path / "b"), "--card", str(with_offsets), "--start-from", str(first), *common]
    train(build_parser().parse_args([*more, "--learning-rate", "0"]))
    begun, followed = load_file(first), load_file(tmp_path / "b" / WEIGHTS_FILE)
    assert followed.keys() == SpineContextResUNet(1, 11).state_dict().keys()
    assert torch.equal(followed["final.weight"][:8], begun["final.weight"]) and len(followed["final.weight"]) == 11
    log = [json.loads(line) for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
    steps = [entry["offsets"] for entry in log if "step" in entry]
    # A patch without vertebrae has nothing to learn from.
    assert len(steps) == 2 and np.isfinite(steps).all() and max(steps) > 0
