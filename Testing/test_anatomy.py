"""The generated anatomy: what is painted is what the plan says, and looks like a body in the numbers one can check."""

import dataclasses
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy import ndimage

from Training.anatomy import generate as generation
from Training.anatomy.fields import (
    SmoothNoise,
    WorldGrid,
    capsule,
    ellipsoid,
    strut,
    triangle,
)
from Training.anatomy.levels import LEVEL_SIZES, VERSE_VALUES
from Training.anatomy.plan import REGIONS, BodyPlan, draw_plan
from Training.anatomy.posture import draw_level_names
from Training.anatomy.vertebra import arch

USUAL_SEED = 7
BODY, ARCH, SACRUM, DISC, CANAL, RIB, OTHER = range(1, 8)


class Painted(NamedTuple):
    """A painted body: plan and uint8 arrays (k, j, i)."""

    plan: BodyPlan
    label: np.ndarray
    level: np.ndarray
    bone: np.ndarray
    cortex: np.ndarray

    def only_bone(self, label):
        """The labels without what reaches beyond the bone."""
        return np.where(self.bone >= 127, label, 0)


def painted(plan, spacing_mm):
    grid = WorldGrid.covering(plan.view_lo, plan.view_hi, spacing_mm)
    return Painted(plan, *(t.numpy() for t in generation.skeleton_arrays(generation.paint_skeleton(plan, grid))))


def around(plan, names, margin):
    """The same body seen through a box of whole, even millimeters around some vertebrae."""
    centers = np.array([plan.vertebra(name).center for name in names])
    lo = np.floor(centers.min(0) - margin)
    return dataclasses.replace(plan, view_lo=lo, view_hi=lo + 2 * np.ceil((centers.max(0) + margin - lo) / 2))


@pytest.fixture(scope="module")
def spine():
    """One spine from skull base to coccyx at 2 mm."""
    plan = draw_plan(USUAL_SEED, "whole")
    centers = np.array([v.center for v in (*plan.vertebrae, *plan.sacrum)])
    plan = dataclasses.replace(plan, view_lo=centers.min(0) - [62, 75, 15], view_hi=centers.max(0) + [62, 35, 45])
    return painted(plan, 2.0)


@pytest.fixture(scope="module")
def lumbar():
    """L2 and L3 at 1 mm."""
    plan = around(draw_plan(USUAL_SEED, "whole"), ["L2", "L3"], [52, 68, 24])
    return painted(plan, 1.0)


def local(plan, level, spacing_mm, mask, name):
    """Voxels of a mask (k, j, i) in the frame of a vertebra, (n, 3) mm."""
    k, j, i = np.where(mask)
    vertebra = plan.vertebra(name)
    world = np.stack([i, j, k], 1) * spacing_mm + plan.view_lo + spacing_mm / 2
    return (world - vertebra.center) @ vertebra.rotation


def test_a_seed_gives_one_body():
    first, second = (generation.generate(3, 8.0, region="neck") for _ in range(2))
    for name in ("tissue", "label", "level", "bone", "cortex"):
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == torch.uint8 and a.shape == first.label.shape
        assert torch.equal(a, b), name
    assert first.label.max() <= 7 and (first.label == OTHER).any() and (first.label == ARCH).any()
    other = draw_plan(4, "neck")
    assert not np.allclose(other.vertebrae[0].center, first.plan.vertebrae[0].center)


def test_region_changes_the_view_and_not_the_body():
    plans = [draw_plan(11, region) for region in REGIONS]
    for plan in plans:
        assert np.array_equal(plan.vertebrae[5].center, plans[0].vertebrae[5].center)
        assert np.all(plan.view_hi - plan.view_lo > 60) and np.all((plan.view_hi - plan.view_lo)[:2] <= 421)
    assert len({tuple(plan.view_lo) for plan in plans}) == len(plans)
    with pytest.raises(ValueError, match="neck"):
        draw_plan(11, "knee")


def test_levels_come_in_usual_and_rare_numbers():
    rng, counts = np.random.default_rng(0), Counter()
    for _ in range(400):
        names = draw_level_names(rng)
        thoracic, lumbar = (sum(n[0] == r for n in names) for r in "TL")
        counts[thoracic, lumbar] += 1
        assert names == [f"{r}{i + 1}" for r, n in (("C", 7), ("T", thoracic), ("L", lumbar)) for i in range(n)]
    assert counts[12, 5] > 300
    assert set(counts) == {(12, 5), (13, 5), (11, 5), (12, 6), (12, 4)}


def test_plans_stack_their_vertebrae():
    for seed in range(25):
        plan = draw_plan(seed)
        heights = [v.center[2] for v in plan.vertebrae]
        assert all(a > b for a, b in pairwise(heights))
        assert [v.value for v in plan.vertebrae] == [VERSE_VALUES[v.name] for v in plan.vertebrae]
        for v in plan.vertebrae:
            assert np.allclose(v.rotation @ v.rotation.T, np.eye(3)) and np.linalg.det(v.rotation) > 0


def test_levels_follow_one_another_from_top_to_bottom(spine):
    plan, level = spine.plan, spine.level
    heights = [np.where(level == v.value)[0].mean() for v in plan.vertebrae] + [np.where(level == 26)[0].mean()]
    assert all(a > b for a, b in pairwise(heights))


def test_classes_and_levels_agree(spine):
    plan, label, level, bone, cortex = spine.plan, spine.label, spine.level, spine.bone, spine.cortex
    values = {v.value for v in plan.vertebrae}
    assert set(np.unique(label)) == set(range(8))
    assert set(np.unique(level[(label == BODY) | (label == ARCH)])) == values
    assert set(np.unique(level[label == SACRUM])) == {26}
    assert set(np.unique(level[label == DISC])) <= {100 + v for v in values}
    assert not level[np.isin(label, (0, CANAL, RIB, OTHER))].any()
    least = 255 * (0.5 - generation.LABEL_REACH_MM / 2.0)  # of a voxel of 2 mm whose middle is so far off
    assert (bone[np.isin(label, (BODY, ARCH, SACRUM, RIB, OTHER))] >= least - 1).all()
    assert (bone[np.isin(label, (0, DISC, CANAL))] <= least + 1).all()
    assert 0 < cortex[label == BODY].mean() < cortex[label == ARCH].mean()


def test_discs_lie_between_bodies_and_keep_them_apart(spine):
    plan, label, level = spine.plan, spine.label, spine.level
    bone = spine.only_bone(label)
    for upper, lower in zip(plan.vertebrae[1:-1], plan.vertebrae[2:]):
        disc = level == 100 + upper.value
        if upper.disc_ossified or upper.bridge:
            continue
        bodies = [(bone == BODY) & (level == v.value) for v in (upper, lower)]
        z = [np.where(m)[0].mean() for m in (bodies[0], disc, bodies[1])]
        assert z[0] > z[1] > z[2], upper.name
        touching = (bodies[0][1:] & bodies[1][:-1]).sum()
        assert touching <= 0.1 * bodies[0].any(0).sum(), upper.name


def test_canal_is_one_open_tube_from_skull_to_sacrum(spine):
    plan, label = spine.plan, spine.label
    canal = label == CANAL
    parts, _ = ndimage.label(canal)
    sizes = np.bincount(parts.ravel())[1:]
    assert sizes.max() > 0.995 * sizes.sum()
    rows = np.where((parts == sizes.argmax() + 1).any((1, 2)))[0]
    top, bottom = plan.head.center[2], plan.sacrum[3].center[2]
    assert plan.view_lo[2] + 2 * rows.min() < bottom and plan.view_lo[2] + 2 * rows.max() > top - 4
    assert set(rows) == set(range(rows.min(), rows.max() + 1))


def test_posterior_elements_have_their_share(spine):
    plan, label, level = spine.plan, spine.only_bone(spine.label), spine.level
    for v in plan.vertebrae[2:]:
        body, arch = (((label == c) & (level == v.value)).sum() for c in (BODY, ARCH))
        low, high = {"C": (0.5, 2.0), "T": (0.4, 2.0), "L": (0.35, 1.0)}[v.name[0]]
        assert low < arch / body < high, v.name


def test_the_last_spinous_process_is_the_smallest_of_the_lumbar_ones(spine):
    plan, label, level = spine.plan, spine.only_bone(spine.label), spine.level
    volume = {}
    for v in (v for v in plan.vertebrae if v.name[0] == "L"):
        points = local(plan, level, 2.0, (label == ARCH) & (level == v.value), v.name)
        volume[v.name] = ((np.abs(points[:, 0]) < 6) & (points[:, 1] < v.canal_y - v.canal_depth / 2 - 6)).sum()
    last = volume.pop("L5")
    assert 0 < last < 0.85 * min(volume.values())


def test_spinous_processes_of_some_nearly_touch_and_of_none_meet():
    gaps = []
    for seed in range(40):
        lumbar = [v for v in draw_plan(seed, "abdomen").vertebrae if v.name[0] == "L"]
        for upper, lower in pairwise(lumbar):
            middles = [v.to_world(v.spinous_tip * [1, 0.75, 0.6]) for v in (upper, lower)]
            apart = np.linalg.norm(np.subtract(*middles))
            gaps.append(apart - (upper.spinous_height + lower.spinous_height) / 2)
    assert 1.4 < min(gaps) < 3 and 5 < np.mean(gaps) < 10  # mm


def test_a_round_spinous_process_tapers_to_both_ends(lumbar):
    v = dataclasses.replace(lumbar.plan.vertebra("L3"), spinous_height=20.0)
    at = (v.canal_y - v.canal_depth / 2) * (1 - np.array([0.5, 0.95])) + v.spinous_tip[1] * np.array([0.5, 0.95])
    z = torch.arange(-40.0, 20.0, 0.25)
    heights = {}
    for shape in (0.0, 1.0):
        shaped = dataclasses.replace(v, spinous_round=shape)
        lines = [(torch.full_like(z, v.spinous_tip[0] * part), torch.full_like(z, float(y)), z)
                 for part, y in zip((0.5, 0.95), at)]
        heights[shape] = [0.25 * float((arch(line, shaped, 1.0) < 0).sum()) for line in lines]
    assert heights[0.0][0] == pytest.approx(heights[1.0][0], abs=1.5)
    assert heights[1.0][1] < 0.7 * heights[0.0][1]


def test_each_vertebra_is_one_piece(spine):
    plan, level = spine.plan, spine.level
    for v in plan.vertebrae:
        parts, _ = ndimage.label(level == v.value, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        assert sizes.max() > 0.97 * sizes.sum(), v.name


def test_measured_sizes_are_those_of_the_plan_and_of_people(lumbar):
    plan, label, level = lumbar.plan, lumbar.label, lumbar.level
    v = plan.vertebra("L3")
    points = local(plan, level, 1.0, (label == BODY) & (level == v.value), "L3")
    middle = points[np.abs(points[:, 2]) < 2]
    width, depth = np.ptp(middle[:, 0]), np.ptp(middle[np.abs(middle[:, 0]) < 4][:, 1])
    height = np.ptp(points[np.hypot(points[:, 0], points[:, 1]) < 3][:, 2])
    assert width == pytest.approx(v.width * (1 - v.waist), abs=3.5) and 34 < width < 60
    assert depth == pytest.approx(v.depth, abs=3.5) and 28 < depth < 44
    assert v.height - 2 * v.concavity - 2 < height < v.height + 2 and 20 < height < 34
    arch = local(plan, level, 1.0, (label == ARCH) & (level == v.value), "L3")
    assert np.ptp(arch[:, 0]) == pytest.approx(2 * v.transverse_tip[0], rel=0.12)
    assert arch[:, 1].min() == pytest.approx(v.spinous_tip[1], abs=3.5)
    canal = local(plan, level, 1.0, label == CANAL, "L3")
    canal = canal[np.abs(canal[:, 2]) < 3]
    assert np.ptp(canal[:, 0]) == pytest.approx(0.9 * v.canal_width, rel=0.07)
    assert np.ptp(canal[:, 1]) == pytest.approx(0.95 * v.canal_depth, rel=0.08)
    volume = (level == v.value).sum() / 1000
    assert 35 < volume < 90


def test_spacing_does_not_change_the_anatomy(lumbar):
    plan, level, bone = lumbar.plan, lumbar.level, lumbar.bone
    coarser = painted(plan, 2.0)
    k, j, i = coarser.label.shape
    assert (2 * k, 2 * j, 2 * i) == bone.shape
    coarse = bone.reshape(k, 2, j, 2, i, 2).mean((1, 3, 5))
    assert np.corrcoef(coarse.ravel(), coarser.bone.ravel())[0, 1] > 0.99
    for value in (VERSE_VALUES["L2"], VERSE_VALUES["L3"]):
        assert (level == value).sum() == pytest.approx(8 * (coarser.level == value).sum(), rel=0.05)


def test_neighbors_and_ribs_keep_their_joint_gaps(spine):
    label = spine.only_bone(spine.label)
    vertebra = np.isin(label, (BODY, ARCH))
    rib = label == RIB
    near = ndimage.binary_dilation(vertebra, iterations=3) & rib
    touching = ndimage.binary_dilation(vertebra) & rib
    assert near.sum() > 100
    assert touching.sum() < 0.2 * near.sum()


def test_tabled_sizes_grow_down_the_column():
    names = [f"{r}{i}" for r, n in (("C", 7), ("T", 12), ("L", 5)) for i in range(1, n + 1)]
    sizes = np.array([[LEVEL_SIZES[n].width, LEVEL_SIZES[n].depth, LEVEL_SIZES[n].height] for n in names[2:]])
    assert np.all(sizes[-1] > 1.4 * sizes[0])
    assert np.all(np.diff(sizes[11:20], axis=0) > -0.6)


@pytest.fixture
def cube():
    grid = WorldGrid.covering((-10, -10, -10), (10, 10, 10), 0.5)
    return grid, grid.box((-10, -10, -10), (10, 10, 10))


def test_distances_are_signed_millimeters(cube):
    _, box = cube
    q = torch.broadcast_tensors(box.x, box.y, box.z)
    at = lambda field, x, y, z: float(field[tuple(round((p + 9.75) / 0.5) for p in (z, y, x))])
    rod = capsule(q, (-4, 0, 0), (4, 0, 0), 2.0)
    assert at(rod, 0.25, 5.25, 0.25) == pytest.approx(np.hypot(5.25, 0.25) - 2, abs=1e-4)
    assert at(rod, 8.25, 0.25, 0.25) == pytest.approx(np.linalg.norm([4.25, 0.25, 0.25]) - 2, abs=1e-4)
    bar = strut(q, (-5, 0, 0), (5, 0, 0), 2.0, 2.0, 4.0, 4.0, 1.0)
    assert at(bar, 0.25, 0.25, 6.25) == pytest.approx(2.25, abs=1e-3)
    assert at(bar, 0.25, 5.25, 0.25) == pytest.approx(3.25, abs=1e-3)
    ball = ellipsoid(q, (0, 0, 0), (5, 5, 5))
    assert at(ball, 3.25, 4.25, 5.25) == pytest.approx(np.linalg.norm([3.25, 4.25, 5.25]) - 5, abs=1e-3)
    flat = triangle(q, (-8, -8, 0), (8, -8, 0), (0, 8, 0))
    assert at(flat, 0.25, 0.25, 3.25) == pytest.approx(3.25, abs=1e-4)
    assert at(flat, 0.25, -9.25, 0.25) == pytest.approx(np.hypot(1.25, 0.25), abs=1e-4)
    corner = triangle(q, (1, 1, 1), (1, 1, 1), (1, 1, 1))
    assert at(corner, 1.25, 1.25, 4.25) == pytest.approx(np.linalg.norm([0.25, 0.25, 3.25]), abs=1e-4)


def test_noise_depends_on_place_alone(cube):
    grid, box = cube
    noise = SmoothNoise(5, "cpu")
    whole = noise(box, 4.0)
    part = grid.box((-2, -1, 0), (6, 5, 9))
    assert torch.allclose(noise(part, 4.0), whole[part.slices], atol=1e-5)
    assert not torch.allclose(noise(box, 4.0, 1), whole)
    wide = WorldGrid.covering((-150, -150, -150), (150, 150, 150), 5.0)
    values = noise(wide.box((-150,) * 3, (150,) * 3), 9.0)
    assert values.mean().abs() < 0.1 and values.std() == pytest.approx(1.0, abs=0.15)
