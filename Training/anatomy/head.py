"""Paints skull, lower jaw, teeth and hyoid, all as other bone."""

import itertools

import numpy as np
import torch

from ..classes import OTHER_BONE
from .canvas import BoneCanvas
from .fields import capsule, ellipsoid, smooth_min, superellipse
from .plan import BodyPlan, HeadPlan
from .posture import rotation
from .torso import smooth_line


def paint_head(canvas: BoneCanvas, plan: BodyPlan, rng: np.random.Generator):
    """Paint the head's bones; they keep off the spine."""
    head = plan.head
    draws = rng.uniform(size=8)
    _paint_skull(canvas, head, draws)
    _paint_jaw(canvas, head)
    if draws[6] < 0.85:
        _paint_hyoid(canvas, plan, draws[7])


def _head_box(canvas: BoneCanvas, head: HeadPlan, lo, hi):
    corners = np.array(list(itertools.product(*zip(lo, hi))))
    world = head.to_world(corners * head.scale)
    return canvas.grid.box(world.min(0), world.max(0))


def _shell(distance: torch.Tensor, thickness: float) -> torch.Tensor:
    """Distance to the layer of that thickness just inside a surface."""
    return (distance + thickness / 2).abs() - thickness / 2


def _smooth_max(a, b, blend_mm: float):
    return -smooth_min(-a, -b, blend_mm)


def _paint_skull(canvas: BoneCanvas, head: HeadPlan, draws):
    canvas.begin_bone()
    gap = 1.0 + 1.0 * float(draws[0])
    parts = (((-82, -84, -18), (82, 126, 142), _vault), ((-72, -50, -30), (72, 62, 48), _base),
             ((-76, 20, -42), (76, 126, 66), _face))
    for lo, hi, shape in parts:
        box = _head_box(canvas, head, lo, hi)
        if box is None:
            continue
        k = head.scale
        q = box.local(head.center, head.rotation)
        q = tuple((c + 1.6 * canvas.noise(box, 24.0, i)) / k for i, c in enumerate(q))
        fine = canvas.noise(box, 4.5, 3)
        distance, cortex = shape(q, head, fine, canvas.noise(box, 9.0, 2))
        canvas.put(box, distance * k + 0.35 * fine, OTHER_BONE, 0, cortex, gap)
    _paint_teeth(canvas, head, upper=True)


def _brain_case(q, head: HeadPlan):
    """Distance to the outside of the brain case, its floor rising towards the front, in units of the head's scale."""
    _, y, z = q
    vault = ellipsoid(q, head.vault_center / head.scale, head.vault_axes / head.scale)
    floor = -3.0 + 0.10 * y.clamp(min=0) + 0.55 * (y - 28).clamp(0, 55) - 0.05 * (y + 20).clamp(max=0)
    return _smooth_max(vault, (floor - z) * 0.9, 10.0)


def _foramen(q, head: HeadPlan):
    x, y, z = q
    axes = head.foramen_axes / head.scale
    return torch.maximum((superellipse(x, y, axes[0], axes[1], 2.1) - 1) * 14, z - 22)


def _vault(q, head: HeadPlan, fine, coarse):
    """Distance to the brain case's wall and its cortical thickness: two tables with diploe between them."""
    d = _shell(_brain_case(q, head), head.vault_thickness * (1 + 0.18 * coarse))
    ridge = capsule(q, (0, -66, 36), (0, -69, 30), 6.0, 5.0, (1.8, 1, 1))
    return torch.maximum(smooth_min(d, ridge, 3.0), -_foramen(q, head)), 0.6 + 0.2 * head.vault_thickness


def _base(q, head: HeadPlan, fine, coarse):
    """Distance to clivus, temporal bones with their air cells, and occipital condyles, and cortical thickness."""
    x, y, z = q
    ax = (x.abs(), y, z)
    clivus = capsule(ax, (0, 20, 1), (0, 42, 30), 5.0, 7.5, (1.7, 1, 1))
    petrous = capsule(ax, (48, 12, 10), (16, 30, 12), 12.0, 6.0)
    mastoid = capsule(ax, (53, 6, 14), (50, 8, -10), 11.5, 6.5)
    cells = torch.maximum(torch.minimum(mastoid, petrous) + 2.0, 1.0 - 3.5 * (fine - 0.25))
    temporal = torch.maximum(torch.minimum(petrous, mastoid), -cells)
    temporal = torch.maximum(temporal, -capsule(ax, (62, 26, 8), (30, 24, 10), 3.5))
    condyle = torch.minimum(ellipsoid(ax, (17.5, 11, -3.5), (6.8, 11.5, 6.0)),
                            ellipsoid(ax, (20, 11, 1), (9, 13, 5.5)))
    d = torch.minimum(torch.minimum(clivus, temporal), condyle)
    return torch.maximum(d, -_foramen(q, head)), 1.6


def _face(q, head: HeadPlan, fine, coarse):
    """Distance to the thin plates of the face and cortical thickness."""
    x, y, z = q
    ax = (x.abs(), y, z)
    layer = lambda solid, t: _shell(solid, t)
    orbit = capsule(ax, (15, 56, 27), (32, 92, 24), 4.0, 19.0, (1, 1, 0.9))
    orbit = torch.maximum(layer(orbit, -2.2), y - 98)
    rim = (superellipse(x.abs() - 33, z - 24, 21.0, 18.5, 2.4) - 1).abs() * 17 - 3.6
    rim = torch.maximum(rim, (y - 96).abs() - 4.5)
    sinus = layer(ellipsoid(ax, (28, 76, -3), (15, 19, 17)), 1.8)
    nose = torch.maximum(superellipse(x, (z - 0.0), 13.0, 19.0, 3.0) * 13 - 13, (y - 78).abs() - 28)
    nasal = torch.maximum(layer(nose, 1.6), y - 104)
    septum = torch.maximum(x.abs() - 1.1, nose)
    turbinate = torch.maximum(torch.maximum(nose, (ax[0] - 7).abs() - 4.0), (fine.abs() - 0.22) * 5)
    ethmoid = torch.maximum(torch.maximum(x.abs() - 12, (y - 72).abs() - 22), (z - 27).abs() - 11)
    ethmoid = torch.maximum(ethmoid, (fine.abs() - 0.2) * 5)
    bridge = capsule(q, (0, 102, 26), (0, 112, 8), 3.4, 2.4, (1.7, 1, 1))
    palate = torch.maximum(torch.maximum(x.abs() - 20, (y - 80).abs() - 24), (z + 18 - 0.004 * x**2).abs() - 1.9)
    sphenoid = layer(ellipsoid(q, (0, 50, 27), (14, 15, 12)), 1.8)
    brow = capsule(ax, (4, 108, 42), (40, 96, 42), 6.0, 5.0)
    frontal = torch.maximum(layer(ellipsoid(ax, (12, 103, 46), (13, 7, 13)), 1.8), 40 - z)
    cheek = capsule(ax, (40, 84, 0), (54, 74, 6), 7.0, 5.5)
    arch = torch.minimum(capsule(ax, (54, 74, 6), (66, 54, 8), 4.4, 3.0, (0.7, 1, 1.4)),
                         capsule(ax, (66, 54, 8), (61, 28, 14), 3.0, 4.0, (0.7, 1, 1.4)))
    pterygoid = torch.maximum((x.abs() - 13 - 0.15 * (y - 46)).abs() - 1.3, (y - 50).abs() - 9)
    pterygoid = torch.maximum(pterygoid, (z + 2).abs() - 20)
    alveolus = None
    for a, b in (((23, 62), (22, 78)), ((22, 78), (14, 96)), ((14, 96), (0, 103))):
        piece = capsule(ax, (*a, -22.0), (*b, -22.0), 6.6, 6.2, (1, 1, 1.2))
        alveolus = piece if alveolus is None else torch.minimum(alveolus, piece)
    pieces = (orbit, rim, sinus, nasal, septum, turbinate, ethmoid, bridge, palate, sphenoid, brow, frontal, cheek,
              arch, pterygoid, alveolus)
    d = pieces[0]
    for piece in pieces[1:]:
        d = torch.minimum(d, piece)
    inside_sinus = ellipsoid(ax, (28, 76, -3), (13.2, 17.2, 15.2))
    return torch.maximum(torch.maximum(d, -inside_sinus), -_brain_case(q, head)), 1.1


def _arc(points, n: int) -> np.ndarray:
    """(n, 2) evenly spaced points on a curve through points (m, 2), mirrored from right to left."""
    right = [(x, y, 0.0) for x, y in points]
    return smooth_line(right + [(-x, y, 0.0) for x, y, _ in right[-2::-1]], n)[:, :2]


def _paint_teeth(canvas: BoneCanvas, head: HeadPlan, upper: bool, place=None):
    place = place or (lambda p: head.to_world(np.asarray(p) * head.scale))
    rng = np.random.default_rng(int(1000 * head.teeth) + upper)
    row = [(24, 62), (22, 80), (15, 97), (0, 103.5)] if upper else [(24, 64), (21, 80), (13, 95), (0, 100.5)]
    line = _arc(row, 15)
    root, crown = (-20.0, -36.0) if upper else (-53.0, -38.0)
    for x, y in line:
        if rng.random() > head.teeth:
            continue
        molar = y < 82
        radius = (4.6 if molar else 3.1) * head.scale
        middle = (root + 2 * crown) / 3
        canvas.rods(place([(x, y, root), (x, y, middle)]), np.array([1.8, radius * 0.75]), OTHER_BONE, 0, 1.5, 1.0,
                    rough_mm=0)
        canvas.rods(place([(x, y, middle), (x, y, crown)]), radius, OTHER_BONE, 0, 12.0, 1.0, rough_mm=0)


def _paint_jaw(canvas: BoneCanvas, head: HeadPlan):
    hinge = np.array([0.0, 32.0, 10.0])
    turn = rotation(head.jaw_open)

    def place(points):
        return head.to_world((hinge + (np.asarray(points, float) - hinge) @ turn.T) * head.scale)

    canvas.begin_bone()
    paint = {"label": OTHER_BONE, "level": 0, "cortex": 2.4, "gap_mm": 1.5}
    k = head.scale
    for side in (1, -1):
        net = np.array([[(side * 49, 34, -48), (side * 48, 46, -56), (side * 45, 58, -60)],
                        [(side * 52, 30, -30), (side * 50, 42, -34), (side * 47, 58, -40)],
                        [(side * 53, 28, -10), (side * 51, 42, -14), (side * 49, 57, -18)],
                        [(side * 53, 31, 6), (side * 51, 42, -4), (side * 50, 55, 2)]])
        canvas.sheet(place(net), np.array([[10.0, 11, 12], [7, 7, 9], [6, 5, 6], [8, 4, 4]]) * k, **paint)
        canvas.rods(place([(side * 58, 32, 9), (side * 44, 31, 9)]), 5.0 * k, squash=(1, 1, 0.8), **paint)
    line = _arc([(46, 52), (38, 72), (25, 94), (0, 107)], 28)
    drop = -57 - 9 * (1 - np.abs(line[:, 0]) / 46)
    body = np.concatenate([line, drop[:, None]], axis=1)
    canvas.rods(place(body), 6.2 * k, squash=(1, 1, 1.75), **paint)
    crest = _arc([(26, 62), (21.5, 80), (13, 95), (0, 100.5)], 20)
    canvas.rods(place(np.concatenate([crest, np.full((20, 1), -50.0)], axis=1)), 4.8 * k, squash=(1, 1, 1.5), **paint)
    _paint_teeth(canvas, head, upper=False, place=place)


def _paint_hyoid(canvas: BoneCanvas, plan: BodyPlan, spread: float):
    s = plan.scale
    at = plan.vertebra("C3")
    points = [at.to_world(np.array([side * (18 + 4 * spread), 20 + 4 * spread, 0.0]) * s) for side in (1, -1)]
    front = at.to_world(np.array([0.0, 42 + 6 * spread, -6.0]) * s)
    half = [at.to_world(np.array([side * 13, 36.0 + 5 * spread, -5.0]) * s) for side in (1, -1)]
    line = smooth_line([points[0], half[0], front, half[1], points[1]], 24)
    radii = np.interp(np.linspace(-1, 1, 24), [-1, -0.4, 0, 0.4, 1], [2.0, 2.6, 4.0, 2.6, 2.0]) * s
    canvas.begin_bone()
    canvas.rods(line, radii, OTHER_BONE, 0, 1.2, 1.5)
