"""What the generator paints around the bones: the right organs in the right places."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from Training.anatomy import aneurysms
from Training.anatomy.canvas import BoneCanvas
from Training.anatomy.fields import WorldGrid
from Training.anatomy.generate import paint_skeleton
from Training.anatomy.plan import draw_plan
from Training.anatomy.soft_tissue import paint_soft_tissue
from Training.anatomy.tissues import Tissue

SPACING_MM = 4.0
SURROUNDINGS = [Tissue.AIR, Tissue.TABLE_SHELL, Tissue.TABLE_FOAM, Tissue.CLOTH, Tissue.PLASTIC, Tissue.WIRE]


@pytest.fixture(scope="module")
def body():
    plan = draw_plan(8, "whole")
    grid = WorldGrid.covering(plan.view_lo, plan.view_hi, SPACING_MM)
    bones = paint_skeleton(plan, grid)
    tissue = paint_soft_tissue(plan, grid, bones, torch.Generator().manual_seed(8))
    return plan, grid, bones, tissue


def middle(body, *kinds):
    """World (x, y, z) in mm of the middle of tissues."""
    _, grid, _, tissue = body
    where = torch.isin(tissue, torch.tensor([int(k) for k in kinds], dtype=torch.uint8)).nonzero().float().mean(0)
    return np.array(grid.origin_mm) + grid.spacing_mm * where.numpy()[::-1]


def test_every_kind_of_tissue_of_a_whole_body_is_there(body):
    present = set(body[3].unique().tolist())
    optional = {*SURROUNDINGS, Tissue.CALCIFICATION, Tissue.FLUID, Tissue.CONSOLIDATION, Tissue.STOOL,
                Tissue.BOWEL_CONTENT, Tissue.EYE, Tissue.CARTILAGE, Tissue.NERVE_ROOT}
    assert {int(k) for k in Tissue} - present <= {int(k) for k in optional}


def test_organs_lie_on_their_sides(body):
    plan = body[0]
    x = plan.vertebra("T9").center[0]
    assert middle(body, Tissue.LIVER)[0] > x + 20 and middle(body, Tissue.SPLEEN)[0] < x - 40
    assert middle(body, Tissue.HEART_LEFT, Tissue.HEART_RIGHT)[0] < x + 5
    assert middle(body, Tissue.BLADDER)[2] < 0 < middle(body, Tissue.KIDNEY)[2]
    assert middle(body, Tissue.LUNG)[2] > middle(body, Tissue.LIVER)[2]
    assert middle(body, Tissue.BRAIN)[2] > plan.vertebra("C1").center[2]


def test_artery_is_left_and_vein_right_in_front_of_the_lumbar_spine(body):
    plan, grid, _, tissue = body
    level = plan.vertebra("L2").center
    box = grid.box(level - [35, 0, 12], level + [35, 45, 12]).slices
    x = {}
    for kind in (Tissue.ARTERY, Tissue.VEIN):
        found = (tissue[box] == int(kind)).nonzero()[:, 2].float()
        assert len(found) > 5
        x[kind] = found.mean()
    assert x[Tissue.ARTERY] < x[Tissue.VEIN]


def test_bone_lies_inside_the_body(body):
    _, _, bones, tissue = body
    inner = bones.distance < -1.0
    outside = torch.isin(tissue, torch.tensor([int(k) for k in SURROUNDINGS], dtype=torch.uint8))
    assert not (inner & outside).any()


def test_canal_and_discs_hold_their_tissues(body):
    _, _, bones, tissue = body
    kinds = set(tissue[bones.canal].unique().tolist())
    assert {int(Tissue.CORD), int(Tissue.CSF)} <= kinds
    assert kinds <= {int(k) for k in (Tissue.FAT, Tissue.DURA, Tissue.CSF, Tissue.CORD, Tissue.NERVE_ROOT)}
    discs = tissue[(bones.disc_level > 0) & ~bones.canal]
    assert ((discs == int(Tissue.DISC)) | (discs == int(Tissue.GAS))).all()
    assert (discs == int(Tissue.DISC)).float().mean() > 0.8


def test_dura_wraps_the_fluid(body):
    _, _, bones, tissue = body
    dura = tissue == int(Tissue.DURA)
    inside = torch.isin(tissue, torch.tensor([int(Tissue.CSF), int(Tissue.CORD), int(Tissue.NERVE_ROOT)]).byte())
    beside = ndimage.binary_dilation((inside & bones.canal).numpy(), np.ones((3, 3, 3)))
    assert dura.sum() > 20 and not (dura & ~bones.canal).any()
    assert not (dura.numpy() & ~beside).any()


def test_ligament_or_fat_fills_the_midline_between_spinous_processes(body):
    """As a sagittal MR shows it; taken for bone where training never saw it."""
    plan, grid, bones, tissue = body
    found = []
    for upper, lower in pairwise(plan.vertebrae):
        if upper.name[0] == "L":
            ends = [
                [v.to_world(part * v.spinous_tip + (1 - part) * np.array([0, v.canal_y - v.canal_depth / 2, 0]))
                 for v in (upper, lower)] for part in (0.5, 0.7, 0.9)
            ]  # fmt: skip
            for above, below in ends:
                place = tuple(np.round((np.add(above, below) / 2 - grid.origin_mm) / grid.spacing_mm).astype(int)[::-1])
                if bones.distance[place] > 1.0:
                    found.append(int(tissue[place]))
    assert len(found) > 6 and np.mean(np.isin(found, [Tissue.CONNECTIVE, Tissue.FAT])) > 0.6
    assert Tissue.CONNECTIVE in found


def test_skin_closes_the_body(body):
    """Seen from the air, the first voxel of the body is skin nearly everywhere."""
    tissue = body[3]
    from_front = tissue.flip(1)
    airy = torch.isin(from_front, torch.tensor([int(k) for k in SURROUNDINGS], dtype=torch.uint8))
    hit = (~airy).to(torch.uint8).argmax(1)
    first = from_front.gather(1, hit[:, None, :]).squeeze(1)
    rays = (~airy).any(1) & airy[:, 0]
    thin = torch.isin(first[rays], torch.tensor([int(Tissue.SKIN), int(Tissue.FAT)], dtype=torch.uint8))
    assert rays.sum() > 1000 and thin.float().mean() > 0.97
    # The rest of it is thinner than these voxels.
    assert (first[rays] == int(Tissue.SKIN)).float().mean() > 0.6


def test_same_generator_same_body():
    plan = draw_plan(3, "neck")
    grid = WorldGrid.covering(plan.view_lo, plan.view_hi, 5.0)
    bones = BoneCanvas(grid, 3)
    one, same, other = (paint_soft_tissue(plan, grid, bones, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize("region", ["neck", "chest", "abdomen", "pelvis"])
def test_any_view_can_be_painted(region):
    plan = draw_plan(100, region)
    grid = WorldGrid.covering(plan.view_lo, plan.view_hi, 8.0)
    tissue = paint_soft_tissue(plan, grid, BoneCanvas(grid, 100), torch.Generator().manual_seed(100))
    assert tissue.shape == grid.shape and tissue.dtype == torch.uint8
    assert tissue.max() <= max(Tissue) and (tissue == int(Tissue.MUSCLE)).float().mean() > 0.05


@pytest.fixture(scope="module")
def aneurysm():
    """Lumbar and thoracic spine of a body whose aorta is widened, with and without that: tissue, plan, grid."""
    seed = next(s for s in range(100) if np.random.default_rng([s, 20]).random() < aneurysms.SHARE)
    plan = draw_plan(seed, "trunk")
    grid = WorldGrid.covering(plan.view_lo, plan.view_hi, SPACING_MM)
    bones = paint_skeleton(plan, grid)

    def paint():
        return paint_soft_tissue(plan, grid, bones, torch.Generator().manual_seed(seed))

    wide = paint()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aneurysms, "SHARE", 0.0)
        return wide, paint(), bones


def test_an_aneurysm_changes_nothing_but_what_it_covers(aneurysm):
    wide, narrow, bones = aneurysm
    changed = wide != narrow
    size_ml = changed.sum() * SPACING_MM**3 / 1000
    assert size_ml == pytest.approx(128, rel=0.25)
    # Two more tissues at most besides blood and lime, and neither bone's neighbors in the canal nor discs.
    kinds = {Tissue.CONNECTIVE, Tissue.VEIN, Tissue.ARTERY, Tissue.CALCIFICATION}
    assert set(wide[changed].tolist()) <= {int(kind) for kind in kinds}
    assert not (changed & bones.canal).any()
    assert not (changed & (bones.disc_level > 0)).any()


def test_an_aneurysm_lies_before_the_spine(aneurysm):
    wide, narrow, bones = aneurysm
    sac = (wide != narrow).nonzero().float().mean(0)
    column = (bones.disc_level > 0).nonzero().float()
    beside = column[(column[:, 0] - sac[0]).abs() < 10]
    assert sac[1] > beside[:, 1].mean()
