"""Multi-frame files: every frame at its own place and in its own scale, also over several files."""

import struct
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from SpineContextSegLib.cohort.scans import find_scans
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume
from Testing.dicom_series import SeriesWriter, assert_same_voxels_in_space, edit, multi_frame, part, parts, scan

SIZE = (9.0, 8.0, 12.0)


def shuffle(volume: Volume, path: Path) -> None:
    """Frames in any order, so that only their own positions can sort them."""
    order = np.random.default_rng(1).permutation(len(volume.array))
    multi_frame(volume, path)

    def change(ds):
        frames = list(ds.PerFrameFunctionalGroupsSequence)
        ds.PerFrameFunctionalGroupsSequence = [frames[k] for k in order]
        ds.PixelData = (volume.array[order] + 1024).astype(np.int16).tobytes()

    edit(path, change)


def icon(compressed: bool = False) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.SamplesPerPixel, item.PhotometricInterpretation, item.Rows, item.Columns = 1, "MONOCHROME2", 8, 8
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 8, 8, 7, 0
    # Run lengths: the header, then eight rows of eight zeros.
    packed = struct.pack("<16I", 1, 64, *[0] * 14) + b"\xf9\0" * 8
    item.PixelData = pydicom.encaps.encapsulate([packed]) if compressed else bytes(64)
    item["PixelData"].VR, item["PixelData"].is_undefined_length = "OB", compressed
    return item


@pytest.mark.parametrize("name", ["lps", "sheared_oblique"])
def test_a_series_in_several_multi_frame_files_is_one_volume(name, tmp_path):
    volume = scan(name, size=SIZE)
    count = len(volume.array)
    parts(volume, tmp_path, [0, count // 2, count - 1, count])
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


def test_files_of_one_frame_each(tmp_path):
    """Enhanced CT, whose positions aren't where those of a CT are."""
    volume = scan(size=SIZE)
    parts(volume, tmp_path, list(range(len(volume.array) + 1)))
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)
    [found] = find_scans(tmp_path).scans
    assert len(found.files) == len(volume.array)


def test_frames_that_are_left_out_are_counted(tmp_path):
    volume = scan(size=SIZE)
    multi_frame(volume, tmp_path / "ct.dcm")

    def change(ds):
        frames = list(ds.PerFrameFunctionalGroupsSequence)
        [orientation] = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for k, frame in enumerate(frames):
            turned = pydicom.Dataset()
            turned.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
            frame.PlaneOrientationSequence = [turned if k >= len(frames) - 3 else orientation]

    edit(tmp_path / "ct.dcm", change)
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, part(volume, 0, len(volume.array) - 3))
    assert notes == ["3 images were left out, of another size or orientation than the series."]


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
    ids=lambda syntax: syntax.keyword,
)
@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "ends"])
def test_positions_are_found_whatever_the_encoding(syntax, undefined, tmp_path):
    volume, path = scan(size=SIZE), tmp_path / "ct.dcm"
    shuffle(volume, path)
    ds = pydicom.dcmread(path)
    ds.ImagePositionPatient = [0, 0, 0]
    ds.IconImageSequence = [icon(compressed=syntax == RLELossless)]
    # Of scanners' own making, with positions of something else inside.
    ds.private_block(0x0019, "MAKER", create=True).add_new(1, "SQ", [pydicom.Dataset()])
    ds[0x0019, 0x1001].value[0].ImagePositionPatient = [1, 2, 3]
    if syntax == RLELossless:
        ds.compress(RLELossless)
    elif syntax == ExplicitVRBigEndian:
        ds.PixelData = ds.pixel_array.astype(">i2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    for element in ds.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    implicit = syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(path, ds, implicit_vr=implicit, little_endian=syntax != ExplicitVRBigEndian)
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


@pytest.mark.parametrize("slope", [1, 2, 0.5])
def test_every_frame_has_its_own_scale(slope, tmp_path):
    volume, path = scan(size=SIZE), tmp_path / "ct.dcm"
    volume = Volume(volume.array // 2 * 2, volume.affine)
    multi_frame(volume, path)
    edit(path, lambda ds: scale_each(ds, volume, slope))
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


def scale_each(ds: pydicom.Dataset, volume: Volume, slope: float) -> None:
    """Intercepts that differ from frame to frame, and a slope for all but the first one."""
    del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    stored = []
    for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        scale = pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope if k else 1, -1000 - 2 * k, "HU"
        frame.PixelValueTransformationSequence = [scale]
        stored.append((volume.array[k].astype(int) - scale.RescaleIntercept) / scale.RescaleSlope)
    ds.PixelData = np.array(stored).astype(np.int16).tobytes()


@pytest.mark.parametrize("top", [None, -500], ids=["groups", "groups and top"])
@pytest.mark.parametrize("change", [lambda ds, volume: None, partial(scale_each, slope=2)], ids=["shared", "each"])
@pytest.mark.parametrize(
    "kind",
    [
        *("2.1", "2.2", "4.1", "4.4", "128.1", "130", "13.1.1", "13.1.2", "13.1.3"),
        *("1", "2", "4", "4.3", "7", "7.2", "7.3", "12.1.1", "14.1", "14.2", "20", "128"),
    ],
)
def test_scales_are_those_of_the_frames_in_every_kind_of_file(kind, change, top, tmp_path):
    """Of some kinds, GDCM reads the scale that is there, of others one at the top or none."""
    volume, path = scan(size=SIZE), tmp_path / "ct.dcm"
    volume = Volume(volume.array // 2 * 2, volume.affine)
    multi_frame(volume, path)

    def change_all(ds):
        change(ds, volume)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.{kind}"
        if top is not None:
            ds.RescaleSlope, ds.RescaleIntercept = 1, top

    edit(path, change_all)
    read, notes = read_volume(path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


def test_frames_of_unknown_place_are_refused(tmp_path):
    path = tmp_path / "ct.dcm"
    multi_frame(scan(size=SIZE), path)

    def change(ds):
        del ds.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence

    edit(path, change)
    with pytest.raises(InputRefused, match="'ct.dcm' does not say where each of its images lies: export"):
        read_volume(path)
    edit(path, lambda ds: ds.update({"ImagePositionPatient": [0, 0, 0], "PixelSpacing": [1, 1]}))
    with pytest.raises(InputRefused, match="does not say where"):
        read_volume(path)
    SeriesWriter(tmp_path / "other").write(scan(size=(9, 8, 6)))
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, scan(size=(9, 8, 6)))
    assert "12 images were left out, whose place or voxel size can't be read." in notes


def test_frames_without_groups_are_counted_where_their_distance_is_stated(tmp_path):
    volume, path = scan(size=SIZE, spacing=(1, 1, 2)), tmp_path / "ct.dcm"
    multi_frame(volume, path)

    def change(ds):
        first = ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
        shared = ds.SharedFunctionalGroupsSequence[0]
        ds.ImagePositionPatient, ds.PixelSpacing, ds.SpacingBetweenSlices = first, [1, 1], 2
        ds.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
        del ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence

    edit(path, change)
    read, notes = read_volume(path)
    assert_same_voxels_in_space(read, volume)
    assert len(notes) == 1 and "taken as they come, evenly spaced and without tilt" in notes[0]
    edit(path, lambda ds: delattr(ds, "SpacingBetweenSlices"))
    with pytest.raises(InputRefused, match="does not say where"):
        read_volume(path)


def test_frames_without_a_voxel_size_are_refused(tmp_path):
    path = tmp_path / "ct.dcm"
    multi_frame(scan(size=SIZE), path)
    edit(path, lambda ds: delattr(ds.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence"))
    with pytest.raises(InputRefused, match="'ct.dcm' does not state how large its voxels are"):
        read_volume(path)


def test_of_two_phases_in_one_file_the_earlier_is_taken(tmp_path):
    """The order of phases changes from position to position, so that only their numbers tell them apart."""
    volume, path = scan(size=SIZE), tmp_path / "ct.dcm"
    count = len(volume.array)
    doubled = np.repeat(volume.array, 2, axis=0)
    phases = [phase for k in range(count) for phase in ((1, 2) if k % 2 else (2, 1))]
    doubled = doubled + 10 * (np.array(phases, np.int16) - 1)[:, None, None]
    multi_frame(Volume(doubled.astype(np.int16), volume.affine), path)

    def change(ds):
        places = [frame.PlanePositionSequence for frame in ds.PerFrameFunctionalGroupsSequence]
        for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            frame.PlanePositionSequence = [pydicom.Dataset()]
            frame.PlanePositionSequence[0].ImagePositionPatient = places[n // 2][0].ImagePositionPatient
            frame.FrameContentSequence[0].TemporalPositionIndex = phases[n]

    edit(path, change)
    read, notes = read_volume(path)
    assert_same_voxels_in_space(read, volume)
    assert len(notes) == 1 and "2 images per position" in notes[0]
