"""Headers that round where slices lie and how they are turned: none of that is a tilted gantry."""

import numpy as np
import pytest

from SpineContextSegLib.dicom_seg import find_images
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import SeriesWriter, edit, multi_frame
from Testing.geometry import LPS, SAGITTAL, centered_grid, rotation


def oblique_sagittal(seed: int) -> Volume:
    """15 slices as of a lumbar MR, turned about all axes."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.multi_dot([rotation(degrees, axis) for axis, degrees in enumerate(rng.uniform(-20, 20, 3))])
    grid = centered_grid((0.6, 0.6, -4.0), (30, 30, -60), turned @ SAGITTAL, center=rng.uniform(-50, 50, 3))
    return Volume(np.zeros(grid.shape, np.int16), grid.affine)


def rounded(position: int, orientation: int):
    def change(ds) -> None:
        ds.ImagePositionPatient = [round(float(n), position) for n in ds.ImagePositionPatient]
        ds.ImageOrientationPatient = [round(float(n), orientation) for n in ds.ImageOrientationPatient]

    return change


@pytest.mark.parametrize("decimals", [(1, 6), (6, 3), (1, 4)])
@pytest.mark.parametrize("seed", range(8))
def test_rounded_headers_of_oblique_slices_are_no_tilt(seed, decimals, tmp_path):
    volume = oblique_sagittal(seed)
    SeriesWriter(tmp_path / "mr", modality="MR").write(volume)
    edit(tmp_path / "mr", rounded(*decimals))
    read, notes = read_volume(tmp_path / "mr", "MR")
    assert notes == [] and not read.grid.is_sheared
    assert read.grid.same_as(volume.grid, tolerance_mm=0.2)
    write_volume(read, tmp_path / "scan.nii.gz")
    assert read_volume(tmp_path / "scan.nii.gz")[0].grid.same_as(read.grid, tolerance_mm=1e-3)


def test_dicom_seg_refers_to_slices_with_rounded_headers(tmp_path):
    pytest.importorskip("highdicom")
    SeriesWriter(tmp_path, modality="MR").write(oblique_sagittal(0))
    edit(tmp_path, rounded(1, 6))
    read, _ = read_volume(tmp_path, "MR")
    assert find_images(tmp_path, read.grid, "MR").grid.same_as(read.grid)


@pytest.mark.parametrize("frames", [False, True], ids=["slices", "frames"])
def test_one_degree_of_tilt_is_kept_also_in_a_short_stack(frames, tmp_path):
    grid = centered_grid((0.8, 0.8, 2.0), (20, 20, 14), LPS)
    affine = grid.affine.copy()
    affine[1, 2] = np.tan(np.radians(1.0)) * affine[2, 2]
    volume = Volume(np.zeros(grid.shape, np.int16), affine)
    multi_frame(volume, tmp_path / "ct.dcm") if frames else SeriesWriter(tmp_path).write(volume)
    read, _ = read_volume(tmp_path)
    assert read.grid.is_sheared and read.grid.same_as(volume.grid)
