"""`spinecontextseg batch` in everyday use: a mirrored tree, nothing done twice, nobody's corrections lost."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import SimpleITK as sitk
from cohorts import batch, change, files, fill, record, stamps, states, table

from SpineContextSegLib.checks import NO_SPINE
from SpineContextSegLib.cli import main
from SpineContextSegLib.cohort.records import CORRECTED
from SpineContextSegLib.cohort.scans import find_scans
from SpineContextSegLib.commands.measure import NO_VERTEBRA
from SpineContextSegLib.labels import VERTEBRA_LEVEL_UNKNOWN
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.cli_use import refused
from Testing.dicom_series import SeriesWriter


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, sample_scan) -> Path:
    """Three scans that can be segmented, and a picture that can't."""
    folder = fill(tmp_path_factory.mktemp("Kohorte 脊椎") / "in", sample_scan.path, "a b.nii.gz", "Größe 'L'/$x.nii.gz")
    SeriesWriter(folder / "pat" / "se1", description="Thorax 1.0").write(sample_scan.volume)
    (folder / "pat" / "se1" / "IM00001").write_bytes(b"")
    picture = Volume(np.clip(sample_scan.volume.array, 0, None).astype(np.uint8), sample_scan.volume.affine)
    write_volume(picture, folder / "mr.nrrd")
    return folder


@pytest.fixture(scope="module")
def results(cohort, tiny_model) -> Path:
    """What the first run wrote; nothing in here may be changed."""
    output = cohort.parent / "out put"
    assert batch(cohort, output, tiny_model, "--jobs", "2") == 1
    return output


def test_the_tree_of_results_is_that_of_the_scans(results, cohort, sample_scan):
    stems = ["a b", "Größe 'L'/$x", "pat/se1/Thorax_1.0"]
    made = {f"{stem}{ending}" for stem in stems for ending in (".seg.nrrd", ".png", ".json")}
    assert files(results) == made | {"mr.json", "report.csv", "report.html"}
    for stem in stems:
        labels = read_labels(results / f"{stem}.seg.nrrd")
        assert labels.grid.same_as(sample_scan.volume.grid)
        np.testing.assert_array_equal(labels.array, VERTEBRA_LEVEL_UNKNOWN * sample_scan.bone)
    assert [path for path in results.rglob(".*")] == []


def test_the_table_tells_what_became_of_each(results, cohort):
    rows = table(results)
    assert list(rows) == ["a b.nii.gz", "mr.nrrd", "Größe 'L'/$x.nii.gz", "pat/se1 (Thorax_1.0)"]
    assert [row["state"] for row in rows.values()] == ["done", "refused", "done", "done"]
    assert "Hounsfield" in rows["mr.nrrd"]["message"] and "--force" in rows["mr.nrrd"]["message"]
    done = rows["Größe 'L'/$x.nii.gz"]
    volume_ml = np.count_nonzero(read_labels(results / "Größe 'L'/$x.seg.nrrd").array) * 0.01
    assert float(done["spine_ml"]) == pytest.approx(volume_ml, abs=0.1)
    assert done["volumes_ml"] == f"Vertebrae {volume_ml:.1f}" and done["model"] == "tiny 0"
    assert float(done["seconds"]) > 0 and "lower end" in done["warnings"]
    assert "1 file was left out" in rows["pat/se1 (Thorax_1.0)"]["warnings"]
    assert done["levels"] == "not told apart" and done["certain"] == done["confidence"] == ""
    assert (results / done["segmentation"]).is_file()


def test_the_page_holds_its_pictures_and_its_links_lead_somewhere(results):
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "Spine segmentation of 4 scans" in page and "Research use only" in page
    assert re.search(r"<b>3</b>segmented", page) and re.search(r"<b>1</b>refused", page)
    assert len(re.findall(r'src="data:image/jpeg;base64,', page)) == 3
    assert "http" not in page and "<script" not in page
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) == 12 and all((results / unquote(link)).is_file() for link in links)


def test_a_second_run_does_nothing(results, cohort, tiny_model, capsys):
    before, page = stamps(results), (results / "report.html").read_text(encoding="utf-8")
    assert batch(cohort, results, tiny_model) == 1
    shown = capsys.readouterr()
    assert stamps(results) == before
    assert "4 scans: 3 done before, 1 refused (mr.nrrd)." in shown.out and "1 refused" in shown.err
    assert list(states(results).values()) == ["done", "refused", "done", "done"]
    assert "in an earlier run" in (results / "report.html").read_text(encoding="utf-8") != page


def cohort_of_two(folder, sample_scan, model):
    """Input, output and model, segmented."""
    source = fill(folder / "in", sample_scan.path, "a.nii.gz", "b.nii.gz")
    assert batch(source, folder / "out", model) == 0
    return source, folder / "out", model


@pytest.fixture
def fresh(tmp_path, sample_scan, tiny_model):
    return cohort_of_two(tmp_path, sample_scan, tiny_model)


@pytest.fixture(scope="module")
def segmented_once(tmp_path_factory, sample_scan, tiny_model):
    return cohort_of_two(tmp_path_factory.mktemp("once"), sample_scan, tiny_model)


@pytest.fixture
def small(tmp_path, segmented_once):
    """As `fresh`, segmented elsewhere: a batch takes over what was moved, which its own tests show on fresh ones."""
    source, output, model = segmented_once
    source, output = (shutil.copytree(path, tmp_path / path.name) for path in (source, output))
    assert batch(source, output, model) == 0
    return source, output, model


def changed(before, after):
    return sorted(name for name in after if before.get(name) != after[name])


def test_only_what_is_missing_or_changed_is_done_again(small):
    source, output, model = small
    before = stamps(output)
    change(source / "b.nii.gz")
    fill(source, source / "b.nii.gz", "c.nii.gz")
    assert batch(source, output, model) == 0
    after = stamps(output)
    assert changed(before, after) == sorted(f"{stem}{e}" for stem in "bc" for e in (".json", ".png", ".seg.nrrd"))
    (output / "a.seg.nrrd").unlink()
    assert batch(source, output, model) == 0
    assert changed(after, stamps(output)) == ["a.json", "a.png", "a.seg.nrrd"]


def test_scans_of_another_folder_with_the_same_names_get_names_of_their_own(small, sample_scan):
    source, output, model = small
    other = source.parent / "other site"
    other.mkdir()
    write_volume(Volume(sample_scan.volume.array[6:], sample_scan.volume.affine), other / "a.nii.gz")
    before = stamps(output)
    assert batch(other, output, model) == 0
    assert changed(before, stamps(output)) == ["a_nii_gz.json", "a_nii_gz.png", "a_nii_gz.seg.nrrd"]
    assert before.items() <= stamps(output).items()
    assert table(output)["a.nii.gz"]["segmentation"] == "a_nii_gz.seg.nrrd"
    before = stamps(output)
    assert batch(source, output, model) == 0 and batch(other, output, model) == 0
    assert stamps(output) == before


def test_a_moved_folder_holds_the_same_scans(fresh):
    source, output, model = fresh
    before = {name: stamp for name, stamp in stamps(output).items() if not name.endswith(".json")}
    moved = source.rename(source.parent / "moved")
    assert batch(moved, output, model) == 0
    assert before.items() <= stamps(output).items() and len(stamps(output)) == 6
    before = stamps(output)
    assert batch(moved, output, model) == 0 and stamps(output) == before
    change(moved / "a.nii.gz")
    assert batch(moved, output, model) == 0
    assert changed(before, stamps(output)) == ["a.json", "a.png", "a.seg.nrrd"]


def test_a_copied_folder_and_touched_scans_hold_the_same_scans(fresh, capsys):
    source, output, model = fresh
    content = (output / "a.seg.nrrd").read_bytes()
    (output / "a.seg.nrrd").write_bytes(content + b"\n")  # as if corrected
    before = {name: stamp for name, stamp in stamps(output).items() if not name.endswith(".json")}
    copied = fill(source.parent / "copied", source / "a.nii.gz", "a.nii.gz", "b.nii.gz")
    for path in (*source.iterdir(), *copied.iterdir()):
        os.utime(path, (1, 1) if path.parent == source else (2, 2))
    for folder in (source, copied):
        assert batch(folder, output, model) == 0
        assert before.items() <= stamps(output).items() and len(stamps(output)) == 6
        assert table(output)["a.nii.gz"]["message"] == CORRECTED
    capsys.readouterr()
    assert batch(copied, output, model) == 0 and record(output / "a.json")["source"] == str(copied / "a.nii.gz")
    assert "2 scans: 2 done before." in capsys.readouterr().out


def test_results_of_another_cohort_are_left_alone_where_an_earlier_version_wrote_them(small):
    source, output, model = small
    (output / "a.json").write_text(json.dumps({k: v for k, v in record(output / "a.json").items() if k != "checksum"}))
    (output / "b.json").write_text(json.dumps(record(output / "b.json") | {"checksum": "damaged"}))
    before = stamps(output)
    others = source.rename(source.parent / "gone")
    source = fill(source.parent / "other", others / "a.nii.gz", "b.nii.gz")
    fill(source, others / "b.nii.gz", "a.nii.gz")
    assert batch(source, output, model) == 0
    assert before.items() <= stamps(output).items()
    assert {"a_nii_gz.seg.nrrd", "b_nii_gz.seg.nrrd"} <= files(output)


def test_what_is_left_out_is_said_at_the_start(small, capsys):
    source, output, model = small
    fill(source, source / "a.nii.gz", "a_seg.nii.gz")
    capsys.readouterr()
    assert batch(source, output, model) == 0
    assert capsys.readouterr().out.startswith("Left out, named as segmentations: 1 (a_seg.nii.gz).\n")


def test_a_scan_without_a_spine_is_said_to_have_none(tmp_path, sample_scan, tiny_model, capsys):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    soft = Volume(np.where(sample_scan.bone, 50, sample_scan.volume.array).astype(np.int16), sample_scan.volume.affine)
    write_volume(soft, source / "soft.nii.gz")
    assert batch(source, output, tiny_model, "--force") == 0
    assert re.search(rf"done +soft.nii.gz, .* s: {re.escape(NO_SPINE)}", capsys.readouterr().out)
    row = table(output)["soft.nii.gz"]
    assert (row["state"], row["levels"], row["spine_ml"]) == ("done", "none found", "0")
    assert main(["measure", str(source), str(output), "--table", str(tmp_path / "t.csv")]) == 0
    assert capsys.readouterr().err == f"Warning: soft.nii.gz: {NO_VERTEBRA}\n"


def test_a_name_that_leaves_no_room_for_the_results_is_refused(small):
    source, output, model = small
    name = f"{'n' * 248}.nii.gz"
    fill(source, source / "a.nii.gz", name)
    assert batch(source, output, model) == 1
    assert table(output)[name]["message"].endswith("give the scan a shorter name.")


def test_other_options_are_another_result(small):
    source, output, model = small
    before = stamps(output)
    assert batch(source, output, model, "--structures", "all") == 0
    assert changed(before, stamps(output)) == sorted(before)
    assert record(output / "a.json")["options"]["structures"] == "all"
    assert batch(source, output, model, "--structures", "all", "--format", "nii.gz") == 0
    assert read_labels(output / "a.nii.gz").grid.same_as(read_labels(output / "a.seg.nrrd").grid)


def test_results_in_every_format_stay_ours(small):
    source, output, model = small
    for ending in ("nii.gz", "seg.nrrd", "nii.gz"):
        before = stamps(output)
        assert batch(source, output, model, "--no-preview", "--format", ending) == 0
        assert changed(before, stamps(output)) == sorted(f"{stem}.{e}" for stem in "ab" for e in ("json", ending))
    (output / "a.nii.gz").write_bytes((output / "b.nii.gz").read_bytes()[:-1])
    change(source / "a.nii.gz")
    assert batch(source, output, model, "--no-preview", "--format", "nii.gz") == 1
    assert "changed by hand" in table(output)["a.nii.gz"]["message"]


def test_a_result_is_never_put_in_the_place_of_its_scan(small):
    source, _, model = small
    scan, content = source / "a.nii.gz", (source / "a.nii.gz").read_bytes()
    for ending in ("seg.nrrd", "nii.gz", "nii.gz"):
        assert batch(scan, source, model, "--no-preview", "--format", ending) == 0
        assert scan.read_bytes() == content
    assert {"a.seg.nrrd", "a_nii_gz.nii.gz"} <= files(source)


def test_a_missing_picture_is_drawn_without_segmenting_again(small):
    source, output, model = small
    (output / "a.png").unlink()
    before = stamps(output)
    assert batch(source, output, model, "--no-preview") == 0 and stamps(output) == before
    assert batch(source, output, model) == 0
    assert changed(before, stamps(output)) == ["a.png"]


def test_corrections_are_never_overwritten(small):
    source, output, model = small
    labels = read_labels(output / "a.seg.nrrd")
    painted = labels.array.astype(np.uint8)
    painted[::3] = 0
    write_segmentation(Volume(painted, labels.affine), output / "a.seg.nrrd")
    before = stamps(output)
    assert batch(source, output, model) == 0
    assert stamps(output) == before and states(output) == {"a.nii.gz": "done", "b.nii.gz": "done"}
    assert {scan: row["message"] for scan, row in table(output).items()} == {"a.nii.gz": CORRECTED, "b.nii.gz": ""}
    assert (output / "report.html").read_text(encoding="utf-8").count(CORRECTED) == 1
    (output / "a.png").unlink()
    assert batch(source, output, model) == 0 and table(output)["a.nii.gz"]["message"] == CORRECTED
    before = stamps(output)
    change(source / "a.nii.gz")
    assert batch(source, output, model) == 1
    assert stamps(output) == before and "changed by hand" in table(output)["a.nii.gz"]["message"]
    (output / "a.seg.nrrd").rename(output / "corrected.nrrd")
    assert batch(source, output, model) == 0
    assert np.array_equal(read_labels(output / "a.seg.nrrd").array, labels.array)


def test_a_correction_with_segments_that_overlap_is_no_damage(small):
    source, output, model = small
    labels = sitk.ReadImage(str(output / "a.seg.nrrd"))
    # As Slicer saves it: every voxel holds a value for each layer.
    sitk.WriteImage(sitk.Compose(labels, labels > 0), str(output / "a.seg.nrrd"), useCompression=True)
    before = stamps(output)
    assert batch(source, output, model) == 0 and stamps(output) == before
    content = (output / "a.seg.nrrd").read_bytes()
    (output / "a.seg.nrrd").write_bytes(content[:-20])
    assert batch(source, output, model) == 1
    assert "can't be read" in table(output)["a.nii.gz"]["message"]


def test_half_a_file_is_not_believed(small):
    source, output, model = small
    content = (output / "a.seg.nrrd").read_bytes()
    (output / "a.seg.nrrd").write_bytes(content[: len(content) // 2])  # nobody can tell half a correction from rubbish
    (output / "b.seg.nrrd").write_bytes(b"")
    assert batch(source, output, model) == 1
    assert "can't be read" in table(output)["a.nii.gz"]["message"]
    assert states(output)["b.nii.gz"] == "done" and read_labels(output / "b.seg.nrrd").array.any()
    (output / "b.json").write_text('{"state": "done"')  # no batch writes half a record, but a disk may lose one
    assert batch(source, output, model) == 1
    assert read_labels(output / "b_nii_gz.seg.nrrd").array.any()


def test_results_may_lie_inside_the_input_but_not_around_it(small, capsys):
    source, output, model = small
    assert batch(source, source / "results", model) == 0
    assert batch(source, source / "results", model) == 0
    assert list(states(source / "results")) == ["a.nii.gz", "b.nii.gz"]
    capsys.readouterr()
    assert "folder of its own" in refused(capsys, batch(source, source, model))
    assert "folder of its own" in refused(capsys, batch(source, source.parent, model))


def test_results_of_an_earlier_batch_are_no_scans(small):
    source, _, model = small
    options = "--no-preview", "--format", "nii.gz"
    assert batch(source, source / "results", model, *options) == 0
    assert batch(source / "b.nii.gz", source, model, "--no-preview") == 0  # beside its scan, which is one all the same
    assert batch(source, source / "others", model, *options) == 0
    assert list(states(source / "others")) == ["a.nii.gz", "b.nii.gz"]
    moved = source.rename(source.parent / "moved")
    assert [scan.key for scan in find_scans(moved).scans] == ["a.nii.gz", "b.nii.gz"]
    assert find_scans(moved).notes[-1] == "Left out, results of an earlier batch: 4."


def test_a_batch_that_cannot_begin_says_so_in_one_line(small, tmp_path, capsys):
    source, _, model = small
    (tmp_path / "empty").mkdir()
    capsys.readouterr()
    assert "holds no scan" in refused(capsys, batch(tmp_path / "empty", tmp_path / "new", model))
    assert not (tmp_path / "new").exists()
    assert "does not exist" in refused(capsys, batch(tmp_path / "gone", tmp_path / "new", model))
    assert "is a file" in refused(capsys, batch(source, source / "a.nii.gz", model))
    assert "no model nonsense" in refused(capsys, batch(source, tmp_path / "new", "nonsense"))
    assert "can't be made" in refused(capsys, batch(source, tmp_path / "new", model, "--report", source / "a.nii.gz"))
    both = "--scheduler", "tcp://x:1", "--jobs", "2"
    assert "--jobs" in refused(capsys, batch(source, tmp_path / "new", model, *both))
    assert "Nothing can be written" in refused(capsys, batch(source, "/proc/results", model))


def test_reports_may_go_elsewhere(small, tmp_path):
    source, output, model = small
    reports = tmp_path / "new" / "reports"
    assert batch(source, output, model, "--report", reports) == 0
    page = (reports / "report.html").read_text(encoding="utf-8")
    assert 'href="../../out/a.png"' in page and states(reports)["a.nii.gz"] == "done"


def test_a_file_that_is_no_report_is_not_overwritten(small, tmp_path, capsys):
    source, output, model = small
    reports = tmp_path / "reports"
    reports.mkdir()
    capsys.readouterr()
    for name, text in (("report.csv", "patient,age\n"), ("report.html", "<!DOCTYPE html>\n<title>Mine</title>")):
        (reports / name).write_text(text)
        assert f"{name}' is no report" in refused(capsys, batch(source, output, model, "--report", reports))
        assert (reports / name).read_text() == text
        (reports / name).unlink()
    assert batch(source, output, model, "--report", reports) == 0
    assert batch(source, output, model, "--report", reports) == 0


def test_one_scan_is_a_cohort(sample_scan, tiny_model, tmp_path):
    assert batch(sample_scan.path, tmp_path / "out", tiny_model, "--no-preview") == 0
    assert files(tmp_path / "out") == {"scan.seg.nrrd", "scan.json", "report.csv", "report.html"}


def test_without_dask_the_command_says_what_to_install(sample_scan, tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it weren't installed
    line = refused(capsys, batch(sample_scan.path, tmp_path / "out", tiny_model, "--scheduler", "tcp://127.0.0.1:1"))
    assert "pip install 'spinecontextseg[cohort]'" in line
    assert not (tmp_path / "out").exists()
