"""`spinecontextseg measure` on two folders: one table of all vertebrae, whatever becomes of single scans."""

import csv
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from generated_spines import smooth_spine

from SpineContextSegLib.checksums import file_digest, fingerprint
from SpineContextSegLib.cli import main
from SpineContextSegLib.cohort.records import make_record, write_record
from SpineContextSegLib.cohort.scans import Scan, find_scans
from SpineContextSegLib.commands.measure import NO_VERTEBRA
from SpineContextSegLib.levels import doubt_of
from SpineContextSegLib.measure import TABLE_TITLES, table_cells, vertebra_rows
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.cli_use import contents, refused
from Testing.dicom_series import SeriesWriter

MARROW_HU, FAT_HU = 180, -80
DOUBT = "levels uncertain (70%)"


@pytest.fixture(scope="module")
def spine() -> Volume:
    """Labels of L1 to L3 of a generated body."""
    _, labels = smooth_spine(8001, "L1", "L3", 1.6)
    return Volume(np.where(np.isin(labels.array, (20, 21, 22)), labels.array, 0), labels.affine)


def ct(labels: Volume) -> Volume:
    return Volume(np.where(labels.array, MARROW_HU, FAT_HU).astype(np.int16), labels.affine)


def renamed(labels: Volume, values: dict[int, int]) -> Volume:
    table = np.arange(256, dtype=np.uint8)
    table[list(values)] = list(values.values())
    return Volume(table[labels.array], labels.affine)


@pytest.fixture
def folders(spine, tmp_path) -> tuple[Path, Path]:
    """Scans a and b, the latter in a folder of its own; and a folder for their segmentations."""
    scans, results = tmp_path / "Kohorte 1", tmp_path / "Ergebnisse"
    for folder in (scans / "b", results / "b"):
        folder.mkdir(parents=True)
    write_volume(ct(spine), scans / "a.nii.gz")
    write_volume(ct(spine), scans / "b" / "b.nii.gz")
    return scans, results


def put(labels: Volume, path: Path, scan: Path | None = None, *, state: str = "done", **facts) -> Path:
    """A segmentation; with a record as a batch leaves it where `scan` is the folder of its scans."""
    write_segmentation(labels, path)
    if scan:
        note(path, find_scans(scan).scans[0], state=state, **facts)
    return path


def note(path: Path, scan: Scan, *, state: str = "done", certain: bool = False, earlier: tuple[Path, ...] = ()) -> None:
    """Writes the record of a result; `earlier` ones stay beside it."""
    record = make_record(
        scan.key, "", state, written=map(file_digest, (*earlier, path)), source=str(scan.source),
        content=fingerprint(scan.files, {}), files=[str(path)], levels={"certain": certain, "confidence": 0.7},
        structures=[{"value": value} for value in np.unique(read_labels(path).array).tolist() if value],
    )  # fmt: skip
    write_record(record, path.with_name(path.name.split(".")[0] + ".json"), path.parent)


def measure(*arguments) -> int:
    return main(["measure", *map(str, arguments)])


def rows(table: Path) -> dict[str, list[dict[str, str]]]:
    """Lines of a table by scan."""
    found: dict[str, list] = {}
    with open(table, encoding="utf-8-sig", newline="") as file:
        for line in csv.DictReader(file):
            found.setdefault(line["scan"], []).append(line)
    return found


def test_scans_are_measured_with_the_segmentations_of_their_names(spine, folders, tmp_path, capsys):
    """One stored with other axes, one corrected by hand; what can't be measured stops no other."""
    scans, results = folders
    table = tmp_path / "Wirbel.csv"
    flipped = spine.affine @ np.diag([-1.0, 1.0, -1.0, 1.0])
    flipped[:3, 3] = spine.grid.world(np.array([[spine.array.shape[2] - 1, 0, spine.array.shape[0] - 1]]))[0]
    put(Volume(spine.array[::-1, :, ::-1], flipped), results / "a.seg.nrrd")
    put(renamed(spine, {22: 21}), results / "b" / "b.nii.gz")
    for name in ("one", "other", "none", "broken"):
        write_volume(ct(spine), scans / f"{name}.mha")
    put(renamed(spine, dict.fromkeys(range(1, 30), 1)), results / "one.mha")
    put(Volume(spine.array, spine.affine + np.diag([0.5], 3)), results / "other.mha")
    put(Volume(spine.array * 0, spine.affine), results / "none.mha")
    (scans / "broken.mha").write_bytes(b"no image")
    put(spine, results / "broken.mha")
    put(spine, results / "stranger.mha")
    (results / ".running" / "x").mkdir(parents=True)
    put(spine, results / ".running" / "x" / "a.seg.nrrd")
    assert measure(scans, results, "--table", table) == 1
    shown, said = capsys.readouterr()
    found = rows(table)
    assert list(found) == ["a.nii.gz", "b/b.nii.gz"]
    expected = {"a.nii.gz": spine, "b/b.nii.gz": renamed(spine, {22: 21})}
    for name, labels in expected.items():
        cells = [dict(zip(TABLE_TITLES, table_cells(row))) for row in vertebra_rows(ct(labels), labels)]
        assert [{title: line[title] for title in TABLE_TITLES} for line in found[name]] == cells
    assert found["a.nii.gz"][1]["body interior mean (HU)"] == "180.0"
    assert "Scans: 2, vertebrae: 5" in shown and str(table) in shown and "Research use only" in shown
    lines = said.splitlines()
    assert len(lines) == 6 and lines[-1].startswith("spinecontextseg: Some scans were not measured (5)")
    words = {"one.mha": "apart", "other.mha": "same grid", "none.mha": "no vertebra", "broken.mha": "broken.mha",
             "stranger.mha": "name of its scan"}  # fmt: skip
    for name, word in words.items():
        assert [word in line for line in lines if line.startswith(f"Not measured: {name}: ")] == [True]
    assert contents(tmp_path) == sorted(["Kohorte 1", "Ergebnisse", "Wirbel.csv"])


def test_a_copy_of_an_unlabelled_scan_is_no_segmentation(spine, folders, tmp_path, capsys):
    scans, results = folders
    put(spine, results / "a_seg.nii.gz")
    for name in ("a.nii.gz", "b/b.nii.gz"):
        shutil.copy(scans / name, results / name)
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 0
    assert "no segmentation: 1 (b/b.nii.gz)" in capsys.readouterr().err
    assert list(rows(tmp_path / "t.csv")) == ["a.nii.gz"]


def test_segmentations_in_verses_layout(spine, tmp_path, capsys):
    for subject in ("sub-1", "sub-2"):
        name = f"{subject}/{subject}_dir-ax"
        for part in ("rawdata", "derivatives"):
            (tmp_path / part / subject).mkdir(parents=True)
        write_volume(ct(spine), tmp_path / "rawdata" / f"{name}_ct.nii.gz")
        put(spine, tmp_path / "derivatives" / f"{name}_seg-vert_msk.nii.gz")
        put(spine, tmp_path / "derivatives" / f"{name}_seg-subreg_msk.nii.gz")
    for scans, results in (("rawdata", "derivatives"), (".", "derivatives"), (".", ".")):
        assert measure(tmp_path / scans, tmp_path / results, "--table", tmp_path / "t.csv") == 0
        assert capsys.readouterr().err == ""
        assert [Path(name).name for name in rows(tmp_path / "t.csv")] == [f"sub-{n}_dir-ax_ct.nii.gz" for n in (1, 2)]


def test_records_tell_which_scan_was_segmented(spine, folders, tmp_path, capsys):
    """Two series of one description, and two scans of one name from different folders."""
    scans, results = folders
    shutil.rmtree(scans / "b")
    other = tmp_path / "other"
    other.mkdir()
    write_volume(ct(spine), other / "a.nii.gz")
    put(renamed(spine, {20: 1}), results / "a.seg.nrrd", other)
    put(spine, results / "a_nii_gz.seg.nrrd", scans, certain=True)
    for instance in (0, 1000):
        SeriesWriter(scans / "d", instance=instance).write(ct(spine))
    (results / "d").mkdir()
    _, first, second = find_scans(scans).scans
    for name, scan, shift in (("Thorax_2", first, {}), ("Thorax", second, {20: 19})):
        put(renamed(spine, shift), results / "d" / f"{name}.seg.nrrd")
        note(results / "d" / f"{name}.seg.nrrd", scan)
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 0
    assert "other folders: 1 (a.seg.nrrd)" in capsys.readouterr().err
    found = rows(tmp_path / "t.csv")
    assert {name: lines[0]["level"] for name, lines in found.items()} == {
        "a.nii.gz": "L1", first.name: "L1", second.name: "T12",
    }  # fmt: skip
    assert {line["segmentation"] for line in found[first.name]} == {"d/Thorax_2.seg.nrrd"}
    assert not any(DOUBT in line["remark"] for line in found["a.nii.gz"])
    assert all(line["remark"].startswith(DOUBT) for line in found[first.name])
    # A part of the tree is no other tree.
    assert measure(scans / "d", results, "--table", tmp_path / "t.csv") == 0
    part = {name: lines[0]["level"] for name, lines in rows(tmp_path / "t.csv").items()}
    assert part == {f".{first.name[1:]}": "L1", f".{second.name[1:]}": "T12"}


def test_levels_that_were_corrected_are_not_called_uncertain(spine, folders, tmp_path):
    scans, results = folders
    path = put(spine, results / "a.seg.nrrd", scans)
    for labels, doubtful in ((spine, True), (renamed(spine, {20: 19, 21: 20, 22: 21}), False)):
        write_segmentation(labels, path)
        assert measure(scans, results, "--table", tmp_path / "t.csv") == 0
        assert {DOUBT in line["remark"] for line in rows(tmp_path / "t.csv")["a.nii.gz"]} == {doubtful}


def test_one_scan_alone_is_measured_with_the_doubt_of_its_record(spine, folders, tmp_path):
    """Until the file is corrected; and what an earlier run left beside the result, the record says nothing of."""
    scans, results = folders
    earlier = put(spine, results / "a.mha")
    path = put(spine, results / "a.nii.gz", scans, earlier=(earlier,))

    def doubted(labels):
        assert measure(scans / "a.nii.gz", labels, "--table", tmp_path / "t.csv") == 0
        with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
            return {line["remark"].startswith(DOUBT) for line in csv.DictReader(file)}

    assert doubted(path) == {True}
    assert doubted(earlier) == {False}
    write_segmentation(renamed(spine, {20: 19, 21: 20, 22: 21}), path)
    assert doubted(path) == {False}


def test_of_several_segmentations_of_a_scan_none_is_taken(spine, folders, tmp_path, capsys):
    """But for those that earlier runs left in other formats."""
    scans, results = folders
    earlier = put(spine, results / "a.nii.gz")
    put(renamed(spine, {20: 19}), results / "a.seg.nrrd", scans, earlier=(earlier,))
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 0
    assert [line["level"] for line in rows(tmp_path / "t.csv")["a.nii.gz"]] == ["T12", "L2", "L3"]
    write_segmentation(renamed(spine, {22: 21}), earlier)
    capsys.readouterr()
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 1
    assert "a.nii.gz: 'a.nii.gz' and 'a.seg.nrrd' belong to the same scan" in capsys.readouterr().err
    assert rows(tmp_path / "t.csv") == {}


def test_scans_that_were_copied_elsewhere_are_told_by_their_place(spine, folders, tmp_path, capsys):
    scans, results = folders
    put(spine, results / "a.seg.nrrd", scans)
    moved = scans.rename(tmp_path / "moved")
    assert measure(moved, results, "--table", tmp_path / "t.csv") == 0
    assert "Taken by their names" not in capsys.readouterr().err
    os.utime(moved / "a.nii.gz")
    assert measure(moved, results, "--table", tmp_path / "t.csv") == 0
    assert "Taken by their names, as they aren't where the batch found them: 1 (a.nii.gz)." in capsys.readouterr().err
    assert DOUBT in rows(tmp_path / "t.csv")["a.nii.gz"][0]["remark"]


def test_what_the_last_run_did_not_finish_is_not_measured(spine, folders, tmp_path, capsys):
    scans, results = folders
    put(spine, results / "a.seg.nrrd", scans, state="failed")
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 1
    said = capsys.readouterr().err
    assert "Not measured: a.nii.gz: 'a.seg.nrrd' is of an earlier run" in said
    assert "Not measured, as they have no segmentation: 1 (b/b.nii.gz)." in said


def test_a_result_without_a_vertebra_is_a_warning_unless_it_was_corrected_to_that(spine, folders, tmp_path, capsys):
    scans, results = folders
    empty = renamed(spine, dict.fromkeys((20, 21, 22), 0))
    put(empty, results / "a.seg.nrrd", scans)
    put(spine, results / "b" / "b.nii.gz")
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 0
    assert capsys.readouterr().err == f"Warning: a.nii.gz: {NO_VERTEBRA}\n"
    assert list(rows(tmp_path / "t.csv")) == ["b/b.nii.gz"]
    put(spine, results / "a.seg.nrrd", scans)
    write_segmentation(empty, results / "a.seg.nrrd")
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 1
    assert "Not measured: a.nii.gz: 'a.seg.nrrd' holds no vertebra" in capsys.readouterr().err


def test_why_a_scan_has_no_density_is_said_once(spine, folders, tmp_path, capsys):
    scans, results = folders
    write_volume(Volume(np.maximum(ct(spine).array, 0) * 3, spine.affine), scans / "a.nii.gz")
    put(spine, results / "a.nii.gz")
    put(spine, results / "b" / "b.nii.gz")
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("Warning: a.nii.gz: No density was measured")
    hu = {name: {line["body interior mean (HU)"] for line in lines} for name, lines in rows(tmp_path / "t.csv").items()}
    assert hu["a.nii.gz"] == {""} and "180.0" in hu["b/b.nii.gz"]


def test_a_fault_in_one_scan_stops_no_other(spine, folders, tmp_path, capsys, monkeypatch):
    scans, results = folders
    put(spine, results / "a.nii.gz")
    put(spine, results / "b" / "b.nii.gz")
    calls = Counter()

    def fails_first(*arguments, **options):
        calls["all"] += 1
        if calls["all"] == 1:
            raise MemoryError
        return vertebra_rows(*arguments, **options)

    monkeypatch.setattr("SpineContextSegLib.measure.vertebra_rows", fails_first)
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 1
    assert "Not measured: a.nii.gz: There is not enough memory" in capsys.readouterr().err
    assert list(rows(tmp_path / "t.csv")) == ["b/b.nii.gz"]


def test_an_interruption_leaves_the_earlier_table(spine, folders, tmp_path, capsys, monkeypatch):
    scans, results = folders
    put(spine, results / "a.nii.gz")
    (tmp_path / "t.csv").write_text("earlier")
    monkeypatch.setattr("SpineContextSegLib.measure.vertebra_rows", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    before = contents(tmp_path)
    assert measure(scans, results, "--table", tmp_path / "t.csv") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert contents(tmp_path) == before and (tmp_path / "t.csv").read_text() == "earlier"


def refusals():
    """Name of the case -> (arguments; {} is the folder of both and of an empty one; words of the answer)."""
    usual = ["{}/Kohorte 1", "{}/Ergebnisse"]
    return {
        "no such folder": (["{}/none", "{}/Ergebnisse", "--table", "{}/t.csv"], "does not exist"),
        "a file and a folder": (["{}/Kohorte 1/a.nii.gz", "{}/Ergebnisse", "--table", "{}/t.csv"], "two of a kind"),
        "no scan": (["{}/empty", "{}/Ergebnisse", "--table", "{}/t.csv"], "holds no scan"),
        "no segmentation": (["{}/Kohorte 1", "{}/empty", "--table", "{}/t.csv"], "holds no segmentation"),
        "no pair": (["{}/Kohorte 1/b", "{}/Ergebnisse", "--table", "{}/t.csv"], "belongs to a scan"),
        "centroids": ([*usual, "--table", "{}/t.csv", "--centroids", "{}/c.json"], "for one scan"),
        "no table": (usual, "--table"),
        "the batch's report": ([*usual, "--table", "{}/Ergebnisse/report.csv"], "report of a batch"),
        "an input": ([*usual, "--table", "{}/linked.csv"], "same file"),
        "table's ending": ([*usual, "--table", "{}/t.txt"], ".csv"),
    }


@pytest.mark.parametrize("case", refusals())
def test_refusals_say_why_in_one_line_and_write_nothing(case, spine, folders, tmp_path, capsys):
    scans, results = folders
    (tmp_path / "empty").mkdir()
    put(spine, results / "a.nii.gz")
    os.link(scans / "a.nii.gz", tmp_path / "linked.csv")
    before = contents(tmp_path), contents(results)
    arguments, word = refusals()[case]
    assert word in refused(capsys, measure(*(argument.replace("{}", str(tmp_path)) for argument in arguments)))
    assert (contents(tmp_path), contents(results)) == before
    assert read_labels(results / "a.nii.gz").array.any()


@pytest.mark.parametrize("command", ["measure", "evaluate", "segment"])
def test_no_command_writes_over_the_record_of_a_batch(command, spine, folders, tmp_path, capsys):
    """Which bears the name that suggests itself for centroids and reports; without it, corrections are not found."""
    scans, results = folders
    scan, labels, record = scans / "a.nii.gz", put(spine, results / "a.seg.nrrd", scans), results / "a.json"
    put(spine, tmp_path / "truth.nii.gz")
    arguments = {
        "measure": [scan, labels, "--centroids", record],
        "evaluate": [labels, tmp_path / "truth.nii.gz", "--json", record],
        "segment": [scan, "-o", labels, "--report", record],
    }
    before = record.read_bytes()
    said = refused(capsys, main([command, *map(str, arguments[command])]))
    assert "a.json' is the record of a batch" in said and "another name" in said
    assert record.read_bytes() == before


@pytest.mark.parametrize(
    ("levels", "said"),
    [(None, ""), ({"certain": True, "confidence": 0.99}, ""),
     ({"certain": False, "confidence": 0.7}, "levels uncertain (70%)")],
)  # fmt: skip
def test_doubt_is_told_as_the_run_told_it(levels, said):
    assert doubt_of({"levels": levels}) == said
