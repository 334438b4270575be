"""`evaluate` on files: pairing, grids, numberings, rows, statistics, and what is written."""

import csv
import json
import math

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.cli import FAILED, main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import compare, evaluate
from SpineContextSegLib.on_grid import labels_on_grid_of, on_grid_of
from SpineContextSegLib.scores import Statistics
from SpineContextSegLib.volume import Volume, to_sitk

NAMES = ("'a'", "'b'")
OBLIQUE = np.array([[0.9, -0.3, 0.0, 12.0], [0.3, 0.9, 0.0, -7.0], [0.0, 0.0, 2.5, 40.0], [0.0, 0.0, 0.0, 1.0]])


def column(values, *, shift=0, shape=(24, 14, 12), affine=OBLIQUE):
    """Boxes of 4x6x6 voxels one above the other (k), holding `values` from the top down, shifted along i."""
    array = np.zeros(shape, np.uint8)
    for step, value in enumerate(values):
        top = shape[0] - 1 - 5 * step
        array[top - 3 : top + 1, 4:10, 3 + shift : 9 + shift] = value
    return Volume(array, affine)


def save(volume, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(volume), str(path), useCompression=True)
    return path


def test_one_pair_of_files(tmp_path):
    reference = save(column([19, 20, 21]), tmp_path / "truth.nii.gz")
    prediction = save(column([19, 20, 22], shift=1), tmp_path / "mine.nrrd")
    result = evaluate(prediction, reference)
    structures = result.cases[0].structures
    assert list(structures) == ["Spine (binary)", "Vertebrae", "T12", "L1", "L2"]
    assert structures["Spine (binary)"].dice == structures["T12"].dice == pytest.approx(5 / 6)
    assert structures["L2"].dice == 0.0 and math.isnan(structures["L2"].hausdorff95_mm)
    assert result.notes == ["mine: predicted and not in the reference: L3."]
    table = result.table().splitlines()
    assert table[1].split() == "Structure Dice ASD mm HD95 mm Volume ml Volume % Recall Precision".split()
    assert table[4].split()[:2] == ["T12", "0.8333"] and table[6].split()[2:4] == ["-", "-"]
    assert len({len(line) for line in table[1:7]}) == 1
    assert "L3" in table[-1]


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_the_same_grid_stored_otherwise_is_reordered_exactly(axes, flips):
    rng = np.random.default_rng(3)
    reference = Volume(rng.integers(0, 29, (4, 5, 6)), OBLIQUE)
    # Storage axes (i, j, k) taken in another order, then some run backwards; the affine follows.
    turn = np.eye(4)[:, [*axes, 3]]
    stored = np.flip(reference.array.T.transpose(axes), flips)
    for axis in flips:
        turn[:3, 3] += turn[:3, axis] * (stored.shape[axis] - 1)
        turn[:3, axis] *= -1
    other = Volume(stored.T, reference.affine @ turn)
    assert np.array_equal(on_grid_of(other, reference.grid, NAMES), reference.array)


def test_other_grids_are_refused():
    reference = column([20])
    half_a_voxel = reference.affine.copy()
    half_a_voxel[:3, 3] += 0.5 * half_a_voxel[:3, 0]
    with pytest.raises(InputRefused, match="'a' and 'b' don't lie on the same grid .*0.47 mm apart"):
        on_grid_of(Volume(reference.array, half_a_voxel), reference.grid, NAMES)
    with pytest.raises(InputRefused, match="12x14x23 voxels of .* against 12x14x24"):
        on_grid_of(Volume(reference.array[1:], reference.affine), reference.grid, NAMES)
    coarser = reference.affine @ np.diag([2.0, 1.0, 1.0, 1.0])
    with pytest.raises(InputRefused, match="same grid"):
        on_grid_of(Volume(reference.array[:, :, ::2], coarser), reference.grid, NAMES)
    rounded = reference.affine.astype(np.float16).astype(np.float64)
    assert np.array_equal(on_grid_of(Volume(reference.array, rounded), reference.grid, NAMES), reference.array)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_labels_that_were_cropped_are_put_back_to_the_voxel(axes):
    whole = column([19, 20, 24])
    part = whole.array[6:, 3:12, 2:10]
    offset, turn = np.eye(4), np.eye(4)[:, [*axes, 3]]
    offset[:3, 3] = 2, 3, 6
    cropped = Volume(part.T.transpose(axes).T, whole.affine @ offset @ turn)
    assert np.array_equal(labels_on_grid_of(cropped, whole.grid, NAMES), whole.array)
    structures, notes = compare(cropped, whole)
    assert structures["Spine (binary)"].dice == structures["L1"].dice == 1
    assert notes == ["the prediction covers a part of the grid of the reference; beyond, it counts as empty."]


@pytest.mark.parametrize("shift", [(0.5, 0, 0), (0, -1, 0), (0, 0, 1), (0, 40, 0), (0, -40, 0)])
def test_labels_that_lie_between_the_voxels_or_outside_are_refused(shift):
    whole, offset = column([19, 20, 24]), np.eye(4)
    offset[:3, 3] = shift
    for array in (whole.array, whole.array[:, 1:]):
        with pytest.raises(InputRefused, match="same grid .*(of .* against 12x14x24 voxels of|mm apart)"):
            labels_on_grid_of(Volume(array, whole.affine @ offset), whole.grid, NAMES)


def test_totalsegmentator_reference():
    # 32, 31, 27 are T12, L1, L5 and 25 the sacrum; 52 is the aorta.
    prediction = column([19, 20, 24, 26])
    reference = column([32, 31, 27, 25])
    reference.array[0, 0, 0] = 52
    structures, notes = compare(prediction, reference, reference_numbering="totalsegmentator")
    assert list(structures) == ["Spine (binary)", "Vertebrae", "Sacrum", "T12", "L1", "L5"]
    assert {result.dice for result in structures.values()} == {1.0}
    assert notes == []


def test_a_sacrum_labeled_in_part_is_not_scored():
    prediction, reference = column([20, 24, 26]), column([31, 27, 26])
    prediction.array[:5, 4:10, 3:9] = 26
    structures, notes = compare(prediction, reference, reference_numbering="totalsegmentator")
    assert "Sacrum" not in structures
    assert structures["Spine (binary)"].dice == 1.0
    assert len(notes) == 1 and "S1" in notes[0]
    reference.array[:5, 4:10, 3:9] = 25
    structures, notes = compare(prediction, reference, reference_numbering="totalsegmentator")
    assert structures["Sacrum"].dice == 1.0 and notes == []


@pytest.mark.parametrize(
    ("prediction", "reference", "numbering", "message"),
    [
        ([20], [20, 31, 49], "verse", "the reference holds 31, 49, which VerSe's"),
        ([20], [27, 118], "totalsegmentator", "the reference holds 118, which TotalSegmentator's"),
        ([20], [20, 21], "totalsegmentator", "the reference holds no vertebra"),
        ([20, 41], [20], "verse", "the prediction holds 41, which VerSe's"),
        ([20, 255], [20], "verse", "the prediction holds 255, which VerSe's"),
    ],
)
def test_values_that_a_numbering_does_not_have_are_refused(prediction, reference, numbering, message):
    with pytest.raises(InputRefused, match=message):
        compare(column(prediction), column(reference), reference_numbering=numbering)


def test_levels_unknown(tmp_path):
    reference = save(column([19, 20, 26]), tmp_path / "truth.nii.gz")
    prediction = save(column([1, 1, 26]), tmp_path / "mine.nii.gz")
    result = evaluate(prediction, reference)
    assert list(result.cases[0].structures) == ["Spine (binary)", "Vertebrae", "Sacrum"]
    assert {figures.dice for figures in result.cases[0].structures.values()} == {1.0}
    assert result.notes == ["mine: vertebrae not told apart, not among the levels."] and result.levels() == []
    assert list(compare(column([1, 1, 26]), column([19, 20, 26]))[0]) == list(result.cases[0].structures)
    # Beside a prediction that knows levels it has missed them all.
    save(column([19, 20, 26]), tmp_path / "out" / "truth.nii.gz")
    save(column([19, 20, 26]), tmp_path / "set" / "truth.nii.gz")
    save(column([1, 1, 26]), tmp_path / "out" / "second.nii.gz")
    save(column([1, 20, 26]), tmp_path / "set" / "second.nii.gz")
    result = evaluate(tmp_path / "out", tmp_path / "set")
    assert result.values("L1", "dice") == [0.0, 1.0] and result.values("Spine (binary)", "dice") == [1.0, 1.0]
    # Its 1 is no C1.
    assert result.values("C1", "dice") == [0.0]
    assert [(name, found.identified, len(found.vertebrae)) for name, found in result.levels()] == [
        ("second", 0, 2), ("truth", 2, 2),
    ]  # fmt: skip
    assert result.notes == ["second: vertebrae not told apart, so that none is identified."]


def test_discs_that_are_not_told_apart_are_missed_beside_those_that_are(tmp_path):
    for name, disc in (("a", 120), ("b", 200)):
        save(column([20, 120, 21]), tmp_path / "truth" / f"{name}.nii.gz")
        save(column([20, disc, 21]), tmp_path / "mine" / f"{name}.nii.gz")
    result = evaluate(tmp_path / "mine", tmp_path / "truth")
    assert result.values("L1 disc", "dice") == [1.0, 0.0] and result.values("Discs", "dice") == [1.0, 1.0]
    assert [found.rate for _, found in result.levels()] == [1.0, 1.0] and result.notes == []


def test_discs_and_canal_are_scored_where_both_sides_have_them(tmp_path):
    reference = save(column([20, 120, 61, 21]), tmp_path / "truth.nii.gz")
    spine_only = save(column([1, 0, 0, 1]), tmp_path / "spine.nii.gz")
    everything = save(column([1, 200, 61, 1], shift=1), tmp_path / "all.nii.gz")
    assert list(evaluate(spine_only, reference).cases[0].structures) == ["Spine (binary)", "Vertebrae"]
    structures = evaluate(everything, reference).cases[0].structures
    assert list(structures) == ["Spine (binary)", "Vertebrae", "Discs", "Canal"]
    assert structures["Discs"].dice == pytest.approx(5 / 6)
    leveled = save(column([20, 120, 61, 21]), tmp_path / "leveled.nii.gz")
    structures = evaluate(leveled, reference).cases[0].structures
    assert list(structures)[2:] == ["Discs", "Canal", "L1", "L2", "L1 disc"]


def test_unscored_voxels_of_the_reference():
    prediction, reference = column([20, 21, 26]), column([20, 255])
    structures, _ = compare(prediction, reference)
    assert structures["Spine (binary)"].dice == 1.0 and "Sacrum" not in structures


def test_sheared_grid():
    tilt = np.eye(4)
    tilt[1, 2] = 0.5
    sheared = column([20], affine=OBLIQUE @ tilt)
    structures, notes = compare(sheared, sheared)
    assert structures["L1"].dice == 1.0 and math.isnan(structures["L1"].average_surface_distance_mm)
    assert len(notes) == 1 and "tilted gantry" in notes[0]


def test_folder_in_verse_layout(tmp_path):
    levels = [19, 20, 21]
    for number, shift in (("004", 0), ("015", 1), ("020", 2)):
        mask = f"sub-verse{number}_dir-ax_seg-vert_msk.nii.gz"
        save(column(levels), tmp_path / "set" / "derivatives" / f"sub-verse{number}" / mask)
        scan = tmp_path / "set" / "rawdata" / f"sub-verse{number}" / f"sub-verse{number}_dir-ax_ct.nii.gz"
        save(Volume(np.full((24, 14, 12), -1000, np.int16), OBLIQUE), scan)
        if number != "020":
            save(column(levels, shift=shift), tmp_path / "out" / f"sub-verse{number}_dir-ax_ct.seg.nrrd")
    save(column([0]), tmp_path / "out" / "sub-verse099_dir-ax_ct.seg.nrrd")
    (tmp_path / "out" / "report.json").touch()
    seen = []
    result = evaluate(tmp_path / "out", tmp_path / "set", on_case=lambda *progress: seen.append(progress))
    assert seen == [(1, 2), (2, 2)]
    assert [case.name for case in result.cases] == [
        f"derivatives/sub-verse{n}/sub-verse{n}_dir-ax_seg-vert_msk" for n in ("004", "015")
    ]
    assert len(result.notes) == 2
    assert "sub-verse020_dir-ax_seg-vert_msk" in result.notes[0] and "sub-verse099" in result.notes[1]
    dice = result.statistics("L1", "dice")
    assert (dice.count, dice.mean, dice.minimum) == (2, pytest.approx(11 / 12), pytest.approx(5 / 6))
    table = result.table()
    assert "Spine (binary), 2 cases" in table and "5th %" in table and result.notes[1] in table


def test_empty_prediction_in_a_folder_counts_as_missed(tmp_path):
    for name in ("a", "b"):
        save(column([19, 20]), tmp_path / "truth" / f"{name}.nii.gz")
    save(column([19, 20]), tmp_path / "mine" / "a.nii.gz")
    save(column([0]), tmp_path / "mine" / "b.nii.gz")
    result = evaluate(tmp_path / "mine", tmp_path / "truth")
    assert result.values("T12", "dice") == result.values("Spine (binary)", "dice") == [1.0, 0.0]
    assert result.count_low("T12") == 1
    assert result.statistics("T12", "hausdorff95_mm").count == 1
    table = result.table()
    assert "or no distance can be measured. Spine (binary), Vertebrae, T12, L1: 1 of 2 cases.\n" in table
    save(column([19, 20], shift=1), tmp_path / "mine" / "b.nii.gz")
    assert "no distance" not in evaluate(tmp_path / "mine", tmp_path / "truth").table()


def test_scans_with_nothing_to_find_say_nothing(tmp_path):
    """References that are empty, or not scored at all; what is invented there counts."""
    for name, true, found in (("a", 20, 20), ("b", 0, 0), ("c", 255, 20), ("d", 0, 21)):
        save(column([true]), tmp_path / "truth" / f"{name}.nii.gz")
        save(column([found], shift=int(true == 20)), tmp_path / "mine" / f"{name}.nii.gz")
    result = evaluate(tmp_path / "mine", tmp_path / "truth")
    dice = result.statistics("Spine (binary)", "dice")
    assert (dice.count, dice.mean) == (2, pytest.approx(5 / 12)) and result.count_low("Spine (binary)") == 1
    assert result.notes[-1] == "b, c: nothing to find in the reference and nothing found, so without figures."
    assert [line.split()[:2] for line in result.table().splitlines()[2:6]] == [
        ["a", "0.8333"], ["b", "-"], ["c", "-"], ["d", "0.0000"],
    ]  # fmt: skip
    result.write_json(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["cases"][1]["structures"]["Vertebrae"]["dice"] is None
    alone = evaluate(tmp_path / "mine" / "b.nii.gz", tmp_path / "truth" / "b.nii.gz")
    assert alone.statistics("Vertebrae", "dice").count == 0 and "nothing to find" in alone.table()


def test_a_file_that_cannot_be_compared_does_not_cost_the_others(tmp_path, capsys):
    for name in ("a", "b", "c"):
        save(column([19, 20]), tmp_path / "truth" / f"{name}.nii.gz")
        save(column([19, 20]), tmp_path / "mine" / f"{name}.nii.gz")
    stump = (tmp_path / "mine" / "a.nii.gz").read_bytes()[:100]
    (tmp_path / "mine" / "a.nii.gz").write_bytes(stump)
    save(column([19, 20], affine=np.diag([1, 1, 2, 1.0])), tmp_path / "truth" / "c.nii.gz")
    result = evaluate(tmp_path / "mine", tmp_path / "truth")
    assert [case.name for case in result.cases] == ["b"] and [name for name, _ in result.not_compared] == ["a", "c"]
    result.write_json(tmp_path / "result.json")
    assert "same grid" in json.loads((tmp_path / "result.json").read_text())["not_compared"][1]["why"]
    assert main(["evaluate", str(tmp_path / "mine"), str(tmp_path / "truth")]) == FAILED
    said = capsys.readouterr()
    assert said.out.startswith("b\n") and "Not compared: c: " in said.err and "Of 3 pairs, 2" in said.err
    with pytest.raises(InputRefused, match="a.nii.gz"):
        evaluate(tmp_path / "mine" / "a.nii.gz", tmp_path / "truth" / "a.nii.gz")


def test_a_cohort_with_references_in_it_and_an_unclear_scan(tmp_path, capsys):
    for name in ("case", "other"):
        save(column([19, 20]), tmp_path / "all" / "truth" / f"{name}_labels.nii.gz")
        save(column([19, 20], shift=1), tmp_path / "all" / "mine" / f"{name}.seg.nrrd")
    save(column([19, 20]), tmp_path / "all" / "mine" / "other.nrrd")
    assert main(["evaluate", str(tmp_path / "all"), str(tmp_path / "all" / "truth")]) == FAILED
    said = capsys.readouterr()
    assert "Spine (binary)  0.8333" in said.out and "Of 2 pairs, 1 could not be compared" in said.err
    assert "Not compared: other_labels: 'mine/other.nrrd' and 'mine/other.seg.nrrd' all match" in said.err


def test_segments_of_a_person_are_left_out(tmp_path):
    with_own = column([19, 20, 0])
    own = Volume(with_own.array.astype(np.int16), OBLIQUE)
    own.array[:2] = 300 + 44  # 88 in one byte
    path = save(own, tmp_path / "own.nii.gz")
    truth = save(column([19, 20]), tmp_path / "truth.nii.gz")
    for pair in ((path, truth), (truth, path)):
        result = evaluate(*pair)
        assert result.values("Spine (binary)", "dice") == [1.0]
        assert list(result.cases[0].structures)[2:] == ["T12", "L1"]
        assert "somebody's own (344)" in result.notes[0]


def test_csv_and_json(tmp_path):
    for name, shift in (("a", 0), ("b", 2)):
        save(column([19, 20]), tmp_path / "truth" / f"{name}.nii.gz")
        save(column([19, 0], shift=shift), tmp_path / "mine" / f"{name}.nii.gz")
    result = evaluate(tmp_path / "mine", tmp_path / "truth")
    result.write_csv(tmp_path / "result.csv")
    result.write_json(tmp_path / "result.json")

    with open(tmp_path / "result.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {(row["statistic"], row["case"], row["structure"]): row for row in rows}
    assert float(found["case", "b", "T12"]["dice"]) == pytest.approx(2 / 3)
    assert found["case", "a", "L1"]["hausdorff95_mm"] == ""
    assert float(found["mean", "", "T12"]["dice"]) == pytest.approx(5 / 6)
    assert float(found["minimum", "", "T12"]["dice"]) == pytest.approx(2 / 3)
    assert found["dice below 0.8", "", "L1"]["dice"] == "2"
    files = [str(tmp_path / side / "b.nii.gz") for side in ("mine", "truth")]
    assert [found["case", "b", "T12"][key] for key in ("scan", "prediction", "reference")] == ["", *files]
    assert [found["mean", "", "T12"][key] for key in ("scan", "prediction", "reference")] == [""] * 3

    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "result.csv", "result.json", "truth"]
    content = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert content["reference_numbering"] == "verse"
    assert [case["name"] for case in content["cases"]] == ["a", "b"]
    assert content["cases"][0]["structures"]["L1"]["hausdorff95_mm"] is None
    assert [content["cases"][1][key] for key in ("scan", "prediction", "reference")] == [None, *files]
    assert content["summary"]["T12"]["dice"]["mean"] == pytest.approx(5 / 6)
    assert content["summary"]["L1"]["dice_below_0.8"] == 2
    assert content["summary"]["L1"]["hausdorff95_mm"]["mean"] is None


def test_statistics():
    statistics = Statistics.of([0.9, math.nan, 0.7, 0.8, 0.5])
    assert statistics.count == 4
    assert statistics.mean == pytest.approx(0.725)
    assert statistics.sd == pytest.approx(np.std([0.9, 0.7, 0.8, 0.5], ddof=1))
    assert (statistics.median, statistics.minimum, statistics.maximum) == (pytest.approx(0.75), 0.5, 0.9)
    assert statistics.percentile5 == pytest.approx(0.53)
    assert Statistics.of([0.9]).mean == 0.9 and math.isnan(Statistics.of([0.9]).sd)
    assert Statistics.of([math.nan]).count == 0


def test_patients_of_a_tree_are_compared(tmp_path):
    for patient in ("p1", "p2"):
        save(column([19, 20]), tmp_path / "truth" / patient / "ct_seg.nii.gz")
        save(column([19, 20] if patient == "p1" else [20]), tmp_path / "mine" / patient / "ct.nii.gz")
    result = evaluate(tmp_path / "mine", tmp_path / "truth")
    assert [case.name for case in result.cases] == ["p1/ct_seg", "p2/ct_seg"]
    assert result.values("Spine (binary)", "dice") == pytest.approx([1, 2 / 3])
