"""DICOM slices that are missing, doubled, uneven or shifted."""


import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume
from Testing.dicom_series import SeriesWriter, assert_same_voxels_in_space, part, ramp, scan
from Testing.geometry import GRIDS, centered_grid, world_positions


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
    normal = np.cross(*volume.grid.directions.T[:2])  # of tilted slices the distance, not the way along the table
    step = abs(volume.grid.affine[:3, 2] @ normal)
    assert len(notes) == 1 and f"interpolated to {len(volume.array)} slices" in notes[0]
    assert f"gaps up to {3 * step:.3g} mm" in notes[0]


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
