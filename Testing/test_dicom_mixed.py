"""Series that hold more than one volume, or don't say all that a volume needs."""

import random

import numpy as np
import pytest
from pydicom.uid import generate_uid

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.stated_geometry import UNSTATED_ORIENTATION
from SpineContextSegLib.volume import Volume
from Testing.dicom_series import SeriesWriter, assert_same_voxels_in_space, edit, scan

SIZE = (9.0, 8.0, 12.0)
PHASES = "The series holds 2 images per position (phases or copies); the earliest were taken."
MIXED = "Nothing says which images are of one phase, so phases may be mixed: give one phase alone."


def other(volume: Volume) -> Volume:
    """Recognizably another one at the same place."""
    return Volume(volume.array + np.int16(5000), volume.affine)


def rename_at_random(folder) -> None:
    rng = random.Random(0)
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(f"{rng.getrandbits(128):032x}"))


@pytest.mark.parametrize(
    ("tag", "name"),
    [("PatientID", "patient"), ("StudyInstanceUID", "study"), ("FrameOfReferenceUID", "frame of reference")],
)
def test_what_shares_only_the_uid_of_its_series_stays_apart(tag, name, tmp_path):
    """As broken anonymization leaves it: slices that would fall between each other."""
    volume, uid = scan(size=SIZE), generate_uid()
    affine = volume.affine.copy()
    affine[2, 3] += 2.5
    SeriesWriter(tmp_path / "a", series_uid=uid).write(volume)
    SeriesWriter(tmp_path / "b", series_uid=uid).write(other(Volume(volume.array, affine)), only=range(11))
    edit(tmp_path / "b", lambda ds: setattr(ds, tag, "1.2.3"))
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == [f'11 images were left out, of another {name} than the series "Thorax".']


@pytest.mark.parametrize("uid", ["1.2.3", ""])
@pytest.mark.parametrize(
    ("sharp", "soft", "name"),
    [
        ({"ConvolutionKernel": "Br64"}, {"ConvolutionKernel": "Br40"}, "kernel"),
        ({"ConvolutionKernel": ["I70f", "3"]}, {"ConvolutionKernel": ["I30f", "3"]}, "kernel"),
        ({"SeriesNumber": 3}, {"SeriesNumber": 2}, "series number"),
        ({"SeriesNumber": 3, "ConvolutionKernel": "Br64"}, {"SeriesNumber": 2}, "series number"),
    ],
)
def test_two_reconstructions_under_one_uid_stay_apart(sharp, soft, name, uid, tmp_path):
    """Of one acquisition, the slices of one between those of the other."""
    volume = scan(size=SIZE)
    affine = volume.affine.copy()
    affine[2, 3] += 0.5
    SeriesWriter(tmp_path / "a", series_uid=uid).write(other(Volume(volume.array, affine)), only=range(11))
    edit(tmp_path / "a", lambda ds: ds.update(soft))
    SeriesWriter(tmp_path / "b", series_uid=uid).write(volume)
    edit(tmp_path / "b", lambda ds: ds.update(sharp))
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == [f'11 images were left out, of another {name} than the series "Thorax".']


@pytest.mark.parametrize("keyword", ["ConvolutionKernel", "SeriesNumber"])
@pytest.mark.parametrize("value", [lambda k: "7" if k % 3 else None, str], ids=["missing", "each its own"])
def test_a_reconstruction_that_is_not_told_everywhere_is_one_volume(keyword, value, tmp_path):
    volume = scan(size=SIZE)
    SeriesWriter(tmp_path).write(volume)
    edit(tmp_path, lambda ds: setattr(ds, keyword, value(int(ds.InstanceNumber))))
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


@pytest.mark.parametrize("value", ["", None])
def test_tags_that_all_slices_lack_keep_none_apart(value, tmp_path):
    volume = scan(size=SIZE)
    SeriesWriter(tmp_path).write(volume)

    def change(ds):
        for tag in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
            delattr(ds, tag) if value is None else setattr(ds, tag, value)

    edit(tmp_path, change)
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


def test_a_slice_that_lacks_the_tag_of_the_others_is_left_out_and_said(tmp_path):
    """Whose it is can't be known."""
    volume = scan(size=SIZE)
    SeriesWriter(tmp_path).write(volume)
    edit(min(tmp_path.iterdir()), lambda ds: delattr(ds, "PatientID"))
    read, notes = read_volume(tmp_path)
    assert len(read.array) == len(volume.array) - 1
    assert notes == ['1 image was left out, of another patient than the series "Thorax".']


def test_uids_that_every_slice_has_for_itself_keep_none_apart(tmp_path):
    volume = scan(size=SIZE)
    SeriesWriter(tmp_path).write(volume)
    edit(tmp_path, lambda ds: ds.update({"StudyInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}))
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


def write_phases(folder, volume: Volume, marks: tuple[dict, dict], folders=("", "")) -> None:
    """Two phases, both numbered from 1 on, the second from the other end, with names that say nothing."""
    uid = generate_uid()
    for n, (phase, mark) in enumerate(zip((volume, other(volume)), marks)):
        order = range(len(volume.array))[:: 1 if n == 0 else -1]
        SeriesWriter(folder / "new", series_uid=uid).write(phase, only=order)
        edit(folder / "new", lambda ds: ds.update(mark))
        rename_at_random(folder / "new")
        (folder / folders[n]).mkdir(exist_ok=True)
        for path in sorted((folder / "new").iterdir()):
            path.rename(folder / folders[n] / f"{path.name}{n}")
        (folder / "new").rmdir()


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
        ({"AcquisitionTime": "093000.00"}, {"AcquisitionTime": "093012.50"}),
        ({"AcquisitionDate": "20250101", "AcquisitionTime": "235959"},
         {"AcquisitionDate": "20250102", "AcquisitionTime": "000001"}),
        ({"AcquisitionDateTime": "20250101093000"}, {"AcquisitionDateTime": "20250101093001"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [0, 1])
def test_the_earlier_phase_is_kept_as_a_whole(earlier, later, first, tmp_path):
    volume = scan(size=SIZE)
    write_phases(tmp_path, volume, (earlier, later) if first == 0 else (later, earlier))
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume if first == 0 else other(volume))
    assert notes == [PHASES]


def test_phases_in_folders_of_their_own_are_not_mixed(tmp_path):
    volume = scan(size=SIZE)
    write_phases(tmp_path, volume, ({}, {}), folders=("b", "a"))
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, other(volume))
    assert notes == [PHASES]


def test_phases_that_nothing_tells_apart_are_said_to_be_mixed(tmp_path):
    write_phases(tmp_path, scan(size=SIZE), ({}, {}))
    assert read_volume(tmp_path)[1] == [PHASES, MIXED]


def acquisitions(folder, *parts: tuple[Volume, dict], shift_mm: float) -> None:
    """Acquisitions of one series, numbered from 1 on, the slices of all but the first moved along the body."""
    uid = generate_uid()
    for n, (volume, options) in enumerate(parts):
        affine = volume.affine.copy()
        affine[2, 3] += shift_mm if n else 0.0
        SeriesWriter(folder / str(n), series_uid=uid).write(Volume(volume.array, affine), **options)
        edit(folder / str(n), lambda ds: setattr(ds, "AcquisitionNumber", n + 1))


def overlap(left_out: int) -> str:
    return f"Acquisitions in the series overlap: the largest was taken there, and {left_out} images were left out."


@pytest.mark.parametrize("name", ["lps", "sheared"])
@pytest.mark.parametrize("shift_mm", [0.5, 0.3, -0.2])
@pytest.mark.parametrize("mark", [{}, {"AcquisitionNumber": 1, "TemporalPositionIdentifier": 2}])
def test_acquisitions_whose_slices_lie_between_each_other_are_not_shuffled(name, shift_mm, mark, tmp_path):
    volume = scan(name, size=SIZE, spacing=(1, 1, 1))
    acquisitions(tmp_path, (volume, {}), (other(volume), {}), shift_mm=shift_mm)
    edit(tmp_path / "1", lambda ds: ds.update(mark))
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == [overlap(12)]


def test_every_second_slice_of_another_acquisition_is_not_mixed_in(tmp_path):
    volume = scan(size=SIZE, spacing=(1, 1, 1))
    acquisitions(tmp_path, (other(volume), {"only": range(3, 9, 2)}), (volume, {}), shift_mm=0.0)
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == [overlap(3)]


def test_acquisitions_that_follow_one_another_are_one_volume(tmp_path):
    volume = scan(size=(9.0, 8.0, 24.0), spacing=(1, 1, 1))
    acquisitions(tmp_path, (volume, {"only": range(13)}), (volume, {"only": range(12, 24)}), shift_mm=0.0)
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == ["1 duplicate slice was left out."]


def test_of_an_acquisition_that_goes_on_from_another_the_overlap_is_left_out(tmp_path):
    volume = scan(size=(9.0, 8.0, 24.0), spacing=(1, 1, 1))
    last = Volume(np.full_like(volume.array, 500), volume.affine)
    acquisitions(tmp_path, (volume, {"only": range(13)}), (last, {"only": range(10, 24)}), shift_mm=0.5)
    read, notes = read_volume(tmp_path)
    # The second one is larger, so that the first one ends where it begins: below 10.5 mm.
    assert notes[0] == overlap(2) and len(notes) == 2 and "unevenly spaced" in notes[1]
    assert (read.array[11:] == 500).all() and np.ptp(read.array[:11], axis=(1, 2)).min() > 1000
    assert read.grid.extent_mm[2] == pytest.approx(24.5, abs=0.1)


def test_what_only_the_smaller_acquisition_shows_is_kept(tmp_path):
    """Most of it lies in the larger one."""
    volume = scan(size=(9.0, 8.0, 24.0), spacing=(1, 1, 1))
    last = Volume(np.full_like(volume.array, 500), volume.affine)
    acquisitions(tmp_path, (volume, {"only": range(16)}), (last, {"only": range(8, 20)}), shift_mm=0.5)
    read, notes = read_volume(tmp_path)
    assert notes[0] == overlap(7) and (read.array[-4:] == 500).all()
    assert read.grid.extent_mm[2] == pytest.approx(20.5, abs=0.1)


@pytest.mark.parametrize(
    ("number", "thickness"),
    [
        (lambda k: k, 1.0), (lambda k: -k, 1.3), (lambda k: k // 4, 1.3), (lambda k: k % 6, 1.3),
        (lambda k: k % 2, 1.0), (lambda k: k % 2, 1.3), (lambda k: k, None), (lambda k: k % 2, None),
        (lambda k: k % 6, None),
    ],
)  # fmt: skip
def test_numbers_of_single_slices_and_turns_keep_none_apart(number, thickness, tmp_path):
    """As scanners count each slice, blocks of slices, two at a time, or those that an MR takes in turns."""
    volume = scan(size=SIZE, spacing=(1, 1, 1))
    SeriesWriter(tmp_path).write(volume)

    def change(ds):
        ds.AcquisitionNumber, ds.SliceThickness = number(int(ds.InstanceNumber)), thickness
        ds.AcquisitionTime = f"0930{ds.InstanceNumber:02d}"

    edit(tmp_path, change)
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, volume)


def test_copies_are_no_phases(tmp_path):
    volume = scan(size=SIZE)
    SeriesWriter(tmp_path).write(volume)
    for path in sorted(tmp_path.iterdir()):
        path.with_name(f"{path.name} (copy)").write_bytes(path.read_bytes())
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == [PHASES]


def without_spacing(ds) -> None:
    del ds.PixelSpacing


@pytest.mark.parametrize(
    "change",
    [
        without_spacing,
        lambda ds: setattr(ds, "PixelSpacing", ""),
        lambda ds: setattr(ds, "PixelSpacing", [0, 0]),
        # Of the detector, not in the patient.
        lambda ds: ds.update({"PixelSpacing": None, "ImagerPixelSpacing": [0.5, 0.5]}),
    ],
)
def test_slices_without_a_voxel_size_are_refused(change, tmp_path):
    SeriesWriter(tmp_path).write(scan(size=SIZE))
    edit(tmp_path, change)
    with pytest.raises(InputRefused, match="'IM09987' does not state how large its voxels are: export the scan again."):
        read_volume(tmp_path)


def test_one_slice_without_a_voxel_size_is_left_out_and_said(tmp_path):
    volume = scan(size=SIZE)
    SeriesWriter(tmp_path).write(volume)
    edit(min(tmp_path.iterdir()), without_spacing)
    read, notes = read_volume(tmp_path)
    assert len(read.array) == len(volume.array) - 1
    assert notes == ["1 image was left out, whose place or voxel size can't be read."]


@pytest.mark.parametrize("stated", [None, "", [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0]])
def test_an_orientation_that_is_not_stated_is_said(stated, tmp_path):
    volume = scan(size=SIZE)
    SeriesWriter(tmp_path).write(volume)

    def change(ds):
        del ds.ImageOrientationPatient
        if stated is not None:
            ds.ImageOrientationPatient = stated

    edit(tmp_path, change)
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == [UNSTATED_ORIENTATION]


def test_an_orientation_that_is_not_stated_is_said_where_it_leaves_no_stack(tmp_path):
    SeriesWriter(tmp_path).write(scan("coronal", size=SIZE))
    edit(tmp_path, lambda ds: delattr(ds, "ImageOrientationPatient"))
    with pytest.raises(InputRefused, match=f"Only 1 slice .*{UNSTATED_ORIENTATION}"):
        read_volume(tmp_path)


@pytest.mark.parametrize("first", [0.0, -1024.0])
def test_slices_that_are_stored_in_different_ways_are_one_volume(first, tmp_path):
    """Unsigned values as some exports have them, of which GDCM takes the type from slice to slice."""
    volume = scan(size=SIZE)
    volume.array[:2] = np.abs(volume.array[:2])
    writer = SeriesWriter(tmp_path)
    for intercept, only in ((first, range(2)), (-1024.0, range(2, len(volume.array)))):
        writer.intercept = intercept
        writer.write(volume, only=only)
    edit(tmp_path, lambda ds: setattr(ds, "PixelRepresentation", 0))
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert read.array.dtype == np.int16
    assert_same_voxels_in_space(read, volume)
