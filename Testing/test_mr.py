"""Signals of MR: what networks see of them, what is refused, what is shown, and levels without a network that names."""

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.checks import check_input
from SpineContextSegLib.errors import UnlikelyValues
from SpineContextSegLib.levels import A_GUESS, read_levels
from SpineContextSegLib.mr import BRIGHT, has_hounsfield_units, segmented_in_hounsfield_units, standardized
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.spacing import looks_by_spacing
from SpineContextSegLib.views import WINDOW_HU, display_range
from SpineContextSegLib.volume import Volume
from Testing.scans import MRS, ct, mr, needs_scans

AFFINE = np.diag([0.8, 0.8, 4.0, 1.0])


def signal(dtype=np.int16):
    return np.random.default_rng(3).gamma(2.0, 150.0, (12, 40, 40)).astype(dtype)


@pytest.mark.parametrize("factor", [0.001, 1.0, 37.0])
def test_values_do_not_depend_on_the_scanner_s_scale(factor):
    usual = standardized(Volume(signal(np.float32), AFFINE)).array
    scaled = standardized(Volume(signal(np.float32) * np.float32(factor), AFFINE)).array
    assert scaled.dtype == np.float32 and np.allclose(scaled, usual, rtol=1e-4)
    assert np.mean(usual > BRIGHT) == pytest.approx(0.01, abs=0.002)


def test_the_order_of_signals_stays_and_the_volume_is_not_changed():
    array = signal()
    before = array.copy()
    result = standardized(Volume(array, AFFINE))
    assert np.array_equal(array, before) and np.array_equal(result.affine, AFFINE)
    order = np.argsort(array.ravel(), kind="stable")
    assert (np.diff(result.array.ravel()[order]) >= 0).all()


def test_brightness_is_that_of_all_slices_however_they_are_stored():
    """Sagittal slices of 1024 x 512 pixels, the outermost of them blank, stored one after another and side by side."""
    slices = np.random.default_rng(3).gamma(2.0, 150.0, (8, 1024, 512)).astype(np.float32)
    slices[0] = 0
    beside = np.ascontiguousarray(np.moveaxis(slices, 0, 2))
    bright = np.percentile(slices[1:], 99)
    for array in (slices, beside):
        values = standardized(Volume(array, AFFINE)).array
        assert np.mean(values[array > 0] > BRIGHT) == pytest.approx(0.01, abs=0.001)
        assert display_range(array)[1] == pytest.approx(bright, rel=0.05)


def test_odd_voxels_are_dark():
    array = signal(np.float32)
    array[0, 0, :4] = np.nan, np.inf, -np.inf, -80.0
    assert (standardized(Volume(array, AFFINE)).array[0, 0, :4] == 0).all()
    assert not standardized(Volume(np.zeros((4, 5, 6), np.int16), AFFINE)).array.any()


def test_window_of_a_ct_is_that_of_bone_and_of_an_mr_its_own():
    assert display_range(signal() - 1000) == WINDOW_HU
    low, high = display_range(signal())
    assert 0 <= low < np.median(signal()) < high < signal().max()
    assert np.diff(display_range(np.full((3, 3, 3), 7))) > 0


@needs_scans
@pytest.mark.parametrize("name", MRS)
def test_mr_is_let_through_only_to_a_model_for_mr(name):
    volume, _ = read_volume(mr(name))
    assert not has_hounsfield_units(volume.array)
    check_input(volume, modality="MR")
    with pytest.raises(UnlikelyValues, match="spinecontext-mr"):
        check_input(volume, modality="CT")


@needs_scans
@pytest.mark.parametrize("name", ["abdomen_3mm", "lumbar_crop", "thorax_crop"])
def test_ct_is_not_let_through_to_a_model_for_mr(name):
    volume, _ = read_volume(ct(name))
    with pytest.raises(UnlikelyValues, match="model made for CT"):
        check_input(volume, modality="MR")
    assert check_input(volume, modality="MR", force=True)


def test_a_ct_stays_a_ct_with_voxels_that_hold_no_number():
    array = signal(np.float32) - 500
    array[0] = np.nan
    assert has_hounsfield_units(array) and not has_hounsfield_units(np.abs(array))


def test_values_about_zero_are_no_ct():
    """An MR standardized by someone else, and one with what interpolation leaves beside an edge."""
    array = signal(np.float32)
    assert not has_hounsfield_units((array - array.mean()) / array.std())
    array.flat[:15] = -80
    assert not has_hounsfield_units(array)


@pytest.mark.parametrize("most", [1000, 30_000])
def test_an_mr_that_interpolation_has_taken_below_zero_is_no_ct(most):
    """Its background was blanked: beside edges, a spline leaves values below zero."""
    coarse = np.random.default_rng(3).gamma(2.0, most / 8, (12, 12, 12))
    coarse[:, :4] = coarse[:, :, :3] = 0
    image = sitk.GetImageFromArray(np.repeat(np.repeat(coarse, 3, 1), 3, 2).astype(np.float32))
    finer = [0.37, 0.37, 0.37]
    size = [int((n - 1) / step) for n, step in zip(image.GetSize(), finer)]
    resampled = sitk.Resample(image, size, sitk.Transform(), sitk.sitkBSpline, (0, 0, 0), finer)
    array = sitk.GetArrayFromImage(resampled)
    assert np.mean(array < -50) > 0.004 and not has_hounsfield_units(array)


def test_a_ct_of_little_but_bone_is_a_ct():
    array = np.random.default_rng(5).normal(250, 120, (20, 40, 40))
    assert np.mean(array < -50) < 0.01 and has_hounsfield_units(array)


def test_whoever_ran_a_model_knows_what_the_values_are():
    assert segmented_in_hounsfield_units("CT", forced=False) is True
    assert segmented_in_hounsfield_units("CT", forced=True) is None
    assert [segmented_in_hounsfield_units("MR", forced=forced) for forced in (False, True)] == [False, False]


def test_odd_distances_leave_some_level():
    for gaps in ([2.0, 30.0], [120.0], [30.0, 300.0, 31.0]):
        looks = np.stack(list(looks_by_spacing(column(gaps)).values()))
        assert np.isfinite(looks).all() and np.allclose(looks.sum(0), 1)


def column(gaps_mm):
    return np.array([[0.0, 0.0, -z] for z in np.insert(np.cumsum(gaps_mm), 0, 0.0)])


def test_sacrum_below_gives_lumbar_levels_without_a_network():
    centers = column([27.0, 29.0, 31.0, 33.0, 35.0, 36.0])
    levels = read_levels(looks_by_spacing(centers), centers, sacrum_below=True)
    assert levels.values == (18, 19, 20, 21, 22, 23, 24) and levels.confidence > A_GUESS


def test_spacing_alone_knows_the_region_and_is_not_certain():
    lumbar, neck = column([31.0, 33.0, 35.0]), column([17.0, 17.5, 18.0, 18.0])
    for centers, region in ((lumbar, range(18, 26)), (neck, range(1, 11))):
        levels = read_levels(looks_by_spacing(centers), centers, sacrum_below=False)
        assert set(levels.values) <= set(region) and not levels.certain
    (alone,) = {len(column([])), *map(len, looks_by_spacing(column([])).values())}
    assert alone == 1
