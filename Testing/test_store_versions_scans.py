"""Whose versions they are: a scan keeps its own under any name, and no other scan is given them."""

import shutil

import numpy as np
import pydicom
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import SeriesWriter
from Testing.store_use import *  # noqa: F403
from Testing.store_use import SMALL, same_voxels, some_labels, write_scan
from Testing.versions_use import *  # noqa: F403
from Testing.versions_use import save
from Workbench.store.fingerprint import fingerprints
from Workbench.store.versions import VERSIONS_FOLDER, Versions


def test_a_renamed_or_moved_scan_keeps_its_versions(scan, data, tmp_path):
    save(Versions(scan, data), 1)
    renamed = scan.rename(scan.with_name("Müller 脊柱.nii.gz"))
    assert save(Versions(renamed, data), 2).number == 2
    moved = scan.parent.rename(tmp_path / "elsewhere") / renamed.name
    versions = Versions(moved, data)
    assert [version.number for version in versions.list()] == [1, 2] and versions.warnings() == []
    assert same_voxels(versions.load(versions.latest()), some_labels(2))


def test_another_scan_of_the_same_name_does_not_get_them(scan, data):
    save(Versions(scan, data), 1)
    save(Versions(scan, data), 2)
    kept = scan.read_bytes()
    write_scan(scan, seed=99)
    other = Versions(scan, data)
    assert other.list() == [] and other.latest() is None
    (sentence,) = other.warnings()
    assert "'chest.nii.gz' is not the scan that 2 saved versions" in sentence
    save(other, 3)
    scan.write_bytes(kept)
    assert [version.number for version in Versions(scan, data).list()] == [1, 2]


def test_scans_with_like_names_in_one_folder_are_not_mixed(scan, data):
    like = [write_scan(scan.with_name(name), n) for n, name in enumerate(("chest-2.nii.gz", "chest.nrrd"), 2)]
    for n, path in enumerate((scan, *like)):
        save(Versions(path, data), n)
    for n, path in enumerate((scan, *like)):
        versions = Versions(path, data)
        assert same_voxels(versions.load(versions.latest()), some_labels(n))
        assert len(versions.list()) == 1 and versions.warnings() == []


def test_a_scan_replaced_while_it_is_open_keeps_what_is_saved_then(scan, data):
    versions = Versions(scan, data)
    kept = scan.read_bytes()
    write_scan(scan, seed=99)
    save(versions, 1)
    assert Versions(scan, data).list() == []
    scan.write_bytes(kept)
    assert len(Versions(scan, data).list()) == 1


def test_scans_of_one_header_and_size_are_told_apart(tmp_path):
    """Not packed, so that they differ in nothing but voxels; and far from both ends of the file."""
    array = np.zeros((40, 200, 200), np.int16)
    paths = [tmp_path / "one.nii", tmp_path / "other.nii"]
    for path, value in zip(paths, (0, 1), strict=True):
        array[10:30] = value
        write_volume(Volume(array, np.eye(4)), path)
    assert paths[0].stat().st_size == paths[1].stat().st_size
    assert fingerprints(paths[0]) != fingerprints(paths[1])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.nhdr", "NRRD0005\ndata file: 2.raw\n"),
        ("a.nhdr", "NRRD0005\ndatafile: 2.raw\n"),
        ("a.nhdr", "NRRD0005\ndata file: %d.raw 1 3 1\n"),
        ("a.mhd", "ElementDataFile = LIST\n1.raw\n2.raw\n3.raw\n"),
        ("a.mhd", "ElementDataFile = %d.raw 1 3 1\n"),
    ],
)
def test_scans_of_one_header_are_told_apart_by_the_files_that_it_names(name, text, tmp_path):
    for patient in ("p0", "p1"):
        (tmp_path / patient).mkdir()
        (tmp_path / patient / name).write_text(text)
        for n in range(1, 4):
            (tmp_path / patient / f"{n}.raw").write_bytes(bytes(64))
    first, second = (fingerprints(tmp_path / patient / name) for patient in ("p0", "p1"))
    assert first == second
    (tmp_path / "p1" / "2.raw").write_bytes(bytes(63) + b"\1")
    assert fingerprints(tmp_path / "p1" / name) != first


def test_a_header_keeps_the_fingerprint_that_earlier_workbenches_gave_it(tmp_path):
    """As its corrections are found by that."""
    (tmp_path / "a.mhd").write_bytes(b"NDims = 3\nElementDataFile = a.raw\n")
    (tmp_path / "a.raw").write_bytes(b"voxels")
    (tmp_path / "local.mhd").write_bytes(b"NDims = 3\nElementDataFile = LOCAL\nvoxels")
    assert [fingerprints(tmp_path / name) for name in ("a.mhd", "local.mhd")] == [
        ("75885699f7a78e2d191f09fe675758b72440114d6fca30391672436df8a40b23",),
        ("a1595bb49f7e2da4359d377183809ad0005a6ca406f2dfa158f40dd048328608",),
    ]


@pytest.mark.parametrize(
    ("name", "text", "earlier"),
    [
        ("a.mhd", "ElementDataFile = LIST\n1.raw\n2.raw\n", "a292f8cd670a36fd"),
        ("a.nhdr", "NRRD0005\ndata file: LIST\n1.raw\n2.raw\n", "640aaa31189409a5"),
        ("a.mhd", "ElementDataFile = %d.raw 1 2 1\n", "524227b818e5b337"),
        ("a.nhdr", "NRRD0005\ndatafile: 2.raw\n", "39bc0ee1c60ac7de"),
    ],
)
def test_a_header_is_known_by_the_fingerprint_too_that_earlier_workbenches_gave_it(name, text, earlier, tmp_path):
    """They didn't see which files it names."""
    (tmp_path / name).write_text(text)
    for n in (1, 2):
        (tmp_path / f"{n}.raw").write_bytes(bytes(64))
    first, second = fingerprints(tmp_path / name)
    assert second.startswith(earlier) and first != second


def test_a_detached_header_stands_for_its_voxels_too(tmp_path):
    header = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = a b.raw\n"
    (tmp_path / "a b.mhd").write_text(header)
    (tmp_path / "a b.raw").write_bytes(bytes(64))
    before = fingerprints(tmp_path / "a b.mhd")
    (tmp_path / "a b.raw").write_bytes(bytes(63) + b"\1")
    assert fingerprints(tmp_path / "a b.mhd") != before


def test_a_dicom_series_is_the_same_under_other_file_names_and_has_its_versions_beside_it(tmp_path, data):
    volume = Volume(np.zeros(SMALL.shape, np.int16), SMALL.affine)
    folder = tmp_path / "study" / "series"
    SeriesWriter(folder).write(volume)
    SeriesWriter(tmp_path / "study" / "next").write(volume)  # the same voxels, another patient's perhaps
    before = fingerprints(folder)
    assert before != fingerprints(tmp_path / "study" / "next")
    save(Versions(folder, data), 1)
    assert (tmp_path / "study" / VERSIONS_FOLDER).is_dir()
    copy = tmp_path / "copy"
    copy.mkdir()
    for n, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        shutil.copy(path, copy / f"{n}.dcm")
    (copy / "notes.txt").write_text("not a part of it")
    assert fingerprints(copy) == before == fingerprints(folder)


@pytest.mark.parametrize("modality", ["SEG", "SR", "RTSTRUCT"])
@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian])
def test_what_is_put_beside_the_images_of_a_series_makes_it_no_other_one(modality, syntax, tmp_path, data):
    volume = Volume(np.zeros(SMALL.shape, np.int16), SMALL.affine)
    folder = tmp_path / "series"
    SeriesWriter(folder).write(volume)
    before = fingerprints(folder)[0]
    save(Versions(folder, data), 1)
    other = SeriesWriter(tmp_path / "other", modality=modality)
    other.write(volume, [0])
    [file] = other.folder.iterdir()
    written = pydicom.dcmread(file)
    written.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(folder / "beside.dcm", written, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert fingerprints(folder)[0] == before
    assert len(Versions(folder, data).list()) == 1 and Versions(folder, data).warnings() == []
    SeriesWriter(folder, instance=100).write(volume, [0])
    assert fingerprints(folder)[0] != before


@pytest.mark.parametrize("name", ["x" * 240 + ".nii.gz", "脊" * 70 + ".nrrd", ".nii.gz", "a b#c%20?.nii.gz"])
def test_odd_names_of_scans(name, tmp_path, data):
    scan = write_scan(tmp_path / "scan.nrrd", 1).rename(tmp_path / name)
    save(Versions(scan, data), 1)
    assert len(Versions(scan, data).list()) == 1


def test_a_missing_scan_is_refused(tmp_path, data):
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "none.nii.gz", "does not exist"), (tmp_path / "empty", "no DICOM images")):
        with pytest.raises(InputRefused, match=words):
            Versions(path, data)
