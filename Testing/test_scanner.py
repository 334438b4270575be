"""The simulated scanner: what a recipe asks for is what the voxels show."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from Testing.bone_block import SPACING_MM, scene
from Training.anatomy.tissues import Tissue
from Training.findings import add_metal
from Training.hounsfield import PHASES, draw_tissue_hu
from Training.scanner import MAXIMUM_HU, MINIMUM_HU, draw_recipe, render_ct
from Training.smoothing import blur, noise, slice_matrices


def quiet_recipe(seed=0, **changes):
    """A recipe that shows the drawn CT numbers as they are."""
    recipe = draw_recipe(np.random.default_rng(seed))
    plain = dict(
        tissue_texture_hu=np.zeros_like(recipe.tissue_texture_hu), trabecular_texture_hu=(0.0, 0.0),
        marrow_core_hu=0.0, endplate_hu=0.0, lytic_lesions=0, sclerotic_lesions=0, metal="none", blur_mm=(0.0, 0.0),
        sharpening=0.0, slice_thickness_mm=0.0, slice_spacing_mm=0.0, noise_hu=0.0, low_dose_streak_hu=0.0,
        shading_hu=0.0, gain=1.0, offset_hu=0.0, crop="none",
    )
    return replace(recipe, **(plain | changes))


def test_same_seed_same_scan():
    arrays = scene()
    for seed in range(6):
        first, valid_first = render_ct(*arrays, SPACING_MM, draw_recipe(np.random.default_rng(seed)))
        again, valid_again = render_ct(*arrays, SPACING_MM, draw_recipe(np.random.default_rng(seed)))
        assert torch.equal(first, again) and torch.equal(valid_first, valid_again)
    other, _ = render_ct(*arrays, SPACING_MM, draw_recipe(np.random.default_rng(99)))
    assert not torch.equal(first, other)


def test_any_recipe_gives_finite_hu_in_range_and_padding_where_invalid():
    arrays = scene()
    cropped = 0
    for seed in range(40):
        recipe = draw_recipe(np.random.default_rng(seed))
        hu, valid = render_ct(*arrays, SPACING_MM, recipe)
        assert hu.dtype == torch.float32 and hu.shape == arrays[0].shape and valid.dtype == torch.bool
        assert torch.isfinite(hu).all()
        assert hu[valid].min() >= MINIMUM_HU and hu[valid].max() <= MAXIMUM_HU
        assert (hu[~valid] == recipe.pad_hu).all()
        cropped += int((~valid).any())
        assert recipe.crop != "none" or valid.all()
    assert cropped >= 3


@pytest.mark.parametrize("crop", ["circle", "box"])
def test_crop_changes_only_the_invalid_voxels(crop):
    arrays = scene()
    whole, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(noise_hu=20.0))
    cropping = quiet_recipe(noise_hu=20.0, crop=crop, crop_fraction=0.4, pad_hu=-2000.0)
    cut, valid = render_ct(*arrays, SPACING_MM, cropping)
    assert 0 < (~valid).float().mean() < 0.6
    assert torch.equal(cut[valid], whole[valid])
    assert torch.equal(cut == -2000.0, ~valid)


def test_tissue_and_bone_have_the_numbers_of_the_recipe():
    arrays = scene()
    recipe = quiet_recipe(3)
    hu, _ = render_ct(*arrays, SPACING_MM, recipe)
    assert hu[:, :, :13].mean().item() == pytest.approx(recipe.tissue_hu[Tissue.LIVER], abs=0.1)
    assert hu[35:, 40:, 20:].mean().item() == pytest.approx(recipe.tissue_hu[Tissue.FAT], abs=0.1)
    assert hu[7:9, 14:30, 28:40].mean().item() == pytest.approx(recipe.tissue_hu[Tissue.DISC], abs=0.1)
    assert hu[15:25, 15:30, 30:40].mean().item() == pytest.approx(recipe.trabecular_hu, abs=0.1)
    assert hu[15:25, 15:30, 24:26].mean().item() == pytest.approx(recipe.cortical_hu, abs=0.1)
    shifted, _ = render_ct(*arrays, SPACING_MM, replace(recipe, gain=1.05, offset_hu=-12.0))
    assert shifted[0, 0, 0].item() == pytest.approx(1.05 * hu[0, 0, 0].item() - 12.0, abs=0.01)


def test_bone_on_half_a_voxel_is_half_bone():
    tissue, bone, cortex, label = scene()
    bone = bone.float() / 255 * 0.5
    recipe = quiet_recipe(3)
    hu, _ = render_ct(tissue, bone, cortex.float() / 255, label, SPACING_MM, recipe)
    expected = 0.5 * (recipe.trabecular_hu + recipe.tissue_hu[Tissue.FAT])
    assert hu[20, 20, 35].item() == pytest.approx(expected, abs=0.1)


def test_texture_keeps_the_mean():
    arrays = scene()
    recipe = quiet_recipe(3, tissue_texture_hu=np.full(len(Tissue), 12.0, np.float32), tissue_texture_mm=3.0)
    hu, _ = render_ct(*arrays, SPACING_MM, recipe)
    liver = hu[:, :, :13]
    assert liver.mean().item() == pytest.approx(recipe.tissue_hu[Tissue.LIVER], abs=1.5)
    assert 4.0 < liver.std().item() < 14.0


def test_endplate_sclerosis_lies_beside_the_disc():
    arrays = scene()
    plain, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(3))
    hard, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(3, endplate_hu=200.0))
    gain = (hard - plain)[:, 20, 35]
    assert gain[10] > 60 and gain[20].abs() < 1 and gain[8].abs() < 1


def test_lesions_change_bone_only():
    arrays = scene()
    plain, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(3))
    ill, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(3, lytic_lesions=1, sclerotic_lesions=2, lesion_mm=5.0))
    changed = (ill - plain).abs() > 20
    assert changed.any() and not (changed & (arrays[1] == 0)).any()


@pytest.mark.parametrize("kind", ["screws", "prosthesis", "fillings"])
def test_metal_saturates_and_streaks_in_its_slices(kind):
    tissue, bone, cortex, label = scene()
    label[label == 1] = 1 if kind == "screws" else 7
    plain, _ = render_ct(tissue, bone, cortex, label, SPACING_MM, quiet_recipe(3))
    hu, _ = render_ct(tissue, bone, cortex, label, SPACING_MM, quiet_recipe(3, metal=kind, streak_hu=200.0))
    assert hu.max().item() == MAXIMUM_HU
    with_metal = (hu == MAXIMUM_HU).any(2).any(1)
    streaks = ((hu - plain).abs() * (hu < 2000)).mean((1, 2))
    assert streaks[with_metal].mean() > 5.0
    if not with_metal.all():
        assert streaks[~with_metal].max() < streaks[with_metal].max()


def test_no_place_for_metal():
    hu, label = torch.zeros(8, 8, 8), torch.zeros(8, 8, 8, dtype=torch.uint8)
    same, artifact = add_metal(hu, label, "screws", 100.0, 2.0, torch.Generator().manual_seed(0))
    assert artifact is None and torch.equal(same, hu)


def edge_width(profile):
    """10 to 90 % width in voxels of a rising edge."""
    profile = np.asarray(profile, float)
    rising = (profile - profile.min()) / np.ptp(profile)
    return np.interp(0.9, rising, np.arange(len(rising))) - np.interp(0.1, rising, np.arange(len(rising)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slice_thickness_blurs_along_its_axis_alone(axis):
    tissue = torch.full((40, 40, 40), int(Tissue.FAT), dtype=torch.uint8)
    empty = torch.zeros_like(tissue)
    for along in range(3):
        edge = tissue.clone()
        edge.narrow(along, 20, 20).fill_(int(Tissue.LIVER))
        thin, _ = render_ct(edge, empty, empty, empty, 1.0, quiet_recipe(2))
        thick, _ = render_ct(
            edge, empty, empty, empty, 1.0, quiet_recipe(2, slice_axis=axis, slice_thickness_mm=5, slice_spacing_mm=5)
        )
        line = [20, 20, 20]
        line[along] = slice(None)
        width_thin, width_thick = edge_width(thin[tuple(line)]), edge_width(thick[tuple(line)])
        if along == axis:
            assert width_thick > width_thin + 2
        else:
            assert torch.allclose(thin, thick, atol=1e-2)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize(
    "thickness, spacing, offset", [(1.5, 1.5, 0.1), (3.0, 2.0, 0.9), (2.0, 2.5, 0.5), (6.0, 6.0, 0.95)]
)
def test_slices_keep_a_constant_and_hit_the_right_place(thickness, spacing, offset, nearest):
    average, back = slice_matrices(41, thickness, spacing, offset, nearest, torch.device("cpu"))
    ones = torch.ones(41)
    assert torch.allclose(back @ (average @ ones), ones, atol=1e-5)
    ramp = torch.arange(41.0)
    seen = (back @ (average @ ramp))[8:-8]
    assert (seen - ramp[8:-8]).abs().max() <= (spacing / 2 + 0.6 if nearest else 0.6)


def test_kernel_blurs_and_sharp_kernel_overshoots():
    arrays = scene()
    plain, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(3))
    soft, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(3, blur_mm=(2.5, 2.5)))
    sharp, _ = render_ct(*arrays, SPACING_MM, quiet_recipe(3, sharpening=1.0, sharpening_mm=1.5, blur_mm=(1.0, 1.0)))
    row = (20, 20)
    assert np.abs(np.diff(soft[row])).max() < 0.6 * np.abs(np.diff(plain[row])).max()
    assert sharp[row].max() > plain[row].max() and sharp[row].min() < plain[row].min()


def test_noise_has_the_height_and_the_grain_of_the_recipe():
    tissue = torch.full((48, 48, 48), int(Tissue.MUSCLE), dtype=torch.uint8)
    empty = torch.zeros_like(tissue)
    for grain_mm in (0.4, 1.8):
        recipe = quiet_recipe(1, noise_hu=30.0, noise_mm=grain_mm)
        hu, _ = render_ct(tissue, empty, empty, empty, 1.0, recipe)
        assert hu.std().item() == pytest.approx(30.0, rel=0.1)
        assert hu.mean().item() == pytest.approx(recipe.tissue_hu[Tissue.MUSCLE], abs=3.0)
        centered = (hu - hu.mean()) / hu.std()
        neighbor = (centered[:, :, 1:] * centered[:, :, :-1]).mean().item()
        assert neighbor > 0.7 if grain_mm > 1 else neighbor < 0.4


def test_low_dose_streaks_run_from_side_to_side_of_a_dense_body():
    tissue = torch.full((32, 48, 64), int(Tissue.MUSCLE), dtype=torch.uint8)
    tissue[16:] = int(Tissue.AIR)
    empty = torch.zeros_like(tissue)
    hu, _ = render_ct(tissue, empty, empty, empty, 2.0, quiet_recipe(1, low_dose_streak_hu=40.0))
    body, air = hu[:15] - hu[:15].mean(), hu[17:] - hu[17:].mean()
    along = (body[:, :, 1:] * body[:, :, :-1]).mean() / body.var()
    across = (body[:, 1:] * body[:, :-1]).mean() / body.var()
    assert along > 0.8 and across < 0.5 and air.std() < 0.1 * body.std()


@pytest.mark.parametrize("sigma", [0.0, 0.6, 1.7, 5.0, 30.0])
def test_noise_is_normal_in_every_voxel(sigma):
    generator = torch.Generator().manual_seed(5)
    draws = torch.stack([noise((12, 1, 20), (0.0, 0.0, sigma), generator) for _ in range(300)])
    assert torch.allclose(draws.std(0).mean((0, 1)), torch.ones(20), atol=0.1)
    assert draws.mean().abs() < 0.15


def test_blur_keeps_the_mean_and_has_the_width_asked_for():
    impulse = torch.zeros(41, 3, 41)
    impulse[20, 1, 20] = 1.0
    spread = blur(impulse, (2.0, 0.0, 1.0))
    assert spread.sum().item() == pytest.approx(1.0, abs=1e-3)
    at = torch.arange(41.0) - 20
    assert (spread.sum((1, 2)) * at**2).sum().sqrt().item() == pytest.approx(2.0, rel=0.03)
    assert (spread.sum((0, 1)) * at**2).sum().sqrt().item() == pytest.approx(1.0, rel=0.03)


def test_a_patch_needs_no_whole_volume():
    tissue, bone, cortex, label = scene()
    cut = (slice(4, 36), slice(6, 38), slice(8, 40))
    recipe = quiet_recipe(3, blur_mm=(1.5, 1.5))
    whole, _ = render_ct(tissue, bone, cortex, label, SPACING_MM, recipe)
    patch, _ = render_ct(*(a[cut] for a in (tissue, bone, cortex, label)), SPACING_MM, recipe)
    inner = (slice(4, -4),) * 3
    assert torch.allclose(patch[inner], whole[cut][inner], atol=0.5)


def test_given_generator_is_used():
    arrays = scene()
    recipe = quiet_recipe(3, noise_hu=20.0)
    one, _ = render_ct(*arrays, SPACING_MM, recipe, torch.Generator().manual_seed(1))
    same, _ = render_ct(*arrays, SPACING_MM, recipe, torch.Generator().manual_seed(1))
    two, _ = render_ct(*arrays, SPACING_MM, recipe, torch.Generator().manual_seed(2))
    assert torch.equal(one, same) and not torch.equal(one, two)


def test_recipes_cover_old_bone_and_every_phase():
    recipes = [draw_recipe(np.random.default_rng(seed)) for seed in range(300)]
    trabecular = np.array([r.trabecular_hu for r in recipes])
    assert trabecular.min() >= 40 and trabecular.max() <= 330
    assert np.mean((trabecular > 60) & (trabecular < 160)) > 0.55
    assert {r.phase for r in recipes} == set(PHASES)
    assert {r.metal for r in recipes} >= {"none", "screws"}
    assert 0.3 < np.mean([r.slice_thickness_mm > 0 for r in recipes]) < 0.7


def test_contrast_phases_order_the_vessels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        none, arterial = draw_tissue_hu(rng, "none"), draw_tissue_hu(rng, "arterial")
        assert none[Tissue.ARTERY] < 60 < 190 <= arterial[Tissue.ARTERY]
        assert arterial[Tissue.ARTERY] > arterial[Tissue.VEIN]
        assert abs(none[Tissue.ARTERY] - none[Tissue.VEIN]) < 10
        assert none[Tissue.LUNG] < none[Tissue.FAT] < none[Tissue.CSF] < none[Tissue.MUSCLE] + 60
