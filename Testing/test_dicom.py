import os
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless, generate_uid

from SpineContextSegLib.dicom_folder import is_dicom_file
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume
from Testing.dicom_series import SeriesWriter, edit, localizer, multi_frame, part
from Testing.geometry import GRIDS, LPS, SHEARED, centered_grid, rotation, world_positions


def scan(name="lps", size=(24.0, 20.0, 30.0), spacing=None) -> Volume:
    """Noise in HU on a small grid with the directions of a known one."""
    grid = GRIDS[name]
    directions, spacing = grid.directions, spacing or grid.spacing_mm
    grid = centered_grid(spacing, size, directions)
    return Volume(np.random.default_rng(0).integers(-1024, 2000, grid.shape).astype(np.int16), grid.affine)


def ramp(volume: Volume) -> Volume:
    """HU that grow along the body, so that interpolated slices have a known value."""
    return Volume(np.rint(world_positions(volume.grid)[..., 2] * 10 - 2000).astype(np.int16), volume.affine)


def assert_same_voxels_in_space(read: Volume, written: Volume) -> None:
    """Equal values at equal world positions; the order of slices is free."""
    if not np.allclose(read.affine[:3, 3], written.affine[:3, 3], atol=1e-3):
        flip = np.diag([1.0, 1.0, -1.0, 1.0])
        flip[2, 3] = len(written.array) - 1
        written = Volume(written.array[::-1], written.affine @ flip)
    assert read.grid.same_as(written.grid, tolerance_mm=1e-3)
    np.testing.assert_array_equal(read.array, written.array)


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


def test_duplicate_slices_are_dropped_and_counted(tmp_path):
    volume = scan()
    writer = SeriesWriter(tmp_path)
    writer.write(volume)
    writer.write(Volume(volume.array + 1, volume.affine), only=[4, 9])
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert notes == ["2 duplicate slices were left out."]


def test_of_two_phases_the_earlier_is_taken(tmp_path):
    volume = scan()
    writer = SeriesWriter(tmp_path)
    writer.write(volume)
    writer.write(Volume(volume.array + 1, volume.affine))
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, volume)
    assert len(notes) == 1 and "2 images per position" in notes[0]


@pytest.mark.parametrize("name", ["lps", "sheared"])
def test_missing_slices_are_interpolated_and_said(name, tmp_path):
    volume = ramp(scan(name, size=(24, 20, 60)))
    missing = {5, 6, 11}
    SeriesWriter(tmp_path).write(volume, only=[k for k in range(len(volume.array)) if k not in missing])
    read, notes = read_volume(tmp_path)
    assert read.grid.same_as(volume.grid, tolerance_mm=1e-3)
    assert np.abs(read.array.astype(int) - volume.array).max() <= 1
    step = volume.grid.affine[2, 2] if name == "lps" else None
    assert len(notes) == 1 and f"interpolated to {len(volume.array)} slices" in notes[0]
    assert step is None or f"gaps up to {3 * step:.3g} mm" in notes[0]


def test_one_missing_slice_of_thick_ones_is_interpolated(tmp_path):
    volume = ramp(scan(size=(24, 20, 60), spacing=(1, 1, 5)))
    SeriesWriter(tmp_path).write(volume, only=[0, 1, 2, 4, 5, 6, 7, 9, 10, 11])
    read, notes = read_volume(tmp_path)
    assert read.grid.same_as(volume.grid, tolerance_mm=1e-3)
    assert np.abs(read.array.astype(int) - volume.array).max() <= 1
    assert len(notes) == 1 and "gaps up to 10 mm" in notes[0]


@pytest.mark.parametrize("name", ["lps", "sheared"])
def test_of_blocks_with_wide_gaps_between_the_longest_is_taken(name, tmp_path):
    """As of a lumbar MR that looks at one disc, then at the next. What lies between can't be told from both ends."""
    volume = scan(name, size=(24, 20, 120), spacing=(1, 1, 4))
    SeriesWriter(tmp_path, modality="MR").write(volume, only=[*range(4), *range(10, 16), *range(22, 27)])
    read, notes = read_volume(tmp_path)
    assert_same_voxels_in_space(read, part(volume, 10, 16))
    gap = 7 * 4 * abs(volume.grid.directions[:, 2] @ np.cross(*volume.grid.directions[:, :2].T))
    assert notes == [
        f"The series has gaps of up to {gap:.0f} mm, too wide to be filled: only its longest run of 6 slices was taken,"
        " and 9 images were left out."
    ]


def test_blocks_of_too_few_slices_are_refused(tmp_path):
    SeriesWriter(tmp_path).write(scan(spacing=(1, 1, 2)), only=[0, 1, 6, 7, 12, 13])
    with pytest.raises(InputRefused, match="Only 2 slices .* gaps of up to 10 mm, too wide .* 4 images were left out"):
        read_volume(tmp_path)


def test_uneven_spacing_is_put_right(tmp_path):
    """2 mm slices below, 4 mm above: every value must stand at its own height."""
    heights = np.concatenate([np.arange(0, 30, 2.0), np.arange(30, 61, 4.0)])
    grid = centered_grid((1, 1, 1), (12, 10, len(heights)), GRIDS["lps"].directions)
    first = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine)[:3, 3]
    positions = first + np.outer(heights, (0, 0, 1))
    array = np.broadcast_to((10 * heights)[:, None, None], grid.shape).astype(np.int16)
    SeriesWriter(tmp_path).write(Volume(array, grid.affine), positions_lps=positions)
    read, notes = read_volume(tmp_path)
    expected = (world_positions(read.grid)[..., 2] - first[2]) * 10
    # No more than a hundredth of a slice.
    assert np.abs(read.array - expected).max() <= 0.02 * 10 * 2
    assert read.grid.spacing_mm[2] == pytest.approx(2.0, rel=0.05)
    assert len(notes) == 1 and "unevenly spaced" in notes[0] and "gaps up to 4 mm" in notes[0]


def test_rounded_positions_are_not_called_uneven(tmp_path):
    volume = scan(spacing=(0.7, 0.7, 0.625))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    positions = np.round([lps[:3, 3] + k * lps[:3, 2] for k in range(len(volume.array))], 2)
    SeriesWriter(tmp_path).write(volume, positions_lps=positions)
    read, notes = read_volume(tmp_path)
    assert notes == []
    assert read.grid.same_as(volume.grid, tolerance_mm=0.02)


def test_slices_shifted_sideways_are_refused(tmp_path):
    volume = scan()
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    positions = np.array([lps[:3, 3] + k * lps[:3, 2] for k in range(len(volume.array))])
    positions[10:20, 0] += 15.0
    SeriesWriter(tmp_path).write(volume, positions_lps=positions)
    with pytest.raises(InputRefused, match="shifted against each other by up to 15 mm"):
        read_volume(tmp_path)


def test_single_slices_are_refused(tmp_path):
    SeriesWriter(tmp_path).write(scan(), only=[3, 4])
    with pytest.raises(InputRefused, match="Only 2 slices"):
        read_volume(tmp_path)
    with pytest.raises(InputRefused, match="Only 1 slice .* the whole CT series"):
        read_volume(next(tmp_path.iterdir()))
    with pytest.raises(InputRefused, match="the whole MR series"):
        read_volume(next(tmp_path.iterdir()), "MR")


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
