"""The picture of a result shows the right thing in the right place: orientation, scale, the course of the spine."""

import numpy as np
import pytest
import SimpleITK as sitk
from geometry import GRIDS, SIZE_MM, centered_grid, world_positions
from scans import ct, needs_scans

from SpineContextSegLib.preview import write_preview
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.shading import render
from SpineContextSegLib.view_drawing import _place_within
from SpineContextSegLib.views import sample_labels, spine_views
from SpineContextSegLib.volume import Volume

CENTER = np.array((12.5, -31.0, 204.25))  # of all GRIDS
# World axis -> which views show it, and along which of their axes.
SHOWN_ALONG = {0: {"Coronal": 1, "Axial": 1}, 1: {"Sagittal": 1, "Axial": 0}, 2: {"Sagittal": 0, "Coronal": 0}}


def column(grid, radius_mm=6.0):
    """Labels: a straight upright column through the middle."""
    offset = world_positions(grid) - CENTER
    mask = (np.hypot(offset[..., 0], offset[..., 1]) < radius_mm) & (np.abs(offset[..., 2]) < 20)
    return Volume(mask.astype(np.uint8), grid.affine)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["right", "front", "top"])
@pytest.mark.parametrize("name", GRIDS)
def test_views_are_in_radiological_orientation(name, axis):
    """A half of the scan that is bright lies on the side of the picture where radiology shows it."""
    grid = GRIDS[name]
    hu = np.where((world_positions(grid) - CENTER)[..., axis] > 0, 1000, 0).astype(np.int16)
    views = {view.title.split(",")[0]: view for view in spine_views(Volume(hu, grid.affine), column(grid))}
    for title, along in SHOWN_ALONG[axis].items():
        view = np.moveaxis(views[title].hu, along, 0)
        # Near the middle, because the corners of an oblique scan are empty.
        half, gap, reach = len(view) // 2, len(view) // 16, len(view) // 4
        middle = slice(2 * view.shape[1] // 5, 3 * view.shape[1] // 5)
        assert view[half - reach : half - gap, middle].mean() > 900, title
        assert view[half + gap : half + reach, middle].mean() < 100, title
    assert [views[title].marks for title in ("Sagittal", "Coronal", "Axial")] == [
        ("A", "P", "S", "I"), ("R", "L", "S", "I"), ("R", "L", "A", "P"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["upright", "thick", "sagittal_thick", "oblique_thick", "sheared"])
def test_labels_lie_where_they_are_at_true_scale(name):
    grid = GRIDS[name]
    for view in spine_views(Volume(np.zeros(grid.shape, np.int16), grid.affine), column(grid)):
        rows, columns = np.nonzero(view.labels)
        size = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1]) * view.pixel_mm
        expected = (12.0, 12.0) if view.title == "Axial" else (40.0, 12.0)
        assert np.abs(size - expected).max() <= max(grid.spacing_mm) + view.pixel_mm, view.title
        middle = np.array([rows.mean(), columns.mean()]) - (np.array(view.labels.shape) - 1) / 2
        assert np.abs(middle * view.pixel_mm).max() < max(grid.spacing_mm), view.title


def test_labels_and_gray_values_are_not_shifted_against_each_other():
    grid = GRIDS["oblique_thick"]
    labels = column(grid)
    for view in spine_views(Volume(labels.array * np.int16(1000), grid.affine), labels):
        agree = (view.hu > 500) == (view.labels == 1)
        assert agree.mean() > 0.98


def test_a_curved_spine_is_seen_as_a_whole():
    grid = centered_grid((1.5, 1.5, 2.0), (120.0, 80.0, 240.0), center=CENTER)
    offset = world_positions(grid) - CENTER
    sideways = 25 * np.sin(offset[..., 2] / 50)
    forward = 15 * np.cos(offset[..., 2] / 40)
    mask = np.hypot(offset[..., 0] - sideways, offset[..., 1] - forward) < 5
    labels = Volume(mask.astype(np.uint8), grid.affine)
    sagittal, coronal, _ = spine_views(Volume(mask * np.int16(900), grid.affine), labels)
    assert "follows" in sagittal.title and "follows" in coronal.title
    for view in (sagittal, coronal):
        assert view.labels.any(axis=1).all()
        assert view.hu.max(axis=1).min() > 600
    # What the sagittal view straightens, the coronal view shows in its true shape.
    columns = [np.flatnonzero(row).mean() for row in coronal.labels]
    assert np.ptp(columns) * coronal.pixel_mm == pytest.approx(50, abs=4)


def test_a_mistaken_piece_does_not_pull_the_views_off_the_spine():
    grid = centered_grid((2.0, 2.0, 2.0), (160.0, 60.0, 160.0), center=CENTER)
    offset = world_positions(grid) - CENTER
    spine = (np.hypot(offset[..., 0] + 40, offset[..., 1]) < 8) & (offset[..., 2] % 30 < 20)  # vertebrae with gaps
    mistake = np.linalg.norm(offset - (60, 10, -60), axis=-1) < 15
    labels = Volume((spine | mistake).astype(np.uint8), grid.affine)
    sagittal, _, axial = spine_views(Volume(spine * np.int16(900), grid.affine), labels)
    assert sagittal.title == "Sagittal"
    for view in (sagittal, axial):  # the coronal view meets both
        assert view.labels.any()
        assert ((view.labels > 0) == (view.hu > 450)).mean() > 0.97
    assert (sagittal.labels > 0).any(axis=1).mean() == pytest.approx(2 / 3, abs=0.1)


def test_nearest_labels_are_the_labels_on_their_own_grid():
    grid = GRIDS["sheared_oblique"]
    labels = Volume(np.random.default_rng(0).integers(0, 27, grid.shape).astype(np.uint8), grid.affine)
    assert np.array_equal(sample_labels(labels, grid), labels.array)


@pytest.mark.parametrize("name", ["lps", "sagittal_thick", "oblique"])
def test_the_shape_is_lit_and_what_is_in_front_hides_what_is_behind(name):
    grid = GRIDS[name]
    offset = world_positions(grid) - CENTER
    array = np.zeros(grid.shape, np.uint8)
    array[np.linalg.norm(offset - (12, 12, 0), axis=-1) < 9] = 1  # right and in front
    array[np.linalg.norm(offset - (-12, -12, 0), axis=-1) < 9] = 2  # left and behind
    array[np.linalg.norm(offset - (12, -12, 0), axis=-1) < 9] = 3  # right and behind: hidden from both sides
    colors = {1: (1.0, 0.0, 0.0), 2: (0.0, 1.0, 0.0), 3: (0.0, 0.0, 1.0)}
    front, left = render(Volume(array, grid.affine), colors)
    for picture, order in ((front, (0, 1)), (left, (0, 1))):
        halves = np.array_split(picture, 2, axis=1)
        for half, channel in zip(halves, order):
            visible = half[half[..., 3] > 0.9][:, :3]
            assert len(visible) > 100
            assert (visible.argmax(axis=1) == channel).mean() > 0.98
            assert visible.max(axis=1).std() > 0.05
    assert front[0, 0, 3] == 0


def test_a_structure_too_thin_for_the_picture_is_no_fault():
    """A speck of a disc is lost between the voxels of the picture; its color stays on the list."""
    array = np.zeros((150, 150, 150), np.uint8)
    array[40:110, 60:90, 60:90] = 24
    array[75, 75, 95] = 121
    front, _ = render(Volume(array, np.diag([2.0, 2.0, 2.0, 1.0])), {24: (1.0, 0.0, 0.0), 121: (0.0, 1.0, 0.0)})
    assert (front[..., 3] > 0.9).sum() > 100
    absent = render(Volume(np.where(array == 121, 0, array), np.eye(4)), {24: (1.0, 0.0, 0.0), 121: (0.0, 1.0, 0.0)})
    assert len(absent) == 2


def test_a_scan_without_a_spine_has_a_picture_too(tmp_path):
    grid = GRIDS["thick"]
    empty = Volume(np.zeros(grid.shape, np.uint8), grid.affine)
    path = tmp_path / "Überblick.png"
    write_preview(Volume(np.full(grid.shape, 40, np.int16), grid.affine), empty, path, title="no $spine$ ümlaut")
    assert path.stat().st_size > 5000


def test_values_of_a_persons_own_are_left_out(tmp_path):
    """Of any size: one color for each number up to the largest would take all memory."""
    grid = GRIDS["thick"]
    volume, labels = Volume(np.full(grid.shape, 40, np.int16), grid.affine), column(grid)
    theirs = labels.array.astype(np.int32)
    middle = tuple(n // 2 for n in grid.shape)
    theirs[middle[0] - 1 : middle[0] + 2, middle[1], middle[2]] = -1, 300, 2_000_000_000
    ours = Volume(np.where(theirs == 1, 1, 0).astype(np.uint8), grid.affine)
    assert ours.array.sum() == labels.array.sum() - 3
    for name, shown in (("ours", ours), ("theirs", Volume(theirs, grid.affine))):
        write_preview(volume, shown, tmp_path / f"{name}.png")
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_a_name_stands_on_what_it_names():
    """The middle of the ring of C1 lies in the dens."""
    mask = np.zeros((40, 60), bool)
    mask[10:30, 5:15] = mask[12:30, 42:56] = True
    row, column = _place_within(mask)
    assert mask[int(row), int(column)] and 42 <= column < 56, "the thicker of the two"
    assert _place_within(mask[:, :20]) == (19.5, 9.5)


def test_doubt_about_the_levels_is_seen(tmp_path):
    grid = GRIDS["thick"]
    volume, labels = Volume(np.full(grid.shape, 40, np.int16), grid.affine), column(grid)
    named = Volume(np.where(labels.array == 1, 22, 0).astype(np.uint8), grid.affine)
    pictures = {}
    for doubt in ("", "levels uncertain (70 %)"):
        write_preview(volume, named, tmp_path / "p.png", "title", doubt)
        pictures[doubt] = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "p.png")))
    sure, unsure = pictures.values()
    changed = np.argwhere((sure != unsure).any(-1))
    assert len(changed) > 200 and changed[:, 0].max() < 62 and changed[:, 1].min() > sure.shape[1] / 2


@pytest.mark.parametrize("size_mm", [SIZE_MM, (400.0, 300.0, 30.0), (60.0, 60.0, 1200.0)])
def test_the_page_keeps_its_shape_for_any_scan(size_mm, tmp_path):
    grid = centered_grid((3.0, 3.0, 3.0), size_mm, center=CENTER)
    write_preview(Volume(np.zeros(grid.shape, np.int16), grid.affine), column(grid), tmp_path / "p.png", title="title")
    width, height = sitk.ReadImage(str(tmp_path / "p.png")).GetSize()
    assert 900 <= width <= 1700 and 600 <= height <= 1000


@needs_scans
@pytest.mark.parametrize("name", ["thorax_crop", "lumbar_crop"])
def test_real_scans_have_a_picture(name, tmp_path):
    volume, labels = read_volume(ct(name))[0], read_labels(ct(f"{name}_labels"))
    known = np.where(labels.array == 255, 0, labels.array).astype(np.uint8)
    write_preview(volume, Volume(known, labels.affine), tmp_path / "p.png", title=name)
    assert (tmp_path / "p.png").stat().st_size > 100_000
