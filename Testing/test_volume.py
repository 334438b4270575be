import gc

import numpy as np
import pytest

from SpineContextSegLib.volume import Grid, Volume, array_of, count_labels, from_sitk, to_sitk
from Testing.geometry import GRIDS, SHEARED, centered_grid, world_positions


@pytest.mark.parametrize("name", GRIDS)
def test_simpleitk_sees_every_voxel_at_the_same_place(name):
    grid = GRIDS[name]
    image = to_sitk(Volume(np.zeros(grid.shape, np.int16), grid.affine))
    k, j, i = (n - 1 for n in grid.shape)
    for index in [(0, 0, 0), (i, 0, 0), (0, j, 0), (0, 0, k), (3, 2, 1), (i, j, k)]:
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(grid.world(np.array(index)), (-x, -y, z), atol=1e-6)


@pytest.mark.parametrize("name", GRIDS)
def test_simpleitk_and_back_changes_nothing(name):
    grid = GRIDS[name]
    array = np.random.default_rng(0).integers(-1000, 3000, grid.shape).astype(np.int16)
    back = from_sitk(to_sitk(Volume(array, grid.affine)))
    assert back.array.dtype == np.int16
    np.testing.assert_array_equal(back.array, array)
    assert back.grid.same_as(grid, tolerance_mm=1e-9)


def test_voxels_outlive_their_image():
    images = [to_sitk(Volume(np.full((64, 64, 64), n, np.int16), np.eye(4))) for n in range(20)]
    arrays = [array_of(image) for image in images]
    del images
    gc.collect()
    for n, array in enumerate(arrays):
        assert (array == n).all()
        array += 1


@pytest.mark.parametrize("name", GRIDS)
def test_grid_knows_whether_it_is_sheared(name):
    assert GRIDS[name].is_sheared == (name in SHEARED)


def test_rounded_header_is_not_taken_for_gantry_tilt():
    grid = GRIDS["oblique_thick"]
    assert not Grid(grid.shape, np.round(grid.affine, 4)).is_sheared


def test_spacing_extent_and_volume_of_an_oblique_grid():
    grid = centered_grid((0.5, 0.75, 4.0), (40, 30, 80), GRIDS["oblique"].directions)
    np.testing.assert_allclose(grid.spacing_mm, (0.5, 0.75, 4.0))
    np.testing.assert_allclose(grid.extent_mm, (40, 30, 80))
    assert grid.voxel_volume_mm3 == pytest.approx(1.5)


def test_corners_are_voxel_edges():
    grid = Grid((2, 3, 4), np.diag([1.0, 2.0, 5.0, 1.0]))
    np.testing.assert_allclose(grid.corners().min(axis=0), (-0.5, -1.0, -2.5))
    np.testing.assert_allclose(grid.corners().max(axis=0), (3.5, 5.0, 7.5))


@pytest.mark.parametrize("name", GRIDS)
def test_distances_of_planes(name):
    grid = GRIDS[name]
    tilt = {"sheared": 18, "sheared_oblique": 12}.get(name, 0)
    expected = grid.spacing_mm
    # The axis of the slices is tilted about the left-right axis, within the planes of one i.
    expected[1:] *= np.cos(np.radians(tilt))
    np.testing.assert_allclose(grid.plane_distances_mm, expected)


@pytest.mark.parametrize("name", ["sagittal_thick", "sheared_oblique"])
def test_cropped_grid_keeps_every_voxel_in_place(name):
    grid = GRIDS[name]
    box = (slice(1, 4), slice(5, None), slice(None, -3))
    cropped = grid.crop(box)
    np.testing.assert_allclose(world_positions(cropped), world_positions(grid)[box], atol=1e-9)


def test_crop_refuses_steps():
    with pytest.raises(ValueError):
        GRIDS["upright"].crop((slice(None, None, 2), slice(None), slice(None)))


def test_same_as_notices_a_small_shift_and_another_size():
    grid = GRIDS["oblique"]
    moved = grid.affine.copy()
    moved[1, 3] += 2e-3
    assert grid.same_as(Grid(grid.shape, grid.affine))
    assert not grid.same_as(Grid(grid.shape, moved))
    assert grid.same_as(Grid(grid.shape, moved), tolerance_mm=0.01)
    assert not grid.same_as(Grid((3, *grid.shape[1:]), grid.affine))


def test_affine_can_not_be_changed_by_accident():
    affine = np.eye(4)
    volume = Volume(np.zeros((3, 3, 3)), affine)
    affine[0, 3] = 7.0
    assert volume.affine[0, 3] == 0.0
    with pytest.raises(ValueError):
        volume.affine[0, 3] = 1.0


def test_labels_are_counted():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, :2], labels[3, 0, 0] = 26, 255
    assert count_labels(labels) == {0: 107, 26: 12, 255: 1}
    assert count_labels(np.zeros((3, 3, 3), np.int32)) == {0: 27}
    full = np.random.default_rng(0).integers(1, 400, (4, 30, 30)).astype(np.uint16)
    values, counts = np.unique(full, return_counts=True)
    assert count_labels(full) == dict(zip(values.tolist(), counts.tolist()))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_labels_of_every_number_type_are_counted(dtype):
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    labels = np.zeros((3, 4, 5), dtype)
    labels[0, :2], labels[1, 0, 0], labels[2, 0, :3] = 26, least, most
    expected = {least: 1, 26: 10, most: 3}
    assert count_labels(labels) == expected | {0: 60 - 13 - (least != 0)}


@pytest.mark.parametrize("flip", [False, True], ids=["as it is", "the other way"])
@pytest.mark.parametrize("name", GRIDS)
def test_a_part_of_a_grid_is_known_as_that(name, flip):
    whole = GRIDS[name]
    box = tuple(slice(n // 4, n // 4 + n // 2) for n in whole.shape)
    part = whole.crop(box)
    if flip:
        turn = np.diag([1.0, 1.0, -1.0, 1.0])
        turn[2, 3] = part.shape[0] - 1
        part = Grid(part.shape, part.affine @ turn)
    assert part.is_part_of(whole) and whole.box_of(part) == box and whole.is_part_of(whole)
    aside = part.affine.copy()
    aside[:3, 3] += 0.3 * aside[:3, 0]
    assert not Grid(part.shape, aside).is_part_of(whole)
    assert not whole.is_part_of(part)
