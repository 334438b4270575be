"""From a seed to a labeled body on a grid."""

from dataclasses import dataclass

import numpy as np
import torch

from ..classes import BACKGROUND, CANAL, DISC
from .canvas import BoneCanvas
from .fields import WorldGrid
from .head import paint_head
from .pelvis import paint_pelvis
from .plan import BodyPlan, draw_plan
from .soft_tissue import paint_soft_tissue
from .spine import paint_spine
from .thorax import paint_thorax

# How far outside the bone its label ends, mm. Whoever labels a scan draws around what looks like bone, and blur widens
# a thin cortex: on six labelled CTs outlines by a network ended 0.2 mm inside of the labels on average, on generated
# bodies labelled exactly, which it had learnt from as well, 0.1 mm outside.
LABEL_REACH_MM = 0.3


@dataclass
class Anatomy:
    """A generated body. All tensors have shape (k, j, i) = (z, y, x) in RAS.

    tissue: uint8, what fills a voxel apart from bone (`Tissue`). label: uint8 class (`classes.py`). level: uint8
    VerSe value of the vertebra or sacrum, 100 + that of the vertebra above for a disc, else 0. bone: uint8, fraction of
    the voxel that is bone times 255. cortex: uint8, fraction of that bone that is cortical shell times 255.
    spacing_mm: isotropic. origin_mm: world (x, y, z) of the center of voxel (0, 0, 0).
    """

    tissue: torch.Tensor
    label: torch.Tensor
    level: torch.Tensor
    bone: torch.Tensor
    cortex: torch.Tensor
    spacing_mm: float
    origin_mm: tuple[float, float, float]
    plan: BodyPlan


def paint_skeleton(plan: BodyPlan, grid: WorldGrid) -> BoneCanvas:
    """Paint every bone of a plan that the grid shows: the spine first, so that nothing overwrites it."""
    canvas = BoneCanvas(grid, plan.seed)
    for part, paint in enumerate((paint_spine, paint_pelvis, paint_thorax, paint_head)):
        paint(canvas, plan, np.random.default_rng([plan.seed, 10 + part]))
    return canvas


def skeleton_arrays(canvas: BoneCanvas) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """label, level, bone and cortex of `Anatomy` from a canvas."""
    spacing, distance = canvas.grid.spacing_mm, canvas.distance
    bone = (0.5 - distance / spacing).clamp_(0, 1)
    near, far = (-distance - spacing / 2).clamp_(min=0), (-distance + spacing / 2).clamp_(min=1e-3)
    cortex = ((torch.minimum(far, canvas.cortex) - near) / (far - near)).clamp_(0, 1)
    solid = distance <= LABEL_REACH_MM
    label, level = torch.where(solid, canvas.label, BACKGROUND), torch.where(solid, canvas.level, 0)
    canal = ~solid & canvas.canal
    disc = ~solid & ~canvas.canal & (canvas.disc_level > 0)
    label = torch.where(disc, DISC, torch.where(canal, CANAL, label))
    level = torch.where(disc, canvas.disc_level, level)
    to_byte = lambda t: (t * 255).round_().to(torch.uint8)
    return label.to(torch.uint8), level.to(torch.uint8), to_byte(bone), to_byte(cortex)


def generate(seed: int, spacing_mm: float = 1.0, device="cpu", region: str | None = None) -> Anatomy:
    """The body of a seed, as far as its scan shows it, on a grid of spacing_mm.

    The same seed and region give the same body at any spacing. Raises ValueError for an unknown region.
    """
    plan = draw_plan(seed, region)
    grid = WorldGrid.covering(plan.view_lo, plan.view_hi, spacing_mm, device)
    canvas = paint_skeleton(plan, grid)
    label, level, bone, cortex = skeleton_arrays(canvas)
    generator = torch.Generator().manual_seed(int(seed))
    tissue = paint_soft_tissue(plan, grid, canvas, generator)
    return Anatomy(tissue, label, level, bone, cortex, spacing_mm, grid.origin_mm, plan)
