"""Which of the series and images of a DICOM folder are taken."""

import shutil

import numpy as np
import pytest
from pydicom.uid import generate_uid

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume
from Testing.dicom_series import SeriesWriter, assert_same_voxels_in_space, edit, localizer, scan
from Testing.geometry import LPS, centered_grid, rotation


def test_largest_ct_series_is_taken_and_said(tmp_path):
    small, large = scan(size=(24, 20, 15)), scan(size=(24, 20, 30))
    magnet = scan(size=(40, 40, 60))
    SeriesWriter(tmp_path / "a", description="Thin").write(small)
    SeriesWriter(tmp_path / "b", description="Bone").write(large)
    SeriesWriter(tmp_path / "c", description="T2", modality="MR").write(magnet)
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, large)
    assert len(notes) == 1 and "3 series" in notes[0] and '"Bone"' in notes[0] and "30 slices" in notes[0]


def test_largest_series_of_the_wanted_modality(tmp_path):
    ct, magnet = scan(size=(40, 40, 60)), scan(size=(24, 20, 15))
    SeriesWriter(tmp_path / "a", description="Bone").write(ct)
    SeriesWriter(tmp_path / "b", description="T2", modality="MR").write(magnet)
    read, notes = read_volume(tmp_path, "MR")
    assert_same_voxels_in_space(read, magnet)
    assert notes == ['The folder holds 2 series; the largest MR series "T2" with 15 slices was taken.']
    assert_same_voxels_in_space(read_volume(tmp_path)[0], ct)


def test_images_at_one_position_make_a_series_no_larger(tmp_path):
    """As the b-values of a diffusion series, the echoes and the time points of others."""
    anatomy, diffusion = scan(size=(24, 20, 15)), scan(size=(24, 20, 10))
    SeriesWriter(tmp_path / "a", description="T2", modality="MR").write(anatomy)
    writer = SeriesWriter(tmp_path / "b", description="DWI", modality="MR")
    for b_value in range(3):
        writer.write(Volume(diffusion.array + b_value, diffusion.affine))
    read, notes = read_volume(tmp_path, "MR")
    assert_same_voxels_in_space(read, anatomy)
    assert notes == ['The folder holds 2 series; the largest MR series "T2" with 15 slices was taken.']
    SeriesWriter(tmp_path / "c", description="Scout", modality="MR").write(scan(size=(24, 20, 4)))
    shutil.rmtree(tmp_path / "a")
    read, notes = read_volume(tmp_path, "MR")
    assert_same_voxels_in_space(read, diffusion)
    assert notes[0] == 'The folder holds 2 series; the largest MR series "DWI" with 10 slices was taken.'


@pytest.mark.parametrize(
    ("wanted", "there", "said"),
    [("CT", "MR", []), ("MR", "CT", ["No MR series was found: the series is a CT."])],
)
def test_the_other_one_of_ct_and_mr_comes_before_what_is_no_scan(wanted, there, said, tmp_path):
    volume = scan(size=(24, 20, 15))
    SeriesWriter(tmp_path / "a", description="T2", modality=there).write(volume)
    SeriesWriter(tmp_path / "b", description="Drawn", modality="SEG").write(scan(size=(40, 40, 60)))
    SeriesWriter(tmp_path / "c", description="Fused", modality="PT").write(scan(size=(40, 40, 60)))
    read, notes = read_volume(tmp_path, wanted)
    assert_same_voxels_in_space(read, volume)
    taken = f'The folder holds 3 series; the largest {there} series "T2" with 15 slices was taken.'
    assert notes == [*said, taken]


@pytest.mark.parametrize(("modality", "said"), [("MR", []), ("PT", ["The series is PT, neither CT nor MR."])])
def test_other_modality_is_read(tmp_path, modality, said):
    volume = scan()
    SeriesWriter(tmp_path, modality=modality).write(volume)
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == said


def test_localizers_are_left_out(tmp_path):
    volume = scan()
    writer = SeriesWriter(tmp_path)
    writer.write(volume)
    writer.image_type = ("ORIGINAL", "PRIMARY", "LOCALIZER")
    writer.write(scan("coronal"), only=[0])
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == ["1 localizer image was left out."]


@pytest.mark.parametrize("slices", [1, 3, 7])
def test_localizers_that_do_not_say_so_are_left_out(slices, tmp_path):
    """Of larger pictures than the scan."""
    volume = scan(size=(24, 20, 4))
    SeriesWriter(tmp_path / "a", description="T2", modality="MR").write(volume)
    localizer(tmp_path / "b", slices)
    for modality in ("CT", "MR"):
        read, notes = read_volume(tmp_path, modality)
        assert_same_voxels_in_space(read, volume)
        assert notes == [f"{3 * slices} localizer images were left out."]


def to_color(ds) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = bytes(3 * ds.Rows * ds.Columns + ds.Rows * ds.Columns % 2)
    del ds.RescaleSlope, ds.RescaleIntercept


def to_palette(ds) -> None:
    to_color(ds)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "PALETTE COLOR"
    ds.PixelData = bytes(ds.Rows * ds.Columns)
    del ds.PlanarConfiguration
    for n in range(3):
        ds.add_new((0x0028, 0x1101 + n), "US", [256, 0, 8])
        ds.add_new((0x0028, 0x1201 + n), "OW", bytes(range(256)))


@pytest.mark.parametrize("paint", [to_color, to_palette])
@pytest.mark.parametrize(("modality", "size"), [("CT", (24, 20, 30)), ("CT", (40, 40, 60)), ("MR", (40, 40, 60))])
def test_what_is_in_color_is_left_out_and_said(paint, modality, size, tmp_path):
    """As a series on which directions or vessels were drawn, as large as the scan or larger."""
    volume = scan(size=(24, 20, 30))
    SeriesWriter(tmp_path / "a_rgb", modality=modality).write(scan(size=size))
    edit(tmp_path / "a_rgb", paint)
    SeriesWriter(tmp_path / "scan", modality=modality).write(volume)
    read, notes = read_volume(tmp_path, modality)
    assert_same_voxels_in_space(read, volume)
    assert notes == [f"{len(scan(size=size).array)} color images were left out."]


def test_a_key_image_in_the_series_is_left_out_and_said(tmp_path):
    volume = scan()
    writer = SeriesWriter(tmp_path)
    writer.write(volume, only=[7])
    edit(tmp_path, to_color)
    writer.write(volume)
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == ["1 color image was left out."]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_nothing_but_color_is_refused(modality, tmp_path):
    SeriesWriter(tmp_path, modality=modality).write(scan())
    edit(tmp_path, to_color)
    with pytest.raises(InputRefused, match=f"The series is in color: give the original {modality} series."):
        read_volume(tmp_path, modality)


def test_nothing_but_a_localizer_is_said(tmp_path):
    localizer(tmp_path / "three", 3)
    read, notes = read_volume(tmp_path / "three", "MR")
    assert len(read.array) == 3 and notes[0] == "There are only localizer images, so look at the result with care."
    localizer(tmp_path / "one", 1)
    with pytest.raises(InputRefused, match="Only 1 slice .* only localizer images"):
        read_volume(tmp_path / "one", "MR")


def test_a_scan_is_no_localizer_for_what_else_is_in_its_series(tmp_path):
    """After an anonymization that gives all series of a patient one number."""
    volume, uid = scan("sagittal_thick", size=(40, 40, 55)), generate_uid()
    SeriesWriter(tmp_path / "a", modality="MR", series_uid=uid).write(volume)
    localizer(tmp_path / "b", 3, series_uid=uid)
    read, notes = read_volume(tmp_path, "MR")
    assert_same_voxels_in_space(read, volume)
    assert len(notes) == 1 and notes[0].startswith("9 images were left out, of another size or orientation")


def test_slices_along_each_disc_are_no_localizer(tmp_path):
    """Few in each of many orientations, all about axial."""
    writer = SeriesWriter(tmp_path, modality="MR")
    for degrees in (-30, -15, 0, 15, 40):
        grid = centered_grid((1, 1, 4), (30, 30, 20), rotation(degrees, 0) @ rotation(degrees / 5, 1) @ LPS)
        writer.write(Volume(np.zeros(grid.shape, np.int16), grid.affine))
    read, notes = read_volume(tmp_path, "MR")
    assert len(read.array) == 5
    assert len(notes) == 1 and notes[0].startswith("20 images were left out, of another size or orientation")


def test_image_of_another_orientation_in_the_series_is_left_out(tmp_path):
    volume = scan()
    writer = SeriesWriter(tmp_path)
    writer.write(volume)
    writer.write(scan("coronal"), only=[0, 1])
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert len(notes) == 1 and notes[0].startswith("2 images were left out, of another")


def test_directions_that_differ_in_the_last_digits_are_one_stack(tmp_path):
    volume = scan("upright")
    writer = SeriesWriter(tmp_path)
    turned = []
    for sine, first in ((0.1234999, 0), (0.1235001, 1)):
        affine = volume.affine.copy()
        cosine = np.sqrt(1 - sine**2)
        affine[:3, :3] = [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]] * volume.grid.spacing_mm
        turned.append(Volume(volume.array, affine))
        writer.write(turned[-1], only=range(first, len(volume.array), 2))
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert_same_voxels_in_space(read, turned[0])
