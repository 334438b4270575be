"""Paints sacrum, coccyx, hip bones and the upper femora."""

import itertools

import numpy as np
import torch

from SpineContextSegLib.labels import SACRUM as SACRUM_VALUE

from ..classes import OTHER_BONE, SACRUM
from .canvas import BoneCanvas
from .fields import capsule, ellipsoid, smooth_min, sphere, superellipse
from .plan import BodyPlan, LegPlan, SacralPlan
from .torso import smooth_line


def paint_pelvis(canvas: BoneCanvas, plan: BodyPlan, rng: np.random.Generator):
    """Paint the sacrum and, around it, as other bone coccyx, hip bones and femora, joints left open."""
    draws = rng.uniform(size=7)
    _paint_sacrum(canvas, plan, draws)
    for leg in plan.legs:
        _paint_hip_bone(canvas, plan, leg, 1.0 + 1.8 * draws[3])
        _paint_femur(canvas, plan, leg)


def _segment(q, this: SacralPlan, below: SacralPlan | None, s: float, foramen: float, crest_mm: float):
    """Distance to one sacral segment in its frame; its crest reaches so far behind the roof of the canal."""
    x, y, z = q
    ax = x.abs()
    half = this.height / 2
    t = ((half - z) / this.height).clamp(0, 1)
    lower = below or this
    taper = lambda name: getattr(this, name) * (1 - t) + getattr(lower, name) * t
    a, b = taper("width") / 2, taper("depth") / 2
    along = z.abs() - half - 0.8 - 0.13 * (-y).clamp(min=0)
    body = torch.maximum((superellipse(x, torch.where(y > 0, y, y * 0.9), a, b, 2.3) - 1) * this.depth / 2, along)
    if this.canal_depth == 0:
        return body
    ala = taper("ala")
    lateral = (ax / ala).clamp(max=1.2)
    reach = ala + 0.42 * (y + 4 * s).clamp(-22 * s, 14 * s)
    thick = {"S1": 14.0, "S2": 11.5, "S3": 9.0, "S4": 7.5, "S5": 6.0}[this.name] * s
    middle = -(0.15 * b + 9 * s * lateral**1.5)
    wing = torch.maximum(torch.maximum(ax - reach, (y - middle).abs() - thick), along)
    d = smooth_min(body, wing, 5.0)
    cy, cd, cw = this.canal_y, this.canal_depth / 2, this.canal_width / 2
    roof_y = cy - cd - 2.2 * s
    roof = torch.maximum(torch.maximum(ax - 0.62 * reach, (y - roof_y - 0.24 * ax + 2 * s).abs() - 3.2 * s
                                                - 0.3 * (ax - cw - 2 * s).clamp(0, 14 * s)), along)
    crest = capsule((x, y, z * 0.35), (0, roof_y, 0), (0, roof_y - crest_mm, 0), 3.2 * s)
    d = smooth_min(d, torch.minimum(roof, torch.maximum(crest, along)), 4.0)
    rho = superellipse(x, y - cy, cw, cd, 2.2)
    d = torch.maximum(d, -(rho - 1) * cd)
    hole_x = this.width / 2 * 0.82 + 3.5 * s
    for z_hole in (-half, half):
        if z_hole > 0 and this.name == "S1" or z_hole < 0 and this.name == "S5":
            continue
        hole = capsule((ax, y, z), (hole_x, 30, z_hole), (hole_x - 1.5 * s, -40, z_hole), 1.25 * foramen,
                       0.8 * foramen, (1.1, 1, 0.9))
        d = torch.maximum(d, -hole)
    return d


def _paint_sacrum(canvas: BoneCanvas, plan: BodyPlan, draws):
    s = plan.scale
    corners = list(itertools.product((-68 * s, 68 * s), (-38, 22), (-12, 12)))
    points = np.concatenate([segment.to_world(corners) for segment in plan.sacrum])
    box = canvas.grid.box(points.min(0) - 6, points.max(0) + 6)
    if box is None:
        return
    rough = (0.2 + 0.4 * draws[0]) * canvas.noise(box, 5.0, 3)
    warp = [1.4 * canvas.noise(box, 18.0, c) for c in range(3)]
    pieces = {}
    for i, segment in enumerate(plan.sacrum):
        q = tuple(c + w for c, w in zip(box.local(segment.center, segment.rotation), warp))
        below = plan.sacrum[i + 1] if i < 4 else None
        crest_mm = 5.5 / 30 * segment.height * (1 + (2.5, 1.5)[i] * draws[6] if i < 2 else 1)
        d = _segment(q, segment, below, s, (4.4 - 0.4 * min(i, 4)) * s, crest_mm)
        if i == 0:
            horn_x = segment.canal_width / 2 + 4.5 * s
            top = plan.vertebrae[-1].disc_below * 0.6
            horn = capsule((q[0].abs(), q[1], q[2]), (horn_x, segment.canal_y - 6 * s, segment.height / 2 - 8 * s),
                           (horn_x + 1, segment.canal_y - 5.5 * s, segment.height / 2 + top), 5.5 * s, 4.4 * s)
            d = smooth_min(d, horn, 3.0)
        if i < 2 and draws[1 + i] < 0.7:  # the rest of a disc, at most as deep as the bone and as high as a thin disc
            size = draws[4 + i]
            reach = 0.28 + 0.24 * size
            middle = 0, 0, -segment.height / 2
            lens = ellipsoid(q, middle, (reach * segment.width, reach * segment.depth, 1.0 + 2.2 * size))
            d = torch.maximum(d, -lens)
        kind = "sacrum" if i < 5 else "coccyx"
        pieces[kind] = smooth_min(pieces[kind], d, 4.0 * s) if kind in pieces else d
    canvas.put(box, pieces["sacrum"] + rough, SACRUM, SACRUM_VALUE, plan.cortex * 1.3, 1.0, whole=True)
    canvas.put(box, pieces["coccyx"] + rough, OTHER_BONE, 0, plan.cortex * 1.2, 0.8, whole=True)


def _paint_hip_bone(canvas: BoneCanvas, plan: BodyPlan, leg: LegPlan, joint_mm: float):
    mirror = np.array([leg.side, 1.0, 1.0])
    place = lambda points: plan.pelvis.to_world(np.asarray(points, float) * mirror * plan.pelvis_scale)
    s, cortex = plan.scale, plan.cortex * 1.7
    paint = {"label": OTHER_BONE, "level": 0, "cortex": cortex, "gap_mm": joint_mm}

    def rods(points, radii, squash=(1.0, 1.0, 1.0)):
        along = np.linspace(0, 1, 4 * len(points))
        radii = np.interp(along, np.linspace(0, 1, len(radii)), radii) * s
        canvas.rods(smooth_line(place(points), len(along)), radii, squash=squash, **paint)

    canvas.begin_bone()
    low = [(38, -50, -54), (47, -33, -60), (55, -14, -66), (66, 4, -70), (80, 19, -72), (92, 36, -66), (100, 56, -54)]
    high = [(35, -55, -28), (50, -51, 0), (77, -37, 26), (106, -10, 38), (123, 20, 36), (130, 46, 16), (121, 68, -8)]
    middle = [(38, -55, -38), (49, -38, -26), (57, -15, -28), (74, -2, -30), (95, 10, -20), (108, 30, -24),
              (112, 60, -32)]
    steps = np.linspace(0, 1, 6)
    net = np.array([smooth_line(line, len(steps)) for line in zip(low, middle, high)])
    fine = np.stack([smooth_line(net[:, k], 15) for k in range(len(steps))], axis=1)
    across = np.interp(steps, [0, 0.25, 0.55, 0.85, 1], [13, 9, 4.5, 6.5, 9.5])
    back = np.interp(np.linspace(0, 1, 15), [0, 0.18, 0.32, 1], [17, 16, 4, 0])
    thickness = np.maximum(across[None, :], back[:, None] * np.array([1, 1, 1, 0.9, 0.8, 0.7])[None, :]) * s
    canvas.sheet(place(fine), thickness, **paint)
    rods([(66, -10, -70), (70, -4, -92), (74, 2, -112), (66, -6, -145), (58, -2, -166)], [11, 13, 14, 12, 14])
    rods([(64, -12, -104), (52, -20, -114)], [7, 3])
    rods([(60, -8, -62), (66, 12, -70), (70, 30, -80), (44, 58, -100), (24, 70, -108), (11, 72, -114)],
         [9, 9, 11, 7, 7.5, 9])
    rods([(11, 71, -114), (10, 64, -136)], [8.0, 7.5])
    rods([(11, 63, -138), (32, 38, -158), (52, 8, -170)], [6, 5.5, 9], (0.9, 1, 1.1))
    _paint_socket(canvas, plan, leg, paint)


def _paint_socket(canvas: BoneCanvas, plan: BodyPlan, leg: LegPlan, paint: dict):
    """The acetabulum: a thick bowl around the femoral head, and the joint space cleared of all that was painted."""
    outer, inner = leg.head_radius + 10 * plan.scale, leg.head_radius + 3.0
    box = canvas.grid.box(leg.hip - outer - 4, leg.hip + outer + 4)
    if box is None:
        return
    opening = plan.pelvis.rotation @ np.array([leg.side * 0.78, 0.38, -0.5])
    opening = opening / np.linalg.norm(opening)
    q = tuple(c - float(h) for c, h in zip((box.x, box.y, box.z), leg.hip))
    radius = sum(c**2 for c in q).sqrt()
    axial = sum(c * float(o) for c, o in zip(q, opening))
    bowl = torch.maximum(torch.maximum(radius - outer, inner - radius), axial - 6 * plan.scale)
    canvas.put(box, bowl + 0.3 * canvas.noise(box, 5.0), paint["label"], 0, paint["cortex"], paint["gap_mm"])
    cleared = torch.maximum(canvas.distance[box.slices], inner - torch.maximum(radius, axial * 0.6))
    own = canvas.label[box.slices] == OTHER_BONE
    canvas.distance[box.slices] = torch.where(own, cleared, canvas.distance[box.slices])


def _paint_femur(canvas: BoneCanvas, plan: BodyPlan, leg: LegPlan):
    s = plan.scale
    down = (leg.knee - leg.hip) / np.linalg.norm(leg.knee - leg.hip)
    out = np.array([leg.side, -0.15, 0.0])
    out = out - down * (out @ down)
    out = out / np.linalg.norm(out)
    at = lambda lateral, below, front=0.0: leg.hip + (out * lateral + down * below + np.array([0, front, 0])) * s
    canvas.begin_bone()
    thin, thick = plan.cortex * 1.2, 5.0 * s * (0.5 + 0.5 * plan.cortex)
    box = canvas.grid.box(leg.hip - leg.head_radius - 4, leg.hip + leg.head_radius + 4)
    if box is not None:
        canvas.put(box, sphere((box.x, box.y, box.z), leg.hip, leg.head_radius), OTHER_BONE, 0, thin, 1.5)
    canvas.rods([leg.hip, at(22, 15), at(42, 30)], [17 * s, 15.5 * s, 19 * s], OTHER_BONE, 0, thin, 1.5)
    canvas.rods([at(50, 12, -8), at(52, 26, -6), at(46, 50)], [11 * s, 16 * s, 17 * s], OTHER_BONE, 0, thin, 1.5)
    canvas.rods([at(26, 62, -12), at(34, 58, -6)], [7 * s, 11 * s], OTHER_BONE, 0, thin, 1.5)
    canvas.rods([at(44, 45), at(42, 80), at(36, 160), at(20, 330)], [18 * s, 15 * s, 14 * s, 15 * s], OTHER_BONE, 0,
                thick, 1.5)
