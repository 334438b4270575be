"""What the naming network is shown: each level as often as any other, in the middle of its crop, cut as scans are."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.labels import IGNORED, LEVEL_ORDER
from SpineContextSegLib.levels import LOOKS_LIKE
from SpineContextSegLib.network import SpineContextResUNet
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Training.anatomy.generate import generate
from Training.centers import sacral_centers
from Training.classes import OTHER_BONE, RIB
from Training.classes import SACRUM as SACRUM_CLASS
from Training.generated_patches import GeneratedPatches, StoredAnatomy, store
from Training.level_crops import CLASSES, LEVELS, NONE, LevelCrops, draw_batch
from Training.loop import WEIGHTS_FILE
from Training.real_patches import RealPatches, RealScan, load_real_scan
from Training.sampling import AIR_HU, Deformation
from Training.train_levels import CARD, _parser, train

SPACING_MM = 4.0
SIZE = 24, 16, 16


@pytest.fixture(scope="module")
def anatomy():
    return generate(5, SPACING_MM, region="abdomen")


@pytest.fixture
def crops(anatomy):
    source = GeneratedPatches(SPACING_MM, SIZE)
    source.add("body", StoredAnatomy.of(anatomy))
    return LevelCrops(source)


@pytest.mark.parametrize("file", [CARD, CARD.with_name("mr_namer.json")], ids=["CT", "MR"])
def test_card_names_what_is_taught(file):
    card = ModelCard.from_dict(json.loads(file.read_text()))
    assert card.classes == CLASSES
    assert {names[0]: value for value, names in card.structures.items()} == dict(zip(card.classes, LEVELS))
    # The column is read as it was taught.
    assert set(LEVELS) == set(LEVEL_ORDER) - set(LOOKS_LIKE)


def test_every_level_is_drawn_equally_often(crops):
    rng = np.random.default_rng(0)
    drawn = Counter(CLASSES[crops.draw(rng)[1]] for _ in range(400))
    assert 40 < drawn.pop(NONE) < 105
    assert len(drawn) > 7 and min(drawn.values()) > 400 / len(drawn) / 3


def test_supernumerary_vertebrae_count_as_their_neighbors(anatomy):
    body = StoredAnatomy.of(anatomy)
    body.body_centers = torch.full((256, 3), float("nan"))
    body.body_centers[28] = body.body_centers[25] = torch.tensor([10.0, 10, 10])
    source = GeneratedPatches(SPACING_MM, SIZE)
    source.add("body", body)
    rng = np.random.default_rng(0)
    names = {CLASSES[LevelCrops(source).draw(rng)[1]] for _ in range(40)} - {NONE}
    assert names == {"T12", "L5", "sacrum"}


def test_bodies_that_have_left_the_source_are_not_drawn(anatomy, crops):
    first = crops.source.bodies()[0]
    crops.source.add("other", StoredAnatomy.of(anatomy))
    before = {kind: len(places) for kind, places in crops._places.items()}
    crops.take_up()
    assert {kind: len(places) for kind, places in crops._places.items()} == {k: 2 * n for k, n in before.items()}
    del crops.source._pool["body"]
    crops.take_up()
    assert {kind: len(places) for kind, places in crops._places.items()} == before
    assert not any(place.where is first for places in crops._places.values() for place in places)


def test_vertebrae_of_unknown_level_are_no_c1(tmp_path):
    """Three of them, each 1 as in the program's own files, a canal behind, and the sacrum below."""
    labels = np.zeros((48, 32, 24), np.uint8)
    for start in (16, 26, 36):
        labels[start : start + 8, 14:26, 6:18] = 1
    labels[24:26, 14:26, 6:18] = 200
    labels[:, 8:12, 10:14] = 61
    hu = np.where(labels == 1, 600, 40).astype(np.int16)
    scan = tmp_path / "scan.nii.gz"
    for values, low in ((labels, False), (np.where(np.arange(48)[:, None, None] < 12, 26, labels), True)):
        write_volume(Volume(hu, np.diag([2.0, 2, 2, 1])), scan)
        write_volume(Volume(values.astype(np.uint8), np.diag([2.0, 2, 2, 1])), tmp_path / "scan_labels.nii.gz")
        crops = LevelCrops(RealPatches([load_real_scan(scan, SPACING_MM)], SPACING_MM, SIZE))
        assert crops.levels() == ([CLASSES.index("sacrum")] if low else [])


def test_vertebra_lies_in_the_middle_of_its_crop():
    """A scan whose vertebra is a dense ball, turned, stretched and mirrored about its own middle."""
    places = torch.stack(torch.meshgrid(*[torch.arange(60.0)] * 3, indexing="ij"), -1)
    ball = (places - torch.tensor([31.0, 22.0, 40.0])).norm(dim=-1) < 3
    centers = torch.full((256, 3), float("nan"))
    centers[22] = torch.tensor([31.0, 22.0, 40.0])
    hu = torch.where(ball, 2000, 0).to(torch.int16)
    level = torch.where(ball, 22, 0).to(torch.uint8)
    scan = RealScan("ball", hu, level.clamp(max=1), level, centers, np.argwhere(ball.numpy()))
    source = RealPatches([scan], SPACING_MM, SIZE)
    source.deformation = Deformation(elastic_voxels=0)
    rng = np.random.default_rng(1)
    away = []
    for _ in range(60):
        crop, level = LevelCrops(source).draw(rng)
        assert CLASSES[level] in ("L3", NONE)  # upside down, now and then
        found = np.argwhere(crop.numpy() > 800)
        if len(found):
            away.append(found.mean(0) - (np.array(SIZE) - 1) / 2)
    # Off by what finding a middle is off by, on no side more than on another.
    assert len(away) > 50 and np.abs(np.mean(away, 0)).max() < 0.5 and 0.3 < np.std(away) < 1.2


def test_some_crops_end_as_scans_do(crops):
    rng = np.random.default_rng(2)
    across, boxes = 0, 0
    for _ in range(400):
        hu = torch.full(SIZE, 40.0)
        result = crops._cropped(hu, rng)
        air = result == AIR_HU
        # The middle is always there: a vertebra out of view isn't looked at.
        assert not air[11:13, 7:9, 7:9].any() and (result[~air] == 40).all()
        ends = [bool(air.all(tuple(n for n in range(3) if n != axis)).any()) for axis in range(3)]
        across += ends == [True, False, False]
        boxes += ends[1] or ends[2]
    # The crops are small here: many ends lie beyond them.
    assert 30 < across < 140 and 20 < boxes < 80


def test_what_is_no_vertebra_is_other_bone_away_from_the_spine(anatomy, crops):
    places = crops._places[CLASSES.index(NONE)]
    spine = torch.nonzero(anatomy.level > 0).float()
    assert 4 <= len(places) <= 16
    for place in places:
        assert anatomy.label[tuple(place.center.astype(int))] in (RIB, OTHER_BONE)
        assert (spine - torch.from_numpy(place.center)).norm(dim=1).min() * SPACING_MM >= 15


def test_what_lies_beyond_a_tilted_scan_is_no_spine(tmp_path):
    """The corners of its upright grid hold nothing of it; a rib beside one of them is bone far from the spine."""
    labels = np.zeros((30, 60, 60), np.uint8)
    labels[10:20, 28:38, 28:38] = 20
    hu = np.where(labels, 600, 40).astype(np.int16)
    hu[5:25, 2:8, 2:8] = 600
    turn, affine = np.radians(25), np.eye(4)
    affine[:2, :2] = 2 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine[2, 2] = 2
    write_volume(Volume(hu, affine), tmp_path / "scan.nii.gz")
    write_volume(Volume(labels, affine), tmp_path / "scan_labels.nii.gz")
    scan = load_real_scan(tmp_path / "scan.nii.gz", SPACING_MM)
    assert (scan.label == IGNORED).any() and set(scan.level.unique().tolist()) == {0, 20}
    crops = LevelCrops(RealPatches([scan], SPACING_MM, SIZE))
    places = [place.center for place in crops._places[CLASSES.index(NONE)]]
    assert len(places) >= 8 and all(scan.hu[tuple(place.astype(int))] > 250 for place in places)


@pytest.mark.parametrize(("top", "bottom"), [(22, 23), (1, 23), (22, 26), (1, 26)])
def test_bone_where_the_column_goes_on_unlabelled_is_not_called_none(top, bottom):
    """Bone in line with the column, above and below what is labelled of it from `top` to `bottom`, and a hip."""
    level, hu = torch.zeros(100, 50, 70, dtype=torch.uint8), torch.zeros(100, 50, 70, dtype=torch.int16)
    for start, value in ((32, bottom), (41, 22), (50, top)):
        level[start : start + 8, 20:28, 20:28] = value
    hu[70:95, 16:32, 16:32] = hu[2:24, 16:32, 16:32] = hu[2:24, 16:32, 60:66] = 400
    centers = torch.full((256, 3), float("nan"))
    scan = RealScan("x", hu, level.clamp(max=1), level, centers, np.argwhere(level.numpy()))
    crops = LevelCrops(RealPatches([scan], SPACING_MM, SIZE))
    found = {(bool(k > 60), bool(i > 50)) for k, _, i in (place.center for place in crops._places[CLASSES.index(NONE)])}
    # C1 and the sacrum are its ends: what lies beyond is skull or coccyx.
    assert ((True, False) in found) is (top == 1) and ((False, False) in found) is (bottom == 26)
    assert (False, True) in found


def test_signal_of_an_mr_says_nothing_about_bone(anatomy):
    """Fat is as bright there as bone is dense in a CT: of a real MR nothing is "none", of a generated one bone is."""
    level, bright = torch.zeros(60, 50, 70, dtype=torch.uint8), torch.full((60, 50, 70), 900, dtype=torch.int16)
    level[20:40, 20:28, 20:28] = 22
    centers = torch.full((256, 3), float("nan"))
    centers[22] = torch.tensor([30.0, 24, 24])
    ct = RealScan("x", bright, level.clamp(max=1), level, centers, np.argwhere(level.numpy()))
    for scan, kinds in ((ct, {"L3", NONE}), (replace(ct, modality="MR"), {"L3"})):
        crops = LevelCrops(RealPatches([scan], SPACING_MM, SIZE))
        assert {CLASSES[kind] for kind in crops._places} == kinds
    source = GeneratedPatches(SPACING_MM, SIZE, modality="MR")
    source.add("body", StoredAnatomy.of(anatomy))
    crops = LevelCrops(source)
    assert CLASSES.index(NONE) in crops._places and CLASSES.index("L3") in crops._places
    hu, _ = crops.draw(np.random.default_rng(1))
    assert hu.shape == SIZE and hu[hu > AIR_HU].min() >= 0 and 300 < hu.max() < 5000, "signal, not HU"


def test_sacrum_has_its_upper_two_segments(anatomy):
    centers = sacral_centers(anatomy.label == SACRUM_CLASS, SPACING_MM)
    assert len(centers) == 2 and centers[0][0] > centers[1][0]
    assert 4 <= (centers[0][0] - centers[1][0]) * SPACING_MM / 4 <= 9
    assert len(sacral_centers(torch.zeros(4, 4, 4), SPACING_MM)) == 0


def test_batch_is_what_the_network_takes(crops):
    card = ModelCard.from_dict(json.loads(CARD.read_text()))
    batch = draw_batch([crops, crops], [0.5, 0.5], card, 4, (0, 1))
    assert batch.image.shape == (4, 1, 16, 16, 24) and batch.image.min() >= -1 and batch.image.max() <= 1
    assert batch.target.shape == (4,) and batch.target.dtype == torch.int64
    again = draw_batch([crops, crops], [0.5, 0.5], card, 4, (0, 1))
    assert torch.equal(batch.image, again.image) and torch.equal(batch.target, again.target)


def test_training_starts_from_a_locator_and_resumes(tmp_path):
    folder = tmp_path / "bodies"
    folder.mkdir()
    store(folder, 1, SPACING_MM)
    card = tmp_path / "card.json"
    content = json.loads(CARD.read_text()) | {"roi_size": [16, 16, 16]}
    card.write_text(json.dumps(content))
    locator = SpineContextResUNet(1, 8)
    save_file(locator.state_dict(), tmp_path / "locator.safetensors")
    common = ["--card", str(card), "--anatomies", str(folder), "--batch", "2", "--device", "cpu", "--steps", "4"]
    common += ["--start-from", str(tmp_path / "locator.safetensors")]
    train(_parser().parse_args(["--output", str(tmp_path / "still"), *common, "--learning-rate", "0"]))
    still = load_file(tmp_path / "still" / WEIGHTS_FILE)
    assert torch.equal(still["enc2.conv1.weight"], locator.state_dict()["enc2.conv1.weight"])
    assert still["final.weight"].shape == (26, 32 * 8)
    train(_parser().parse_args(["--output", str(tmp_path / "once"), *common]))
    train(_parser().parse_args(["--output", str(tmp_path / "twice"), *common, "--stop-after", "2"]))
    train(_parser().parse_args(["--output", str(tmp_path / "twice"), *common]))
    once, twice = (load_file(tmp_path / run / WEIGHTS_FILE) for run in ("once", "twice"))
    assert not torch.equal(once["final.weight"], still["final.weight"])
    # Adam's moments are kept in half precision.
    assert all(torch.allclose(once[key], twice[key], rtol=1e-3, atol=1e-4) for key in once)
