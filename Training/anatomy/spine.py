"""Paints the vertebrae of a plan, the discs between them and the canal behind them."""

import itertools

import numpy as np
import torch

from ..classes import BODY, POSTERIOR
from . import vertebra as shapes
from .canvas import BoneCanvas
from .fields import capsule, smooth_min, superellipse
from .plan import BodyPlan, VertebraPlan

EXPONENTS = {"C": 2.6, "T": 2.2, "L": 2.45}


def _world_box(canvas: BoneCanvas, frame, lo, hi):
    corners = frame.to_world(np.array(list(itertools.product(*zip(lo, hi)))))
    return canvas.grid.box(corners.min(0), corners.max(0))


def paint_spine(canvas: BoneCanvas, plan: BodyPlan, rng: np.random.Generator):
    """Paint all vertebrae from the lowest up, then discs and canal. rng draws gaps and surface roughness."""
    above_ossified = {v.name: upper.disc_ossified for upper, v in zip(plan.vertebrae[:-1], plan.vertebrae[1:])}
    for vertebra in plan.vertebrae[::-1]:
        draws = rng.uniform(size=5)
        grow_up = 0.0
        if above_ossified.get(vertebra.name):
            upper = plan.vertebrae[[v.name for v in plan.vertebrae].index(vertebra.name) - 1]
            grow_up = upper.disc_below / 2 + 0.5
        _paint_vertebra(canvas, plan, vertebra, draws, grow_up)
    uppers = plan.vertebrae[1:]
    for upper, lower in zip(uppers, (*uppers[1:], plan.sacrum[0])):
        _paint_disc(canvas, upper, lower)
    paint_canal(canvas, plan)


def _paint_vertebra(canvas: BoneCanvas, plan: BodyPlan, v: VertebraPlan, draws, grow_up: float):
    s = plan.scale
    side = max(abs(v.transverse_tip[0]) + 6 * s, v.width / 2 + 6)
    lo = [-side, v.spinous_tip[1] - 8, min(v.spinous_tip[2] - 0.4 * v.height, -v.height / 2 - v.disc_below) - 8 * s]
    above = max(v.disc_below, 4) + 6 * s + (10 if v.name == "C2" else 0)
    hi = [side, v.depth / 2 + 10 + v.osteophyte, v.height / 2 + above]
    box = _world_box(canvas, v, lo, hi)
    if box is None:
        return
    q = box.local(v.center, v.rotation)
    warp = 0.5 + 1.1 * draws[0]
    q = tuple(c + warp * canvas.noise(box, 17.0, channel) for channel, c in enumerate(q))
    rough = (0.15 + 0.3 * draws[1]) * canvas.noise(box, 4.5, 3)
    arch = shapes.arch(q, v, s) + rough
    if v.name == "C1":
        distance, label = arch, POSTERIOR
    else:
        grow_down = v.disc_below / 2 + 0.5 if v.disc_ossified else 0.0
        body = shapes.body(q, v, EXPONENTS[v.name[0]] + 0.3 * (draws[2] - 0.5), grow_up, grow_down)
        if v.name == "C2":
            body = smooth_min(body, shapes.dens(q, v, s), 3.0)
        if v.bridge:
            body = torch.minimum(body, _bridge(q, v))
        body = body + 0.7 * rough
        distance = smooth_min(body, arch, 1.6)
        label = torch.where(body < 0.4, BODY, POSTERIOR).to(torch.uint8)
    cortex = torch.where(torch.as_tensor(label, device=q[0].device) == BODY, v.cortex, 1.9 * v.cortex)
    joined = v.bridge or v.disc_ossified
    canvas.put(box, distance, label, v.value, cortex, 0.05 if joined else 0.8 + 0.9 * draws[3], whole=True)


def _bridge(q, v: VertebraPlan) -> torch.Tensor:
    """Distance to an osteophyte that spans the disc below at its front."""
    x, y, z = q
    front = v.depth / 2
    low = -v.height / 2 - v.disc_below - 2.0
    start, end = (0.18 * v.width, front - 1.0, -0.25 * v.height), (0.15 * v.width, front - 0.5, low)
    return capsule((x, y + 0.12 * (x / (0.25 * v.width)) ** 2 * front, z), start, end, 2.4, 2.6, (2.4, 0.9, 1))


def _paint_disc(canvas: BoneCanvas, upper: VertebraPlan, lower):
    """Fill the room between two endplates; what is bone there stays bone."""
    a, b = (upper.width + lower.width) / 4, (upper.depth + lower.depth) / 4
    top = upper.to_world([0, 0, -upper.height / 2])
    bottom = lower.to_world([0, 0, lower.height / 2])
    center = (top + bottom) / 2
    rotation = np.linalg.qr(upper.rotation + lower.rotation)[0]
    rotation = rotation * np.sign(np.einsum("ij,ij->j", rotation, upper.rotation))
    reach = max(a, b) + 3
    gap = float(np.linalg.norm(top - bottom))
    height = gap / 2 + 6
    lo, hi = np.array([-reach, -reach, -height]), np.array([reach, reach, height])
    corners = center + np.array(list(itertools.product(*zip(lo, hi)))) @ rotation.T
    box = canvas.grid.box(corners.min(0), corners.max(0))
    if box is None:
        return
    x, y, _ = box.local(center, rotation)
    below_upper = box.local(top, upper.rotation)[2]
    above_lower = box.local(bottom, lower.rotation)[2]
    rho = superellipse(x, torch.where(y > 0, y, y * 0.9), a, b, 2.3)
    lower_concavity = getattr(lower, "concavity", 1.0)
    dome = (1 - rho**2).clamp(min=0)
    inside = (rho < 0.99) & (y > -b) & (below_upper < upper.concavity * dome + 0.6)
    inside &= above_lower > -(lower_concavity * dome + 0.6)
    level = canvas.disc_level[box.slices]
    canvas.disc_level[box.slices] = torch.where(inside, 100 + upper.value, level)


def paint_canal(canvas: BoneCanvas, plan: BodyPlan):
    """Mark the canal from the foramen magnum to the end of the sacral canal as one tube without a break."""
    sacral = [v for v in plan.sacrum if v.canal_depth > 0]
    levels = [*plan.vertebrae, *sacral]
    line = plan.canal_line()
    widths = [plan.head.foramen_axes[0], *(v.canal_width / 2 for v in levels)]
    depths = [plan.head.foramen_axes[1] * 0.8, *(v.canal_depth / 2 for v in levels)]
    forward = [plan.vertebrae[0].rotation[:, 1], *(v.rotation[:, 1] for v in levels)]
    for i in range(len(line) - 1):
        p, r = line[i], line[i + 1]
        axis = (r - p) / np.linalg.norm(r - p)
        front = forward[i] + forward[i + 1]
        front = front - axis * (front @ axis)
        front = front / np.linalg.norm(front)
        rotation = np.stack([np.cross(front, -axis), front, -axis], axis=1)
        reach = max(*widths[i:i + 2], *depths[i:i + 2]) + 2
        box = canvas.grid.box(np.minimum(p, r) - reach, np.maximum(p, r) + reach)
        if box is None:
            continue
        x, y, z = box.local(p, rotation)
        length = float(np.linalg.norm(r - p))
        t = (-z / length).clamp(0, 1)
        half_width = widths[i] + (widths[i + 1] - widths[i]) * t
        half_depth = depths[i] + (depths[i + 1] - depths[i]) * t
        rho = superellipse(x, y, half_width, half_depth, 2.2)
        overlap = 0.0 if i == 0 else 3.0
        canvas.canal[box.slices] |= (rho < 1) & (z < overlap) & (z > -length - 3.0)
