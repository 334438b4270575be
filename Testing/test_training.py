"""Training in miniature, for real: generated bodies, a real run that stops and resumes, losses that merge classes."""

import argparse
import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from SpineContextSegLib.card import OFFSETS
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import BINARY_SPINE, DISCS, VERTEBRAE
from SpineContextSegLib.labels import SACRUM as SACRUM_VALUE
from SpineContextSegLib.network import SpineContextResUNet
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Training import checkpoint
from Training.anatomy.generate import generate
from Training.classes import BODY, CANAL, CLASSES, POSTERIOR, RIB, merge_matrix
from Training.generated_patches import GeneratedPatches, anatomy_file, even_over_levels, store
from Training.loop import WEIGHTS_FILE, learning_rate
from Training.losses import segmentation_loss
from Training.make_phantom import make_phantom
from Training.real_patches import RealPatches, load_real_scan, target_classes
from Training.sampling import Deformation, outside, patch_coordinates, points_by_level, sample
from Training.train import CARD, build_parser, fill_pool, train

STILL = Deformation(rotation_deg=(0, 0, 0), log_scale=0, log_anisotropy=0, elastic_voxels=0, mirror=False)


@pytest.fixture(scope="module")
def generated():
    source = GeneratedPatches(4.0, (32, 32, 32))
    source.generate(7)
    return source


def logits_for(target: torch.Tensor) -> torch.Tensor:
    """Logits that are sure of the right class."""
    return 20.0 * torch.nn.functional.one_hot(target.long(), len(CLASSES)).movedim(-1, 1).float()


def test_loss_is_small_when_right_and_large_when_wrong():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    target[:, 2:6, 2:6, 2:6] = BODY
    merge = merge_matrix("generated")[None]
    right, _ = segmentation_loss(logits_for(target), target, merge)
    wrong, _ = segmentation_loss(logits_for(torch.zeros_like(target)), target, merge)
    assert right < 0.01 < 1 < wrong


def test_source_without_arches_takes_body_and_arch_for_the_same():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    target[:, 2:6, 2:6, 2:6] = BODY
    arch, rib = target.clone(), target.clone()
    arch[:, 2:6, 2:6, 4:6] = POSTERIOR
    rib[:, 0:2] = RIB
    merge = merge_matrix("vertebrae")[None]
    assert segmentation_loss(logits_for(arch), target, merge)[0] < 0.01
    assert segmentation_loss(logits_for(rib), target, merge)[0] < 0.01
    assert segmentation_loss(logits_for(arch), target, merge_matrix("generated")[None])[0] > 1


def test_ignored_voxels_do_not_count():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    target[:, 2:6, 2:6, 2:6] = BODY
    prediction = logits_for(target)
    target[:, 6:] = 255
    prediction[:, :, 6:] = prediction[:, :, 6:].roll(1, 1)
    assert segmentation_loss(prediction, target, merge_matrix("generated")[None])[0] < 0.01


def test_sampling_without_deformation_is_a_crop():
    array = torch.arange(20 * 22 * 24, dtype=torch.float32).reshape(20, 22, 24)
    points, to_array = patch_coordinates(np.array([9.5, 10.5, 11.5]), (8, 8, 8), STILL, np.random.default_rng(0))
    for mode in ("nearest", "bilinear"):
        assert torch.allclose(sample([array], points, mode)[0], array[6:14, 7:15, 8:16], atol=1e-2)
    assert not outside((20, 22, 24), points).any()
    assert torch.equal(to_array, torch.eye(3))
    beyond, _ = patch_coordinates(np.array([-2.0, 10.5, 11.5]), (8, 8, 8), STILL, np.random.default_rng(0))
    assert outside((20, 22, 24), beyond)[:5].all() and not outside((20, 22, 24), beyond)[6:].any()


def test_small_levels_are_drawn_as_often_as_large_ones():
    level = torch.zeros((40, 40, 40), dtype=torch.uint8)
    level[:4, :30, :30], level[20:] = 3, 22
    points = points_by_level(level)
    drawn = level[tuple(points.T)]
    assert set(drawn.tolist()) == {3, 22} and 0.4 < (drawn == 3).float().mean() < 0.6
    assert points_by_level(torch.zeros_like(level)).shape == (0, 3)
    level[:, 35:] = SACRUM_VALUE
    drawn = level[tuple(points_by_level(level).T)]
    assert 0.6 < (drawn == SACRUM_VALUE).float().mean() < 0.7


def test_bodies_with_rare_levels_are_drawn_more_often():
    neck, chest = frozenset({1, 2, 3}), frozenset({8, 9, 10})
    shares = even_over_levels([neck, chest, chest, chest, frozenset()])
    assert shares.sum() == pytest.approx(1) and shares[0] == pytest.approx(3 * shares[1]) and shares[4] > 0
    assert even_over_levels([neck, frozenset({SACRUM_VALUE})])[1] == pytest.approx(4 / 7)


def test_generated_patch_shows_bone_where_its_target_says(generated):
    rng = np.random.default_rng(1)
    inside, beside = [], []
    for _ in range(8):
        patch = generated.draw(rng)
        assert patch.hu.shape == patch.label.shape == (32, 32, 32) and torch.isfinite(patch.hu).all()
        assert set(patch.label.unique().tolist()) <= set(range(len(CLASSES)))
        inside.append(patch.hu[patch.label == BODY])
        beside.append(patch.hu[patch.label == CANAL])
    assert torch.cat(inside).median() > torch.cat(beside).median() + 50


def test_real_scan_keeps_labels_over_the_right_voxels(tmp_path):
    """A bright block marked as T12 stays under its label through orientation, resampling and sampling."""
    hu = np.full((40, 60, 50), 40, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    hu[10:30, 20:50, 10:35], labels[10:30, 20:50, 10:35] = 600, 19
    labels[10:30, 20:50, 35:40] = 255
    affine = np.array([[0, -1.0, 0, 30], [-0.8, 0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])
    write_volume(Volume(hu, affine), tmp_path / "scan.nii.gz")
    write_volume(Volume(labels, affine), tmp_path / "scan_labels.nii.gz")
    scan = load_real_scan(tmp_path / "scan.nii.gz", 2.0)
    bright = scan.hu > 320
    marked = scan.label == BODY
    assert marked.sum() > 1000
    assert (bright & marked).sum() / (bright | marked).sum() > 0.9
    assert (scan.label == 255).any()
    source = RealPatches([scan], 2.0, (24, 24, 24))
    patch = source.draw(np.random.default_rng(2))
    assert patch.hu[patch.label == BODY].median() > patch.hu[patch.label == 0].median() + 200
    assert set(patch.level[patch.label == BODY].unique().tolist()) == {19}


def block_scan(folder, *values):
    """A bright bar along the body whose pieces have these values, from the top down, behind it the canal."""
    labels = np.zeros((10 * len(values) + 8, 32, 24), np.uint8)
    for piece, value in enumerate(values[::-1]):
        labels[4 + 10 * piece : 14 + 10 * piece, 14:26, 6:18] = value
    labels[:, 8:12, 10:14] = 61
    hu = np.where((labels > 0) & (labels != 61), 600, 40).astype(np.int16)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    write_volume(Volume(hu, affine), folder / "scan.nii.gz")
    write_volume(Volume(labels, affine), folder / "scan_labels.nii.gz")
    return folder / "scan.nii.gz"


def test_labels_in_another_numbering_are_refused_or_converted(tmp_path):
    """31, 32 and 33 are L1, T12 and T11 in TotalSegmentator's; only without its canal, which 61 isn't there."""
    image = block_scan(tmp_path, 33, 32, 31)
    with pytest.raises(InputRefused, match="scan_labels.nii.gz' holds 31, 32, 33, which VerSe's numbering"):
        load_real_scan(image, 2.0)
    scan = load_real_scan(image, 2.0, numbering="totalsegmentator")
    assert set(scan.level.unique().tolist()) == {0, 18, 19, 20} and not (scan.label == CANAL).any()


def test_vertebrae_of_unknown_level_have_no_middle(tmp_path):
    """1 stands for each of them, and the middle of all would be that of C1."""
    known = load_real_scan(block_scan(tmp_path, 20, 21, 22), 2.0)
    assert torch.isfinite(known.body_centers[[20, 21, 22]]).all()
    unknown = load_real_scan(block_scan(tmp_path, 1, 200, 1, 26), 2.0)
    assert unknown.body_centers.isnan().all() and (unknown.label == BODY).any()
    patch = RealPatches([unknown], 2.0, (16, 16, 16)).draw(np.random.default_rng(0))
    assert patch.offsets.isnan().all()


def test_verse_values_become_classes():
    """The coccyx is background, as other bone of generated bodies is."""
    assert target_classes(np.array([0, 1, 24, 28, 26, 27, 61, 101, 125, 200, 255])).tolist() == [
        0, BODY, BODY, BODY, 3, 0, CANAL, 4, 4, 4, 255,
    ]  # fmt: skip


def test_learning_rate_rises_stays_and_falls():
    rates = [learning_rate(step, 1000, 1e-3) for step in range(1000)]
    assert rates[0] < rates[30] < rates[100] == rates[599] == 1e-3
    assert rates[-1] < 0.03e-3


def test_training_resumes_where_it_stopped(tmp_path):
    """Six steps in two goes give weights close to six in one (Adam's moments are kept in half precision)."""
    folder = tmp_path / "bodies"
    folder.mkdir()
    store(folder, 1, 4.0)
    card = tmp_path / "card.json"
    card.write_text(json.dumps(json.loads(CARD.read_text()) | {"spacing_mm": [4.0] * 3}))
    common = ["--batch", "1", "--patch", "16", "--device", "cpu", "--seed", "3"]
    common += ["--card", str(card), "--anatomies", str(folder)]
    once, twice = tmp_path / "once", tmp_path / "twice"
    train(build_parser().parse_args(["--output", str(once), "--steps", "6", *common]))
    train(build_parser().parse_args(["--output", str(twice), "--steps", "6", "--stop-after", "3", *common]))
    assert (twice / checkpoint.CHECKPOINT_FILE).stat().st_size < 16 * 2**20
    train(build_parser().parse_args(["--output", str(twice), "--steps", "6", *common]))
    first, second = load_file(once / WEIGHTS_FILE), load_file(twice / WEIGHTS_FILE)
    assert first.keys() == SpineContextResUNet(1, len(CLASSES) + OFFSETS).state_dict().keys()
    fresh = torch.manual_seed(3) and SpineContextResUNet(1, len(CLASSES) + OFFSETS).state_dict()
    moved = (first["final.weight"] - fresh["final.weight"]).abs().max()
    apart = (first["final.weight"] - second["final.weight"]).abs().max()
    assert apart < 0.2 * moved
    steps = [json.loads(line) for line in (twice / "log.jsonl").read_text().splitlines()]
    assert len([entry for entry in steps if "output" in entry]) == 2
    # In bfloat16 the same way, a little off it; weights stay float32.
    train(build_parser().parse_args(["--output", str(tmp_path / "half"), "--steps", "6", "--bfloat16", *common]))
    half = load_file(tmp_path / "half" / WEIGHTS_FILE)["final.weight"]
    assert half.dtype == torch.float32 and 0 < (half - first["final.weight"]).abs().mean() < 0.3 * moved


def test_weights_are_whole_before_the_checkpoint_says_that_the_run_is_done(tmp_path, monkeypatch):
    """Killed between the two, a run must still write its weights."""
    (tmp_path / "bodies").mkdir()
    store(tmp_path / "bodies", 1, 4.0)
    card = tmp_path / "card.json"
    card.write_text(json.dumps(json.loads(CARD.read_text()) | {"spacing_mm": [4.0] * 3}))
    arguments = build_parser().parse_args([
        "--output", str(tmp_path / "run"), "--card", str(card), "--anatomies", str(tmp_path / "bodies"),
        "--steps", "1", "--batch", "1", "--patch", "16", "--device", "cpu",
    ])  # fmt: skip
    save, replaced = checkpoint.save, []

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(arguments)
    assert load_file(tmp_path / "run" / WEIGHTS_FILE)
    monkeypatch.setattr(checkpoint, "save", save)
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (replaced.append((a.name, b.name)), replace(a, b)))
    train(arguments)
    assert replaced == [(f"{name}.part", name) for name in (WEIGHTS_FILE, checkpoint.CHECKPOINT_FILE)]


def test_bodies_on_the_device_follow_from_the_step_alone(generated, monkeypatch):
    """In one go and resumed, never more than memory has room for."""
    (body,) = generated.bodies()
    arguments = argparse.Namespace(anatomies=None, seed=3)

    def pool(*steps):
        source = GeneratedPatches(4.0, (16, 16, 16))
        monkeypatch.setattr(source, "generate", lambda seed: source.add(f"seed {seed}", body))
        for step in steps:
            fill_pool(source, arguments, step)
        assert len(source._shares) == len(source) <= 32
        return list(source._pool)

    assert pool(0) == [f"seed {seed}" for seed in range(100_003, 100_007)]
    assert pool(*range(0, 200, 25)) == pool(190) and len(pool(190)) == 11
    assert pool(*range(0, 2000, 25)) == pool(1975)
    assert pool(1975) == [f"seed {seed}" for seed in range(100_054, 100_086)]


def test_stored_bodies_of_any_seed_are_taken_up_once_they_are_whole(tmp_path, monkeypatch):
    body, written = generate(1, 8.0), {}
    monkeypatch.setattr("Training.generated_patches.generate", lambda *_, **__: body)
    store(tmp_path, 1, 8.0)
    monkeypatch.setattr(os, "replace", lambda part, target: written.update({part: target}))
    for process in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        store(tmp_path, 100_000, 8.0)
    assert len(written) == 2 and set(written.values()) == {anatomy_file(tmp_path, 100_000)}
    source = GeneratedPatches(8.0, (16, 16, 16))
    source.take_up(tmp_path)
    (first,) = source.bodies()
    next(iter(written)).rename(anatomy_file(tmp_path, 100_000))
    source.take_up(tmp_path)
    assert len(source) == 2 and source.bodies()[0] is first


def test_a_training_that_diverges_ends(tmp_path, monkeypatch):
    (tmp_path / "bodies").mkdir()
    store(tmp_path / "bodies", 1, 4.0)
    card = tmp_path / "card.json"
    card.write_text(json.dumps(json.loads(CARD.read_text()) | {"spacing_mm": [4.0] * 3}))
    monkeypatch.setattr("Training.train.segmentation_loss", lambda logits, *_: (logits.sum() * torch.nan, {}))
    arguments = ["--output", str(tmp_path / "run"), "--steps", "2", "--batch", "1", "--patch", "16", "--device", "cpu"]
    with pytest.raises(SystemExit, match="smaller --learning-rate"):
        train(build_parser().parse_args([*arguments, "--card", str(card), "--anatomies", str(tmp_path / "bodies")]))
    assert not (tmp_path / "run" / WEIGHTS_FILE).exists()


def test_phantom_knows_every_level_and_lies_where_its_bone_is():
    ct, labels = make_phantom(5, "abdomen", 3.0)
    values = set(np.unique(labels.array).tolist())
    assert labels.grid.same_as(ct.grid) and {20, 21, 22, 23, 24} <= values
    assert values <= {0, 61} | BINARY_SPINE | DISCS
    vertebrae = np.isin(labels.array, list(VERTEBRAE))
    assert np.median(ct.array[vertebrae]) > np.median(ct.array[labels.array == 61]) + 80
    heights = [labels.grid.world(np.argwhere(labels.array == value)[:, ::-1]).mean(0)[2] for value in range(20, 25)]
    assert heights == sorted(heights, reverse=True)
