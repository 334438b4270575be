from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.checks import check_geometry, check_input, check_result, clipped_warnings, is_coarse
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.even_sample import SAMPLE_VOXELS, even_sample
from SpineContextSegLib.hounsfield import CLIPPED
from SpineContextSegLib.mr import has_hounsfield_units
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Grid, Volume
from Testing.geometry import GRIDS, SAGITTAL
from Testing.scans import CTS, MRS, ct, mr, needs_scans

# What is added to the values, and how they are called then.
WRONG_INTERCEPTS = [(1000, "1000 too high"), (1024, "1000 too high"), (-1000, "1000 too low"), (-1024, "1000 too low")]
RAS_2MM = np.diag([2.0, 2.0, 2.0, 1.0])


real_scan = cache(read_volume)


def phantom(shape=(30, 70, 90)) -> np.ndarray:
    """HU (k, j, i), 2 mm: an oval body of fat and muscle with one column of bone, in air, noise of 20 HU."""
    j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[1:]), indexing="ij")
    radius = np.hypot(i / 0.9, j / 0.8)
    plane = np.select([radius < 0.75, radius < 1.0], [50.0, -100.0], -1000.0)
    plane[np.hypot(i, j + 0.4) < 0.2] = 300.0
    return np.repeat(plane[None], shape[0], axis=0) + np.random.default_rng(0).normal(0, 20, shape)


def ct_volume(array=None) -> Volume:
    return Volume((phantom() if array is None else array).astype(np.float32), RAS_2MM)


def refusal(volume: Volume, **options) -> str:
    with pytest.raises(InputRefused) as caught:
        check_input(volume, **options)
    message = str(caught.value)
    # One sentence, saying what is wrong and, after the colon, what to do.
    assert message.endswith(".") and ". " not in message and "\n" not in message and ": " in message
    return message


@pytest.mark.parametrize("shape", [(20, 30, 40), (60, 512, 512), (600, 512, 512)])
def test_a_sample_is_no_larger_than_needed(shape):
    size = even_sample(np.broadcast_to(np.int16(0), shape)).size
    assert min(np.prod(shape), SAMPLE_VOXELS / 8) <= size <= SAMPLE_VOXELS


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sample_has_something_of_each_of_few_slices(axis):
    slices = np.arange(20, dtype=np.int16)[:, None, None]
    stored = np.moveaxis(np.broadcast_to(slices, (20, 1024, 512)), 0, axis)
    assert len(np.unique(even_sample(stored))) == 20


def test_a_plain_ct_passes_without_a_word():
    assert check_input(ct_volume()) == []


@pytest.mark.parametrize(("low", "high"), [(-160, 240), (-160, 151), (-1024, 280)])
def test_a_ct_that_was_saved_as_a_soft_tissue_window_is_told(low, high):
    told = [f"CT numbers end at {high} HU: bone is clipped, so that HU of vertebral bodies may come out too low."]
    clipped = ct_volume(np.clip(phantom(), low, high))
    assert [warning for warning in check_input(clipped) if "clipped" in warning] == told
    assert clipped_warnings(clipped) == told
    whole = np.array(clipped.array)
    whole[0, 0, :5] = np.nan
    assert clipped_warnings(Volume(whole, RAS_2MM)) == told


@pytest.mark.parametrize("bone", [200.0, 300.0, 900.0])
def test_a_ct_without_dense_bone_is_not_clipped(bone):
    """Nor one that was drawn with a single value for it."""
    drawn = phantom()
    is_bone = drawn > 200
    assert clipped_warnings(ct_volume(np.where(is_bone, drawn + bone - 300, drawn))) == []
    assert clipped_warnings(ct_volume(np.where(is_bone, bone, drawn))) == []


@needs_scans
@pytest.mark.parametrize("name", CTS)
def test_real_scans_are_clipped_where_they_were_cut_off(name):
    volume, _ = real_scan(ct(name))
    assert clipped_warnings(volume) == []
    for high in (150, 240, 600):
        assert len(clipped_warnings(Volume(np.clip(volume.array, -160, high), volume.affine))) == 1


@pytest.mark.parametrize("shape", [(40, 40), (2, 30, 40, 40), (30, 40, 40, 3)])
def test_other_than_three_dimensions_is_refused(shape):
    volume = Volume(np.zeros(shape, np.int16), RAS_2MM)
    assert f"{len(shape)} dimensions" in refusal(volume)


def test_fewer_than_three_slices_are_refused_and_three_pass():
    assert "slices" in refusal(ct_volume(phantom()[:2]))
    assert any("6 mm" in warning for warning in check_input(ct_volume(phantom()[:3])))


@pytest.mark.parametrize("spacing", [0.0, 0.04, 21.0, np.nan, np.inf])
def test_absurd_spacing_is_refused(spacing):
    volume = Volume(phantom(), np.diag([1.0, 1.0, spacing, 1.0]))
    with np.errstate(invalid="ignore"):
        assert "voxel size" in refusal(volume)


def test_axes_that_fall_together_are_refused():
    affine = np.eye(4)
    affine[:3, 2] = affine[:3, 1]
    with pytest.raises(InputRefused, match="axes"):
        check_geometry(Grid((10, 10, 10), affine))


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_of_a_scanner_passes(name):
    check_geometry(GRIDS[name])


@pytest.mark.parametrize("value", [0, -1000, 40])
def test_constant_image_is_refused(value):
    assert f"{value}" in refusal(ct_volume(np.full((10, 20, 20), value)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_few_missing_numbers_are_reported_and_many_refused(bad):
    array = phantom()
    array.ravel()[::500] = bad
    warnings = check_input(ct_volume(array))
    assert len(warnings) == 1 and "0.20%" in warnings[0] and "air" in warnings[0]
    array.ravel()[::50] = bad
    assert "no number" in refusal(ct_volume(array))


def test_a_share_of_missing_numbers_is_not_called_none():
    array = phantom()
    array.flat[0] = np.nan
    assert check_input(ct_volume(array)) == ["Less than 0.01% of the voxels hold no number and were taken for air."]


def test_air_alone_is_refused_as_no_body():
    air = np.random.default_rng(0).normal(-1000, 20, (20, 40, 40))
    assert "No body" in refusal(ct_volume(air))


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize(("shift", "words"), WRONG_INTERCEPTS)
def test_lost_or_doubled_rescale_intercept_is_named(shift, words, modality):
    volume = ct_volume(phantom() + shift)
    assert words in refusal(volume, modality=modality)
    assert any(words in warning for warning in check_input(volume, modality, force=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: (np.clip(hu, -1000, 2000) + 1000) / 3000 * 255,
        lambda hu: np.rint((np.clip(hu, -1000, 2000) + 1000) / 3000 * 255) - 128,
        lambda hu: np.rint(np.clip((hu + 200) / 500, 0, 1) * 255),
        lambda hu: np.clip(hu, -1000, 1000) / 1000,
        lambda hu: (hu - hu.mean()) / hu.std(),
        lambda hu: -hu,
        lambda hu: np.abs(hu),
        lambda hu: (hu.astype(np.int16)).astype(np.uint16),
    ],
    ids=["8 bit", "signed 8 bit", "8 bit window", "-1 to 1", "z-score", "negative", "magnitude", "wrapped"],
)
def test_rescaled_ct_is_refused_unless_forced(change):
    volume = Volume(change(phantom()), RAS_2MM)
    assert "Hounsfield" in refusal(volume)
    warnings = check_input(volume, force=True)
    assert any("Hounsfield" in warning for warning in warnings)


def test_force_passes_nothing_else():
    refusal(ct_volume(np.zeros((10, 20, 20))), force=True)
    refusal(ct_volume(phantom()[:2]), force=True)


@pytest.mark.parametrize("low, high", [(-200, 300), (-160, 240), (-1024, 3071), (-2048, 3071)])
def test_clipped_hu_pass_without_a_word_on_the_field_of_view(low, high):
    told = check_input(ct_volume(np.clip(phantom(), low, high)))
    assert told == ([CLIPPED.format(value=high)] if high < 1000 else [])


def test_a_crop_of_clipped_hu_is_told_as_one():
    clipped, cropped = check_input(ct_volume(np.clip(phantom()[:, 10:50, 30:60], -160, 240)))
    assert "left, right, back and front" in cropped and clipped == CLIPPED.format(value=240)


def test_a_crop_without_air_or_skin_passes_with_a_note():
    warnings = check_input(ct_volume(phantom()[:, 10:50, 30:60]))
    assert len(warnings) == 1
    assert "left, right, back and front" in warnings[0] and "normal" in warnings[0]


def test_cut_side_is_named_in_the_patients_terms():
    # Voxel index i runs backward and j downward here, so the cut face i = 0 is the front of the patient.
    affine = np.eye(4)
    affine[:3, :3] = SAGITTAL * 2
    array = phantom().transpose(2, 0, 1)[:, :, 12:]
    warnings = check_input(Volume(array, affine))
    assert len(warnings) == 1 and "at its front;" in warnings[0]


def test_thin_coverage_and_size_are_warned_about():
    thin = Volume(phantom()[:9], RAS_2MM)
    assert any("18 mm" in warning for warning in check_input(thin))
    # 1.6 billion voxels that share the memory of one plane.
    plane = phantom((1, 400, 400)).astype(np.int16)[0]
    huge = Volume(np.broadcast_to(plane, (10_000, 400, 400)), np.diag([1.0, 1.0, 0.1, 1.0]))
    assert any("huge" in warning for warning in check_input(huge))


@pytest.mark.parametrize(("slice_mm", "told"), [(5.0, False), (5.04, False), (6.0, True)])
def test_slices_that_are_too_thick_are_warned_about(slice_mm, told):
    thick = Volume(phantom(), np.diag([2.0, 2.0, slice_mm, 1.0]))
    assert any("mm apart" in warning for warning in check_input(thick)) == told == is_coarse(thick.grid)


def test_mr_is_not_judged_by_hu_for_a_model_of_mr():
    assert check_input(Volume(np.random.default_rng(0).gamma(2, 100, (20, 40, 40)), RAS_2MM), modality="MR") == []


def test_mr_as_bright_as_a_ct_stored_too_high_passes():
    """As much of it lies in the place of fat and of soft tissue, but nearly as much below, where a CT has little."""
    signal = np.random.default_rng(0).normal(900, 150, (20, 40, 40))
    assert check_input(Volume(signal, RAS_2MM), modality="MR") == []
    assert "not the Hounsfield units" in refusal(Volume(signal, RAS_2MM))


@pytest.mark.parametrize(
    "change",
    [lambda signal: (signal - signal.mean()) / signal.std(), lambda signal: signal / signal.max() * 2 - 1],
    ids=["z-score", "-1 to 1"],
)
def test_rescaled_mr_below_zero_is_refused_unless_forced(change):
    volume = Volume(change(np.random.default_rng(0).gamma(2, 100, (20, 40, 40))), RAS_2MM)
    assert "below zero" in refusal(volume, modality="MR")
    assert any("below zero" in warning for warning in check_input(volume, modality="MR", force=True))


@needs_scans
@pytest.mark.parametrize("name", MRS)
def test_real_mrs_are_refused_as_z_scores_and_pass_as_splines(name):
    volume, _ = real_scan(mr(name))
    signal = volume.array.astype(np.float32)
    assert "below zero" in refusal(Volume((signal - signal.mean()) / signal.std(), volume.affine), modality="MR")
    image = sitk.GetImageFromArray(signal)
    finer = [0.8] * 3
    size = [int((n - 1) / step) for n, step in zip(image.GetSize(), finer)]
    spline = sitk.Resample(image, size, sitk.Transform(), sitk.sitkBSpline, (0, 0, 0), finer)
    assert check_input(Volume(sitk.GetArrayFromImage(spline), volume.affine), modality="MR") == []


@needs_scans
@pytest.mark.parametrize(("shift", "words"), WRONG_INTERCEPTS)
@pytest.mark.parametrize("name", CTS)
def test_real_cts_with_a_wrong_intercept_are_refused(name, shift, words):
    volume, _ = real_scan(ct(name))
    stored = Volume(volume.array + np.float32(shift), volume.affine)
    for modality in ("CT", "MR"):
        assert words in refusal(stored, modality=modality)
    assert not has_hounsfield_units(stored.array)


@needs_scans
@pytest.mark.parametrize("name", CTS)
def test_real_cts_pass(name):
    volume, notes = real_scan(ct(name))
    assert notes == []
    warnings = check_input(volume)
    assert all("field of view" in warning for warning in warnings)


@needs_scans
@pytest.mark.parametrize("name", CTS)
def test_small_crops_about_the_spine_of_real_cts_pass(name):
    volume, _ = real_scan(ct(name))
    labels = read_volume(ct(f"{name}_labels"))[0].array
    places = np.argwhere((labels > 0) & (labels < 255))
    generator = np.random.default_rng(0)
    spacing = volume.grid.spacing_mm[::-1]
    for _ in range(20):
        size = np.minimum(np.rint(generator.uniform(45, 120, 3) / spacing).astype(int), labels.shape)
        low = np.clip(generator.choice(places) - size // 2, 0, np.array(labels.shape) - size)
        box = tuple(slice(a, a + n) for a, n in zip(low, size))
        check_input(Volume(volume.array[box], volume.affine))


@needs_scans
@pytest.mark.parametrize("name", MRS)
def test_real_mrs_are_refused(name):
    volume, _ = real_scan(mr(name))
    assert "not the Hounsfield units" in refusal(volume)


@needs_scans
@pytest.mark.parametrize("name", CTS)
def test_real_cts_squeezed_into_eight_bits_are_refused(name):
    volume, _ = real_scan(ct(name))
    low, high = float(volume.array.min()), float(volume.array.max())
    squeezed = ((volume.array - low) / (high - low) * 255).astype(np.uint8)
    assert "Hounsfield" in refusal(Volume(squeezed, volume.affine))


@needs_scans
@pytest.mark.parametrize(("modality", "why"), [("CT", "Hounsfield"), ("MR", "as labels do")])
def test_label_maps_are_refused(modality, why):
    for name in ("chest_1mm_labels", "lumbar_crop_subregions"):
        assert why in refusal(read_volume(ct(name))[0], modality=modality)


@needs_scans
@pytest.mark.parametrize("name", MRS)
def test_real_mrs_are_no_label_maps(name):
    volume, _ = real_scan(mr(name))
    assert check_input(volume, modality="MR") == []


def test_result_nothing_found():
    warnings = check_result(Volume(np.zeros((10, 10, 10), np.uint8), np.eye(4)))
    assert len(warnings) == 1 and "No spine" in warnings[0]


def test_result_of_plausible_size_inside_the_image_is_fine():
    labels = np.zeros((100, 60, 60), np.uint8)
    labels[10:90, 20:40, 20:40] = 1
    assert check_result(Volume(labels, np.eye(4))) == []


@pytest.mark.parametrize("name", ["upright", "lps", "sagittal_thick", "coronal", "oblique", "sheared"])
@pytest.mark.parametrize(
    "side, direction",
    [("left", (-1, 0, 0)), ("right", (1, 0, 0)), ("back", (0, -1, 0)), ("front", (0, 1, 0)),
     ("lower end", (0, 0, -1)), ("upper end", (0, 0, 1))],
)  # fmt: skip
def test_result_names_the_touched_side(name, side, direction):
    grid = GRIDS[name]
    # The middle of the face that looks most in that direction.
    middle = (np.array(grid.shape[::-1]) - 1) // 2
    faces = []
    for axis in range(3):
        for end in (0, grid.shape[2 - axis] - 1):
            index = middle.copy()
            index[axis] = end
            faces.append(index)
    i, j, k = max(faces, key=lambda index: float((grid.world(index) - grid.world(middle)) @ np.array(direction)))
    labels = np.zeros(grid.shape, np.uint8)
    labels[k, j, i] = 26
    labels[tuple(slice(n // 2 - 1, n // 2 + 2) for n in grid.shape)] = 1
    touched = [w for w in check_result(Volume(labels, grid.affine)) if "touches" in w]
    assert len(touched) == 1 and f"touches the {side} of" in touched[0]


@pytest.mark.parametrize("voxels, word", [(8, "small"), (200, "large")])
def test_result_of_implausible_volume(voxels, word):
    labels = np.zeros((220, 220, 220), np.uint8)
    labels[5 : 5 + voxels, 5 : 5 + voxels, 5 : 5 + voxels] = 1
    warnings = check_result(Volume(labels, np.eye(4)))
    assert len(warnings) == 1 and word in warnings[0] and "ml" in warnings[0]
