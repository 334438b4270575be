"""Which results `evaluate` takes where a batch left records: of the very scan, and of its last run."""

import csv
import json
from pathlib import Path

import pytest

from SpineContextSegLib.checksums import checksum, file_digest, fingerprint
from SpineContextSegLib.cohort.records import make_record, write_record
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.pairing import find_pairs
from SpineContextSegLib.recorded_results import IS_EARLIER, IS_SCAN, OF_ANOTHER
from SpineContextSegLib.writing import write_segmentation
from Testing.level_values import L1, L2
from Testing.levels_use import stack


def put(path: Path, content: str = "") -> Path:
    """A file that holds what no other one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or str(path))
    return path


def note(
    result: Path, scan: Path, root: Path, *, state: str = "done", earlier: tuple[Path, ...] = (), **facts
) -> Path:
    """Writes the record of a result of a scan below `root`; `earlier` ones stay beside it."""
    record = make_record(
        scan.relative_to(root).as_posix(), "", state, written=map(file_digest, (*earlier, result)), source=str(scan),
        content=fingerprint([scan], {}), checksum=checksum([scan]), files=[str(result)],
        **facts,
    )  # fmt: skip
    write_record(record, result.with_name(result.name.split(".")[0] + ".json"), result.parent)
    return result


def named(pairs) -> list[tuple[str, str, str]]:
    return [(pair.prediction.name, pair.reference.name, pair.scan) for pair in pairs]


@pytest.fixture
def results(tmp_path) -> Path:
    """A scan, and results of it in two formats in the same folder, of which the record knows the newer one."""
    scan, newer, earlier = (put(tmp_path / "data" / f"case.{ending}") for ending in ("nii.gz", "nrrd", "seg.nrrd"))
    return note(newer, scan, scan.parent, earlier=(earlier,)).parent


@pytest.mark.parametrize("reference", ["case_labels.mha", "case.seg.nrrd", "case.mha"])
def test_of_several_formats_the_record_tells_the_result(results, tmp_path, reference):
    """Also where the reference has the very name of the earlier one."""
    put(tmp_path / "truth" / reference)
    pairs, notes, unclear = find_pairs(results, tmp_path / "truth")
    assert named(pairs) == [("case.nrrd", reference, "case.nii.gz")] and unclear == []
    assert notes == [
        f"Not counted, since {IS_SCAN}: 'case.nii.gz'.", f"Not counted, since {IS_EARLIER}: 'case.seg.nrrd'."
    ]  # fmt: skip


def test_a_corrected_result_of_an_earlier_run_is_one_of_several(results, tmp_path):
    (results / "case.seg.nrrd").write_bytes(b"corrected")
    put(tmp_path / "truth" / "case_labels.mha")
    with pytest.raises(InputRefused, match="'case.nrrd' and 'case.seg.nrrd' all match"):
        find_pairs(results, tmp_path / "truth")


def test_who_keeps_only_the_earlier_one_has_it_compared(results, tmp_path):
    (results / "case.nrrd").unlink()
    put(tmp_path / "truth" / "case_labels.mha")
    assert named(find_pairs(results, tmp_path / "truth")[0]) == [("case.seg.nrrd", "case_labels.mha", "case.nii.gz")]


def test_what_an_unfinished_run_left_of_an_earlier_one_is_not_compared(tmp_path):
    scan, result = put(tmp_path / "in" / "p1.nii.gz"), put(tmp_path / "out" / "p1.seg.nrrd")
    note(result, scan, scan.parent, state="failed")
    put(tmp_path / "truth" / "p1.nii.gz")
    with pytest.raises(InputRefused, match=f"{IS_EARLIER}: 'p1.seg.nrrd'"):
        find_pairs(result.parent, tmp_path / "truth")
    put(result, "corrected")
    assert len(find_pairs(result.parent, tmp_path / "truth")[0]) == 1


@pytest.fixture
def two_inputs(tmp_path) -> Path:
    """Results of two scans of one name, from two folders, the second one with its labels beside it."""
    put(tmp_path / "in2" / "p1_labels.nii.gz")
    for folder, result in (("in1", "p1.seg.nrrd"), ("in2", "p1_nii_gz.seg.nrrd")):
        scan = put(tmp_path / folder / "p1.nii.gz")
        note(put(tmp_path / "res" / result), scan, scan.parent)
    return tmp_path


def test_a_result_counts_for_the_scan_beside_the_reference(two_inputs):
    pairs, notes, unclear = find_pairs(two_inputs / "res", two_inputs / "in2")
    assert named(pairs) == [("p1_nii_gz.seg.nrrd", "p1_labels.nii.gz", "p1.nii.gz")] and unclear == []
    assert notes == [f"Not counted, since {OF_ANOTHER}: 'p1.seg.nrrd'."]


def test_it_is_the_same_scan_wherever_that_lies_now(two_inputs):
    (two_inputs / "in2").rename(two_inputs / "moved")
    assert named(find_pairs(two_inputs / "res", two_inputs / "moved")[0])[0][0] == "p1_nii_gz.seg.nrrd"


def test_the_result_of_another_scan_alone_is_not_compared(two_inputs):
    (two_inputs / "res" / "p1_nii_gz.seg.nrrd").unlink()
    with pytest.raises(InputRefused, match=f"{OF_ANOTHER}: 'p1.seg.nrrd'"):
        find_pairs(two_inputs / "res", two_inputs / "in2")


def test_which_of_two_scans_a_lone_reference_is_of_is_not_guessed(two_inputs):
    for name in ("p1.nii.gz", "p1.seg.nrrd"):
        put(two_inputs / name / name)
        with pytest.raises(InputRefused, match="'p1.seg.nrrd' and 'p1_nii_gz.seg.nrrd' all match"):
            find_pairs(two_inputs / "res", two_inputs / name)


def test_results_that_were_renamed_with_their_records_go_by_their_names(two_inputs):
    for ending in ("seg.nrrd", "json"):
        (two_inputs / "res" / f"p1.{ending}").rename(two_inputs / "res" / f"P001.{ending}")
    put(two_inputs / "truth" / "P001.nii.gz")
    assert named(find_pairs(two_inputs / "res", two_inputs / "truth")[0])[0][0] == "P001.seg.nrrd"


def test_a_recorded_scan_is_no_reference(tmp_path):
    """Scans and labels in two folders, and results in the tree of the scans."""
    scan = put(tmp_path / "data" / "images" / "a.nii.gz")
    put(tmp_path / "data" / "labels" / "a_seg.nii.gz")
    result = note(put(tmp_path / "res" / "images" / "a.seg.nrrd"), scan, tmp_path / "data")
    pairs, notes, unclear = find_pairs(tmp_path / "res", tmp_path / "data")
    assert named(pairs) == [(result.name, "a_seg.nii.gz", "images/a.nii.gz")] and notes == unclear == []


def test_figures_name_the_scan_as_the_tables_of_a_batch_do(tmp_path):
    """Else nobody can join them; records of earlier versions told the key only."""
    results, truth = tmp_path / "res", tmp_path / "truth"
    told = {"p1/ct": {}, "p2/Abd": {"name": "p2 (Abd)"}, "p3/by_hand": None}
    for name, facts in told.items():
        for folder in (results, truth):
            (folder / name).parent.mkdir(parents=True)
            write_segmentation(stack(L1, L2), folder / f"{name}.nii.gz")
        if facts is not None:
            note(results / f"{name}.nii.gz", put(tmp_path / "in" / f"{name}.nrrd"), tmp_path / "in", **facts)
    scans = ["p1/ct.nrrd", "p2 (Abd)", ""]
    evaluation = evaluate(results, truth)
    evaluation.write_csv(tmp_path / "scores.csv")
    evaluation.write_json(tmp_path / "scores.json")
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["structure"] == "L1" and row["statistic"] == "case"]
    assert [row["scan"] for row in rows] == scans and [row["case"] for row in rows] == list(told)
    cases = json.loads((tmp_path / "scores.json").read_text())["cases"]
    assert [case["scan"] or "" for case in cases] == scans
    alone = evaluate(results / "p2" / "Abd.nii.gz", truth / "p2" / "Abd.nii.gz")
    assert [case.scan for case in alone.cases] == ["p2 (Abd)"]
