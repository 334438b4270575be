"""Which scans a tree holds, under which names, and where their results go."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from cohorts import fill

from SpineContextSegLib.cohort.places import place_scans
from SpineContextSegLib.cohort.records import make_record, write_record
from SpineContextSegLib.cohort.scans import find_scans, safe_name
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from Testing.dicom_series import SeriesWriter, edit, localizer, multi_frame


@pytest.fixture
def tree(tmp_path) -> Path:
    folder = tmp_path / "Kohorte 1"
    folder.mkdir()
    return folder


@pytest.fixture
def some_file(tmp_path) -> Path:
    """What it holds is read later."""
    path = tmp_path / "content"
    path.write_bytes(b"0" * 400)
    return path


def keys(cohort):
    return [scan.key for scan in cohort.scans]


def test_scans_are_found_below_and_segmentations_left_out(tree, some_file):
    fill(tree, some_file, "b.nii.gz", "Größe 1/a.nrrd", "Größe 1/a_seg.nii.gz", "Größe 1/a.seg.nrrd", "c/x_labels.mha",
         ".hidden.nii", ".cache/d.nii", "notes.txt", "c/x.mha")  # fmt: skip
    cohort = find_scans(tree)
    assert keys(cohort) == ["b.nii.gz", "Größe 1/a.nrrd", "c/x.mha"]
    assert [scan.stem for scan in cohort.scans] == ["b", "a", "x"]
    assert cohort.notes == [
        "Left out, named as segmentations: 3 (Größe 1/a.seg.nrrd, Größe 1/a_seg.nii.gz, c/x_labels.mha)."
    ]
    fill(tree, some_file, "d_seg.nii", "e_seg.nii", "f_seg.nii")
    assert find_scans(tree).notes[0].endswith("6 (Größe 1/a.seg.nrrd, Größe 1/a_seg.nii.gz, c/x_labels.mha, "
                                              "d_seg.nii, e_seg.nii, ...).")  # fmt: skip
    assert cohort.unreadable == {}


def test_voxels_beside_their_header_belong_to_the_scan(tree, some_file):
    fill(tree, some_file, "a.mhd", "a.raw", "b.raw")
    (scan,) = find_scans(tree).scans
    assert [path.name for path in scan.files] == ["a.mhd", "a.raw"]


def test_a_renamed_header_still_belongs_to_the_voxels_that_it_names(tree, some_file):
    fill(tree, some_file, "scan.raw")
    (tree / "patient.mhd").write_text("ObjectType = Image\nElementDataFile = scan.raw\n")
    (scan,) = find_scans(tree).scans
    assert [path.name for path in scan.files] == ["patient.mhd", "scan.raw"]


@pytest.mark.parametrize("data", ["LIST\none.raw\n2.raw\n", "%d.raw 2 3 1"], ids=["list", "pattern"])
def test_each_file_that_a_header_names_belongs_to_the_scan(data, tree, some_file):
    fill(tree, some_file, "one.raw", "2.raw", "3.raw")
    (tree / "patient.mhd").write_text(f"ObjectType = Image\nElementDataFile = {data}")
    (scan,) = find_scans(tree).scans
    named = ["one.raw", "2.raw"] if "LIST" in data else ["2.raw", "3.raw"]
    assert [path.name for path in scan.files] == ["patient.mhd", *named]


@pytest.mark.parametrize("marks", [["dataset_description.json"], ["rawdata/x.nii"]], ids=["BIDS", "VerSe"])
def test_of_a_dataset_only_the_scans_are_taken(marks, tree, some_file):
    raw = "rawdata" if "rawdata/x.nii" in marks else "."
    fill(tree, some_file, *marks, f"{raw}/sub-1/ct/sub-1_ct.nii.gz", "derivatives/sub-1/sub-1_ct.nii.gz")
    cohort = find_scans(tree)
    assert not any("derivatives" in key for key in keys(cohort)) and len(keys(cohort)) == len(marks[0].split("/"))
    assert any("derivatives" in note for note in cohort.notes)


def test_what_may_be_a_scan_of_another_kind_is_counted(tree, some_file, ct):
    fill(tree, some_file, "a.nii.gz", "b.hdr", "b.img", "c/d.MGZ", "c/e.nii.bz2", "c/f.tar.gz", "f.zip", "g.zip",
         "h.nhdr", "h.img", "letter.pdf", "bvals.gz")  # fmt: skip
    SeriesWriter(tree / "se").write(ct)
    for path in (tree / "se").iterdir():
        path.rename(path.with_suffix(".img"))
    cohort = find_scans(tree)
    assert keys(cohort)[:2] == ["a.nii.gz", "h.nhdr"] and len(keys(cohort)) == 3
    assert cohort.notes == [
        "Left out, files that may be scans of a kind that isn't read (unpack or convert them): "
        "1 .bz2, 1 .hdr, 1 .img, 1 .mgz, 1 .tar.gz, 2 .zip."
    ]
    with pytest.raises(InputRefused, match="unpack or convert them.*: 1 .zip"):
        find_scans(tree / "f.zip")


def test_one_file_is_a_cohort_of_one(tree, some_file):
    fill(tree, some_file, "a.nii.gz", "b.nii.gz")
    assert keys(find_scans(tree / "a.nii.gz")) == ["a.nii.gz"]


def test_nothing_to_segment_is_refused(tree, some_file):
    with pytest.raises(InputRefused, match="holds no scan"):
        find_scans(tree)
    fill(tree, some_file, "a_seg.nii.gz", "letter.pdf")
    with pytest.raises(InputRefused, match="named as segmentations: 1"):
        find_scans(tree)


def test_results_inside_the_input_are_no_scans(tree, some_file):
    fill(tree, some_file, "a.nii.gz", "results/b.nii.gz")
    assert keys(find_scans(tree, tree / "results")) == ["a.nii.gz"]


def test_links_are_followed_once(tree, some_file, tmp_path):
    fill(tmp_path / "elsewhere", some_file, "deep/c.nii.gz")
    fill(tree, some_file, "real/a.nii.gz")
    (tree / "alias").symlink_to(tree / "real")  # sorted before it, yet the scan keeps its own folder's name
    (tree / "real" / "up").symlink_to(tree)
    (tree / "self").symlink_to(tree / "self")
    (tree / "other").symlink_to(tmp_path / "elsewhere")
    (tree / "b.nii.gz").symlink_to(some_file)
    (tree / "gone.nii.gz").symlink_to(tree / "nowhere")
    cohort = find_scans(tree)
    assert keys(cohort) == ["b.nii.gz", "other/deep/c.nii.gz", "real/a.nii.gz"]
    assert list(cohort.unreadable) == ["gone.nii.gz"]


def test_a_folder_that_cant_be_read_is_reported(tree, some_file):
    fill(tree, some_file, "a.nii.gz", "locked/b.nii.gz")
    code = """
import os, sys
from pathlib import Path
from SpineContextSegLib.cohort.scans import find_scans
if os.getuid() == 0:  # who may read everything
    os.setuid(65534)
cohort = find_scans(Path(sys.argv[1]))
print([scan.key for scan in cohort.scans], cohort.unreadable)
"""
    for folder in (tree, *tree.parents[:4]):
        folder.chmod(0o755)
    (tree / "locked").chmod(0)
    found = subprocess.run([sys.executable, "-c", code, tree], capture_output=True, text=True)
    (tree / "locked").chmod(0o755)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("['a.nii.gz'] {'locked': ") and "Permission denied" in found.stdout


@pytest.fixture
def ct() -> Volume:
    return Volume(np.full((5, 16, 16), 40, np.int16), np.diag([-2.0, -2.0, 3.0, 1.0]))


def test_every_ct_series_is_a_scan(tree, ct):
    study, localizer = tree / "p1" / "study", ("ORIGINAL", "PRIMARY", "LOCALIZER")
    SeriesWriter(study, description="Thorax 1,0/B70f").write(ct)
    SeriesWriter(study, description="Thorax 1,0/B70f", instance=100).write(ct)
    SeriesWriter(study, description="Topogramm", image_type=localizer, instance=200).write(ct)
    SeriesWriter(study, description="Scout", instance=300).write(ct, only=[0])
    SeriesWriter(tree / "p1" / "mr", modality="MR").write(ct)
    SeriesWriter(tree / "p2", description="").write(ct)
    (tree / "p2" / "DICOMDIR").write_bytes((tree / "p2" / "IM09998").read_bytes())
    cohort = find_scans(tree)
    assert [(scan.folder.as_posix(), scan.stem) for scan in cohort.scans] == [
        ("p1/study", "Thorax_1_0_B70f"), ("p1/study", "Thorax_1_0_B70f"), ("p2", "series"),
    ]  # fmt: skip
    assert {len(scan.files) for scan in cohort.scans} == {5} and all(scan.is_series for scan in cohort.scans)
    assert len(set(keys(cohort))) == 3
    assert cohort.notes == [
        "Left out, DICOM series of other modalities: 1 MR.",
        "Left out, DICOM series of fewer than 3 slices or of localizers: 2.",
    ]
    stems = [place.stem for place in place_scans(cohort.scans, tree / "out", ".seg.nrrd", never)]
    assert stems == ["Thorax_1_0_B70f", "Thorax_1_0_B70f_2", "series"]


def test_series_of_one_description_have_names_of_their_own_for_every_model(tree, ct):
    SeriesWriter(tree / "flat", description="Abd").write(ct)
    SeriesWriter(tree / "flat", description="Abd", instance=100, modality="MR").write(ct)
    SeriesWriter(tree / "flat", description="Thorax", instance=200).write(ct)
    names = {scan.key: scan.name for scan in find_scans(tree, modalities=("CT", "MR")).scans}
    assert len(set(names.values())) == 3 and "flat (Thorax)" in names.values()
    assert all(name in (f"flat (Abd, {key.rpartition('#')[2]})", "flat (Thorax)") for key, name in names.items())
    assert [scan.name for scan in find_scans(tree).scans] == [names[scan.key] for scan in find_scans(tree).scans]


def test_localizers_that_do_not_say_so_are_no_scans(tree, ct):
    SeriesWriter(tree / "t2", modality="MR", description="T2").write(ct)
    for slices in (1, 3, 7):
        localizer(tree / str(slices), slices)
    cohort = find_scans(tree, modalities=("MR",))
    assert [scan.name for scan in cohort.scans] == ["t2 (T2)"]
    assert cohort.notes == ["Left out, DICOM series of fewer than 3 slices or of localizers: 3."]


def test_a_localizer_in_one_file_is_no_scan(tree, ct):
    volume = Volume(np.concatenate([ct.array, ct.array[:4]]), ct.affine)
    multi_frame(volume, tree / "survey.dcm")
    multi_frame(volume, tree / "scan.dcm")
    axes = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]

    def turn(ds):
        del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            frame.PlaneOrientationSequence = [pydicom.Dataset()]
            frame.PlaneOrientationSequence[0].ImageOrientationPatient = axes[k // 3]

    edit(tree / "survey.dcm", turn)
    assert [scan.files[0].name for scan in find_scans(tree).scans] == ["scan.dcm"]


def test_of_slices_that_are_lost_their_series_tells(tree, ct):
    SeriesWriter(tree / "p1").write(ct)
    files = sorted((tree / "p1").iterdir())
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:200])
    SeriesWriter(tree / "p2").write(ct)
    SeriesWriter(tree / "p3").write(ct)
    for path in (tree / "p3").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    cohort = find_scans(tree)
    assert [(len(scan.files), scan.notes) for scan in cohort.scans] == [
        (3, ("2 files were left out, damaged or without an image.",)), (5, ()),
    ]  # fmt: skip
    assert cohort.notes == ["Left out, damaged files and DICOM files without an image: 5."]


def test_one_dicom_file_is_taken_alone(tree, ct):
    SeriesWriter(tree).write(ct)
    with pytest.raises(InputRefused, match="fewer than 3 slices"):
        find_scans(tree / "IM09998")


@pytest.mark.parametrize(
    ("text", "name"), [("Körper 1.0/B", "Körper_1.0_B"), ("../..", ""), ("a" * 200, "a" * 80), ("\udce4x", "x")]
)
def test_descriptions_become_names(text, name):
    assert safe_name(text) == name


# ------------------------------------------------------------------------------------------------ places


def never(scan, place):
    """No result stays under another name than that of its scan."""
    return False


def places(tree, output):
    scans = find_scans(tree).scans
    return {scan.key: place.stem for scan, place in zip(scans, place_scans(scans, output, ".seg.nrrd", never))}


def remember(output, stem, key):
    output.mkdir(exist_ok=True)
    write_record(make_record(key, "", "done"), output / f"{stem}.json", output)


def test_names_never_meet(tree, some_file, tmp_path):
    fill(tree, some_file, "a.nii.gz", "a.nrrd", "A.mha", "a_nrrd.nii.gz", "b/a.nii.gz")
    found = places(tree, tmp_path / "out")
    at = [(key.rpartition("/")[0], stem.casefold()) for key, stem in found.items()]
    assert len(set(at)) == 5
    assert found["b/a.nii.gz"] == "a"


def test_a_scan_keeps_its_name_whatever_comes_beside_it(tree, some_file, tmp_path):
    output = tmp_path / "out"
    fill(tree, some_file, "a.nrrd")
    remember(output, "a", "a.nrrd")
    fill(tree, some_file, "a.mha", "a.nii.gz")  # both sorted before it
    found = places(tree, output)
    assert found == {"a.mha": "a_mha", "a.nii.gz": "a_nii_gz", "a.nrrd": "a"}
    for key, stem in found.items():
        remember(output, stem, key)
    (tree / "a.nrrd").unlink()  # its results stay
    assert places(tree, output) == {"a.mha": "a_mha", "a.nii.gz": "a_nii_gz"}


@pytest.mark.parametrize("foreign", ["a.seg.nrrd", "a.png", "a.json"])
def test_files_that_arent_ours_keep_their_names(foreign, tree, some_file, tmp_path):
    fill(tree, some_file, "a.nii.gz")
    fill(tmp_path / "out", some_file, foreign)
    assert places(tree, tmp_path / "out") == {"a.nii.gz": "a_nii_gz"}
