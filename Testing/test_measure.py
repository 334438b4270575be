"""Measured vertebrae against bodies whose sizes are known, on any grid, corrected by hand, cut, and on real scans."""

import csv
import dataclasses
import json
import time

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from generated_spines import planned_heights, smooth_spine
from geometry import GRIDS, LPS, OBLIQUE, SAGITTAL, centered_grid, rotation
from scans import CTS, ct, needs_scans

from SpineContextSegLib.centroids import directions, read_centroids, write_centroids
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import CANAL, SACRUM, TOTALSEGMENTATOR_TO_VERSE, structure
from SpineContextSegLib.measure import TABLE_TITLES, table_cells, vertebra_rows, write_table
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.views import sample_labels
from SpineContextSegLib.volume import Volume, to_sitk

# A body whose column is straight and whose L2 is a wedge; one with a scoliosis of 46 degrees and a wedged T8; one whose
# T6 is biconcave.
STRAIGHT, CURVED, BICONCAVE = 8001, 8037, 8014
L1, L2, L3 = 20, 21, 22
MARROW_HU, CORTEX_HU, OUTSIDE_HU = 150, 700, -80


def heights(row):
    return np.array([row.height_front_mm, row.height_middle_mm, row.height_back_mm])


def without(labels, *values):
    return Volume(np.where(np.isin(labels.array, values), 0, labels.array), labels.affine)


def by_value(rows):
    return {row.value: row for row in rows}


@pytest.fixture(scope="module")
def lumbar():
    """Plan, and labels of L1 to L3 at 0.8 mm; L2 is a wedge."""
    return smooth_spine(STRAIGHT, "L1", "L3", 0.8)


def own_rows(labels, *values):
    return {value: row for value, row in by_value(vertebra_rows(None, labels)).items() if value in values}


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
    assert np.abs(errors).max(0) == pytest.approx(np.zeros(3), abs=2.5)
    assert np.abs(errors).mean(0) == pytest.approx(np.zeros(3), abs=0.7)
    apart = np.linalg.norm([np.subtract(row.center_mm, vertebra.center) for row, vertebra in usual], axis=1)
    assert apart.max() < 2.5 and apart.mean() < 1.2


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


def painted_ct(labels):
    """Marrow of known density within 1.6 mm of cortex."""
    inside = np.isin(labels.array, (L1, L2, L3))
    depth = sitk.SignedMaurerDistanceMap(to_sitk(Volume(inside.astype(np.uint8), labels.affine)), True, False, True)
    marrow = sitk.GetArrayFromImage(depth) > 1.6
    return Volume(np.where(marrow, MARROW_HU, np.where(inside, CORTEX_HU, OUTSIDE_HU)).astype(np.int16), labels.affine)


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


# ------------------------------------------------------------------------------------------------ labels as people have


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


def lower_planes_lost(labels, value, share):
    """The scan begins so far up in a vertebra."""
    planes = np.flatnonzero((labels.array == value).any((1, 2)))
    first = int(planes[0] + share * len(planes))
    return Volume(labels.array[first:], labels.grid.crop((slice(first, None), slice(None), slice(None))).affine)


def test_a_cut_body_has_no_heights_but_what_is_seen_of_it(lumbar):
    plan, labels = lumbar
    cut = lower_planes_lost(labels, L2, 0.65)
    row = own_rows(cut, L2)[L2]
    assert row.partial and np.isnan(heights(row)).all()
    assert 0.2 < row.volume_ml / own_rows(labels, L2)[L2].volume_ml < 0.6
    assert np.linalg.norm(np.subtract(row.center_mm, plan.vertebra("L2").center)) < 8
    assert heights(own_rows(cut, L1)[L1]) == pytest.approx(planned_heights(plan.vertebra("L1")), abs=1.5)


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


@pytest.mark.parametrize(("radius_mm", "hu", "found"), [(2.5, 2500, True), (2.5, 1200, False), (0.8, 2500, False)])
def test_a_body_with_metal_has_no_density(radius_mm, hu, found, lumbar):
    """A screw from front to back; neither dense bone nor a speck is one."""
    _, labels = lumbar
    scan = painted_ct(labels)
    center = np.array(by_value(vertebra_rows(scan, labels))[L2].center_mm)
    away = labels.grid.world(np.argwhere(np.ones(labels.array.shape, bool))[:, ::-1]) - center
    short = (np.abs(away[:, 1]) < 30) if radius_mm > 1 else (np.abs(away[:, 1]) < 1)
    rod = (np.hypot(away[:, 0], away[:, 2]) < radius_mm) & short
    with_rod = Volume(np.where(rod.reshape(labels.array.shape), hu, scan.array).astype(np.int16), labels.affine)
    rows = by_value(vertebra_rows(with_rod, labels))
    assert [rows[value].metal for value in (L1, L2, L3)] == [False, found, False]
    assert np.isnan(rows[L2].body_hu) == found and not np.isnan([rows[L1].body_hu, rows[L3].body_hu]).any()
    assert not np.isnan(heights(rows[L2])).any()
    cells = {value: dict(zip(TABLE_TITLES, table_cells(rows[value]))) for value in (L1, L2)}
    assert cells[L1]["metal in body"] == "no" and cells[L2]["metal in body"] == ("yes" if found else "no")
    assert (cells[L2]["body interior mean (HU)"] == "") == found
    assert table_cells(by_value(vertebra_rows(None, labels))[L1])[-1] == "", "without a CT nobody knows"


# ---------------------------------------------------------------------------------------------------------------- files


def test_the_table_names_its_units_and_leaves_empty_what_is_not_known(lumbar, tmp_path):
    _, labels = lumbar
    rows = vertebra_rows(painted_ct(labels), lower_planes_lost(labels, L3, 0.0))[1:-1]
    rows = [dataclasses.replace(rows[0], value=28, partial=True, height_front_mm=float("nan")), *rows[1:]]
    write_table(rows, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == TABLE_TITLES
    plain = {"level", "label", "front/back", "middle/back", "partial", "metal in body"}
    assert all(title.endswith(("(mm)", "(ml)", "(HU)")) for title in set(TABLE_TITLES) - plain)
    assert (lines[0]["level"], lines[0]["label"], lines[0]["partial"]) == ("T13", "28", "yes")
    assert lines[0]["body height front (mm)"] == lines[0]["front/back"] == ""
    assert float(lines[1]["volume (ml)"]) == pytest.approx(rows[1].volume_ml, abs=0.01)
    assert float(lines[1]["body interior mean (HU)"]) == pytest.approx(MARROW_HU, abs=3)
    assert float(lines[1]["front/back"]) == pytest.approx(rows[1].height_front_mm / rows[1].height_back_mm, abs=1e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_centroids_come_back_on_any_grid(name, lumbar, tmp_path):
    _, labels = lumbar
    grid, rows = GRIDS[name], vertebra_rows(None, labels)
    path = tmp_path / "centroids.json"
    write_centroids(rows, grid, path)
    content = json.loads(path.read_text())
    assert content[0] == {"direction": list(nibabel.aff2axcodes(grid.affine))}
    assert [set(entry) for entry in content[1:]] == [{"label", "X", "Y", "Z"}] * len(rows)
    first = nibabel.affines.apply_affine(grid.affine, [content[1][axis] for axis in "XYZ"])
    assert first == pytest.approx(rows[0].center_mm, abs=0.03)
    back = read_centroids(path, grid)
    assert list(back) == [row.value for row in rows]
    for row in rows:
        assert back[row.value] == pytest.approx(row.center_mm, abs=0.03)


def test_centroids_of_an_image_that_was_turned_since(lumbar, tmp_path):
    """VerSe's files may have other axes than the image at hand; what nibabel makes of it is the reference."""
    _, labels = lumbar
    rows = vertebra_rows(None, labels)
    path = tmp_path / "centroids.json"
    write_centroids(rows, labels.grid, path)
    image = nibabel.Nifti1Image(labels.array.T, labels.affine)
    for codes in ("PIR", "LPS", "SAL"):
        to = nibabel.orientations.axcodes2ornt(codes)
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), to))
        grid = dataclasses.replace(labels.grid, shape=turned.shape[::-1], affine=turned.affine)
        assert "".join(directions(grid)) == codes
        for value, center in read_centroids(path, grid).items():
            assert center == pytest.approx(by_value(rows)[value].center_mm, abs=0.02)


def test_a_file_of_the_published_kind_is_read(tmp_path):
    path = tmp_path / "ctd.json"
    entries = [{"label": 19, "X": 2, "Y": 7.5, "Z": 1}, {"label": 20, "X": float("nan"), "Y": 1, "Z": 1}]
    path.write_text(json.dumps([{"direction": ["P", "I", "R"]}, *entries]))
    affine = np.diag([2.0, 3.0, 5.0, 1.0])  # upright: the axes go to R, A and S
    grid = Volume(np.zeros((20, 10, 4)), affine).grid
    assert read_centroids(path, grid) == {19: (2.0 * 1, 3.0 * (9 - 2), 5.0 * (19 - 7.5))}


@pytest.mark.parametrize(
    "text",
    ["", "{", "7", "[]", "{}", '[{"label": 1, "X": 1, "Y": 1, "Z": 1}]', '[{"direction": ["P", "A", "R"]}]',
     '[{"direction": ["P", "I"]}]', '[{"direction": 3}]', '[{"direction": ["P", "I", "R"]}, {"label": 1, "X": 1}]',
     '[{"direction": ["P", "I", "R"]}, {"label": 1, "X": "a", "Y": 1, "Z": 1}]'],
)  # fmt: skip
def test_files_of_another_kind_are_refused_in_words(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputRefused, match="other.json"):
        read_centroids(path, GRIDS["lps"])
    with pytest.raises(InputRefused, match="none.json"):
        read_centroids(tmp_path / "none.json", GRIDS["lps"])


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
