"""Measured vertebrae against bodies whose sizes are known, on any grid, and on real scans; how long it takes."""

import dataclasses
import time

import numpy as np
import pytest
from generated_spines import planned_heights, smooth_spine
from geometry import GRIDS, LPS, OBLIQUE, SAGITTAL, centered_grid, rotation
from known_sizes import *  # noqa: F403
from known_sizes import BICONCAVE, CURVED, MARROW_HU, STRAIGHT, by_value, heights, own_rows, painted_ct, without
from level_values import L1, L2, L3
from scans import CTS, ct, needs_scans

from SpineContextSegLib.labels import CANAL, TOTALSEGMENTATOR_TO_VERSE, structure
from SpineContextSegLib.measure import vertebra_rows
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.views import sample_labels
from SpineContextSegLib.volume import Volume

# ------------------------------------------------------------------------------------------------- sizes that are known


@pytest.mark.parametrize("seed", [STRAIGHT, CURVED])
@pytest.mark.parametrize("canal", [True, False])
def test_heights_middles_and_volumes_of_a_whole_column(seed, canal):
    plan, labels = smooth_spine(seed, "C1", "L5")
    labels = labels if canal else without(labels, CANAL)
    rows = vertebra_rows(None, labels)
    assert [row.value for row in rows] == [vertebra.value for vertebra in plan.vertebrae]
    assert [row.name for row in rows] == [f"{vertebra.name} vertebra" for vertebra in plan.vertebrae]
    for row in rows:
        assert row.volume_ml == pytest.approx(np.count_nonzero(labels.array == row.value) / 1000)
        assert not row.partial and np.isnan(row.body_hu)
    assert all(np.isnan(heights(row)).all() for row in rows[:2])
    usual = [(r, v) for r, v in zip(rows[2:], plan.vertebrae[2:]) if not (v.bridge or v.disc_ossified)]
    errors = np.array([heights(row) - planned_heights(vertebra) for row, vertebra in usual])
    # Front, middle, back.
    assert np.abs(errors).max() < 1.3
    assert (np.abs(errors).mean(0) < (0.45, 0.7, 0.4)).all()
    apart = np.linalg.norm([np.subtract(row.center_mm, vertebra.center) for row, vertebra in usual], axis=1)
    assert apart.max() < 2.1 and apart.mean() < 1.05


@pytest.mark.parametrize(("seed", "name"), [(STRAIGHT, "L2"), (CURVED, "T8")])
def test_a_wedge_fracture_is_low_at_the_front(seed, name):
    plan, labels = smooth_spine(seed, "C1", "L5")
    vertebra = plan.vertebra(name)
    row = by_value(vertebra_rows(None, labels))[vertebra.value]
    front, _, back = planned_heights(vertebra)
    assert front / back < 0.7
    assert row.front_to_back == pytest.approx(front / back, abs=0.07)


def test_a_biconcave_fracture_is_low_in_the_middle():
    plan, labels = smooth_spine(BICONCAVE, "T5", "T7", 0.8)
    row = by_value(vertebra_rows(None, labels))[plan.vertebra("T6").value]
    _, middle, back = planned_heights(plan.vertebra("T6"))
    assert middle / back < 0.5
    assert row.middle_to_back == pytest.approx(middle / back, abs=0.1)
    assert row.front_to_back > 0.9


SCANS = {
    "lps": centered_grid((1, 1, 1), (124, 110, 118), LPS),
    "feet_first": centered_grid((0.9, 0.9, 1.5), (124, 110, 118), np.diag([1.0, -1.0, -1.0])),
    "left_handed": centered_grid((0.8, 0.8, 2.0), (124, 110, 118), np.diag([1.0, -1.0, 1.0])),
    "sagittal_thick": centered_grid((0.7, 0.7, 4.0), (118, 110, 124), SAGITTAL),
    "thick": centered_grid((0.7, 0.7, 4.0), (124, 110, 118), LPS),
    "oblique": centered_grid((1, 1, 1), (150, 150, 150), OBLIQUE),
    "oblique_thick": centered_grid((0.8, 0.8, 4.0), (150, 150, 150), OBLIQUE @ LPS),
    "coarse": centered_grid((3, 3, 3), (124, 110, 118)),
    "sheared": centered_grid((0.9, 0.9, 2.5), (124, 150, 140), GRIDS["sheared"].directions),
}


@pytest.mark.parametrize("name", SCANS)
def test_any_grid_gives_the_same_sizes(name, lumbar):
    """Heights finer than the voxels, middles in space, and the density of the marrow without the cortex around it."""
    plan, labels = lumbar
    middle = labels.grid.corners().mean(0)
    affine = SCANS[name].affine.copy()
    affine[:3, 3] += middle - (SCANS[name].corners().mean(0))
    grid = dataclasses.replace(SCANS[name], affine=affine)
    scanned = Volume(sample_labels(labels, grid), grid.affine)
    hu = Volume(sample_labels(painted_ct(labels), grid).astype(np.int16), grid.affine)
    rows = by_value(vertebra_rows(hu, scanned))
    for vertebra in (plan.vertebra("L1"), plan.vertebra("L2"), plan.vertebra("L3")):
        row = rows[vertebra.value]
        # Nobody sees where in a slice the edge of a label is: half a slice at either end.
        along_mm = np.abs(vertebra.rotation[:, 2] @ grid.affine[:3, :3]).max()
        tolerance = 0.6 + along_mm
        assert heights(row) == pytest.approx(planned_heights(vertebra), abs=tolerance)
        assert np.linalg.norm(np.subtract(row.center_mm, vertebra.center)) < 2.2
        assert row.volume_ml == pytest.approx(np.count_nonzero(labels.array == row.value) * 0.8**3 / 1000, rel=0.04)
        assert row.body_hu == pytest.approx(MARROW_HU, abs=6)


def test_a_patient_on_the_side_and_upside_down_has_the_same_sizes(lumbar):
    """The directions in a header may be wrong; the vertebrae say themselves where their front is."""
    _, labels = lumbar
    usual = own_rows(labels, L1, L2, L3)
    for turn in (rotation(90, 2), rotation(180, 0), rotation(90, 1), rotation(35, 0) @ rotation(-120, 2)):
        affine = labels.affine.copy()
        affine[:3] = turn @ affine[:3]
        for value, row in own_rows(Volume(labels.array, affine), L1, L2, L3).items():
            assert heights(row) == pytest.approx(heights(usual[value]), abs=0.5)
            assert row.center_mm == pytest.approx(turn @ usual[value].center_mm, abs=0.7)


def stored_otherwise(volume, axes, flips):
    """The same voxels in the same places, stored with other axes (k, j, i) first, some of them backwards."""
    index = np.eye(4)
    index[:3, :3] = np.eye(3)[[2 - axes.index(axis) for axis in (2, 1, 0)]]
    turned = volume.array.transpose(axes)
    for axis in np.flatnonzero(flips):
        backwards = np.eye(4)
        backwards[2 - axis, [2 - axis, 3]] = -1, turned.shape[axis] - 1
        index = index @ backwards
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return Volume(turned[steps], volume.affine @ index)


@pytest.fixture(scope="module")
def curved():
    """T6 to T9 of a scoliosis, finer than what is looked at, so that voxels are taken together."""
    return smooth_spine(CURVED, "T6", "T9", 0.9)[1]


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_it_does_not_matter_how_the_axes_are_stored(axes, flips, curved):
    usual, turned = (vertebra_rows(None, volume) for volume in (curved, stored_otherwise(curved, axes, flips)))
    assert [row.value for row in turned] == [row.value for row in usual]
    for row, other in zip(usual, turned):
        assert heights(other) == pytest.approx(heights(row), abs=0.1, nan_ok=True)
        assert other.center_mm == pytest.approx(row.center_mm, abs=0.1)
        assert (other.volume_ml, other.partial) == (pytest.approx(row.volume_ml), row.partial)


# ---------------------------------------------------------------------------------------------------------------- speed


def test_a_whole_column_in_a_large_scan_takes_a_second():
    """24 vertebrae, 512 x 512 x 600 voxels, with density: seconds of one core, however busy the computer is."""
    _, labels = smooth_spine(STRAIGHT, "C1", "L5")
    grid = centered_grid((0.7, 0.7, 1.06), (358.4, 358.4, 636.0), LPS, labels.grid.corners().mean(0))
    assert grid.shape == (600, 512, 512)
    large = Volume(sample_labels(labels, grid), grid.affine)
    hu = Volume(large.array.astype(np.int16) - 80, grid.affine)
    before = time.process_time()
    rows = vertebra_rows(hu, large)
    seconds = time.process_time() - before
    assert len(rows) == 24
    assert seconds < 3.0


# ----------------------------------------------------------------------------------------------------------- real scans


def real(name):
    volume, _ = read_volume(ct(name))
    labels = read_labels(ct(f"{name}_labels"))
    if name == "abdomen_3mm":
        table = np.zeros(256, np.uint8)
        table[list(TOTALSEGMENTATOR_TO_VERSE)] = list(TOTALSEGMENTATOR_TO_VERSE.values())
        labels = Volume(table[labels.array], labels.affine)
    return volume, labels


def usual_height(value):
    """(least, most) height of a body in mm: from a small woman's to a large man's, with some wear."""
    return (9, 19) if value < 8 else (13, 28) if value < 19 else (20, 36)


@needs_scans
@pytest.mark.parametrize("name", CTS)
def test_real_scans_have_plausible_sizes(name):
    volume, labels = real(name)
    rows = vertebra_rows(volume, labels)
    s = [row.center_mm[2] for row in rows]
    assert s == sorted(s, reverse=True)
    # C4 and C5 are fused in this scan, and the border between their labels is arbitrary.
    rows = [row for row in rows if not (name == "head_neck" and row.value in (4, 5))]
    whole = [row for row in rows if not np.isnan(heights(row)).any()]
    assert len(whole) >= {"chest_1mm": 11, "head_neck": 7, "lumbar_crop": 1}.get(name, 5)
    for row in whole:
        least, most = usual_height(row.value)
        assert least < min(row.height_front_mm, row.height_back_mm), row
        assert max(heights(row)) < most, row
        assert 0.65 < row.front_to_back < 1.35 and 0.6 < row.middle_to_back < 1.2, row
        assert 30 < row.body_hu < 330, row
    # Bodies stand one above the other: the step from one middle to the next is a body and a disc.
    steps = np.linalg.norm(np.diff([row.center_mm for row in whole], axis=0), axis=1)
    neighbors = [lower.value == upper.value + 1 for upper, lower in zip(whole, whole[1:])]
    assert ((steps > 12) & (steps < 45))[neighbors].all()


@needs_scans
@pytest.mark.parametrize("name", ["chest_1mm", "thorax_crop", "chest_scoliosis"])
def test_real_scans_without_the_canal_give_nearly_the_same(name):
    volume, labels = real(name)
    pairs = [
        (one, other)
        for one, other in zip(vertebra_rows(volume, labels), vertebra_rows(volume, without(labels, CANAL)))
        if not np.isnan([*heights(one), *heights(other)]).any()
    ]
    assert len(pairs) >= 9
    difference = np.abs([heights(one) - heights(other) for one, other in pairs])
    assert np.median(difference) < 0.4 and difference.max() < 3.5
    assert max(np.linalg.norm(np.subtract(one.center_mm, other.center_mm)) for one, other in pairs) < 2.5
    assert max(abs(one.body_hu - other.body_hu) for one, other in pairs) < 12


@needs_scans
def test_the_body_is_where_a_reference_of_parts_has_it():
    """L3 of this scan has its body labeled apart from its arch."""
    _, labels = real("lumbar_crop")
    parts = read_labels(ct("lumbar_crop_subregions"))
    corpus = np.isin(parts.array, (49, 50)) & (labels.array == 22)
    middle = parts.grid.world(np.argwhere(corpus)[:, ::-1]).mean(0)
    row = by_value(vertebra_rows(None, labels))[22]
    assert row.name == structure(22).name
    assert np.linalg.norm(np.subtract(row.center_mm, middle)) < 2.5
