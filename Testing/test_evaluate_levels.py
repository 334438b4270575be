"""The evaluation of levels: what a scan is grouped by, what the tables count, the journal, and the picture."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

import SpineContextSegLib
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.identification import Identification, LabelledVertebra
from SpineContextSegLib.labels import VERTEBRAE
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.scores import json_text
from SpineContextSegLib.volume import Volume, count_labels
from SpineContextSegLib.writing import write_volume
from Training.card_figures import note_generated
from Training.confusion_picture import confusion, draw_confusion
from Training.evaluate_levels import main, report, run_once, score, score_real
from Training.generated_scans import GeneratedScan
from Training.level_scans import MISLEADING, NOTHING, SEEN, anchor, level_scan, seen_part, variants
from Training.level_tables import ScoredScan, figures, grouped, table_by_group, table_by_level

T11, T12, L1, L2, L3, T13, SACRUM = 18, 19, 20, 21, 22, 28, 26
SAMPLE = Path(SpineContextSegLib.__file__).parent / "sample"
# Many slices long, so that the middle of a box is far from its neighbor's.
GRID = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("whole", "sacrum", "counts", "expected"),
    [
        ([1, 2, 3], False, (12, 5), SEEN),
        ([7, 8, 9], False, (12, 5), SEEN),
        ([8, 9, 10], False, (12, 5), NOTHING),  # C7 is not wholly in view: is that the first rib?
        ([17, 18, 19, 20], False, (12, 5), SEEN),
        ([20, 21, 22], False, (12, 5), NOTHING),
        ([22, 23, 24], True, (12, 5), SEEN),
        ([22, 23], True, (12, 5), NOTHING),  # L5 is not wholly in view
        ([19, 28, 20], False, (13, 5), MISLEADING),  # looks like T11, T12, L1
        ([*range(7, 20), 28, 20], False, (13, 5), SEEN),  # but not for whoever counts from the first rib
        ([20, 21, 22, 23, 24, 25], True, (12, 6), MISLEADING),
        ([19, 20, 21, 22, 23, 24, 25], True, (12, 6), SEEN),  # six below the last rib
        ([22, 23, 24], False, (12, 6), NOTHING),
        ([18, 20, 21], False, (11, 5), MISLEADING),
        ([3, 4, 5], False, (13, 6), NOTHING),
        ([2, 3, 4], False, (13, 6), SEEN),  # the variant is far away
    ],
)
def test_what_a_scan_shows_to_count_from(whole, sacrum, counts, expected):
    assert anchor(whole, sacrum, counts) == expected


def test_variants_count_where_they_show():
    assert variants([18, 19, 28, 20]) == ["T13"]
    assert variants([18, 20]) == ["no T12"] and variants([18]) == []
    assert variants([24, 25, 26]) == ["L6"]
    assert variants([22, 23, 26]) == ["no L5"] and variants([22, 23]) == []


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample is not in this checkout")
def test_views_of_a_generated_scan():
    # The sample, C5 (a sliver) to sacrum, under the names of several seeds: each draws its own view.
    ct, labels = read_volume(SAMPLE / "phantom_ct.nii.gz")[0], read_labels(SAMPLE / "phantom_labels.nii.gz")
    views = {
        seed: level_scan(GeneratedScan(seed, "trunk", "up to 2 mm", "1 to 1.5 mm", ("metal",), ct, labels))
        for seed in range(1, 21)
    }
    usual = [view for view in views.values() if view.groups["field of view"] == ["usual"]]
    short = [view for view in views.values() if view.groups["field of view"] == ["short"]]
    assert all(np.array_equal(view.labels.array, labels.array) for view in usual) and len(usual) >= 6
    assert usual[0].groups == {
        "region": ["trunk"], "slices": ["up to 2 mm"], "blur": ["1 to 1.5 mm"], "finding": ["metal"],
        "variant in view": [], "field of view": ["usual"], "anchor": [SEEN],
    }  # fmt: skip
    assert len(short) >= 4 and len({len(view.labels.array) for view in short}) == len(short)
    for view in short:
        assert view.image.grid.same_as(view.labels.grid) and 70 <= view.labels.grid.extent_mm[2] <= 261
        start = round((view.labels.affine[2, 3] - labels.affine[2, 3]) / 2)
        assert np.array_equal(view.labels.array, labels.array[start : start + len(view.labels.array)])
        assert np.array_equal(view.image.array, ct.array[start : start + len(view.image.array)])
        assert set(count_labels(view.labels.array)) & VERTEBRAE


def test_slices_of_padding_are_left_out():
    ct, labels = np.full((10, 6, 5), 40, np.int16), np.full((10, 6, 5), L1, np.uint8)
    ct[8:] = -1024  # the scan ends here
    ct[:, :, 0] = -2000  # not here
    seen_ct, seen_labels = seen_part(Volume(ct, GRID), Volume(labels, GRID))
    assert seen_ct.grid.same_as(seen_labels.grid) and seen_ct.grid.same_as(Volume(ct[:8], GRID).grid)


def column(values):
    """Boxes of 10 x 20 x 20 voxels of 2 mm from the top down, far from both ends, 15 voxels (30 mm) apart."""
    array = np.zeros((130, 40, 40), np.uint8)
    for step, value in enumerate(values):
        top = 120 - 15 * step
        array[top - 10 : top, 10:30, 10:30] = value
    return Volume(array, GRID)


def result_of(values, certain=True, confidence=0.9):
    """What `segment` gives, as far as its levels are asked for."""
    levels = {"certain": certain, "confidence": confidence, "reason": "why"}
    return SimpleNamespace(
        labels=column(values), report=lambda: {"levels": levels}, seconds={"levels": 0.1}, model="mine 1"
    )


TRUTH = T11, T12, L1, L2, L3
GROUPS = {"region": ["abdomen"], "finding": ["plain"], "variant in view": []}


def scored(name, values, truth=TRUTH, groups=GROUPS, **verdict):
    return score(name, groups, lambda: result_of(values, **verdict), column(truth))


@pytest.fixture(scope="module")
def scans():
    """Of five vertebrae: all right, all off by one but sure, one missing and unsure, all right but unsure; a refusal;
    a T13 taken for L1."""

    def refuse():
        raise InputRefused("This is no CT.")

    return [
        scored("right", TRUTH),
        scored("off", (T12, L1, L2, L3, 23)),
        scored("missing", (T11, T12, 0, L2, L3), certain=False, confidence=0.4),
        scored("modest", TRUTH, certain=False, confidence=0.6, groups={**GROUPS, "finding": ["metal", "curve"]}),
        score("refused", {**GROUPS, "region": ["neck"]}, refuse, column(TRUTH)),
        scored("ribs", (T12, L1, L2), truth=(T12, T13, L1), groups={**GROUPS, "variant in view": ["T13"]}),
    ]


def test_scans_are_scored(scans):
    assert [scan.levels.identified for scan in scans] == [5, 0, 4, 5, 0, 1]
    assert [scan.all_right for scan in scans] == [True, False, False, True, False, False]
    assert scans[4].certain is None and scans[4].reason == "Refused: This is no CT."
    assert scans[5].levels.errors() == "T13 as L1, L1 as L2"


def test_figures_of_all_scans(scans):
    row = figures(scans)
    assert (row["scans"], row["whole"]["vertebrae"], row["whole"]["identified"]) == (6, 28, 15)
    assert row["whole"]["dice"] == pytest.approx(15 / 28) and row["whole"]["shape_dice"] == pytest.approx(22 / 28)
    assert row["mean_of_scans"]["identification_rate"] == pytest.approx((1 + 0 + 0.8 + 1 + 0 + 1 / 3) / 6)
    assert (row["all_right"], row["refused"], row["uncertain"]) == (2, 1, 2)
    assert (row["uncertain_and_wrong"], row["certain_and_wrong"]) == (1, 2)


def test_groups(scans):
    groups = grouped(scans)
    assert {name: [scan.name for scan in of_group] for name, of_group in groups.items()} == {
        "all": ["right", "off", "missing", "modest", "refused", "ribs"],
        "region: abdomen": ["right", "off", "missing", "modest", "ribs"],
        "region: neck": ["refused"],
        "finding: curve": ["modest"],
        "finding: metal": ["modest"],
        "finding: plain": ["right", "off", "missing", "refused", "ribs"],
        "variant in view: T13": ["ribs"],
        "confidence: 0 to 0.5": ["missing"],
        "confidence: 0.5 to 0.7": ["modest"],
        "confidence: 0.85 to 0.95": ["right", "off", "ribs"],
    }
    lines = table_by_group(groups).splitlines()
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 2 + len(groups)
    assert lines[2].startswith("| all | 6 | 28 | 15 (53.6 %) | 0.536 | 0.786 | 2 (33.3 %) | 2 (33.3 %) | 1 | 2 | 1 |")


def test_table_by_level(scans):
    lines = table_by_level(Identification.pooled(scan.levels for scan in scans)).splitlines()
    assert "| T11 | 5 | 3 (60.0 %) | 0.600 | 0.800 | T12 1, not found 1 |" in lines
    assert "| T13 | 1 | 0 (0.0 %) | 0.000 | 1.000 | L1 1 |" in lines
    assert [line.split()[1] for line in lines[2:]] == ["T11", "T12", "T13", "L1", "L2", "L3"]


def test_vertebrae_at_the_border_are_left_out_but_counted():
    cut = LabelledVertebra(T11, None, None, 0.0, 0.0, True)
    whole = LabelledVertebra(T12, T12, 1.0, 0.9, 0.9, False)
    scan = ScoredScan("scan", {}, Identification((cut, whole)), True, 1.0, "", {}, {})
    assert scan.all_right
    assert figures([scan])["whole"]["identification_rate"] == 1.0
    assert figures([scan])["all"]["identification_rate"] == 0.5


def test_the_journal_is_gone_on_with(scans, tmp_path):
    calls = []

    def job(scan):
        return lambda: calls.append(scan) or scan

    jobs = {"a": job(scans[0]), "nothing": job(None), "refused": job(scans[4])}
    first = run_once(jobs, tmp_path / "scans.jsonl")
    assert len(calls) == 3
    again = run_once({**jobs, "b": job(scans[1])}, tmp_path / "scans.jsonl")
    assert len(calls) == 4 and again == {**first, "b": scans[1]}
    assert again["refused"] == scans[4] and again["nothing"] is None


def test_what_was_not_named_is_nothing_found():
    unknown = SimpleNamespace(labels=column([1]), report=lambda: {"levels": None}, seconds={})
    scan = score("scan", {}, lambda: unknown, column(TRUTH))
    assert scan.levels.identified == 0 and scan.certain is False and scan.confidence == 0
    assert scan.dice["Vertebrae"] > 0


def test_without_levels_there_is_nothing_to_evaluate(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["evaluate", "--model", str(tiny_model), "--output", str(tmp_path / "out")])
    with pytest.raises(InputRefused, match="doesn't tell vertebrae apart"):
        main()
    with pytest.raises(InputRefused, match="labels of scan don't"):
        score("scan", {}, lambda: result_of(TRUTH), column([1]))


def test_a_real_scans_truth_may_have_another_numbering_and_order_of_axes(tmp_path):
    """33 to 29 are T11 to L3 in TotalSegmentator's numbering; labels are stored the other way round on each axis."""
    result = result_of(TRUTH)
    result.labels = Volume(result.labels.array[:, 4:, 7:], GRID)  # asymmetric
    found = result.labels.array
    truth = sum((found == value) * total for value, total in zip(TRUTH, (33, 32, 31, 30, 29))).astype(np.uint8)
    turn = np.diag([-1.0, -1.0, -1.0, 1.0])
    turn[:3, 3] = np.array(found.shape[::-1]) - 1
    write_volume(Volume(np.where(found, 600, 40).astype(np.int16), GRID), tmp_path / "chest.nii.gz")
    write_volume(Volume(truth[::-1, ::-1, ::-1], GRID @ turn), tmp_path / "chest_labels.nii.gz")
    scan = score_real(tmp_path / "chest.nii.gz", lambda ct: result, ["chest"])
    assert scan.dice == {"Spine (binary)": 1.0, "Vertebrae": 1.0} and scan.levels.identified == 5


def test_a_lone_c1_is_nothing_found():
    assert scored("scan", (1,)).levels.identified == 0


def test_confusion_counts(scans):
    names, counts = confusion(Identification.pooled(scan.levels for scan in scans))
    assert names == ["T11", "T12", "T13", "L1", "L2", "L3", "L4"]
    #            T11 T12 T13 L1 L2 L3 L4 none
    assert counts.tolist() == [
        [3, 1, 0, 0, 0, 0, 0, 1],
        [0, 4, 0, 1, 0, 0, 0, 1],
        [0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 2, 2, 0, 0, 2],
        [0, 0, 0, 0, 3, 1, 0, 1],
        [0, 0, 0, 0, 0, 3, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_what_no_label_expects_has_a_row_of_its_own():
    names, counts = confusion(scored("scan", (*TRUTH, 23)).levels)
    assert names[-1] == "L4" and counts[-1].tolist() == [0, 0, 0, 0, 0, 0, 1, 0] and counts.sum() == 6


def test_the_picture_is_written(scans, tmp_path):
    draw_confusion(Identification.pooled(scan.levels for scan in scans), tmp_path / "c.png", "6 scans")
    picture = imread(tmp_path / "c.png")[..., :3]
    blue, orange = picture[..., 2] - picture[..., 0] > 0.3, picture[..., 0] - picture[..., 2] > 0.3
    assert blue.sum() > 2000 and orange.sum() > 2000
    draw_confusion(Identification(()), tmp_path / "empty.png", "nothing")


def test_report(scans, tmp_path):
    text = report(scans, [scored("chest", TRUTH, groups={"scan": ["chest"]})], "mine 1", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion_generated.png", "confusion_real.png", "levels.json",
    ]  # fmt: skip
    assert "## 6 generated scans" in text and "## 1 real scans" in text and "| scan: chest | 1 | 5 |" in text
    assert "- off (confidence 0.90): T11 as T12, T12 as L1, L1 as L2, L2 as L3, L3 as L4" in text
    assert "- refused (Refused: This is no CT.): T11 not found" in text
    assert "| region: neck | 1 | 0.000 | - | 0.000 | 0.000 | 0.000 | 1 |" in text
    content = json.loads((tmp_path / "levels.json").read_text(encoding="utf-8"))
    assert content["generated"]["groups"]["region: neck"]["refused"] == 1
    assert content["real"]["scans"][0]["levels"]["vertebrae"][0]["value"] == T11


def test_numbers_that_are_none_are_null():
    assert json.loads(json_text({"a": math.nan, "b": [1.5]})) == {"a": None, "b": [1.5]}


def test_figures_are_noted_in_the_card(scans, tmp_path):
    card = tmp_path / "card.json"
    card.write_text('{"name": "mine", "results": {"seen": {}}}', encoding="utf-8")
    note_generated(scans, card)
    content = json.loads(card.read_text(encoding="utf-8"))
    assert content["name"] == "mine" and content["results"].keys() == {"seen", "generated"}
    noted = content["results"]["generated"]
    groups = ["all", "region: abdomen", "region: neck", "finding: curve", "finding: metal", "finding: plain"]
    assert list(noted) == groups
    assert (noted["all"]["vertebrae"], noted["all"]["identified"], noted["all"]["vertebra_dice"]) == (28, 15, 0.5357)
    binary = noted["all"]["binary_dice"]
    # Five of six: 1, 1, 1, 1, 8/9 where one of five is missing; nothing was found where it was refused.
    assert (binary["n"], binary["minimum"], binary["median"], binary["below_0.8"]) == (6, 0.0, 1.0, 1)
    assert binary["mean"] == pytest.approx((4 + 8 / 9) / 6, abs=1e-4)
    assert noted["all"]["structures_dice"]["Vertebrae"]["n"] == 6
    # One scan has no spread.
    assert noted["region: neck"]["binary_dice"]["n"] == 1 and "sd" not in noted["region: neck"]["binary_dice"]
