"""The spaces inside the rib cage and the belly wall, and the diaphragm between them."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from .fields import superellipse
from .landmarks import Landmarks
from .painter import Painter


@dataclass(frozen=True)
class Cavities:
    """Boolean (k, j, i) spaces. thorax, abdomen: both without the bones and the muscles of the wall; dome: height of
    the diaphragm in mm, (1, j, i) float32; cage: distance in mm to the inner side of the ribs, negative inside."""

    thorax: torch.Tensor
    abdomen: torch.Tensor
    dome: torch.Tensor
    cage: torch.Tensor


def find_cavities(painter: Painter, marks: Landmarks, skin, fat, rng: np.random.Generator) -> Cavities:
    """Find the cavities of a body whose skin distance and fat thickness (k, j, i) in mm are known."""
    plan, whole, s = marks.plan, painter.whole, marks.plan.scale
    cage = _inside_of_ribs(painter, marks, rng)
    spine_x, spine_y = (painter.row(whole.z, marks.spine[:, 2], marks.spine[:, a]) for a in (0, 1))
    levels = [*plan.vertebrae, *plan.sacrum]
    half_width, half_depth = (
        painter.row(whole.z, [v.center[2] for v in levels], [getattr(v, name) / 2 for v in levels])
        for name in ("width", "depth")
    )
    cover = float(rng.uniform(2.5, 6.0))  # soft tissue between the spine and the pleura
    beside = ((whole.x - spine_x).abs() / (half_width + cover)) ** 2.5
    spine = (beside + ((whole.y - spine_y).abs() / (half_depth + cover)) ** 2.5) < 1
    spine = spine | ((beside < 1) & (whole.y < spine_y))

    first = next(r for r in plan.ribs)
    # The first rib closes the chest: the lungs rise a finger's breadth above its inner end.
    lid = np.interp(np.arange(-200, 400, 5.0), *_sorted(first.bone[:, 1], first.bone[:, 2]))
    y = whole.y.reshape(-1).cpu().numpy()
    lid = torch.as_tensor(np.interp(y, np.arange(-200, 400, 5.0), lid), dtype=torch.float32, device=skin.device)
    apex = ((whole.x - spine_x).abs() / s - 48.0) / 34.0
    closed = whole.z > lid[None, :, None] + float(rng.uniform(6, 20)) - 22.0 * apex.square()
    chest = (cage < 0) & ~closed & (skin < -fat)
    dome = _diaphragm(painter, marks, rng)
    thorax = chest & (whole.z > dome) & ~spine

    wall = fat + float(rng.uniform(9, 17)) * plan.muscle
    lowest_rib = min(r.bone[:, 2].min() for r in plan.ribs)
    behind = (whole.x - spine_x).abs()
    floor = spine_y - (4 + 14 * ((behind - 20) / 50.0).clamp(0, 1)) * s + 4.0 * painter.noise(whole, 28.0, 1)
    costal = (marks.z("T12") + lowest_rib) / 2
    belly = (skin < -wall) & (whole.y > floor) & (whole.z < marks.z("T9")) & ((cage < 2) | (whole.z < costal))
    chest_part = (cage < -1.5) & (whole.z > costal - 25) & ~closed & (skin < -fat)
    abdomen = (belly | chest_part) & (whole.z <= dome) & ~spine & _pelvic_limit(painter, marks)
    return Cavities(thorax, abdomen, dome, cage)


def _sorted(x, y):
    order = np.argsort(x)
    return x[order], y[order]


def _inside_of_ribs(painter, marks, rng):
    """Distance to the ribs' inner side: their mean radius around the middle of the cage, by height and angle."""
    plan, whole = marks.plan, painter.whole
    points, radii = [], []
    for rib in plan.ribs:
        for line in (rib.bone, rib.cartilage):
            points.append(line[::2])
            radii.append(np.full(len(line[::2]), rib.radius))
    points.append(plan.sternum[::3])
    radii.append(np.full(len(plan.sternum[::3]), 5.0))
    points, radii = np.concatenate(points), np.concatenate(radii)
    heights = np.arange(points[:, 2].min() - 20, points[:, 2].max() + 20, 5.0)
    angles = np.deg2rad(np.arange(-180, 181, 5.0))

    section = plan.rib_cage_at(points[:, 2])
    angle = np.arctan2(points[:, 1] - section[:, 1], points[:, 0] - section[:, 0])
    radius = np.hypot(points[:, 0] - section[:, 0], points[:, 1] - section[:, 1]) - radii
    turn = (angles[:, None] - angle[None, :] + math.pi) % (2 * math.pi) - math.pi
    table = np.zeros((len(heights), len(angles)), np.float32)
    for row, height in enumerate(heights):
        up = height - points[:, 2]
        near = np.exp(-0.5 * (up / 8.0) ** 2 - 0.5 * (turn / 0.11) ** 2)
        wide = np.exp(-0.5 * (up / 25.0) ** 2 - 0.5 * (turn / 0.35) ** 2)
        weight = near + 1e-3 * wide + 1e-9
        table[row] = (weight * radius).sum(1) / weight.sum(1)
    table -= float(rng.uniform(0.5, 3.0))

    centers = plan.rib_cage_at(heights)
    cx, cy = (painter.row(whole.z, heights, centers[:, a]) for a in (0, 1))
    dx, dy = whole.x - cx, whole.y - cy
    column = (torch.atan2(dy, dx) + math.pi) / (2 * math.pi) * 2 - 1
    line = ((whole.z - float(heights[0])) / float(heights[-1] - heights[0])) * 2 - 1
    at = torch.stack([column, line.expand_as(column)], dim=-1).reshape(1, -1, column.shape[-1], 2)
    source = torch.from_numpy(table).to(column.device)[None, None]
    limit = torch.nn.functional.grid_sample(source, at, padding_mode="border", align_corners=True)
    return (dx.square() + dy.square()).sqrt_() - limit.reshape(column.shape)


def _diaphragm(painter, marks, rng):
    plan, whole = marks.plan, painter.whole
    low = marks.z("T12") - rng.uniform(0, 25)
    top = rng.uniform(marks.z("T11"), marks.z("T8"))
    section = plan.rib_cage_at([top])[0]
    domes = []
    for side, lower in ((1, 0.0), (-1, rng.uniform(5, 22))):
        u = (whole.x - float(section[0] + side * section[2] * 0.48)) / float(section[2] * 0.66)
        v = (whole.y - float(section[1] + section[3] * rng.uniform(0.0, 0.25))) / float(section[3] * 1.15)
        domes.append(top - lower - (top - low) * (u.square() + v.square()).clamp(max=1.0) ** 1.15)
    return torch.maximum(*domes)


def _pelvic_limit(painter, marks):
    """Inside the funnel of the bony pelvis; everywhere above it."""
    plan, whole, s = marks.plan, painter.whole, marks.plan.scale
    hip_z = np.mean([leg.hip[2] for leg in plan.legs])
    hip_y = np.mean([leg.hip[1] for leg in plan.legs])
    front_of_sacrum = [f.center[1] + f.depth / 2 + 3 for f in plan.sacrum]
    heights = [f.center[2] for f in plan.sacrum]
    back = painter.row(whole.z, heights, front_of_sacrum)
    narrow = [hip_z - 45, hip_z - 20, hip_z + 10, hip_z + 55, hip_z + 90, 40, 70]
    width = painter.row(whole.z, narrow, np.array([18, 40, 50, 60, 85, 120, 400]) * s)
    front = painter.row(whole.z, narrow, [hip_y + 25, hip_y + 34, hip_y + 40, hip_y + 90, hip_y + 200, 400, 400])
    middle, half = (front + back) / 2, ((front - back) / 2).clamp(min=5.0)
    level = superellipse(whole.x, whole.y - middle, width, half, 2.6) + 0.08 * painter.noise(whole, 22.0, 2)
    bowl = (level < 1) & (whole.z > hip_z - 45)
    return bowl | (whole.z > 60)
