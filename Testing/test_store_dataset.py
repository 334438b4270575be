"""The exported dataset: what others read from it, and what it must not tell."""

import csv
import gzip
import json
import os
import shutil

import nibabel
import numpy as np
import pytest

from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.measure import vertebra_rows
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.scores import BINARY
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.centroid_files import read_centroids
from Testing.dataset_use import *  # noqa: F403
from Testing.dataset_use import finish, names
from Testing.dicom_series import SeriesWriter
from Testing.geometry import GRIDS, HARDLY_SHEARED
from Testing.store_use import *  # noqa: F403
from Testing.store_use import NAMES, SMALL, same_voxels, some_labels, write_scan
from Workbench.store.dataset import export_dataset
from Workbench.store.entries import State
from Workbench.store.versions import VERSIONS_FOLDER
from Workbench.store.worklist import Worklist


def test_the_layout_is_that_of_verse_with_the_fields_that_bids_requires(data, target):
    for n in range(3):
        write_scan(data / f"scan{n}.nii.gz", n)
    worklist = finish(data, data)
    worklist.set_state(2, State.IN_CORRECTION)
    report = export_dataset(worklist, target)
    assert (report.dataset, report.exported, report.left_out) == (target, {1: "sub-0001", 3: "sub-0003"}, {})
    assert names(target) == sorted([
        "README.md", "dataset_description.json", "rawdata/dataset_description.json", "rawdata/participants.tsv",
        "rawdata/.bidsignore", "derivatives/dataset_description.json",
        *(f"rawdata/{sub}/{sub}_ct.nii.gz" for sub in report.exported.values()),
        *(f"derivatives/{sub}/{sub}_seg-{rest}" for sub in report.exported.values()
          for rest in ("vert_msk.nii.gz", "vert_msk.json", "subreg_ctd.json")),
    ])  # fmt: skip
    for folder in (target, target / "rawdata", target / "derivatives"):
        description = json.loads((folder / "dataset_description.json").read_text())
        assert description["Name"] and description["BIDSVersion"]
    assert description["DatasetType"] == "derivative" and description["GeneratedBy"][0]["Name"]
    assert (target / "rawdata" / "participants.tsv").read_text() == "participant_id\nsub-0001\nsub-0003\n"
    assert "Research use only" in (target / "README.md").read_text()
    with open(data / f"{target.name}-subjects.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [[f"sub-000{n}", str(n), str(data / f"scan{n - 1}.nii.gz")] for n in (1, 3)]


def test_every_scan_has_its_own_labels_as_others_read_them(data, target):
    for n, name in enumerate(("lps", "oblique_thick", "sagittal_thick", "left_handed")):
        write_scan(data / f"{name}.nii.gz", n, GRIDS[name])
    worklist = finish(data, data)
    export_dataset(worklist, target)
    for entry in worklist.entries():
        stem = f"sub-{entry.number:04d}"
        scan = nibabel.load(target / "rawdata" / stem / f"{stem}_ct.nii.gz")
        mask = nibabel.load(target / "derivatives" / stem / f"{stem}_seg-vert_msk.nii.gz")
        own, _ = read_volume(entry.scan)
        np.testing.assert_array_equal(np.asarray(scan.dataobj).T, own.array)
        np.testing.assert_array_equal(np.asarray(mask.dataobj).T, some_labels(entry.number, own.grid).array)
        np.testing.assert_allclose(mask.affine, own.affine, atol=1e-4)
        np.testing.assert_allclose(scan.affine, own.affine, atol=1e-4)
        middles = read_centroids(target / "derivatives" / stem / f"{stem}_seg-subreg_ctd.json", own.grid)
        for row in vertebra_rows(None, some_labels(entry.number, own.grid)):
            np.testing.assert_allclose(middles.pop(row.value), row.center_mm, atol=0.1)
        assert middles == {}


@pytest.mark.parametrize("part", ["", "derivatives"])
def test_evaluate_pairs_it_with_predictions(part, data, target, tmp_path):
    for n, name in enumerate(("lps", "sheared", "upright")):
        write_scan(data / f"{name}.nrrd", n, GRIDS[name])
    worklist = finish(data, data, labels=lambda n, grid: some_labels(n, grid, (20, 21, 22, 26, 120, 61)))
    export_dataset(worklist, target)
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for n, scan in enumerate(sorted((target / "rawdata").glob("*/*_ct.*"))):
        grid = read_volume(scan)[0].grid
        labels = some_labels(n + 1, grid, (20, 21, 22, 26) if n else (20, 26))
        write_segmentation(labels, predictions / f"{scan.name.split('.')[0]}.seg.nrrd")
    evaluation = evaluate(predictions, target / part)
    folder = "" if part else "derivatives/"
    names = [f"{folder}sub-000{n}/sub-000{n}_seg-vert_msk" for n in (1, 2, 3)]
    assert [case.name for case in evaluation.cases] == names
    assert [case.structures[BINARY].dice == 1 for case in evaluation.cases] == [False, True, True]


def test_training_reads_it(data, target):
    from Training.labelled_scans import find_labelled
    from Training.real_patches import load_real_scan

    write_scan(data / "scan.nii.gz", 1, GRIDS["lps"])
    export_dataset(finish(data, data), target)
    [image] = find_labelled(target)
    scan = load_real_scan(image, 2.0)
    assert set(np.unique(scan.level)) == {0, 20, 21, 22}


def test_more_than_verse_knows_goes_into_a_mask_of_its_own(data, target):
    write_scan(data / "scan.nii.gz", 1)
    values = (20, 26, 61, 120)
    export_dataset(finish(data, data, labels=lambda n, grid: some_labels(n, grid, values)), target)
    folder = target / "derivatives" / "sub-0001"
    assert set(np.unique(read_labels(folder / "sub-0001_seg-vert_msk.nii.gz").array)) == {0, 20, 26}
    assert set(np.unique(read_labels(folder / "sub-0001_seg-spine_msk.nii.gz").array)) == {0, *values}
    assert json.loads((folder / "sub-0001_seg-vert_msk.json").read_text()) == {
        "Manual": True, "LevelsKnown": True, "LabelNames": {"20": "L1 vertebra", "26": "Sacrum"},
    }  # fmt: skip


def test_an_mr_is_not_called_a_ct(data, target, tmp_path):
    from Training.labelled_scans import find_labelled, labels_of

    signal = np.random.default_rng(1).integers(0, 900, SMALL.shape).astype(np.int16)
    write_volume(Volume(signal, SMALL.affine), data / "a_t2.nii.gz")
    write_scan(data / "b_ct.nii.gz", 2)
    export_dataset(finish(data, data), target)
    mr, ct = find_labelled(target)
    assert (mr.name, ct.name) == ("sub-0001_mr.nii.gz", "sub-0002_ct.nii.gz")
    np.testing.assert_array_equal(read_volume(mr)[0].array, signal)
    for number, scan in ((1, mr), (2, ct)):
        assert same_voxels(read_labels(labels_of(scan)), some_labels(number))
    assert (target / "derivatives/sub-0001/sub-0001_mr_seg-subreg_ctd.json").is_file()
    (tmp_path / "predictions").mkdir()
    for number, scan in ((1, mr), (2, ct)):
        labels = some_labels(number)
        write_segmentation(labels, tmp_path / "predictions" / scan.name.replace(".nii.gz", ".seg.nrrd"))
    cases = evaluate(tmp_path / "predictions", target).cases
    assert [case.structures[BINARY].dice for case in cases] == [1, 1]


def test_what_only_the_user_knows_is_left_out_and_said(data, target):
    write_scan(data / "scan.nii.gz", 1)
    worklist = Worklist.open(data, "tester")
    worklist.add([data])
    labels = some_labels(1, values=(1, 99, 27))
    worklist.versions(1).save(labels, {1: "Vertebrae", 99: "Anna Schmidt", 27: "Coccyx"}, kind="model", by="x")
    worklist.set_state(1, State.DONE)
    report = export_dataset(worklist, target)
    mask = read_labels(target / "derivatives/sub-0001/sub-0001_seg-vert_msk.nii.gz")
    assert set(np.unique(mask.array)) == {0, 1, 27}
    dropped, unknown = report.notes
    assert "Anna Schmidt" in dropped and "1 stands for all" in unknown
    sidecar = json.loads((target / "derivatives/sub-0001/sub-0001_seg-vert_msk.json").read_text())
    assert sidecar == {"Manual": False, "LevelsKnown": False, "LabelNames": {"1": "Vertebrae"}}
    assert not list(target.rglob("*_ctd.json"))


def test_odd_label_maps_are_exported_too(data, target):
    """Nothing at all; one voxel; one vertebra at the border."""
    for n in range(3):
        write_scan(data / f"scan{n}.nii.gz", n)

    def odd(number, grid):
        array = np.zeros(grid.shape, np.uint8)
        array[{1: (slice(0), 0, 0), 2: (5, 5, 5), 3: (slice(2), slice(2), 0)}[number]] = 20
        return Volume(array, grid.affine)

    report = export_dataset(finish(data, data, labels=odd), target)
    assert len(report.exported) == 3 and report.notes == ["sub-0001: has no labels at all."]


@pytest.mark.parametrize("grid", [GRIDS["sheared_oblique"], HARDLY_SHEARED], ids=["tilted", "hardly"])
def test_a_tilted_gantry_is_kept_as_nrrd(grid, data, target):
    write_scan(data / "tilted.nrrd", 1, grid)
    report = export_dataset(finish(data, data), target)
    assert "NIfTI can't hold a tilted gantry" in report.notes[0]
    scan, _ = read_volume(target / "rawdata/sub-0001/sub-0001_ct.nrrd")
    assert scan.grid.same_as(grid)
    assert same_voxels(read_labels(target / "derivatives/sub-0001/sub-0001_seg-vert_msk.nrrd"), some_labels(1, grid))


SECRETS = ("Schmidt", "geheim", "anna", "1961", "ward 7", "Müller", "note to self")


def test_no_name_and_no_path_gets_into_it(data, target, tmp_path):
    scan = write_scan(data / "geheim" / "Schmidt_Anna_1961.nii.gz", 1)
    image = nibabel.load(scan)
    image.header["descrip"], image.header["aux_file"], image.header["db_name"] = b"Schmidt Anna", b"ward 7", b"1961"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Schmidt^Anna 1961 ward 7"))
    nibabel.save(image, scan)
    assert b"Schmidt" in gzip.decompress(scan.read_bytes())
    SeriesWriter(data / "geheim" / "Müller").write(Volume(np.zeros(SMALL.shape, np.int16) + 5, SMALL.affine))
    write_volume(Volume(np.zeros(SMALL.shape, np.int16) + 9, GRIDS["sheared"].affine), data / "Schmidt.nrrd")
    header, _, voxels = (data / "Schmidt.nrrd").read_bytes().partition(b"\n\n")
    (data / "Schmidt.nrrd").write_bytes(header + b"\npatient:=Schmidt\n\n" + voxels)
    worklist = finish(data, data)
    worklist.set_notes(1, "note to self: Schmidt")
    report = export_dataset(worklist, target)
    assert len(report.exported) == 3
    for path in target.rglob("*"):
        content = path.name.encode()
        if path.is_file():
            content += path.read_bytes()
            if path.suffix == ".gz":
                assert path.read_bytes()[3:8] == bytes(5)  # gzip keeps neither the file's name nor its time
                content += gzip.decompress(path.read_bytes())
        for secret in (*SECRETS, str(tmp_path)):
            assert secret.encode().lower() not in content.lower(), (path, secret)
    told = (data / f"{target.name}-subjects.csv").read_text(encoding="utf-8")
    assert "Schmidt_Anna_1961" in told and "Müller" in told


def test_scans_of_one_bids_subject_stay_together_and_others_apart(data, target, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for n, path in enumerate((
        a / "sub-01/ses-1/sub-01_ses-1_ct.nii.gz", a / "sub-02/sub-02_ct.nii.gz",
        a / "sub-01/ses-2/sub-01_ses-2_ct.nii.gz", b / "sub-01/sub-01_ct.nii.gz",
        b / "sub-project/anna.nii.gz", b / "sub-project/ben.nii.gz",
    )):  # fmt: skip
        write_scan(path, n)
    worklist = finish(data, a, b)
    report = export_dataset(worklist, target)
    by_scan = {worklist.entry(number).scan.relative_to(tmp_path).as_posix(): s for number, s in report.exported.items()}
    assert by_scan == {
        "a/sub-01/ses-1/sub-01_ses-1_ct.nii.gz": "sub-0001_split-01",
        "a/sub-01/ses-2/sub-01_ses-2_ct.nii.gz": "sub-0001_split-02",
        "a/sub-02/sub-02_ct.nii.gz": "sub-0003",
        "b/sub-01/sub-01_ct.nii.gz": "sub-0004",
        "b/sub-project/anna.nii.gz": "sub-0005",
        "b/sub-project/ben.nii.gz": "sub-0006",
    }
    copies = shutil.copytree(target / "derivatives", tmp_path / "copies")
    assert evaluate(copies, target / "derivatives").cases[1].name == "sub-0001/sub-0001_split-02_seg-vert_msk"


def test_what_was_set_to_done_is_exported_and_nothing_later(data, target):
    write_scan(data / "scan.nii.gz", 1)
    worklist = finish(data, data)
    worklist.versions(1).save(some_labels(7), NAMES, kind="model", by="x")
    worklist.versions(1).save(some_labels(8), NAMES, kind="autosave", by="x")
    export_dataset(worklist, target)
    assert same_voxels(read_labels(target / "derivatives/sub-0001/sub-0001_seg-vert_msk.nii.gz"), some_labels(1))


def test_numbers_stay_and_tables_are_not_overwritten(data, target):
    for n in range(3):
        write_scan(data / f"scan{n}.nii.gz", n)
    worklist = finish(data, data)
    worklist.set_state(1, State.NEW)
    first = export_dataset(worklist, target)
    os.rename(target, target.with_name("before"))
    worklist.set_state(1, State.DONE)
    second = export_dataset(worklist, target)
    assert {n: second.exported[n] for n in (2, 3)} == first.exported
    tables = [(data / f"{target.name}-subjects{n}.csv").read_text(encoding="utf-8") for n in ("", "_2")]
    assert [len(table.splitlines()) - 1 for table in tables] == [len(first.exported), len(second.exported)]


def test_versions_of_the_exported_scans_can_be_kept_without_disturbing_it(data, target, tmp_path):
    """Somebody opens the dataset itself in the workbench: its masks are no scans, nor is what is saved beside them."""
    write_scan(data / "scan.nii.gz", 1)
    export_dataset(finish(data, data), target)
    other = tmp_path / "other"
    other.mkdir()
    worklist = Worklist.open(other, "tester")
    (entry,) = worklist.add([target])
    assert entry.name == "sub-0001_ct.nii.gz"
    worklist.versions(1).save(some_labels(1), NAMES, kind="correction", by="x")
    assert (target / "rawdata/sub-0001" / VERSIONS_FOLDER).is_dir()
    assert len(worklist.add([target])) == 1
    assert len(evaluate(shutil.copytree(target, tmp_path / "copies"), target).cases) == 1
