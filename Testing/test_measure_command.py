"""`spinecontextseg measure`, and `segment` with a table: what a user sees, what is written, what is refused."""

import csv
import json

import numpy as np
import pytest
from centroid_files import read_centroids
from generated_spines import smooth_spine
from scans import ct, needs_scans

from SpineContextSegLib.cli import main
from SpineContextSegLib.label_boxes import bounding_box
from SpineContextSegLib.measure import TABLE_TITLES, vertebra_rows
from SpineContextSegLib.model import load_model
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.cli_use import contents, refused
from Testing.dicom_series import SeriesWriter

MARROW_HU, FAT_HU = 180, -80
HALF_A_SLICE = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Folder of a CT and its labels, L1 to L3 of a generated body, both stored as scanners do."""
    _, labels = smooth_spine(8001, "L1", "L3", 0.8)
    labels = Volume(np.where(labels.array < 100, labels.array, 0)[::2, ::2, ::2], labels.affine * [2, 2, 2, 1])
    folder = tmp_path_factory.mktemp("scan")
    hu = np.where(labels.array, MARROW_HU, FAT_HU).astype(np.int16)
    write_volume(Volume(hu, labels.affine), folder / "ct.nii.gz")
    write_volume(labels, folder / "labels.nii.gz")
    return folder


def measure(*arguments):
    return main(["measure", *map(str, arguments)])


@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd", ".mha"])
def test_table_and_centroids_of_a_scan(ending, scan, tmp_path, capsys):
    folder = tmp_path / "Wirbelsäule 脊椎"
    folder.mkdir()
    labels = read_labels(scan / "labels.nii.gz")
    write_segmentation(labels, folder / f"labels{ending}")
    table, centroids = folder / "Größe.csv", folder / "Mitte.json"
    command = scan / "ct.nii.gz", folder / f"labels{ending}", "--table", table, "--centroids", centroids
    assert measure(*command) == 0
    shown, said = capsys.readouterr()
    rows = {row.value: row for row in vertebra_rows(read_volume(scan / "ct.nii.gz")[0], labels)}
    with open(table, encoding="utf-8", newline="") as file:
        lines = {int(line["label"]): line for line in csv.DictReader(file)}
    assert list(lines) == list(rows)
    for value, line in lines.items():
        assert line["volume (ml)"] == f"{rows[value].volume_ml:.2f}"
    assert float(lines[21]["body interior mean (HU)"]) == MARROW_HU
    found = read_centroids(centroids, labels.grid)
    assert list(found) == list(rows)
    for value, center in found.items():
        assert center == pytest.approx(rows[value].center_mm, abs=0.03)
    assert said == ""
    for part in ("L2 vertebra", " 180 ", f"{rows[21].height_front_mm:.1f}", str(table), str(centroids), "Research use"):
        assert part in shown
    assert max(map(len, shown.splitlines()[:-3])) <= 110
    assert contents(folder) == sorted(["Größe.csv", f"labels{ending}", "Mitte.json"])


def test_without_files_the_table_is_shown(scan, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert measure(scan / "ct.nii.gz", scan / "labels.nii.gz") == 0
    assert "L1 vertebra" in capsys.readouterr().out
    assert contents(tmp_path) == []


def test_metal_is_said_in_place_of_a_density(scan, tmp_path, capsys):
    volume, labels = read_volume(scan / "ct.nii.gz")[0], read_labels(scan / "labels.nii.gz")
    write_volume(Volume(np.where(labels.array == 21, 3000, volume.array), labels.affine), tmp_path / "ct.nii.gz")
    assert measure(tmp_path / "ct.nii.gz", scan / "labels.nii.gz", "--table", tmp_path / "table.csv") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert lines["L2"].endswith("  metal") and " - " in lines["L2"] and "metal" not in lines["L1"] + lines["L3"]
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        rows = {line["level"]: line for line in csv.DictReader(file)}
    found = [(rows[level]["metal in body"], rows[level]["body interior mean (HU)"]) for level in ("L1", "L2", "L3")]
    assert found == [("no", "180.0"), ("yes", ""), ("no", "180.0")]


def test_remarks_stand_behind_the_figures_that_they_are_about(tmp_path, capsys):
    """Without a table, nothing else tells that these heights mean little."""
    _, labels = smooth_spine(8001, "L1", "L3", 0.8)
    thick = Volume(labels.array[::4], labels.affine @ np.diag([1.0, 1.0, 4.0, 1.0]))
    write_volume(Volume(np.where(thick.array, MARROW_HU, FAT_HU).astype(np.int16), thick.affine), tmp_path / "ct.mha")
    write_volume(thick, tmp_path / "labels.mha")
    assert measure(tmp_path / "ct.mha", tmp_path / "labels.mha", "--table", tmp_path / "table.csv") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        remarks = {row["level"]: row["remark"] for row in csv.DictReader(file)}
    assert "slices of 3.2 mm: heights are rough" in remarks["L2"]
    assert all(lines[level].endswith(f"  {remark}" if remark else "") for level, remark in remarks.items())


def test_why_there_is_no_density_is_said(scan, tmp_path, capsys):
    """A specimen in air, say, whose values can't be told from those of an MR."""
    volume = read_volume(scan / "ct.nii.gz")[0]
    write_volume(Volume(np.maximum(volume.array, 0) * 3, volume.affine), tmp_path / "scan.nii.gz")
    assert measure(tmp_path / "scan.nii.gz", scan / "labels.nii.gz") == 0
    shown, said = capsys.readouterr()
    assert "L2 vertebra" in shown
    assert said == (
        "Warning: No density was measured: the values of 'scan.nii.gz' are not the Hounsfield units of a CT.\n"
    )


def test_a_scan_whose_axes_are_stored_otherwise_is_measured_alike(scan, tmp_path):
    volume, _ = read_volume(scan / "ct.nii.gz")
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[[0, 2], 3] = volume.array.shape[2] - 1, volume.array.shape[0] - 1
    write_volume(Volume(volume.array[::-1, :, ::-1], volume.affine @ flip), tmp_path / "turned.nrrd")
    for name, file in (("usual", scan / "ct.nii.gz"), ("turned", tmp_path / "turned.nrrd")):
        assert measure(file, scan / "labels.nii.gz", "--table", tmp_path / f"{name}.csv") == 0
    assert (tmp_path / "usual.csv").read_text() == (tmp_path / "turned.csv").read_text()


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_of_a_folder_the_series_that_was_labelled_is_measured(modality, scan, tmp_path, capsys):
    """And not the largest, of either modality."""
    volume, labels = read_volume(scan / "ct.nii.gz")[0], scan / "labels.nii.gz"
    folder = tmp_path / "dicom"
    SeriesWriter(folder, description="Labelled", modality=modality).write(volume)
    larger = Volume(np.concatenate([volume.array, volume.array[-3:]]), volume.affine)
    SeriesWriter(folder, description="Large", instance=1000).write(larger)
    assert measure(folder, labels, "--table", tmp_path / "table.csv") == 0
    assert measure(scan / "ct.nii.gz", labels, "--table", tmp_path / "expected.csv") == 0
    assert (tmp_path / "table.csv").read_text() == (tmp_path / "expected.csv").read_text()
    capsys.readouterr()
    write_volume(Volume(read_labels(labels).array, volume.affine @ HALF_A_SLICE), tmp_path / "of_none.nii.gz")
    assert "same grid" in refused(capsys, measure(folder, tmp_path / "of_none.nii.gz"))


def test_labels_that_were_cropped_are_measured_as_the_whole(scan, tmp_path, capsys):
    """What is partial, too, is told by the border of the scan; and whose voxels centroids count is said."""
    labels = read_labels(scan / "labels.nii.gz")
    box = bounding_box(labels.array != 0)
    write_segmentation(Volume(labels.array[box], labels.grid.crop(box).affine), tmp_path / "cropped.seg.nrrd")
    for name, file in (("whole", scan / "labels.nii.gz"), ("cropped", tmp_path / "cropped.seg.nrrd")):
        wanted = "--table", tmp_path / f"{name}.csv", "--centroids", tmp_path / f"{name}.json"
        assert measure(scan / "ct.nii.gz", file, *wanted) == 0
    assert capsys.readouterr().err == (
        "Warning: 'cropped.seg.nrrd' covers a part of 'ct.nii.gz': centroids are voxel indices of the latter.\n"
    )
    assert measure(scan / "ct.nii.gz", tmp_path / "cropped.seg.nrrd") == 0
    assert capsys.readouterr().err == ""
    for ending in ("csv", "json"):
        assert (tmp_path / f"whole.{ending}").read_text() == (tmp_path / f"cropped.{ending}").read_text()


def test_a_vertebra_that_the_end_of_the_labels_cuts_is_not_measured_as_whole(scan, tmp_path):
    """As where both were cropped, and then the whole scan is given."""
    volume, labels = read_volume(scan / "ct.nii.gz")[0], read_labels(scan / "labels.nii.gz")
    planes = np.flatnonzero((labels.array == 21).any((1, 2)))
    box = (slice(int(planes[len(planes) // 2]), None), slice(None), slice(None))
    affine = labels.grid.crop(box).affine
    write_volume(Volume(labels.array[box], affine), tmp_path / "labels.nrrd")
    write_volume(Volume(volume.array[box], affine), tmp_path / "ct.nrrd")
    found = {}
    for name, file in (("whole", scan / "ct.nii.gz"), ("cropped", tmp_path / "ct.nrrd")):
        assert measure(file, tmp_path / "labels.nrrd", "--table", tmp_path / f"{name}.csv") == 0
        with open(tmp_path / f"{name}.csv", encoding="utf-8", newline="") as table:
            found[name] = {row["level"]: row for row in csv.DictReader(table)}
    assert found["whole"]["L2"] == found["cropped"]["L2"]
    cut = found["whole"]["L2"]
    assert (cut["partial"], cut["body height front (mm)"], cut["body interior mean (HU)"]) == ("yes", "", "")
    assert found["whole"]["L1"]["partial"] == "no"


def test_odd_levels_are_said(scan, tmp_path, capsys):
    """As `levels` says them: the table alone doesn't show that they are wrong."""
    labels = read_labels(scan / "labels.nii.gz")
    table = np.arange(256, dtype=np.uint8)
    table[[20, 21, 22]] = 21, 20, 23
    write_volume(Volume(table[labels.array], labels.affine), tmp_path / "odd.nii.gz")
    assert measure(scan / "ct.nii.gz", tmp_path / "odd.nii.gz") == 0
    said = capsys.readouterr().err.splitlines()
    assert "Warning: L2 lies above L1: the levels are out of order." in said
    main(["levels", str(tmp_path / "odd.nii.gz")])
    assert capsys.readouterr().err.splitlines() == said


def test_clipped_bone_is_said(scan, tmp_path, capsys):
    """The HU are those of the file, and so too low."""
    volume, _ = read_volume(scan / "ct.nii.gz")
    noisy = (volume.array + np.random.default_rng(0).normal(0, 20, volume.array.shape)).astype(np.int16)
    means = {}
    for array, said in ((noisy, False), (np.clip(noisy, -160, 150), True)):
        write_volume(Volume(array, volume.affine), tmp_path / "ct.nii.gz")
        assert measure(tmp_path / "ct.nii.gz", scan / "labels.nii.gz", "--table", tmp_path / "t.csv") == 0
        assert ("Warning: CT numbers end at 150 HU: bone is clipped" in capsys.readouterr().err) == said
        with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
            means[said] = [float(row["body interior mean (HU)"] or 0) for row in csv.DictReader(file)]
    assert sum(means[True]) < sum(means[False])


def test_where_nothing_is_named_tables_hold_nothing_of_an_earlier_run(
    sample_scan, tiny_model, tmp_path, capsys, monkeypatch
):
    """A model that tells vertebrae apart, which it didn't here."""
    monkeypatch.setattr("SpineContextSegLib.commands.segment._check_measurable", lambda *_: None)
    files = {name: tmp_path / name for name in ("spine.nrrd", "t.csv", "c.json", "r.json")}
    spine, table, middles, report = files.values()
    table.write_text("of another scan")
    middles.write_text("of another scan")
    command = ["segment", sample_scan.path, "-o", spine, "--table", table, "--centroids", middles, "--report", report]
    assert main([*map(str, command), "--model", str(tiny_model)]) == 0
    why = "Nothing was measured. These labels hold one value"
    assert why in capsys.readouterr().err
    assert table.read_text(encoding="utf-8").splitlines() == [",".join(TABLE_TITLES)]
    assert [set(entry) for entry in json.loads(middles.read_text())] == [{"direction"}]
    said = json.loads(report.read_text())
    assert said["files"] == [str(path) for path in (spine, table, middles, report)]
    assert any(warning.startswith(why) for warning in said["warnings"])


def refusals():
    """Name of the case -> (arguments; {} is the folder of the scan, [] that of the results; a word of the answer)."""
    return {
        "no scan": (["{}/none.nii.gz", "{}/labels.nii.gz"], "none.nii.gz"),
        "no scan in a folder": (["[]", "{}/labels.nii.gz"], "No DICOM images"),
        "no labels": (["{}/ct.nii.gz", "{}/none.nii.gz"], "none.nii.gz"),
        "exchanged": (["{}/labels.nii.gz", "{}/ct.nii.gz"], "ct.nii.gz"),
        "twice the same": (["{}/labels.nii.gz", "{}/labels.nii.gz"], "same file"),
        "not told apart": (["{}/ct.nii.gz", "[]/one.nii.gz"], "apart"),
        "another grid": (["{}/ct.nii.gz", "[]/moved.nii.gz"], "same grid"),
        "table's ending": (["{}/ct.nii.gz", "{}/labels.nii.gz", "--table", "[]/t.txt"], ".csv"),
        "centroids' ending": (["{}/ct.nii.gz", "{}/labels.nii.gz", "--centroids", "[]/t.csv"], ".json"),
        "no such folder": (["{}/ct.nii.gz", "{}/labels.nii.gz", "--table", "[]/none/t.csv"], "create it"),
    }


@pytest.mark.parametrize("case", refusals())
def test_refusals_say_why_in_one_line_and_write_nothing(case, scan, tmp_path, capsys):
    labels = read_labels(scan / "labels.nii.gz")
    write_volume(Volume((labels.array > 0).astype(np.uint8), labels.affine), tmp_path / "one.nii.gz")
    write_volume(Volume(labels.array, labels.affine @ HALF_A_SLICE), tmp_path / "moved.nii.gz")
    before = contents(tmp_path)
    arguments, word = refusals()[case]
    arguments = [argument.replace("{}", str(scan)).replace("[]", str(tmp_path)) for argument in arguments]
    assert word in refused(capsys, measure(*arguments))
    assert contents(tmp_path) == before


def test_a_model_that_knows_no_levels_makes_no_table(sample_scan, tiny_model, tmp_path, capsys):
    """Said before the work, not after it."""
    command = ["segment", sample_scan.path, "-o", tmp_path / "spine.nrrd", "--model", tiny_model]
    for option in (["--table", tmp_path / "t.csv"], ["--centroids", tmp_path / "c.json"]):
        assert "tell single vertebrae apart" in refused(capsys, main([*map(str, command + option)]))
    assert contents(tmp_path) == []


def test_segment_refuses_a_table_that_is_its_report(sample_scan, tiny_model, tmp_path, capsys):
    file = tmp_path / "same.json"
    command = ["segment", sample_scan.path, "-o", tmp_path / "spine.nrrd", "--report", file, "--centroids", file]
    assert "same file" in refused(capsys, main([*map(str, command), "--model", str(tiny_model)]))


@needs_scans
def test_segment_writes_table_and_centroids_of_what_it_found(tmp_path):
    """With the shipped model, on a real scan."""
    if load_model("spinecontext-ct").card.offset_unit_mm is None:
        pytest.skip("the shipped model doesn't tell single vertebrae apart")
    files = {name: tmp_path / name for name in ("spine.nii.gz", "table.csv", "middles.json", "report.json")}
    spine, table, middles, report = files.values()
    command = ["segment", ct("thorax_crop"), "-o", spine, "--table", table, "--centroids", middles, "--report", report]
    assert main([*map(str, command)]) == 0
    assert contents(tmp_path) == sorted(files)
    labels = read_labels(spine)
    rows = vertebra_rows(read_volume(ct("thorax_crop"))[0], labels)
    assert rows and [row.value for row in rows] == list(read_centroids(middles, labels.grid))
    assert len(table.read_text().splitlines()) == len(rows) + 1
    content = json.loads(report.read_text())
    assert content["files"] == [str(path) for path in files.values()] and "measure" in content["seconds"]
