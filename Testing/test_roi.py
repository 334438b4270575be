import itertools

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.roi import MARGIN_MM, Box, crop, inside, paste
from SpineContextSegLib.volume import Grid, Volume
from Testing.geometry import GRIDS, OBLIQUE, centered_grid, rotation, world_positions

CENTER = np.array([12.5, -31.0, 204.25])
TURNED = rotation(31, 2) @ rotation(-14, 0)


def box_at(center, size_mm, axes=np.eye(3)) -> Box:
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = center
    return Box(matrix, size_mm)


BOXES = {
    "upright": box_at(CENTER + (3, -4, 5), (20, 15, 25)),
    "turned": box_at(CENTER + (3, -4, 5), (18, 30, 12), TURNED),
    "mirrored": box_at(CENTER + (-6, 4, 0), (18, 22, 14), TURNED @ np.diag([1.0, -1.0, 1.0])),
    "stretched": box_at(CENTER, (10, 10, 10), TURNED @ np.diag([1.0, 2.5, 0.8])),
    "reaching out": box_at(CENTER + (25, 20, -30), (40, 30, 40), OBLIQUE),
    "larger than all": box_at(CENTER, (500, 500, 500), TURNED),
}


def expected_inside(grid: Grid, box: Box) -> np.ndarray:
    """By position in the world; none of the boxes above has a voxel center on a side."""
    offset = world_positions(grid) - box.box_to_ras[:3, 3]
    return (np.abs(offset @ np.linalg.inv(box.box_to_ras[:3, :3]).T) <= box.size_mm / 2).all(axis=-1)


def numbered(grid: Grid) -> Volume:
    """Every voxel has a value of its own."""
    return Volume(np.arange(np.prod(grid.shape), dtype=np.int32).reshape(grid.shape), grid.affine)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", GRIDS)
def test_inside_is_decided_at_the_voxel_center(name, box):
    mask = inside(GRIDS[name], BOXES[box])
    assert mask.dtype == bool and mask.any()
    np.testing.assert_array_equal(mask, expected_inside(GRIDS[name], BOXES[box]))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", GRIDS)
def test_crop_keeps_the_voxels_at_their_place(name, box):
    whole = numbered(GRIDS[name])
    part, slices = crop(whole, BOXES[box])
    assert np.shares_memory(part.array, whole.array)
    np.testing.assert_array_equal(part.array, whole.array[slices])
    np.testing.assert_allclose(world_positions(part.grid), world_positions(whole.grid)[slices], atol=1e-9)


@pytest.mark.parametrize("box", ["turned", "stretched", "reaching out"])
@pytest.mark.parametrize("name", GRIDS)
def test_crop_holds_the_box_with_its_margin_and_no_more(name, box):
    grid, box = GRIDS[name], BOXES[box]
    _, slices = crop(numbered(grid), box)
    kept = np.zeros(grid.shape, bool)
    kept[slices] = True
    assert kept[inside(grid, box)].all()
    # The outermost point of the box that is grown by a ball lies one margin from a corner of the box.
    positions, to_index = world_positions(grid), np.linalg.inv(grid.affine[:3, :3])
    for corner in box.corners():
        assert kept[((positions - corner) ** 2).sum(axis=-1) <= MARGIN_MM**2].all()
    corners = (box.corners() - grid.affine[:3, 3]) @ to_index.T
    for axis, cut in enumerate(slices[::-1]):
        reach = MARGIN_MM * np.linalg.norm(to_index[axis])
        assert cut.start == 0 or cut.start - 1 < corners[:, axis].min() - reach
        assert cut.stop == grid.shape[2 - axis] or cut.stop > corners[:, axis].max() + reach


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", GRIDS)
def test_labels_come_back_to_the_voxel_and_are_0_outside_the_box(name, box):
    grid, box = GRIDS[name], BOXES[box]
    labels = np.random.default_rng(0).integers(1, 200, grid.shape).astype(np.uint8)
    part, slices = crop(Volume(labels, grid.affine), box)
    whole = paste(part, slices, grid, box)
    assert whole.array.dtype == np.uint8
    np.testing.assert_array_equal(whole.affine, grid.affine)
    np.testing.assert_array_equal(whole.array, np.where(expected_inside(grid, box), labels, 0))


def test_a_voxel_center_on_the_side_of_the_box_is_inside():
    grid = Grid((9, 9, 9), np.diag([0.7, 0.7, 0.7, 1.0]))
    for turn in range(0, 360, 30):
        axes = rotation(turn, 2)
        box = Box(np.vstack([np.c_[axes, grid.world([4, 4, 4])], [0, 0, 0, 1]]), (5.6, 5.6, 5.6))
        box_x = grid.world([4, 4, 4]) + axes[:, 0] * 2.8
        on_side = Grid((1, 1, 1), np.vstack([np.c_[np.eye(3), box_x], [0, 0, 0, 1]]))
        assert inside(on_side, box).all(), turn
    assert inside(grid, box_at(grid.world([4, 4, 4]), (5.6, 5.6, 5.6))).all()


@pytest.mark.parametrize(
    "box",
    [
        box_at(CENTER + (400, 0, 0), (20, 20, 20)),
        box_at(CENTER, (0, 20, 20)),
        Box(np.diag([1.0, 1.0, 0.0, 1.0]), (20, 20, 20)),
        box_at(CENTER + (0.3, 0.3, 0.3), (0.2, 0.2, 0.2)),
        # Its bounding box reaches into the volume, the box itself does not.
        box_at(CENTER + (44.5, 41.5, 0), (60, 10, 10), rotation(-45, 2)),
    ],
    ids=["far", "no length", "flattened", "between voxels", "beside a corner"],
)
def test_a_box_without_a_voxel_is_refused(box):
    grid = centered_grid((1, 1, 1), (60, 54, 66))
    assert not inside(grid, box).any()
    with pytest.raises(InputRefused, match="region of interest"):
        crop(numbered(grid), box)


def test_a_part_that_does_not_fit_is_an_error():
    grid = GRIDS["lps"]
    part, slices = crop(numbered(grid), BOXES["turned"])
    for wrong in (Volume(part.array[1:], part.affine), Volume(part.array, grid.affine)):
        with pytest.raises(ValueError):
            paste(wrong, slices, grid, BOXES["turned"])


def test_corners_of_a_box():
    box = BOXES["turned"]
    sides = sorted(
        round(float(np.linalg.norm(a - b)), 6) for a, b in itertools.combinations(box.corners(), 2)
    )
    assert sides[:12] == [12.0] * 4 + [18.0] * 4 + [round(float(np.hypot(12, 18)), 6)] * 4
    np.testing.assert_allclose(box.corners().mean(axis=0), box.box_to_ras[:3, 3])
    with pytest.raises(ValueError):
        Box(np.eye(3), (1, 1, 1))
