"""Labels as people have them, measured: corrected by hand, cut by the border, with metal, or of no use."""

import numpy as np
import pytest
import SimpleITK as sitk
from generated_spines import planned_heights, smooth_spine
from known_sizes import *  # noqa: F403
from known_sizes import STRAIGHT, by_value, heights, lower_planes_lost, own_rows, painted_ct, without
from level_values import L1, L2, L3

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import CANAL, SACRUM
from SpineContextSegLib.measure import NO_BODY, TABLE_TITLES, TOO_LITTLE, table_cells, vertebra_rows
from SpineContextSegLib.volume import Volume, to_sitk

# --------------------------------------------------------------------------------------------------- corrected by hand


def test_a_vertebra_alone_has_the_same_sizes(lumbar):
    _, labels = lumbar
    usual = own_rows(labels, L1, L2, L3)
    for value in (L1, L2, L3):
        (row,) = vertebra_rows(None, Volume(np.where(labels.array == value, value, 0), labels.affine))
        assert heights(row) == pytest.approx(heights(usual[value]), abs=0.8)
        assert row.center_mm == pytest.approx(usual[value].center_mm, abs=1.0)


def bare_body(labels, plan, value):
    """Only what lies in front of the canal."""
    vertebra = next(v for v in plan.vertebrae if v.value == value)
    places = labels.grid.world(np.argwhere(labels.array == value)[:, ::-1])
    behind = ((places - vertebra.center) @ vertebra.rotation)[:, 1] < -vertebra.depth / 2
    array = labels.array.copy()
    array[tuple(np.argwhere(array == value)[behind].T)] = 0
    return Volume(array, labels.affine)


def broken_arch(labels, plan, value):
    """The arch is open at one side and the canal is not labeled."""
    vertebra = next(v for v in plan.vertebrae if v.value == value)
    indices = np.argwhere(labels.array == value)
    local = (labels.grid.world(indices[:, ::-1]) - vertebra.center) @ vertebra.rotation
    array = without(labels, CANAL).array
    lost = (local[:, 1] < vertebra.canal_y) & (local[:, 0] > 1) & (local[:, 0] < 18)
    array[tuple(indices[lost].T)] = 0
    return Volume(array, labels.affine)


def hollow(labels, plan, value):
    """Only a shell of 4 mm is labeled."""
    image = to_sitk(Volume((labels.array == value).astype(np.uint8), labels.affine))
    inside = sitk.GetArrayFromImage(sitk.BinaryErode(image, [5, 5, 5])) > 0
    return Volume(np.where(inside, 0, labels.array), labels.affine)


def with_crumbs(labels, plan, value):
    """Some strokes of a brush elsewhere."""
    array = labels.array.copy()
    array[3:6, 10:14, 10:14] = value
    array[-9:-6, -14:-10, -20:-14] = value
    return Volume(array, labels.affine)


def rough(labels, plan, value):
    """Drawn by an unsteady hand: voxels at the surface are there or not."""
    mask = to_sitk(Volume((labels.array == value).astype(np.uint8), labels.affine))
    surface = sitk.GetArrayFromImage(mask - sitk.BinaryErode(mask, [1, 1, 1])) > 0
    lost = surface & (np.random.default_rng(0).random(surface.shape) < 0.4)
    return Volume(np.where(lost, 0, labels.array), labels.affine)


@pytest.mark.parametrize("spoil", [bare_body, broken_arch, hollow, with_crumbs, rough])
def test_corrected_labels_are_measured_alike(spoil, lumbar):
    plan, labels = lumbar
    usual = own_rows(labels, L1, L2, L3)
    for value in (L1, L2, L3):
        row = own_rows(spoil(labels, plan, value), value)[value]
        assert heights(row) == pytest.approx(heights(usual[value]), abs=1.5)
        assert row.center_mm == pytest.approx(usual[value].center_mm, abs=1.2)


def test_rows_stand_in_the_order_of_the_column_whatever_the_values(lumbar):
    _, labels = lumbar
    names = np.arange(256, dtype=np.uint8)
    names[[L1, L2, L3]] = 28, 25, 7
    names[[*range(1, L1), 23, 24]] = 0
    rows = vertebra_rows(None, Volume(names[labels.array], labels.affine))
    assert [row.name for row in rows] == ["T13 vertebra", "L6 vertebra", "C7 vertebra"]


def test_what_is_no_vertebra_has_no_row(lumbar):
    _, labels = lumbar
    assert {SACRUM, CANAL, 120} - set(np.unique(labels.array)) == {SACRUM}
    array = np.where(labels.array == L3, SACRUM, labels.array).astype(np.uint16)
    array[array == 23] = 301
    assert [row.value for row in vertebra_rows(None, Volume(array, labels.affine))][-2:] == [L1, L2]
    assert vertebra_rows(None, Volume(np.zeros((9, 9, 9), np.uint8), np.eye(4))) == []


# ---------------------------------------------------------------------------------------------------- cut by the border


def test_a_cut_body_has_no_heights_but_what_is_seen_of_it(lumbar):
    plan, labels = lumbar
    cut = lower_planes_lost(labels, L2, 0.65)
    row = own_rows(cut, L2)[L2]
    assert row.partial and np.isnan(heights(row)).all()
    assert 0.2 < row.volume_ml / own_rows(labels, L2)[L2].volume_ml < 0.6
    assert np.linalg.norm(np.subtract(row.center_mm, plan.vertebra("L2").center)) < 8
    assert heights(own_rows(cut, L1)[L1]) == pytest.approx(planned_heights(plan.vertebra("L1")), abs=1.5)


def test_a_stray_voxel_at_the_border_cuts_no_body(lumbar):
    """As where a body all but touches the border of a crop; what is left empty says why."""
    _, labels = lumbar
    cropped = lower_planes_lost(labels, L3, 0.0)
    whole = by_value(vertebra_rows(None, cropped))[L2]
    array = np.where(cropped.array == L3, 0, cropped.array)
    j, i = np.argwhere((array == L2).any(0)).mean(0).astype(int)
    array[0, j, i] = L2
    stray = by_value(vertebra_rows(None, Volume(array, cropped.affine)))[L2]
    np.testing.assert_allclose(heights(stray), heights(whole), atol=0.2)
    assert not stray.partial and stray.remark == ""
    assert by_value(vertebra_rows(None, lower_planes_lost(labels, L3, 0.3)))[L3].remark == NO_BODY


def test_thick_slices_are_told_beside_what_they_spoil(lumbar):
    """Heights err by more than a wedge fracture takes away, and hardly any marrow is a shell's thickness deep."""
    _, labels = lumbar
    thick = Volume(labels.array[3::9], labels.grid.affine @ np.diag([1, 1, 9, 1]))
    rows = by_value(vertebra_rows(painted_ct(thick), thick, hounsfield=True))
    assert rows[L2].remark == f"slices of 7.2 mm: heights are rough; {TOO_LITTLE}" and np.isnan(rows[L2].body_hu)
    assert by_value(vertebra_rows(None, thick))[L2].remark == "slices of 7.2 mm: heights are rough"


def test_thin_slices_of_a_tilted_gantry_are_not_told_as_thick(lumbar):
    """Along the tilted axis, neighbors are further apart than their planes."""
    _, labels = lumbar
    upright = Volume(labels.array[::2], labels.affine @ np.diag([1, 1, 2, 1]))
    count = len(upright.array)
    array = np.pad(upright.array, ((0, 0), (2 * (count - 1), 0), (0, 0)))
    tilt = np.eye(4)
    tilt[1, 2:] = 2, -2 * (count - 1)
    tilted = Volume(np.stack([np.roll(plane, -2 * k, axis=0) for k, plane in enumerate(array)]), upright.affine @ tilt)
    assert tilted.grid.spacing_mm[2] > 2.2
    row, expected = own_rows(tilted, L2)[L2], own_rows(upright, L2)[L2]
    assert row.remark == expected.remark == ""
    assert heights(row) == pytest.approx(heights(expected), abs=0.3)


def test_a_cut_process_is_marked_and_leaves_the_body_as_it_is(lumbar):
    _, labels = lumbar
    usual = own_rows(labels, L1, L2, L3)
    rows = np.flatnonzero((labels.array == L2).any((0, 2)))
    for lost, partial in ((38, True), (2, False)):
        first = int(rows[0]) + lost
        cut = Volume(labels.array[:, first:], labels.grid.crop((slice(None), slice(first, None), slice(None))).affine)
        row = own_rows(cut, L2)[L2]
        assert row.partial == partial and (row.volume_ml < usual[L2].volume_ml - 1) == partial
        assert heights(row) == pytest.approx(heights(usual[L2]), abs=0.7)


@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 1.5), (0.75, 0.75, 3.0), (3.0, 1.0, 1.0)])
@pytest.mark.parametrize(("area_mm2", "partial"), [(9 * 12, False), (18 * 12, True)])
def test_partial_is_what_it_is_in_the_report_of_a_run_on_any_grid(spacing_mm, area_mm2, partial):
    """More than 1 % of the voxels at the border, were they of 1.5 mm: here 160 mm2 for 24 ml."""
    counts = np.round(np.array([30.0, 30.0, 27.0]) / spacing_mm).astype(int)
    array = np.zeros(counts[::-1] + (4, 4, 4), np.uint8)
    array[2:-2, 2:-2, 2:-2] = L2
    tip = np.round(np.array([area_mm2 / 12, 12.0]) / spacing_mm[1:]).astype(int)
    array[2 : 2 + tip[1], 2 : 2 + tip[0], :2] = L2
    (row,) = vertebra_rows(None, Volume(array, np.diag([*spacing_mm, 1.0])))
    assert row.partial == partial


@pytest.mark.parametrize("canal", [True, False])
def test_only_the_tip_of_a_process_is_no_body(canal):
    """In the chest, a spinous process hangs down beside the next vertebra."""
    plan, labels = smooth_spine(STRAIGHT, "T5", "T9")
    labels = labels if canal else without(labels, CANAL)
    t6 = plan.vertebra("T6")
    planes = np.flatnonzero((labels.array == t6.value).any((1, 2)))
    last = int(planes[0]) + 9
    seen = Volume(labels.array[:last], labels.affine)
    row = own_rows(seen, t6.value)[t6.value]
    assert row.partial and np.isnan([*heights(row), row.body_hu]).all()
    assert ((row.center_mm - t6.center) @ t6.rotation)[1] < -30
    whole = own_rows(seen, t6.value + 2)[t6.value + 2]
    assert heights(whole) == pytest.approx(planned_heights(plan.vertebra("T8")), abs=2)


# -------------------------------------------------------------------------------------------------------------- refused


def test_vertebrae_that_are_not_told_apart_are_refused(lumbar):
    _, labels = lumbar
    with pytest.raises(InputRefused, match="on its own"):
        vertebra_rows(None, Volume((labels.array > 0).astype(np.uint8), labels.affine))


def test_a_scan_on_another_grid_is_refused(lumbar):
    _, labels = lumbar
    with pytest.raises(InputRefused, match="same grid"):
        vertebra_rows(Volume(np.zeros((5, 5, 5), np.int16), labels.affine), labels)


def test_a_scan_that_is_no_scan_does_not_matter(lumbar):
    """Voxels without a number give no density, and no warning either."""
    _, labels = lumbar
    nothing = Volume(np.full(labels.array.shape, np.nan, np.float32), labels.affine)
    assert all(np.isnan(row.body_hu) for row in vertebra_rows(nothing, labels))


@pytest.mark.parametrize(("radius_mm", "told"), [(1.5, True), (12.0, False)])
def test_few_voxels_without_a_number_leave_the_density_as_it_is(radius_mm, told, lumbar):
    _, labels = lumbar
    scan = painted_ct(labels)
    whole = by_value(vertebra_rows(scan, labels))[L2]
    away = labels.grid.world(np.argwhere(np.ones(labels.array.shape, bool))[:, ::-1]) - np.array(whole.center_mm)
    hole = (np.linalg.norm(away, axis=1) < radius_mm).reshape(labels.array.shape)
    rows = by_value(vertebra_rows(Volume(np.where(hole, np.nan, scan.array).astype(np.float32), labels.affine), labels))
    assert hole.any() and not np.isnan(rows[L1].body_hu)
    assert rows[L2].body_hu == pytest.approx(whole.body_hu, abs=2) if told else np.isnan(rows[L2].body_hu)


def test_who_knows_what_the_values_are_is_believed(lumbar):
    """A crop without air and fat is a CT all the same, and a signal that looks like one is none."""
    _, labels = lumbar
    without_fat = Volume(np.maximum(painted_ct(labels).array, 0), labels.affine)
    assert all(np.isnan(row.body_hu) for row in vertebra_rows(without_fat, labels))
    known = vertebra_rows(without_fat, labels, hounsfield=True)
    assert any(row.body_hu > 0 for row in known)
    assert all(np.isnan(row.body_hu) for row in vertebra_rows(painted_ct(labels), labels, hounsfield=False))


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("radius_mm", "hu", "found"), [(2.5, 2500, True), (2.5, 1200, False), (0.8, 2500, False)])
def test_a_body_with_metal_has_no_density(radius_mm, hu, found, labelled, lumbar):
    """A screw from front to back, also where labels leave it out; neither dense bone nor a speck is one."""
    _, labels = lumbar
    scan = painted_ct(labels)
    center = np.array(by_value(vertebra_rows(scan, labels))[L2].center_mm)
    away = labels.grid.world(np.argwhere(np.ones(labels.array.shape, bool))[:, ::-1]) - center
    short = (np.abs(away[:, 1]) < 30) if radius_mm > 1 else (np.abs(away[:, 1]) < 1)
    rod = (np.hypot(away[:, 0], away[:, 2]) < radius_mm) & short
    rod = rod.reshape(labels.array.shape)
    with_rod = Volume(np.where(rod, hu, scan.array).astype(np.int16), labels.affine)
    drawn = labels if labelled else Volume(np.where(rod, 0, labels.array), labels.affine)
    rows = by_value(vertebra_rows(with_rod, drawn))
    assert [rows[value].metal for value in (L1, L2, L3)] == [False, found, False]
    assert np.isnan(rows[L2].body_hu) == found and not np.isnan([rows[L1].body_hu, rows[L3].body_hu]).any()
    assert not np.isnan(heights(rows[L2])).any()
    cells = {value: dict(zip(TABLE_TITLES, table_cells(rows[value]))) for value in (L1, L2)}
    assert cells[L1]["metal in body"] == "no" and cells[L2]["metal in body"] == ("yes" if found else "no")
    assert (cells[L2]["body interior mean (HU)"] == "") == found
    without = dict(zip(TABLE_TITLES, table_cells(by_value(vertebra_rows(None, labels))[L1])))
    assert without["metal in body"] == "", "without a CT nobody knows"
