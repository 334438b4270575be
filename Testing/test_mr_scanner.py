"""The simulated MR scanner: contrasts of the sequences, coil, slices, and scans with their labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SpineContextSegLib.mr import BRIGHT, standardized
from SpineContextSegLib.volume import Volume
from Testing.bone_block import SPACING_MM, scene
from Training import generated_mr
from Training.anatomy.tissues import Tissue
from Training.classes import BACKGROUND, BODY, CANAL, POSTERIOR
from Training.generated_scans import generated_scan
from Training.mr_scanner import draw_mr_recipe, render_mr, without_epidural_fat
from Training.mr_signal import SEQUENCES, draw_signals
from Training.stored_slices import on_planes, stored_image


def signals_of(sequence):
    return [s for s in (draw_signals(np.random.default_rng(seed)) for seed in range(300)) if s.sequence == sequence]


def mean_of(sequence, tissue):
    return np.mean([signals.tissue[tissue] for signals in signals_of(sequence)])


def test_contrasts_are_those_of_radiology():
    """T1: fat bright, fluid dark; T2: fluid bright, muscle dark; fat saturation: fat dark, fluid bright."""
    assert set(SEQUENCES) == {s.sequence for s in (draw_signals(np.random.default_rng(n)) for n in range(300))}
    assert mean_of("t1", Tissue.FAT) > 2 * mean_of("t1", Tissue.MUSCLE) > 2 * mean_of("t1", Tissue.CSF)
    assert mean_of("t2", Tissue.CSF) > mean_of("t2", Tissue.FAT) > 2 * mean_of("t2", Tissue.MUSCLE)
    for suppressed in ("stir", "t2_fat_saturated"):
        assert mean_of(suppressed, Tissue.CSF) > 4 * mean_of(suppressed, Tissue.FAT)
    for sequence in SEQUENCES:
        assert mean_of(sequence, Tissue.GAS) == 0
        assert np.mean([s.cortical for s in signals_of(sequence)]) < np.mean([s.marrow for s in signals_of(sequence)])


def rendered(recipe, seed=0):
    tissue, bone, cortex, label = scene()
    generator = torch.Generator().manual_seed(seed)
    return render_mr(tissue, bone / 255, cortex / 255, label, SPACING_MM, recipe, generator)


def quiet_recipe(seed=1, **changes):
    """A recipe that shows the drawn signals as they are."""
    recipe = draw_mr_recipe(np.random.default_rng(seed))
    plain = dict(
        texture=0.0, fat_in_muscle=0.0, marrow_texture=(0.0, 0.0), endplate=0.0, blur_mm=0.0, chemical_shift_mm=0.0,
        noise=0.0, slice_thickness_mm=0.0, slice_spacing_mm=0.0, coil_mm=0.0, shading=0.0, saturated_mm=0.0,
        brightness=1.0, slab_mm=0.0,
    )  # fmt: skip
    return replace(recipe, **(plain | changes))


def test_voxels_show_the_drawn_signals():
    recipe = quiet_recipe()
    image, valid = rendered(recipe)
    shown = (image / BRIGHT).square()  # what inference lifts by a root
    assert valid.all()
    assert shown[35, 5, 40] == pytest.approx(float(recipe.signals.tissue[Tissue.FAT]), rel=1e-3)
    assert shown[20, 22, 35] == pytest.approx(recipe.signals.marrow, rel=1e-3)
    assert shown[20, 22, 24] == pytest.approx(recipe.signals.cortical, rel=0.05, abs=0.01)


def test_an_arch_shows_marrow_in_a_dark_line():
    """However dense all of it is to a CT; a body's dense bone stays dark as deep as it reaches."""
    recipe = quiet_recipe(arch_marrow=1.2, shell_mm=1.6)
    for kind in (BODY, POSTERIOR):
        tissue, bone, cortex, label = scene()
        label[label == BODY] = kind
        cortex[bone > 0] = 255
        image, _ = render_mr(tissue, bone / 255, cortex / 255, label, SPACING_MM, recipe, torch.Generator())
        across = (image / BRIGHT).square()[20, 22, 24:28]
        marrow = recipe.signals.cortical if kind == BODY else 1.2 * recipe.signals.marrow
        assert across[3] == pytest.approx(marrow, rel=0.02)
        assert kind == BODY or across[0] < 0.7 * across[3]


def test_same_seed_same_series_and_any_recipe_is_finite():
    for seed in range(30):
        recipe = draw_mr_recipe(np.random.default_rng(seed))
        image, valid = rendered(recipe, seed)
        again, _ = rendered(recipe, seed)
        assert torch.equal(image, again) and torch.isfinite(image).all() and (image >= 0).all()
        assert image.dtype == torch.float32 and valid.shape == image.shape
        assert not image[~valid].any() and valid.float().mean() > 0.3


def test_coil_slab_and_saturation_darken_where_they_should():
    even, _ = rendered(quiet_recipe())
    coil, _ = rendered(quiet_recipe(coil_mm=60.0))
    fat = (35, slice(2, 40), 44)
    assert (torch.diff(coil[fat] / even[fat]) < 0).all(), "less signal to the front"
    front_of_bodies = 33
    saturated, _ = rendered(quiet_recipe(saturated_mm=4.0))
    assert torch.allclose(saturated[:, :20], even[:, :20], rtol=0.03)
    assert (saturated[35, front_of_bodies + 8 :, 44] < 0.5 * even[35, front_of_bodies + 8 :, 44]).all()
    image, valid = rendered(quiet_recipe(slab_mm=50.0, slice_axis=2))
    assert valid.any(0).any(0).sum() == 25 and not image[~valid].any()


def test_canal_of_an_mr_is_the_dural_sac():
    label = torch.tensor([CANAL, CANAL, CANAL, CANAL, BODY])
    tissue = torch.tensor([Tissue.CSF, Tissue.FAT, Tissue.DURA, Tissue.CORD, Tissue.FAT])
    assert without_epidural_fat(label, tissue).tolist() == [CANAL, BACKGROUND, CANAL, CANAL, BODY]


@pytest.mark.parametrize("sequence", ["t1", "t2", "stir"])
def test_dura_is_dark(sequence):
    assert mean_of(sequence, Tissue.DURA) < 0.25


def test_generated_series_fits_its_labels():
    """Signal and labels on one grid: fluid in the sac, the darkest of all in a T1, is darker than marrow."""
    scan = generated_scan(9_000_001, "MR")
    assert scan.image.grid.same_as(scan.labels.grid) and scan.image.array.dtype == np.int16
    assert scan.traits[0] in SEQUENCES and scan.image.array.min() >= 0
    found = set(np.unique(scan.labels.array).tolist())
    assert {22, 23, 61, 122} <= found
    marrow, sac = (np.median(scan.image.array[scan.labels.array == value]) for value in (22, 61))
    assert scan.traits == ("t1",) and sac < 0.8 * marrow
    again = generated_scan(9_000_001, "MR")
    assert np.array_equal(again.image.array, scan.image.array)


def test_networks_see_of_a_stored_series_what_the_scanner_rendered(monkeypatch):
    """Training is given what is rendered; a scan is stored as signal and standardized on its way to the network."""
    rendered = []

    def render(*arguments):
        rendered.append(render_mr(*arguments))
        return rendered[-1]

    monkeypatch.setattr(generated_mr, "render_mr", render)
    recipe, scan, _ = generated_mr.generated_mr(9_000_001, "neck", 3.0)
    _, step = on_planes(recipe, 3.0)
    expected = stored_image(Volume(rendered[0][0].numpy(), np.eye(4)), recipe.slice_axis, step).array
    bright = expected > 100
    ratio = standardized(scan).array[bright] / expected[bright]
    assert bright.mean() > 0.3 and np.std(ratio) < 0.02 * np.mean(ratio)
