"""Headers at the edge of what NIfTI says: axes nearly at right angles, which it holds only by taking right angles, and
an intercept without a slope."""

import struct

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Grid, Volume
from SpineContextSegLib.writing import check_output, write_volume
from Testing.geometry import OBLIQUE
from Testing.test_reading import nifti, refusal

TURNS = {"straight": np.eye(3), "oblique": OBLIQUE}


def nearly_straight(shear: float, slices: int, turn: np.ndarray) -> Volume:
    """In-plane lines that move sideways by `shear` mm per mm of height."""
    affine = np.diag([-0.8, -0.8, 1.0, 1.0])
    affine[1, 2] = shear
    affine[:3, :3] = turn @ affine[:3, :3]
    return Volume(np.zeros((slices, 20, 20), np.int16), affine)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("shear", [1.7e-4, 3e-4, 4.5e-4])
def test_one_transform_that_itk_cant_read_is_told_as_what_it_is(shear, turn, tmp_path):
    volume = nearly_straight(shear, 20, turn)
    assert not volume.grid.is_sheared
    nifti(volume, tmp_path / "a.nii", codes=(1, 0))
    assert "sheared" in refusal(tmp_path / "a.nii")
    nifti(volume, tmp_path / "b.nii", codes=(1, 1))
    assert read_volume(tmp_path / "b.nii")[0].grid.same_as(volume.grid, tolerance_mm=0.1)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_one_transform_that_itk_can_read_is_read(turn, tmp_path):
    volume = nearly_straight(0.9e-4, 20, turn)
    nifti(volume, tmp_path / "a.nii", codes=(1, 0))
    assert read_volume(tmp_path / "a.nii")[0].grid.same_as(volume.grid, tolerance_mm=1e-3)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize(("shear", "slices", "held"), [(4.5e-4, 700, False), (4.5e-4, 100, True), (1e-4, 700, True)])
def test_what_is_written_comes_back_to_its_place_or_is_refused(shear, slices, held, turn, tmp_path):
    volume, path = nearly_straight(shear, slices, turn), tmp_path / "spine.nii.gz"
    if not held:
        with pytest.raises(InputRefused, match=r"write to 'spine\.seg\.nrrd'"):
            check_output(path, volume.grid)
        return
    write_volume(volume, path)
    assert read_volume(path)[0].grid.same_as(volume.grid, tolerance_mm=0.1)


def test_a_left_handed_grid_is_held(tmp_path):
    grid = Grid((700, 20, 20), np.diag([0.8, -0.8, -1.0, 1.0]))
    check_output(tmp_path / "a.nii", grid)
    check_output(tmp_path / "a.nii", Grid(grid.shape, np.diag([0.8, -0.8, 1.0, 1.0])))


@pytest.mark.parametrize("intercept", [-1024.0, 0.1, float("nan")])
def test_without_a_slope_there_is_no_intercept(intercept, tmp_path):
    """As nifti1.h wants it: voxels are scaled where the slope isn't 0."""
    path, volume = tmp_path / "a.nii", Volume(np.arange(8000, dtype=np.int16).reshape(20, 20, 20), np.eye(4))
    nifti(volume, path)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<2f", raw, 112, 0.0, intercept)
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_volume(path)[0].array, volume.array)
    np.testing.assert_array_equal(read_labels(path).array, volume.array)
