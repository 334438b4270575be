"""Figures of agreement against MONAI, surface-distance, and cases worked out by hand."""

import math

import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.metrics import (
    agreement,
    average_symmetric,
    binary_spine,
    drop_unscored,
    hausdorff,
    surface_distances_mm,
)
from SpineContextSegLib.volume import Grid

# Deprecations inside the packages that serve as oracles.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning"),
]


def straight_grid(shape, spacing_ijk=(1.0, 1.0, 1.0)):
    return Grid(shape, np.diag([*spacing_ijk, 1.0]))


def blob(rng, shape, spacing_ijk, radius_mm):
    """A lumpy ellipsoid somewhere near the middle, so large that it may be cut by the edge of the array."""
    spacing = np.array(spacing_ijk)[::-1].reshape(3, 1, 1, 1)
    where = np.indices(shape) * spacing
    middle = np.array(shape).reshape(3, 1, 1, 1) * spacing / 2 + rng.uniform(-3, 3, (3, 1, 1, 1))
    offset = (where - middle) / (radius_mm * rng.uniform(0.6, 1.3, (3, 1, 1, 1)))
    ripple = 0.1 * np.sin(where / rng.uniform(2, 4, (3, 1, 1, 1))).sum(0)
    return (offset**2).sum(0) < 1 + ripple


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.7, 3.0)])
@pytest.mark.parametrize("seed", range(3))
def test_surface_distances_equal_monai_s(seed, spacing):
    rng = np.random.default_rng(seed)
    shape = (13, 31, 37) if spacing[2] == 3.0 else (27, 24, 21)
    one, other = (blob(rng, shape, spacing, radius_mm=9.0) for _ in range(2))
    result = agreement(one, other, straight_grid(shape, spacing))
    batch = [torch.from_numpy(mask)[None, None] for mask in (one, other)]
    # MONAI measures in the array's axis order.
    options = {"include_background": True, "spacing": spacing[::-1]}
    average = compute_average_surface_distance(*batch, symmetric=True, **options).item()
    hausdorff95 = compute_hausdorff_distance(*batch, percentile=95, **options).item()
    assert result.average_surface_distance_mm == pytest.approx(average, rel=1e-4)
    assert result.hausdorff95_mm == pytest.approx(hausdorff95, rel=1e-4)
    assert hausdorff95 > 1.0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.9, 2.0)])
def test_surface_distances_near_surface_element_ones(spacing):
    # Its surface elements lie between voxels on either side of the boundary, so it measures up to half a voxel less.
    rng = np.random.default_rng(7)
    shape = (24, 40, 44)
    one, other = (blob(rng, shape, spacing, radius_mm=11.0) for _ in range(2))
    result = agreement(one, other, straight_grid(shape, spacing))
    elements = surface_distance.compute_surface_distances(other, one, spacing[::-1])
    average = np.mean(surface_distance.compute_average_surface_distance(elements))
    assert result.average_surface_distance_mm == pytest.approx(average, abs=0.5 * max(spacing))
    assert result.hausdorff95_mm == pytest.approx(
        surface_distance.compute_robust_hausdorff(elements, 95), abs=0.5 * max(spacing)
    )


def test_two_cubes_by_hand():
    shape = (12, 12, 12)
    reference, prediction = np.zeros(shape, bool), np.zeros(shape, bool)
    reference[2:6, 2:6, 2:6] = True
    prediction[2:6, 2:6, 4:8] = True  # two voxels of 1.5 mm along i
    result = agreement(prediction, reference, straight_grid(shape, (1.5, 1.0, 2.0)))
    assert result.dice == pytest.approx(0.5)
    assert result.recall == result.precision == pytest.approx(0.5)
    assert result.hausdorff95_mm == pytest.approx(3.0)
    assert result.volume_difference_ml == result.volume_difference_percent == 0.0
    assert result.reference_ml == pytest.approx(64 * 3.0 / 1000)


def test_volume_difference_is_prediction_minus_reference():
    shape = (6, 6, 6)
    reference, prediction = np.zeros(shape, bool), np.zeros(shape, bool)
    reference[1:3, 1:3, 1:3] = True
    prediction[1:3, 1:3, 1:4] = True
    result = agreement(prediction, reference, straight_grid(shape, (10.0, 10.0, 10.0)))
    assert result.volume_difference_ml == pytest.approx(4.0)
    assert result.volume_difference_percent == pytest.approx(50.0)
    assert (result.recall, result.precision) == (1.0, pytest.approx(2 / 3))


def test_single_voxels_and_masks_cut_by_the_edge():
    shape = (3, 4, 5)
    one, other = np.zeros(shape, bool), np.zeros(shape, bool)
    one[0, 0, 0] = other[2, 3, 4] = True
    grid = straight_grid(shape, (1.0, 2.0, 3.0))
    outward, inward = surface_distances_mm(one, other, grid)
    diagonal = math.sqrt(4**2 + 6**2 + 6**2)
    assert average_symmetric(outward, inward) == pytest.approx(diagonal)
    assert hausdorff(outward, inward) == pytest.approx(diagonal)
    plane = np.zeros(shape, bool)
    plane[1] = True
    for mask in (one, plane, np.ones(shape, bool)):
        assert hausdorff(*surface_distances_mm(mask, mask, grid)) == 0.0


def test_empty_masks():
    shape = (4, 4, 4)
    grid, empty, some = straight_grid(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    some[1:3, 1:3, 1:3] = True
    both = agreement(empty, empty, grid)
    assert math.isnan(both.dice) and math.isnan(both.hausdorff95_mm) and both.volume_difference_ml == 0.0
    missed, invented = agreement(empty, some, grid), agreement(some, empty, grid)
    assert missed.dice == invented.dice == 0.0
    assert math.isnan(missed.average_surface_distance_mm) and math.isnan(invented.hausdorff95_mm)
    assert missed.recall == 0.0 and math.isnan(missed.precision)
    assert invented.precision == 0.0 and math.isnan(invented.volume_difference_percent)
    assert invented.volume_difference_ml == pytest.approx(0.008)
    with pytest.raises(ValueError):
        surface_distances_mm(empty, some, grid)


def test_sheared_grid_has_overlap_and_volume_but_no_distances():
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 0.6
    grid = Grid((6, 6, 6), affine)
    mask = np.zeros(grid.shape, bool)
    mask[2:4, 2:4, 2:4] = True
    result = agreement(mask, mask, grid)
    assert result.dice == 1.0 and result.reference_ml == pytest.approx(0.016)
    assert math.isnan(result.hausdorff95_mm)
    with pytest.raises(InputRefused, match="tilted gantry"):
        surface_distances_mm(mask, mask, grid)


def test_what_the_reference_leaves_open_is_not_scored():
    prediction = np.array([[[1, 26, 26, 20, 200]]], np.uint8)
    without_sacrum = np.array([[[1, 0, 255, 255, 20]]], np.uint8)
    assert [part.tolist() for part in drop_unscored(prediction, without_sacrum)] == [
        [[[1, 0, 0, 0, 200]]],
        [[[1, 0, 0, 0, 20]]],
    ]
    with_sacrum = np.array([[[1, 0, 26, 255, 20]]], np.uint8)
    assert [part.tolist() for part in drop_unscored(prediction, with_sacrum)] == [
        [[[1, 26, 26, 0, 200]]],
        [[[1, 0, 26, 0, 20]]],
    ]


def test_binary_spine_is_1_to_28():
    values = np.array([[[0, 1, 19, 26, 27, 28, 29, 61, 101, 200, 255]]], np.uint8)
    assert binary_spine(values).ravel().tolist() == [False] + [True] * 5 + [False] * 5
