"""Generated scans for evaluation: CT and labels share one grid, thick slices lie where they were averaged."""

from dataclasses import replace

import numpy as np
import pytest

from SpineContextSegLib.labels import CANAL, SACRUM, VERTEBRAE
from SpineContextSegLib.volume import Volume
from Training.dice_tables import dice_table, structure_dice
from Training.generated_scans import _every, generated_scan
from Training.make_phantom import make_phantom
from Training.scanner import draw_recipe


def test_a_scan_and_its_labels_lie_on_one_grid_and_bone_is_dense():
    scan = generated_scan(9_000_003)
    assert scan.image.grid.same_as(scan.labels.grid)
    assert scan.slices == "2 to 4 mm" and scan.image.grid.spacing_mm[2] == pytest.approx(3.0)
    values = set(np.unique(scan.labels.array).tolist())
    assert CANAL in values and values & VERTEBRAE
    vertebrae = np.isin(scan.labels.array, list(VERTEBRAE))
    assert np.median(scan.image.array[vertebrae]) > np.median(scan.image.array[scan.labels.array == CANAL]) + 50


def test_nothing_is_labelled_where_the_scan_shows_nothing():
    recipe = replace(draw_recipe(np.random.default_rng(4)), crop="box", crop_fraction=0.9, pad_hu=-2000.0)
    ct, labels = make_phantom(5, "abdomen", 4.0, recipe)
    padding = ct.array == -2000
    assert padding.any() and not labels.array[padding].any()
    whole = make_phantom(5, "abdomen", 4.0, replace(recipe, crop="none"))[1]
    assert np.array_equal(whole.array[~padding], labels.array[~padding]) and whole.array[padding].any()


def test_every_nth_plane_keeps_its_place():
    array = np.arange(10)[:, None, None] * np.ones((1, 2, 2), int)
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = 5, 6, 7
    sparse = _every(Volume(array, affine), 3)
    for k, value in enumerate(sparse.array[:, 0, 0]):
        np.testing.assert_allclose(sparse.grid.world([0, 0, k]), Volume(array, affine).grid.world([0, 0, value]))


def test_the_table_counts_failures_by_group():
    scans = [
        ({"region": ["neck"], "finding": ["metal", "curve"]}, {"Spine (binary)": 0.7, "Sacrum": 0.25}),
        ({"region": ["chest"], "finding": ["plain"]}, {"Spine (binary)": 0.9}),
    ]
    lines = dice_table(scans).splitlines()
    assert "| all, Sacrum | 1 | 0.250 | 0.000 | 0.250 | 0.250 | 0.250 | 1 |" in lines
    assert "| **all**, binary spine | 2 | 0.800 | 0.141 | 0.800 | 0.710 | 0.700 | 1 |" in lines
    assert "| finding: curve | 1 | 0.700 | 0.000 | 0.700 | 0.700 | 0.700 | 1 |" in lines
    assert "| region: chest | 1 | 0.900 | 0.000 | 0.900 | 0.900 | 0.900 | 0 |" in lines


def test_structures_are_found_whatever_their_level():
    truth, found = np.zeros((2, 4, 4, 4), np.uint8)
    truth[:2], truth[2] = 22, CANAL
    found[:1], found[1:2, :2], found[3] = 21, 20, SACRUM
    dice = structure_dice(found, truth)
    assert dice == {"Spine (binary)": 0.6667, "Vertebrae": 0.8571, "Canal": 0.0}
