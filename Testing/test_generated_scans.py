"""Generated scans for evaluation: CT and labels share one grid, thick slices lie where they were averaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SpineContextSegLib.labels import CANAL, SACRUM, VERTEBRAE
from SpineContextSegLib.volume import Volume
from Training.dice_tables import dice_table, structure_dice
from Training.generated_scans import generated_scan
from Training.make_phantom import make_phantom
from Training.scanner import draw_recipe
from Training.smoothing import slice_matrices
from Training.stored_slices import on_planes, stored_image, stored_labels


def test_a_scan_and_its_labels_lie_on_one_grid_and_bone_is_dense():
    scan = generated_scan(9_000_003)
    assert scan.image.grid.same_as(scan.labels.grid)
    assert scan.slices == "2 to 4 mm" and scan.image.grid.spacing_mm[2] == pytest.approx(3.0)
    values = set(np.unique(scan.labels.array).tolist())
    assert CANAL in values and values & VERTEBRAE
    vertebrae = np.isin(scan.labels.array, list(VERTEBRAE))
    assert np.median(scan.image.array[vertebrae]) > np.median(scan.image.array[scan.labels.array == CANAL]) + 50


def test_nothing_is_labelled_where_the_scan_shows_nothing():
    recipe = replace(draw_recipe(np.random.default_rng(6)), crop="box", crop_fraction=0.6, pad_hu=-2000.0)
    ct, labels = make_phantom(5, "abdomen", 4.0, recipe)
    padding = ct.array == -2000
    assert padding.any() and not labels.array[padding].any()
    whole = make_phantom(5, "abdomen", 4.0, replace(recipe, crop="none"))[1]
    assert np.array_equal(whole.array[~padding], labels.array[~padding]) and whole.array[padding].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_stored_slices_keep_their_place(axis, step):
    array = np.moveaxis(np.arange(10)[:, None, None] * np.ones((1, 2, 3), int), 0, axis)
    affine = np.array([[0, -1.1, 0.2, 5], [1.2, 0, 0, 6], [0, 0.3, 1.3, 7], [0, 0, 0, 1]])
    fine = Volume(array, affine)
    sparse = stored_image(fine, axis, step)
    assert sparse.array.shape[axis] == len(range(step // 2, 10, step))
    assert stored_labels(fine, axis, step).grid.same_as(sparse.grid)
    for number, value in enumerate(np.moveaxis(sparse.array, axis, 0)[:, 0, 0]):
        here, there = np.zeros(3), np.zeros(3)
        here[2 - axis], there[2 - axis] = number, value
        np.testing.assert_allclose(sparse.grid.world(here), fine.grid.world(there))


@pytest.mark.parametrize(
    ("step", "expected"), [(1, [0, 1, 1, 1, 0, 0, 2, 2, 2, 2]), (2, [1, 1, 0, 2, 2]), (3, [1, 0, 2]), (4, [1, 2])]
)
def test_a_thick_voxel_is_what_fills_most_of_it(step, expected):
    planes = np.array([0, 1, 1, 1, 0, 0, 2, 2, 2, 2], np.uint8)[:, None, None] * np.ones((1, 1, 1), np.uint8)
    assert stored_labels(Volume(planes, np.eye(4)), 0, step).array.ravel().tolist() == expected


@pytest.mark.parametrize("length", range(20, 26))
@pytest.mark.parametrize("spacing_mm", [2.6, 4.4, 6.2])
def test_a_stored_slice_is_the_mean_over_its_thickness(spacing_mm, length):
    """No slice is a blend of two, nor another one's copy: along a ramp, each holds the value in its middle, the ends
    that of what there is of them; over one bright plane, one is."""
    recipe = replace(draw_recipe(np.random.default_rng(1)), slice_spacing_mm=spacing_mm, slice_thickness_mm=spacing_mm)
    aligned, step = on_planes(recipe, 1.5)
    assert step == round(spacing_mm / 1.5) and aligned.slice_spacing_mm == step * 1.5
    average, back = slice_matrices(
        length, aligned.slice_thickness_mm / 1.5, aligned.slice_spacing_mm / 1.5, aligned.slice_offset, False, "cpu"
    )
    stored = (back @ average)[step // 2 :: step]
    middles = np.arange(step // 2, length, step)
    first, last = middles - aligned.slice_thickness_mm / 3, middles + aligned.slice_thickness_mm / 3
    there = (first.clip(min=-0.5) + last.clip(max=length - 0.5)) / 2
    assert np.allclose(stored @ torch.arange(float(length)), there, atol=0.1)
    assert np.allclose((stored @ torch.arange(float(length)))[1:-1], middles[1:-1], atol=1e-4)
    assert (stored > 1e-6).sum(1).max() <= np.ceil(aligned.slice_thickness_mm / 1.5) + 1


def test_the_table_counts_failures_by_group():
    scans = [
        ({"region": ["neck"], "finding": ["metal", "curve"]}, {"Spine (binary)": 0.7, "Sacrum": 0.25}),
        ({"region": ["chest"], "finding": ["plain"]}, {"Spine (binary)": 0.9}),
    ]
    lines = dice_table(scans).splitlines()
    assert "| all, Sacrum | 1 | 0.250 | - | 0.250 | 0.250 | 0.250 | 1 |" in lines
    assert "| **all**, binary spine | 2 | 0.800 | 0.141 | 0.800 | 0.710 | 0.700 | 1 |" in lines
    assert "| finding: curve | 1 | 0.700 | - | 0.700 | 0.700 | 0.700 | 1 |" in lines
    assert "| region: chest | 1 | 0.900 | - | 0.900 | 0.900 | 0.900 | 0 |" in lines


def test_structures_are_found_whatever_their_level():
    truth, found = np.zeros((2, 4, 4, 4), np.uint8)
    truth[:2], truth[2] = 22, CANAL
    found[:1], found[1:2, :2], found[3] = 21, 20, SACRUM
    dice = structure_dice(found, truth)
    assert dice == {"Spine (binary)": 0.6667, "Vertebrae": 0.8571, "Canal": 0.0}
