"""Levels held against a reference: labels that are disturbed on purpose, and what must come out, derived by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib import labels
from SpineContextSegLib.cli import main
from SpineContextSegLib.evaluate import compare, evaluate, identify_levels
from SpineContextSegLib.identification import (
    Identification,
    LabelledVertebra,
    closest_centers,
    cut_vertebrae,
    identify,
)
from SpineContextSegLib.labels import CANAL, VERTEBRAE
from SpineContextSegLib.metrics import dice_table
from SpineContextSegLib.numbering import voxels_in_verse
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume, count_labels, to_sitk

SAMPLE_LABELS = Path(labels.__file__).parent / "sample" / "phantom_labels.nii.gz"
T10, T11, T12, L1, L2, L3, L4, L5, T13 = 17, 18, 19, 20, 21, 22, 23, 24, 28
STEP = np.diag([1.0, 1.0, 1.0, 1.0])


def centers(*values, step_mm=30.0, top_mm=0.0):
    return {value: np.array([0.0, 0.0, top_mm - n * step_mm]) for n, value in enumerate(values)}


def test_the_closest_center_decides():
    labelled = centers(T12, L1, L2)
    assert closest_centers(labelled, labelled) == {T12: (T12, 0.0), L1: (L1, 0.0), L2: (L2, 0.0)}
    # All named one too high: each is where its lower neighbor was expected.
    assert closest_centers(labelled, centers(T11, T12, L1)) == {T12: (T11, 0.0), L1: (T12, 0.0), L2: (L1, 0.0)}
    # One is missing, and its neighbors are further away than 20 mm.
    assert closest_centers(labelled, {T12: labelled[T12], L2: labelled[L2]})[L1] == (None, None)
    assert closest_centers(labelled, {}) == dict.fromkeys(labelled, (None, None))


def test_in_the_neck_a_missing_vertebra_is_taken_for_its_neighbor():
    labelled = centers(4, 5, 6, step_mm=18.0)
    assert closest_centers(labelled, {4: labelled[4]}) == {4: (4, 0.0), 5: (4, 18.0), 6: (None, None)}


@pytest.mark.parametrize(("distance", "expected"), [(20.0, (L1, 20.0)), (20.01, (None, None))])
def test_twenty_millimeters_are_the_limit(distance, expected):
    assert closest_centers(centers(L1), centers(L1, top_mm=distance)) == {L1: expected}


def test_of_two_centers_in_one_vertebra_the_closer_one_counts():
    # VerSe's public code would pass this, as it doesn't look at a level that the reference lacks.
    assert closest_centers(centers(L1), {L1: [0, 0, -9.0], T12: [0, 0, 8.0]}) == {L1: (T12, 8.0)}


def test_dice_of_every_pair_of_levels():
    reference, prediction = (np.zeros((4, 5, 6), np.uint8) for _ in range(2))
    reference[0, 0] = L1  # 6 voxels
    reference[1, :2] = L2  # 12
    reference[3, 4, 5] = 255
    prediction[0, 0, :4] = L1
    prediction[0, 0, 4:] = L2
    prediction[1, 0] = L2
    prediction[2, 0] = L3
    dice = dice_table(prediction, reference)
    assert dice[L1, L1] == 2 * 4 / (6 + 4) and dice[L1, L2] == 2 * 2 / (6 + 8)
    assert dice[L2, L2] == 2 * 6 / (12 + 8) and dice[L2, L1] == 0
    assert not dice[0].any() and not dice[:, 0].any() and not dice[255].any() and not dice[:, L3].any()
    structures, _ = compare(Volume(prediction, STEP), Volume(reference, STEP))
    assert (dice[L1, L1], dice[L2, L2]) == (structures["L1"].dice, structures["L2"].dice)


def test_a_clipped_process_is_no_cut_vertebra():
    array = np.zeros((20, 30, 20), np.uint8)
    array[0:4, 5:15, 5:15] = L5  # a piece of a body at the lower border
    array[6:14, 5:15, 5:15] = L4
    array[0:6, 20:22, 9:11] = L4  # its spinous process reaches the border
    array[16:20, 20:24, 9:11] = L3  # nothing but a process of the one above is in view
    expected = {L5, L3}
    assert cut_vertebrae(Volume(array, STEP)) == expected
    lying = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 2, 0, 0], [0, 0, 0, 1.0]])
    assert cut_vertebrae(Volume(np.moveaxis(array, 0, 1), lying)) == expected
    assert cut_vertebrae(Volume(np.zeros_like(array), STEP)) == set()


def vertebra(value, found, *, dice=0.0, shape_dice=0.9, cut=False):
    return LabelledVertebra(value, found, None if found is None else 3.0, dice, shape_dice, cut)


def test_figures_of_one_scan_and_of_several():
    three = vertebra(T12, T12, dice=0.8, cut=True), vertebra(L1, L1, dice=0.9), vertebra(L2, None)
    one = Identification(three, (L3,))
    assert one.figures() == {
        "vertebrae": 3, "identified": 2, "identification_rate": pytest.approx(2 / 3),
        "dice": pytest.approx(1.7 / 3), "shape_dice": pytest.approx(0.9),
    }  # fmt: skip
    assert one.whole.figures()["identification_rate"] == 0.5 and one.whole.mean_dice == pytest.approx(0.45)
    assert one.errors() == "L2 not found"
    both = Identification.pooled([one, Identification((vertebra(T13, L1),))])
    assert (both.identified, len(both.vertebrae), both.extra) == (2, 4, (L3,))
    assert both.errors() == "L2 not found, T13 as L1"
    assert np.isnan(Identification(()).rate) and np.isnan(Identification(()).mean_dice)


@pytest.fixture(scope="module")
def truth():
    """The lower part of a generated trunk: T10 (a sliver) and T11 (half), both cut, T12 to sacrum, canal."""
    if not SAMPLE_LABELS.is_file():
        pytest.skip("the sample is not in this checkout")
    trunk = read_labels(SAMPLE_LABELS)
    return Volume(trunk.array[:100], trunk.affine)


def renamed(volume: Volume, mapping: dict[int, int]) -> Volume:
    table = np.arange(256, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    return Volume(table[volume.array], volume.affine)


def without_canal(volume):
    return renamed(volume, {CANAL: 0})


def levels_in(volume):
    return sorted(VERTEBRAE & set(count_labels(volume.array)))


@pytest.mark.parametrize("drop_canal", [False, True])
def test_the_same_labels_are_all_identified(truth, drop_canal):
    same = identify(without_canal(truth) if drop_canal else truth, truth)
    assert [v.value for v in same.vertebrae] == [v.found for v in same.vertebrae] == levels_in(truth)
    assert same.rate == same.mean_dice == same.mean_shape_dice == 1.0 and same.extra == () and same.errors() == ""
    assert {v.value for v in same.vertebrae if v.cut} == {T10, T11}
    # Without a canal, the middle of a body isn't measured to the tenth of a millimeter.
    assert max(v.distance_mm for v in same.vertebrae) <= (5.0 if drop_canal else 0.0)


def test_all_named_one_level_too_low(truth):
    # T10 becomes T11, ..., L4 becomes L5, and the lowest becomes an L6.
    off = identify(renamed(truth, {value: value + 1 for value in levels_in(truth)}), truth)
    assert [v.found for v in off.vertebrae] == [v.value + 1 for v in off.vertebrae]
    assert off.rate == off.mean_dice == 0.0 and off.mean_shape_dice == 1.0 and off.extra == ()
    assert off.errors().startswith("T10 as T11, T11 as T12, ") and off.errors().endswith(", L5 as L6")


def test_a_thirteenth_thoracic_vertebra_called_l1(truth):
    # A body with T13 and four lumbar vertebrae, whose ribs nobody noticed.
    body = renamed(truth, {L1: T13, L2: L1, L3: L2, L4: L3, L5: L4})
    wrong = identify(truth, body)
    assert wrong.errors() == "T13 as L1, L1 as L2, L2 as L3, L3 as L4, L4 as L5"
    assert wrong.identified == len(wrong.vertebrae) - 5
    assert [v.value for v in wrong.vertebrae][-5:] == [T13, L1, L2, L3, L4]


def test_a_missing_vertebra(truth):
    missing = identify(renamed(truth, {L2: 0}), truth)
    assert missing.errors() == "L2 not found"
    lost = next(v for v in missing.vertebrae if v.value == L2)
    assert (lost.dice, lost.shape_dice, lost.distance_mm) == (0.0, 0.0, None)
    assert missing.mean_dice == pytest.approx(1 - 1 / len(missing.vertebrae))


def test_merged_neighbors(truth):
    merged = identify(renamed(truth, {L3: L2}), truth)
    counts = count_labels(truth.array)
    by_value = {v.value: v for v in merged.vertebrae}
    assert by_value[L2].dice == pytest.approx(2 * counts[L2] / (2 * counts[L2] + counts[L3]))
    assert by_value[L3].dice == 0.0
    assert by_value[L3].shape_dice == pytest.approx(2 * counts[L3] / (2 * counts[L3] + counts[L2]))
    # Wherever the middle of the two is measured, nothing there is called L3.
    assert not by_value[L3].identified
    assert all(v.identified for value, v in by_value.items() if value not in (L2, L3))


def test_a_vertebra_too_many(truth):
    extra = identify(truth, renamed(truth, {T10: 0, T11: 0}))
    assert extra.rate == 1.0 and extra.extra == (T10, T11)


def test_nothing_found(truth):
    nothing = identify(Volume(np.zeros_like(truth.array), truth.affine), truth)
    assert nothing.rate == nothing.mean_dice == nothing.mean_shape_dice == 0.0
    assert {v.found for v in nothing.vertebrae} == {None}


def test_only_sides_with_levels_are_compared(truth):
    as_one = renamed(truth, {value: 1 for value in levels_in(truth)} | {value: 200 for value in range(101, 129)})
    assert identify_levels(as_one, truth) is None and identify_levels(truth, as_one) is None
    total = renamed(truth, {value: 51 - value for value in range(1, 25)} | {26: 25, CANAL: 0} | dict.fromkeys(
        range(101, 129), 0))  # fmt: skip
    turned = Volume(truth.array[::-1], truth.affine @ flip_k(truth))
    found = identify_levels(turned, Volume(voxels_in_verse(total.array, "totalsegmentator", "it")[0], total.affine))
    assert found.rate == found.mean_dice == 1.0


def flip_k(volume):
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = len(volume.array) - 1
    return flip


def test_what_a_reference_marks_as_unscored_is_no_vertebra(truth):
    reference = renamed(truth, {T10: 255, T11: 255})
    found = identify_levels(truth, reference)
    assert [v.value for v in found.vertebrae] == levels_in(truth)[2:] and found.rate == 1.0 and found.extra == ()


def save(volume, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(volume), str(path), useCompression=True)
    return path


def test_evaluate_shows_and_writes_what_was_identified(truth, tmp_path, capsys):
    reference = renamed(truth, {T10: 0} | {value: 0 for value in range(100, 130)})  # T11 to L5, sacrum, canal
    save(reference, tmp_path / "truth" / "a.nii.gz")
    save(reference, tmp_path / "truth" / "b.nii.gz")
    save(reference, tmp_path / "mine" / "a.nii.gz")
    save(renamed(reference, {T11: T12, T12: L1, L1: 0}), tmp_path / "mine" / "b.nii.gz")
    figures, table = tmp_path / "f.json", tmp_path / "f.csv"
    arguments = ["evaluate", str(tmp_path / "mine"), str(tmp_path / "truth")]
    assert main([*arguments, "--json", str(figures), "--csv", str(table)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "7", "7", "100.0", "1.0000", "|", "6", "6", "100.0", "1.0000"] in lines
    assert ["b", "4", "7", "57.1", "0.5714", "|", "4", "6", "66.7", "0.6667"] in lines
    assert ["All", "11", "14", "78.6", "0.7857", "|", "10", "12", "83.3", "0.8333"] in lines
    assert "b: T11 as T12, T12 as L1, L1 not found.".split() in lines

    content = json.loads(figures.read_text(encoding="utf-8"))
    assert content["levels"]["all"]["pooled"]["identification_rate"] == pytest.approx(11 / 14)
    assert content["levels"]["whole"]["mean_of_cases"]["identification_rate"] == pytest.approx((1 + 4 / 6) / 2)
    second = content["cases"][1]["levels"]
    assert second["each"]["T12"] == {
        "value": T12, "found": L1, "distance_mm": pytest.approx(0, abs=1e-6), "dice": 0.0, "shape_dice": 1.0,
        "cut": False, "identified": False,
    }  # fmt: skip
    assert second["each"]["L1"]["found"] is None and second["extra"] == []
    assert content["summary"]["T12"]["identified"]["mean"] == 0.5
    with open(table, newline="", encoding="utf-8") as file:
        rows = {(row["statistic"], row["case"], row["structure"]): row for row in csv.DictReader(file)}
    assert (rows["case", "b", "T12"]["identified"], rows["case", "b", "T12"]["found_as"]) == ("0", "L1")
    assert (rows["case", "a", "T12"]["identified"], rows["case", "b", "Vertebrae"]["identified"]) == ("1", "")
    assert rows["mean", "", "T12"]["identified"] == "0.5"


def test_an_empty_prediction_beside_others_has_missed_all_levels(truth, tmp_path):
    reference = renamed(truth, {value: 0 for value in (T10, T11, T12, *range(61, 130))})
    save(reference, tmp_path / "truth" / "a.nii.gz")
    save(reference, tmp_path / "truth" / "b.nii.gz")
    save(reference, tmp_path / "mine" / "a.nii.gz")
    empty = save(renamed(reference, dict.fromkeys(range(1, 27), 0)), tmp_path / "mine" / "b.nii.gz")
    result = evaluate(tmp_path / "mine", tmp_path / "truth")
    assert {name: found.rate for name, found in result.levels()} == {"a": 1.0, "b": 0.0}
    # Alone it shows no attempt at levels.
    alone = evaluate(empty, tmp_path / "truth" / "b.nii.gz")
    assert alone.levels() == [] and "Levels" not in alone.table()
