"""Results and corrections are found again by what their scans hold, wherever either lies, and whatever is asked for."""

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib import checksums
from SpineContextSegLib.checksums import checksum, file_digest, fingerprint
from SpineContextSegLib.cohort.owners import owners, records_below
from SpineContextSegLib.cohort.places import notes_on, place_scans
from SpineContextSegLib.cohort.plan import NOT_FINISHED, SCAN_CHANGED, Options, Plan, make_plan, result_stays
from SpineContextSegLib.cohort.records import CORRECTED, KEPT, KEPT_WHY, make_record, meant, write_record
from SpineContextSegLib.cohort.scans import Cohort, Scan, find_scans
from SpineContextSegLib.cohort.segmented import find_segmented, segmentation_of
from SpineContextSegLib.cohort.summary import Summary
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation
from Testing.cohorts import record, stamps, table

DIGEST = "of the model"


class Study:
    """Scans, whose bytes nobody reads as voxels here, and their results."""

    def __init__(self, folder: Path) -> None:
        self.scans, self.results, self.staging = folder / "in", folder / "res", folder / "staging"
        for path in (self.scans, self.results, self.staging):
            path.mkdir()

    def add(self, name: str, content: bytes) -> Path:
        path = self.scans / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def found(self) -> list[Scan]:
        return find_scans(self.scans).scans

    def segment(self, ending: str = ".seg.nrrd", model: str = DIGEST, **facts: object) -> None:
        """As a batch does it with all that is left to do."""
        for job in self.plan(ending, model).jobs:
            path = Path(job.segmentation)
            path.parent.mkdir(parents=True, exist_ok=True)
            paint(path, 20)
            told = {
                "options": meant(job.digest, job.structures, job.force, job.ending), "name": job.name,
                "source": job.source, "content": job.content, "checksum": checksum(list(map(Path, job.files))),
                "files": [str(path)], "structures": [{"value": 20, "name": "L1", "volume_ml": 0.1}], "model": "m",
                "levels": {"vertebrae": [{"value": 20, "partial": False}], "certain": True, "confidence": 0.9},
                "seconds_total": 1.0,
            }  # fmt: skip
            written = [*job.written, file_digest(path)]
            made = make_record(job.key, job.fingerprint, "done", written=written, **(told | facts))
            write_record(made, Path(job.record), self.staging)

    def plan(self, ending: str = ".seg.nrrd", model: str = DIGEST) -> Plan:
        scans, options = self.found(), Options("m", model, "spine", False, False)
        self.places = place_scans(scans, self.results, ending, partial(result_stays, options=options))
        return make_plan(scans, self.places, options, self.staging)

    def report(self, ending: str = ".seg.nrrd") -> tuple[dict[str, dict[str, str]], Summary]:
        """The rows of the table where nothing is segmented, and the summary."""
        plan = self.plan(ending)
        assert plan.jobs == []
        summary = Summary(Cohort(self.found()), self.places, plan, {})
        summary.write(self.results, self.results)
        return table(self.results), summary

    def notes(self) -> list[str]:
        self.plan()
        return notes_on(self.found(), self.places, self.results)


def paint(path: Path, value: int) -> None:
    write_segmentation(Volume(np.full((3, 4, 5), value, np.uint8), np.eye(4)), path)


def as_earlier_versions_told(path: Path, scan: Path) -> None:
    """Their checksums changed with the names of files, too."""
    content = json.dumps([[scan.name, file_digest(scan)]]).encode("ascii")
    told = {"bytes": scan.stat().st_size, "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(record(path) | {"checksum": told}))


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path)


@pytest.mark.parametrize("version", ["this", "earlier"])
@pytest.mark.parametrize("where", ["scans", "results", "both", "file", "files"])
def test_a_correction_is_found_again_after_a_renaming(study, where, version):
    scan = study.add("Müller Hans/CT.nii.gz", b"a scan")
    study.add("other/CT.nii.gz", b"another")
    study.segment()
    folder = study.results / "Müller Hans"
    if version == "earlier":
        as_earlier_versions_told(folder / "CT.json", scan)
    paint(folder / "CT.seg.nrrd", 21)
    if where in ("scans", "both"):
        scan.parent.rename(study.scans / "P001")
    if where in ("results", "both"):
        folder = folder.rename(study.results / "P001")
    if where in ("file", "files"):
        scan.rename(scan.with_name("P001.nii.gz"))
    if where == "files":
        for path in folder.iterdir():
            path.rename(path.with_name(path.name.replace("CT", "P001")))
    scan = next(path for path in study.scans.rglob("*.nii.gz") if path.read_bytes() == b"a scan")
    name = scan.relative_to(study.scans).as_posix()
    file = next(path for path in study.results.rglob("*.seg.nrrd") if "other" not in path.parts)
    file = file.relative_to(study.results).as_posix()
    for _ in range(2):
        rows, _ = study.report()
        assert list(rows) == sorted([name, "other/CT.nii.gz"])
        row = rows[name]
        assert (row["state"], row["message"], row["levels"], row["segmentation"]) == ("done", CORRECTED, "L1", file)
    told = record(study.results / file.replace(".seg.nrrd", ".json"))
    assert (told["scan"], told["source"], Path(told["files"][0]).name) == (name, str(scan), Path(file).name)
    alike = Path(name).parent == Path(file).parent and file.endswith(scan.name.replace(".nii.gz", ".seg.nrrd"))
    assert study.notes() == (
        []
        if alike
        else [f"Found by what the scan holds, results stay under its earlier name: 1 ('{name}' as '{file[:-9]}')."]
    )


def test_exchanged_folders_keep_the_results_of_what_they_hold(study):
    for name in "ab":
        study.add(f"{name}/CT.nii.gz", f"scan {name}".encode())
    study.segment()
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        (study.scans / old).rename(study.scans / new)
    rows, _ = study.report()
    assert {name: row["segmentation"] for name, row in rows.items()} == {
        "a/CT.nii.gz": "b/CT.seg.nrrd", "b/CT.nii.gz": "a/CT.seg.nrrd",
    }  # fmt: skip


def test_of_copies_each_has_the_result_of_its_own_place(study):
    for name in ("a", "b"):
        study.add(f"{name}.nii.gz", b"a scan")
    study.segment()
    study.add("0.nii.gz", b"a scan")
    study.segment()
    scan_of = owners(study.found(), records_below(study.results))
    assert {path.stem: scan.key for path, scan in scan_of.items()} == {n: f"{n}.nii.gz" for n in ("0", "a", "b")}
    assert study.notes() == []


def test_that_several_results_are_of_one_scan_is_said(study):
    """As where an earlier version made one anew beside the corrected one."""
    study.add("Müller/CT.nii.gz", b"a scan")
    study.segment()
    (study.scans / "Müller").rename(study.scans / "P001")
    shutil.move(study.results / "Müller", study.staging / "aside")
    study.segment()
    shutil.move(study.staging / "aside", study.results / "Müller")
    assert study.notes() == [
        "Several results are of the same scan, keep one of each: 1 ('P001/CT.json' and 'Müller/CT.json')."
    ]


def test_results_of_scans_that_have_gone_have_no_others_read(study, monkeypatch):
    """Scans of one size, as uncompressed ones often have."""
    for name in "abc":
        study.add(f"{name}.nii", f"scan {name}".encode())
    study.segment()
    (study.scans / "c.nii").unlink()

    def read(path):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(checksums, "_digest_at", lambda path, *_: read(path))
    assert len(study.plan().settled) == 2


@pytest.mark.parametrize("how", ["renamed scan", "backup", "backup with its report", "of another batch"])
def test_what_lies_under_another_name_is_never_replaced(study, how):
    scan = study.add("p1.nii.gz", b"a scan")
    study.segment()
    moved, name = study.results / "old", "p1"
    if how == "renamed scan":
        scan.rename(scan.with_name("P001.nii.gz"))
        moved, name = study.results, "P001"
    elif how == "of another batch":
        study.results.rename(study.staging / "old")
        study.results.mkdir()
        shutil.move(study.staging / "old", study.results)
        (moved / ".running").mkdir()
    else:
        moved.mkdir()
        for path in list(study.results.glob("p1*")):
            path.rename(moved / path.name)
        if how == "backup with its report":
            (moved / "report.csv").write_bytes(b"")
    before = {path.name: path.read_bytes() for path in moved.iterdir() if path.is_file()}
    study.segment(model="another")
    assert record(study.results / f"{name}.json")["options"]["model"] == "another"
    assert {name: (moved / name).read_bytes() for name in before} == before
    assert study.plan(model="another").jobs == []


def test_a_scan_of_an_old_name_does_not_replace_what_is_of_the_renamed_one(study):
    scan = study.add("p1.nii.gz", b"a scan")
    study.segment()
    scan.rename(scan.with_name("P001.nii.gz"))
    study.add("p1.nii.gz", b"another")
    before = (study.results / "p1.json").read_bytes()
    study.segment(model="another")
    assert (study.results / "p1.json").read_bytes() == before
    assert {path.stem for path in study.results.glob("*.json")} == {"p1", "p1_nii_gz", "P001"}


@pytest.mark.parametrize("model", [DIGEST, "another"])
def test_what_is_of_a_scan_elsewhere_is_left_alone(study, model):
    """As of a batch of another folder into the same results, of which this one has a copy."""
    first = study.add("p1.nii.gz", b"a scan")
    study.segment()
    before = {path.name: path.read_bytes() for path in study.results.glob("p1.*")}
    study.scans = study.scans.with_name("second")
    study.add("zz.nii.gz", first.read_bytes())
    study.segment(model=model)
    assert {name: (study.results / name).read_bytes() for name in before} == before
    assert study.plan(model=model).jobs == [] and study.notes() == []
    # What is this one's own is found by its content, whatever the other one's is called.
    paint(study.results / "zz.seg.nrrd", 21)
    (study.scans / "zz.nii.gz").rename(study.scans / "P001.nii.gz")
    rows, _ = study.report()
    assert rows["P001.nii.gz"]["segmentation"] == "zz.seg.nrrd"
    assert {name: (study.results / name).read_bytes() for name in before} == before


def test_a_record_that_tells_some_options_only_is_never_made_wrong(study):
    """As those of one day's versions."""
    study.add("p1.nii.gz", b"a scan")
    study.segment()
    path = study.results / "p1.json"
    told = record(path)
    told["options"] = {name: told["options"][name] for name in ("structures", "force")}
    path.write_text(json.dumps(told))
    paint(study.results / "p1.seg.nrrd", 21)
    rows, _ = study.report(".nii.gz")
    assert rows["p1.nii.gz"]["state"] == KEPT and record(path) == told
    rows, _ = study.report()
    assert (rows["p1.nii.gz"]["state"], rows["p1.nii.gz"]["message"]) == ("done", CORRECTED)


def test_results_renamed_by_hand_are_told_apart_before_the_next_run(study):
    scan = study.add("p1.nii.gz", b"a scan")
    study.segment()
    study.segment(".nii.gz")
    for path in (scan, *study.results.glob("p1.*")):
        path.rename(path.with_name(path.name.replace("p1", "P001")))
    [segmented] = find_segmented(study.scans, study.results).segmented
    assert segmentation_of(segmented)[0].name == "P001.nii.gz"


@pytest.mark.parametrize("version", ["this", "earlier"])
def test_each_scan_of_one_size_is_looked_at_once(study, monkeypatch, version):
    names = [f"{number:02}.nii" for number in range(20)]
    scans = [study.add(name, f"scan {name}".encode()) for name in names]
    study.segment()
    if version == "earlier":
        for scan in scans:
            as_earlier_versions_told(study.results / f"{scan.stem}.json", scan)
    for scan in scans:
        scan.rename(scan.with_name(f"P{scan.name}"))
    looked_at, look = [], checksums._digest_at
    monkeypatch.setattr(checksums, "_digest_at", lambda path, *facts: looked_at.append(path) or look(path, *facts))
    scan_of = owners(study.found(), records_below(study.results))
    assert {f"P{path.stem}.nii" for path in scan_of} == {scan.key for scan in scan_of.values()}
    assert {path.stem: scan.stem for path, scan in scan_of.items()} == {s.stem: f"P{s.stem}" for s in scans}
    assert len(looked_at) == len(scans)


def test_a_correction_outlives_a_run_with_other_options(study):
    study.add("p1.nii.gz", b"a scan")
    study.add("p2.nii.gz", b"another")
    study.segment()
    paint(study.results / "p1.seg.nrrd", 21)
    study.segment(".nii.gz")
    assert {path.name for path in study.results.glob("p?.*z")} == {"p2.nii.gz"}
    rows, summary = study.report(".nii.gz")
    row = rows["p1.nii.gz"]
    assert row["state"] == KEPT and row["message"] == f"{CORRECTED} {KEPT_WHY.format(name='p1.seg.nrrd')}"
    assert (row["levels"], row["volumes_ml"], row["segmentation"]) == ("L1", "L1 0.1", "p1.seg.nrrd")
    assert summary.known_before() == "1 done before, 1 corrected, made with other options (p1.nii.gz)"
    assert summary.not_done() == ""
    page = (study.results / "report.html").read_text(encoding="utf-8")
    assert "<b>1</b>corrected, made with other options" in page and 'href="p1.seg.nrrd"' in page
    before = stamps(study.results)
    study.segment()
    rows, _ = study.report()
    assert (rows["p1.nii.gz"]["state"], rows["p1.nii.gz"]["message"]) == ("done", CORRECTED)
    assert stamps(study.results)["p1.seg.nrrd"] == before["p1.seg.nrrd"]


def test_a_correction_beside_a_later_result_is_told(study):
    """As earlier versions left it: their run with other options took the record."""
    study.add("p1.nii.gz", b"a scan")
    study.segment()
    study.segment(".nii.gz")
    paint(study.results / "p1.seg.nrrd", 21)
    for ending in (".nii.gz", ".seg.nrrd"):
        rows, summary = study.report(ending)
        row = rows["p1.nii.gz"]
        assert (row["state"], row["segmentation"], row["levels"]) == (KEPT, "p1.seg.nrrd", "L1")
        assert summary.not_done() == ""


def test_why_a_correction_is_in_the_way_is_said_truly(study):
    scan = study.add("p1.nii.gz", b"a scan")
    study.segment()
    paint(study.results / "p1.seg.nrrd", 21)
    made = record(study.results / "p1.json")
    scan.write_bytes(b"an export")
    rows, summary = study.report()
    assert rows["p1.nii.gz"]["message"] == SCAN_CHANGED.format(name="p1.seg.nrrd")
    assert summary.known_before() == "1 refused (p1.nii.gz)"
    scan.write_bytes(b"a scan")
    write_record(made | {"state": "failed"}, study.results / "p1.json", study.staging)
    rows, _ = study.report()
    assert rows["p1.nii.gz"]["message"] == NOT_FINISHED.format(name="p1.seg.nrrd")


def test_a_copy_has_the_same_checksum_under_any_name(tmp_path):
    first, second = tmp_path / "a.nii", tmp_path / "b.nii"
    for path in (first, second):
        path.write_bytes(b"a scan")
    assert checksum([first]) == checksum([second]) and fingerprint([first], {}) != fingerprint([second], {})
