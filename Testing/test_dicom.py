"""DICOM folders and files become volumes, whatever their geometry, values and state."""

import os

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from SpineContextSegLib.dicom_folder import is_dicom_file
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume
from Testing.dicom_series import (
    SeriesWriter,
    assert_same_voxels_in_space,
    edit,
    multi_frame,
    ramp,
    scan,
)
from Testing.geometry import GRIDS, SHEARED


@pytest.mark.parametrize("name", GRIDS)
def test_series_of_any_geometry_is_read_exactly(name, tmp_path):
    volume = scan(name)
    SeriesWriter(tmp_path).write(volume)
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert read.array.dtype == np.int16
    assert read.grid.is_sheared == (name in SHEARED)
    assert_same_voxels_in_space(read, volume)


@pytest.mark.parametrize("name", ["lps", "oblique_thick", "sheared", "sheared_oblique"])
def test_enhanced_multi_frame_file_is_read_with_its_tilt(name, tmp_path):
    volume = scan(name)
    multi_frame(volume, tmp_path / "deep" / "ct.dcm")
    for path in (tmp_path, tmp_path / "deep" / "ct.dcm"):
        read, notes = read_volume(path)
        assert notes == []
        assert_same_voxels_in_space(read, volume)


def test_frames_out_of_order_are_sorted(tmp_path):
    volume = scan()
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = len(volume.array) - 1
    multi_frame(Volume(volume.array[::-1], volume.affine @ flip), tmp_path / "ct.dcm")
    assert_same_voxels_in_space(read_volume(tmp_path)[0], volume)


def test_folder_name_beyond_ascii_and_files_of_other_kinds(tmp_path):
    folder = tmp_path / "Wirbelsäule 脊柱" / "Serie ½"
    volume = scan()
    SeriesWriter(folder, description="Wirbelsäule").write(volume)
    (folder / "notes.txt").write_text("not an image")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"garbage")
    (tmp_path / "empty").touch()
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


@pytest.mark.parametrize("slope, intercept", [(1.0, 0.0), (2.0, -1000.0), (0.5, -1024.0)])
def test_rescale_gives_hu(slope, intercept, tmp_path):
    volume = scan()
    volume = Volume((np.rint((volume.array - intercept) / slope) * slope + intercept), volume.affine)
    SeriesWriter(tmp_path, slope=slope, intercept=intercept).write(volume)
    assert_same_voxels_in_space(read_volume(tmp_path)[0], volume)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("slope, intercept", [(1.0, -1024.0), (2.0, -1000.0), (0.5, -3.5)])
def test_values_are_the_same_however_they_are_to_be_shown(signed, bits, slope, intercept, tmp_path):
    """MONOCHROME1, of which GDCM turns values around."""
    SeriesWriter(tmp_path, slope=slope, intercept=intercept).write(scan(), only=range(4))

    def change(ds):
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, signed
        stored = np.frombuffer(ds.PixelData, np.uint16).astype(int) % 2**bits - signed * 2 ** (bits - 1)
        ds.PixelData = stored.astype(np.int16 if signed else np.uint16).tobytes()

    edit(tmp_path, change)
    volume, _ = read_volume(tmp_path)
    edit(tmp_path, lambda ds: setattr(ds, "PhotometricInterpretation", "MONOCHROME1"))
    read, notes = read_volume(tmp_path)
    assert notes == [] and read.array.dtype == volume.array.dtype
    assert_same_voxels_in_space(read, volume)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, RLELossless], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("frames", [False, True])
def test_values_of_packed_files_are_the_same_however_they_are_to_be_shown(syntax, frames, tmp_path):
    volume = scan()
    multi_frame(volume, tmp_path / "ct.dcm") if frames else SeriesWriter(tmp_path).write(volume)

    def change(ds):
        ds.PhotometricInterpretation = "MONOCHROME1"
        if syntax == RLELossless:
            ds.compress(RLELossless)
        ds.file_meta.TransferSyntaxUID = syntax

    edit(tmp_path, change)
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are Unix's")
def test_a_named_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    # Who holds both ends doesn't wait; nobody does where a scan is looked for.
    pipe = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(pipe, b"\0" * 128 + b"DICM")
        assert not is_dicom_file(tmp_path / "pipe")
    finally:
        os.close(pipe)


def test_folder_without_images_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(InputRefused, match="No DICOM images"):
        read_volume(tmp_path)


@pytest.mark.parametrize("kept", [0.95, 0.5, 0.2])
def test_slice_cut_short_is_left_out_and_said(kept, tmp_path):
    volume = ramp(scan())
    SeriesWriter(tmp_path).write(volume)
    broken = sorted(tmp_path.iterdir())[5]
    broken.write_bytes(broken.read_bytes()[: int(kept * broken.stat().st_size)])
    read, notes = read_volume(tmp_path)
    assert notes[0] == "1 file was left out, damaged or without an image."
    assert len(notes) == 2 and "interpolated to 30 slices" in notes[1]
    assert_same_voxels_in_space(read, volume)


def test_an_empty_slice_is_left_out_and_said(tmp_path):
    volume = scan()
    SeriesWriter(tmp_path).write(volume)
    # The uppermost one, so that no gap betrays it.
    sorted(tmp_path.iterdir())[0].write_bytes(b"")
    read, notes = read_volume(tmp_path)
    assert notes == ["1 file was left out, damaged or without an image."]
    assert len(read.array) == len(volume.array) - 1


def closed(monkeypatch, name):
    """As a file or folder that this user may not read, also where the tests run as one who may read all."""

    def refusing(original):
        def call(path, *arguments, **options):
            if os.path.basename(os.fspath(path)) == name:
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return original(path, *arguments, **options)

        return call

    monkeypatch.setattr("builtins.open", refusing(open))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))


def test_a_slice_that_cant_be_read_is_left_out_and_said(tmp_path, monkeypatch):
    SeriesWriter(tmp_path / "ct").write(scan())
    lost = max((tmp_path / "ct").iterdir())
    lost.write_bytes(lost.read_bytes()[:1000])
    closed(monkeypatch, lost.name)
    assert read_volume(tmp_path)[1] == ["1 file was left out, damaged or without an image."]


def test_a_folder_that_cant_be_read_is_said(tmp_path, monkeypatch):
    SeriesWriter(tmp_path / "study" / "ct").write(scan())
    (tmp_path / "study" / "locked").mkdir()
    closed(monkeypatch, "locked")
    assert read_volume(tmp_path / "study")[1] == ["1 folder was left out, as nothing in there can be read."]
    with pytest.raises(InputRefused, match="locked' can't be read .Permission denied.: check"):
        read_volume(tmp_path / "study" / "locked")
    closed(monkeypatch, "ct")
    with pytest.raises(InputRefused, match="No DICOM images.* 2 folders were left out"):
        read_volume(tmp_path / "study")


def test_compressed_slices_are_read(tmp_path):
    volume = scan()
    SeriesWriter(tmp_path).write(volume)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


@pytest.fixture
def linked(tmp_path):
    """A folder whose series lies elsewhere, behind a link, with another link that leads back up."""
    SeriesWriter(tmp_path / "pool" / "ct").write(scan())
    (tmp_path / "patient").mkdir()
    try:
        os.symlink(tmp_path / "pool" / "ct", tmp_path / "patient" / "ct", target_is_directory=True)
        os.symlink(tmp_path / "pool" / "ct", tmp_path / "patient" / "again", target_is_directory=True)
        os.symlink(tmp_path / "patient", tmp_path / "pool" / "ct" / "up", target_is_directory=True)
    except OSError:
        pytest.skip("links need a permission here")
    return tmp_path / "patient"


def test_links_to_folders_are_followed_once(linked):
    SeriesWriter(linked / "scout").write(scan(size=(24, 20, 4)))
    read, notes = read_volume(linked)
    assert_same_voxels_in_space(read, scan())
    assert notes == ['The folder holds 2 series; the largest CT series "Thorax" with 30 slices was taken.']
