"""`spinecontextseg measure` where scans or results were renamed, copied or replaced since the batch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from generated_spines import smooth_spine

from SpineContextSegLib import checksums
from SpineContextSegLib.checksums import checksum, file_digest, fingerprint
from SpineContextSegLib.cohort.records import make_record, write_record
from SpineContextSegLib.cohort.scans import find_scans
from SpineContextSegLib.commands.measure import REMARK_ANOTHER_SCAN
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.test_measure_cohort import ct, measure, renamed, rows


@pytest.fixture(scope="module")
def spine() -> Volume:
    """Labels of L1 to L3 of a generated body."""
    _, labels = smooth_spine(8001, "L1", "L3", 1.6)
    return Volume(np.where(np.isin(labels.array, (20, 21, 22)), labels.array, 0), labels.affine)


def scan(labels: Volume, path: Path, hu: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(ct(labels).array + np.int16(hu), labels.affine), path)
    return path


def segment(labels: Volume, scans: Path, results: Path) -> None:
    """As a batch does all scans that have no result of their name."""
    for one in find_scans(scans).scans:
        path = results / one.folder / f"{one.stem}.seg.nrrd"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_segmentation(labels, path)
        made = make_record(
            one.key, "", "done", written=[file_digest(path)], source=str(one.source), files=[str(path)],
            content=fingerprint(one.files, {}), checksum=checksum(one.files), structures=[{"value": 20}],
        )  # fmt: skip
        write_record(made, path.with_name(f"{one.stem}.json"), path.parent)


@pytest.fixture
def study(spine, tmp_path) -> tuple[Path, Path, Path]:
    """Folders of scans and of results, of which that of Müller was corrected; and the place of the table."""
    scans, results = tmp_path / "in", tmp_path / "res"
    scan(spine, scans / "Müller" / "CT.nii.gz")
    scan(spine, scans / "other" / "CT.nii.gz", 5)
    segment(spine, scans, results)
    write_segmentation(renamed(spine, {20: 19, 21: 20, 22: 21}), results / "Müller" / "CT.seg.nrrd")
    return scans, results, tmp_path / "t.csv"


def levels(table: Path) -> dict[str, list[str]]:
    return {name: [line["level"] for line in lines] for name, lines in rows(table).items()}


@pytest.mark.parametrize("where", ["scans", "results", "both", "a copy"])
def test_a_renamed_patient_is_measured_with_the_correction(study, where, capsys):
    scans, results, table = study
    if where == "a copy":
        scans = shutil.copytree(scans, scans.with_name("pseudonymized"))
    if where != "results":
        (scans / "Müller").rename(scans / "P001")
    if where in ("results", "both"):
        (results / "Müller").rename(results / "P001")
    assert measure(scans, results, "--table", table) == 0
    patient = "Müller" if where == "results" else "P001"
    file = "P001" if where in ("results", "both") else "Müller"
    assert levels(table)[f"{patient}/CT.nii.gz"] == ["T12", "L1", "L2"]
    found = {name: {line["segmentation"] for line in lines} for name, lines in rows(table).items()}
    assert found == {f"{patient}/CT.nii.gz": {f"{file}/CT.seg.nrrd"}, "other/CT.nii.gz": {"other/CT.seg.nrrd"}}
    assert capsys.readouterr().err == ""


def test_a_new_result_is_not_measured_while_the_corrected_one_lies_elsewhere(study, spine, capsys):
    """As earlier versions made it of a renamed scan."""
    scans, results, table = study
    (scans / "Müller").rename(scans / "P001")
    segment(spine, scans, results)
    assert measure(scans, results, "--table", table) == 1
    assert list(levels(table)) == ["other/CT.nii.gz"]
    said = "'Müller/CT.seg.nrrd' and 'P001/CT.seg.nrrd' belong to the same scan ('Müller/CT.seg.nrrd' changed by hand)"
    assert f"Not measured: P001/CT.nii.gz: {said}: keep one." in capsys.readouterr().err


def test_the_result_of_a_copy_that_has_gone_is_in_nobodys_way(study, spine, capsys):
    scans, results, table = study
    shutil.copytree(scans / "other", scans / "copy")
    segment(spine, scans, results)
    shutil.rmtree(scans / "copy")
    assert measure(scans, results, "--table", table) == 0
    assert {line["segmentation"] for line in rows(table)["other/CT.nii.gz"]} == {"other/CT.seg.nrrd"}


@pytest.mark.parametrize("corrected", [True, False])
def test_a_scan_that_was_replaced_is_measured_with_a_warning(study, spine, capsys, corrected):
    scans, results, table = study
    name = "Müller" if corrected else "other"
    replaced = scan(spine, scans / name / "CT.nii.gz", 9)
    assert measure(scans, results, "--table", table) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "isn't the scan any more" in line]
    assert [line.startswith(f"Warning: {name}/CT.nii.gz: 'CT.nii.gz'") for line in warnings] == [True]
    remarks = {key: {REMARK_ANOTHER_SCAN in line["remark"] for line in found} for key, found in rows(table).items()}
    assert remarks == {f"{n}/CT.nii.gz": {n == name} for n in ("Müller", "other")}
    assert measure(replaced, results / name / "CT.seg.nrrd") == 0
    shown = capsys.readouterr()
    assert "isn't the scan any more that was segmented" in shown.err and REMARK_ANOTHER_SCAN in shown.out


def test_notes_beside_a_detached_header_make_no_other_scan(spine, tmp_path, capsys):
    """A batch of the folder counts them in, one of the file doesn't."""
    path = scan(spine, tmp_path / "in" / "p1.nii.gz")
    header = path.with_name("p1.mhd")
    sitk.WriteImage(sitk.ReadImage(path), header)
    path.unlink()
    (tmp_path / "in" / "p1.txt").write_text("notes")
    for source in (header, header.parent):
        shutil.rmtree(tmp_path / "res", ignore_errors=True)
        segment(spine, source, tmp_path / "res")
        assert measure(header, tmp_path / "res" / "p1.seg.nrrd") == 0
        assert "isn't the scan any more" not in capsys.readouterr().err
    scan(spine, path, 5)
    sitk.WriteImage(sitk.ReadImage(path), header)
    assert measure(header, tmp_path / "res" / "p1.seg.nrrd") == 0
    assert "isn't the scan any more" in capsys.readouterr().err


def test_unchanged_scans_are_not_read_twice(study, capsys, monkeypatch):
    """Size and date say that they are the same."""
    scans, results, table = study
    read = []
    monkeypatch.setattr(checksums, "_digest_at", lambda path, *_: read.append(path))
    assert measure(scans, results, "--table", table) == 0
    assert measure(scans / "other" / "CT.nii.gz", results / "other" / "CT.seg.nrrd") == 0
    assert read == [] and capsys.readouterr().err == ""
