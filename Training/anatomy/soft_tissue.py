"""Everything in and around a body that is not bone."""

import numpy as np
import torch

from .abdominal_organs import paint_abdomen
from .body_wall import fat_thickness, paint_back_muscles, paint_wall, skin_distance
from .canvas import BoneCanvas
from .cavities import find_cavities
from .chest_organs import paint_chest
from .fields import WorldGrid
from .head_neck_organs import paint_head_and_neck
from .landmarks import Landmarks
from .painter import Painter
from .plan import BodyPlan
from .spinal_canal import paint_canal
from .surroundings import paint_surroundings
from .tissues import Tissue
from .vessels import paint_vessels


def paint_soft_tissue(plan: BodyPlan, grid: WorldGrid, bone: BoneCanvas, generator: torch.Generator) -> torch.Tensor:
    """Fill a grid with tissue ids.

    Args:
        plan: the body.
        grid: where to paint; (k, j, i), isotropic, world mm.
        bone: the finished bones of that body on that grid, with the envelopes of canal and discs. Tissue is also
            painted where bone is, because a voxel on the surface of a bone holds both.
        generator: only a seed is drawn from it, so that its state gives the same body at any spacing.

    Returns:
        uint8 (k, j, i), values of :class:`Training.anatomy.tissues.Tissue`, on the grid's device.
    """
    seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    rng = np.random.default_rng(seed)
    marks = Landmarks(plan)
    painter = Painter(grid, int(rng.integers(2**31)))
    skin = skin_distance(painter, marks, rng)
    # Bone is never bare: where the outline was drawn too tight, it is pushed out.
    skin = torch.minimum(skin, bone.distance - 3.0)
    fat = fat_thickness(painter, marks, rng)
    inside = paint_wall(painter, marks, skin, fat, rng)
    paint_back_muscles(painter, marks, inside, rng)
    cavities = find_cavities(painter, marks, skin, fat, rng)
    paint_abdomen(painter, marks, cavities, inside, rng)
    paint_chest(painter, marks, cavities, rng)
    _paint_cartilage(painter, marks, rng)
    paint_head_and_neck(painter, marks, skin < -3.0, rng)
    paint_vessels(painter, marks, cavities, skin < -3.0, rng)
    paint_canal(painter, marks, bone, rng)
    paint_surroundings(painter, marks, skin, rng)
    return painter.tissue


def _paint_cartilage(painter: Painter, marks: Landmarks, rng: np.random.Generator):
    """Costal cartilage, which calcifies from its rim in many, and the cartilage of hips, shoulders and symphysis."""
    plan, s = marks.plan, marks.plan.scale
    calcified = rng.random() < 0.4
    patches = painter.noise(painter.whole, 7.0, 1) > rng.uniform(0.3, 1.8)
    for rib in plan.ribs:
        if len(rib.cartilage) == 0:
            continue
        squash = (1.0, 1.0, rib.flatness)
        painter.tube(rib.cartilage, rib.radius * 1.05, Tissue.COSTAL_CARTILAGE, squash=squash)
        if calcified:
            painter.tube(rib.cartilage, rib.radius * 1.05, Tissue.CALCIFICATION, patches, squash=squash)
            painter.tube(rib.cartilage, rib.radius * 0.7, Tissue.COSTAL_CARTILAGE, squash=squash)
    for leg in plan.legs:
        painter.ellipsoid(leg.hip, np.full(3, leg.head_radius + 4.5), Tissue.CARTILAGE)
    for arm in plan.arms:
        painter.ellipsoid(arm.shoulder, np.full(3, 26.0 * s), Tissue.CARTILAGE)
