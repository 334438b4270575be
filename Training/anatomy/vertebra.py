"""Shapes of single vertebrae as signed distances in their local frame (x right, y anterior, z superior, mm)."""

from itertools import pairwise

import torch

from .fields import capsule, ellipsoid, smooth_min, strut, superellipse
from .plan import VertebraPlan


def body(q, v: VertebraPlan, exponent: float, grow_up: float = 0.0, grow_down: float = 0.0) -> torch.Tensor:
    """Distance to the vertebral body; grow_up, grow_down: mm by which it reaches into ossified discs."""
    x, y, z = q
    a, b = v.width / 2, v.depth / 2
    ax = x.abs()
    slope = (v.height_anterior - v.height_posterior) / (4 * b)
    half = (v.height / 2 + slope * y).clamp(min=2.0)
    if grow_up or grow_down:
        half = half + torch.where(z > 0, grow_up, grow_down)
    along = (z.abs() / half).clamp(max=1)
    waist = v.waist * (1 - along**2)
    heart = 0.15 if v.name[0] == "T" else 0.0
    rho = superellipse(x / (1 - heart * (y / b).clamp(0, 1)), torch.where(y > 0, y, y * 0.87), a * (1 - waist),
                       b * (1 - 0.5 * waist), exponent)
    side = (rho - 1) * min(a, b)
    if v.osteophyte:
        rim = ((along - 0.55) / 0.45).clamp(0, 1) ** 2 * ((y / b + 0.6) / 0.8).clamp(0, 1)
        side = side - v.osteophyte * rim
    hollow = (1 - ax / (0.55 * a)).clamp(min=0)
    wall = -y - b * (1 - 0.3 * waist) + 0.07 * b * hollow
    side = torch.maximum(side, wall)
    end = z.abs() - half + v.concavity * (1 - rho**2).clamp(0, 1)
    if v.name[0] == "C":
        lateral = ((ax / a - 0.5) / 0.5).clamp(0, 1.3) ** 2
        uncinate = 0.0 if v.name == "C2" else 3.6 * v.width / 22
        end = end + torch.where(z > 0, -uncinate * lateral * ((0.9 - y / b) / 0.6).clamp(0, 1),
                                0.5 * uncinate * lateral - 1.6 * (y / b - 0.1).clamp(0, 1))
    end = end * 0.95
    corner = (side.clamp(min=-1.5) + 1.5) ** 2 + (end.clamp(min=-1.5) + 1.5) ** 2
    return torch.where((side > -1.5) & (end > -1.5), corner.sqrt() - 1.5, torch.maximum(side, end))


def canal(q, v: VertebraPlan) -> torch.Tensor:
    """About the distance to the tube of the canal through this level."""
    half_width, half_depth = v.canal_width / 2, v.canal_depth / 2
    rho = superellipse(q[0], q[1] - v.canal_y, half_width, half_depth, 2.2)
    return (rho - 1) * min(half_width, half_depth)


def _lumbar_arch(q, v: VertebraPlan, s: float) -> torch.Tensor:
    x, y, z = q
    ax = (x.abs(), y, z)
    b, h = v.depth / 2, v.height
    cw, cd, cy = v.canal_width / 2, v.canal_depth / 2, v.canal_y
    pw, ph, f = v.pedicle_width / 2, v.pedicle_height / 2, v.facet
    pedicle_z = h / 2 - ph - 0.5 * s
    back = cy - cd
    joint_x, joint_y = cw + 3.2 * s, cy - 0.35 * cd
    d = strut(ax, (cw + pw * 0.9, -b + 5, pedicle_z), (joint_x + pw * 0.4, joint_y + 4 * s, pedicle_z - 1), pw,
              pw * 1.05, ph, ph * 0.95, 2.5)
    lamina = strut(ax, (joint_x, joint_y, -0.12 * h), (0, back - 2.6 * s, -0.28 * h), 4.0 * s, 3.6 * s, 0.46 * h,
                   0.36 * h, 2.0)
    d = smooth_min(d, lamina, 2.5)
    tip = v.spinous_tip
    mid = (tip[0] * 0.5, (back + tip[1]) / 2, tip[2] * 0.6 - 0.15 * h)
    tall, cut = v.spinous_height / 2, 0.45 * v.spinous_round
    spine = torch.minimum(strut(q, (0, back - 1, -0.26 * h), mid, 4.6 * s, 3.0 * s, (1 - cut) * tall, tall, 2.0),
                          strut(q, mid, tip, 3.0 * s, 4.0 * s, tall, (0.9 - cut) * tall, 2.4))
    d = smooth_min(d, spine, 2.5)
    tx, ty, tz = v.transverse_tip
    root = (joint_x + pw + 1.0 * s, joint_y + 5.5 * s, pedicle_z - 2.5 * s)
    transverse = strut(ax, root, (tx, ty, tz), 3.6 * s, 2.3 * s, 6.0 * s, 4.3 * s, 2.0)
    if v.pedicle_width > 13 * s:
        transverse = smooth_min(transverse, strut(ax, (cw + pw, -b + 2, pedicle_z - 1), root, pw, 4.5 * s, ph,
                                                  6.5 * s, 3.0), 3.0)
    d = smooth_min(d, transverse, 3.0)
    top, low = h / 2 + v.disc_below * 0.55, -h / 2 - v.disc_below - 2 * s
    superior = capsule(ax, (joint_x + 1.2 * s, joint_y + 3 * s, 0.1 * h),
                       (joint_x + 2.8 * s * f, joint_y + 0.5 * s, top), 6.0 * s * f, 5.2 * s * f, (0.95, 1.15, 1))
    inferior = capsule(ax, (joint_x - 1.6 * s, back - 1.5 * s, -0.2 * h),
                       (joint_x - 1.2 * s, back - 0.5 * s, low + 3 * s), 5.2 * s, 5.4 * s * f, (1.05, 1.1, 1))
    return smooth_min(d, torch.minimum(superior, inferior), 2.0)


def _thoracic_arch(q, v: VertebraPlan, s: float) -> torch.Tensor:
    x, y, z = q
    ax = (x.abs(), y, z)
    b, h = v.depth / 2, v.height
    cw, cd, cy = v.canal_width / 2, v.canal_depth / 2, v.canal_y
    pw, ph, f = v.pedicle_width / 2, v.pedicle_height / 2, v.facet
    stout = {"T1": 0.84, "T2": 0.88, "T3": 0.93, "T11": 0.75, "T12": 0.75, "T13": 0.75}.get(v.name, 1.0)
    pedicle_z = h / 2 - ph + 0.5 * s
    back = cy - cd
    joint_x, joint_y = cw + 1.6 * s, cy - 0.45 * cd
    d = strut(ax, (cw + pw * 0.8, -b + 4, pedicle_z), (joint_x + pw * 0.5, joint_y + 3 * s, pedicle_z + 0.5 * s), pw,
              pw * 1.1, ph, ph * 0.9, min(2.0, pw * 0.9))
    lamina = strut(ax, (joint_x, joint_y - 1 * s, 0.0), (0, back - 2.4 * s, -0.16 * h), 3.4 * s, 3.3 * s, 0.52 * h,
                   0.5 * h, 1.8)
    d = smooth_min(d, lamina, 2.0)
    tip = v.spinous_tip
    mid = (tip[0] * 0.5, (back + tip[1]) / 2 - 1 * s, tip[2] * 0.55 - 0.08 * h)
    spine = torch.minimum(strut(q, (0, back - 1, -0.2 * h), mid, 4.8 * s, 2.9 * s, 0.46 * h, 0.34 * h, 1.8),
                          strut(q, mid, tip, 2.9 * s, 3.0 * s, 0.34 * h, 4.6 * s, 2.0))
    d = smooth_min(d, spine, 2.5)
    tx, ty, tz = v.transverse_tip
    transverse = capsule(ax, (joint_x + 1 * s, joint_y - 0.5 * s, 0.14 * h), (tx - 4 * s, ty + 1.5 * s, tz),
                         5.4 * s * stout, 5.6 * s * stout, (1, 0.95, 1.2))
    d = smooth_min(d, transverse, 3.0)
    superior = capsule(ax, (joint_x + 1 * s, joint_y + 2 * s, 0.2 * h), (joint_x + 0.8 * s, joint_y + 0.5 * s,
                       h / 2 + v.disc_below * 0.8), 3.4 * s * f, 2.7 * s * f, (1.6, 0.8, 1))
    inferior = capsule(ax, (joint_x - 1 * s, back - 1.5 * s, -0.3 * h), (joint_x - 0.6 * s, joint_y - 3.8 * s,
                       -h / 2 - v.disc_below - 0.5 * s), 3.0 * s, 2.8 * s * f, (1.6, 0.85, 1))
    if v.name in ("T12", "T13"):
        inferior = capsule(ax, (joint_x - 1 * s, back - 1.5 * s, -0.2 * h), (joint_x - 0.5 * s, back - 0.5 * s,
                           -h / 2 - v.disc_below), 4.0 * s, 4.0 * s * f)
    return smooth_min(d, torch.minimum(superior, inferior), 2.0)


def _pillar(ax, v: VertebraPlan, s: float) -> torch.Tensor:
    """The articular pillar of the neck: a stack of blocks cut along facets that fall towards the back."""
    x, y, z = ax
    px, py = v.canal_width / 2 + 5.6 * s, -v.depth / 2 - 6.0 * s
    round_section = superellipse(x - px, y - py, 6.3 * s * v.facet, 6.6 * s * v.facet, 2.4)
    slanted = (z + 1.5 * s - 0.75 * (y - py)).abs() * 0.8 - 0.8 * ((v.height + v.disc_below) / 2 - 0.3)
    return torch.maximum((round_section - 1) * 5.5 * s, slanted)


def _cervical_arch(q, v: VertebraPlan, s: float) -> torch.Tensor:
    x, y, z = q
    ax = (x.abs(), y, z)
    a, b, h = v.width / 2, v.depth / 2, v.height
    cw, cd, cy = v.canal_width / 2, v.canal_depth / 2, v.canal_y
    pw, ph = v.pedicle_width / 2, v.pedicle_height / 2
    back = cy - cd
    pillar_x, pillar_y = cw + 5.6 * s, -b - 6.0 * s
    d = _pillar(ax, v, s)
    d = smooth_min(d, strut(ax, (a * 0.72, -b * 0.55, 0.5), (pillar_x - 1 * s, pillar_y + 2 * s, 0.0), pw, pw, ph, ph,
                            1.8), 1.5)
    lamina = strut(ax, (pillar_x - 3.5 * s, pillar_y - 4.5 * s, -1.5 * s), (0, back - 2.2 * s, -3.0 * s), 2.9 * s,
                   2.8 * s, 0.44 * h, 0.45 * h, 1.6)
    d = smooth_min(d, lamina, 2.0)
    tip, bifid = v.spinous_tip, v.name != "C7"
    spread = 3.4 * s if bifid else 0.5
    fork = (tip[0], back + (tip[1] - back) * 0.65, tip[2] * 0.75)
    spine = strut(q, (0, back - 1, -3.0 * s), fork, 4.2 * s, 2.9 * s, 5.0 * s, 4.2 * s, 1.8)
    ends = strut(ax, (0.5 * s, fork[1], fork[2]), (spread, tip[1], tip[2]), 2.9 * s, 2.9 * s, 4.0 * s, 3.4 * s, 1.8)
    if not bifid:
        ends = strut(q, fork, tip, 3.0 * s, 4.4 * s, 4.4 * s, 4.2 * s, 2.2)
    d = smooth_min(d, torch.minimum(spine, ends), 1.8)
    tx, ty, tz = v.transverse_tip
    hole_x, hole_y = (a + tx) / 2 + 0.5 * s, -b * 0.5 - 0.5 * s
    rear = capsule(ax, (pillar_x, pillar_y + 5 * s, tz), (tx - 2.5 * s, ty + 1 * s, tz - 1 * s), 4.0 * s, 3.2 * s)
    front_radius = 2.0 * s if v.name == "C7" else 2.8 * s
    tubercle = (a + 6 * s if v.name == "C7" else tx - 5.5 * s, 0.0, tz)
    front = torch.minimum(capsule(ax, (a * 0.85, b * 0.1, tz + 1 * s), tubercle, front_radius),
                          capsule(ax, tubercle, (tx - 2.5 * s, ty + 1 * s, tz - 1 * s), front_radius))
    d = smooth_min(d, torch.minimum(rear, front), 1.5)
    hole = capsule(ax, (hole_x, hole_y, -20), (hole_x, hole_y, 20), 2.7 * s)
    return torch.maximum(d, -hole)


def _axis_arch(q, v: VertebraPlan, s: float) -> torch.Tensor:
    x, y, z = q
    ax = (x.abs(), y, z)
    b, h = v.depth / 2, v.height
    cw, cd, cy = v.canal_width / 2, v.canal_depth / 2, v.canal_y
    back = cy - cd
    facet = ellipsoid(ax, (14.5 * s, 0.0, h / 2 - 2.5 * s), (8.6 * s, 8.8 * s, 5.2 * s))
    pars = capsule(ax, (15 * s, -2 * s, h / 2 - 6 * s), (cw + 5.0 * s, -b - 8 * s, -0.35 * h), 5.4 * s, 5.6 * s)
    d = smooth_min(facet, pars, 2.5)
    lamina = strut(ax, (cw + 3 * s, -b - 10 * s, -0.2 * h), (0, back - 3.0 * s, -0.2 * h), 3.6 * s, 3.6 * s, 0.32 * h,
                   0.36 * h, 2.0)
    d = smooth_min(d, lamina, 2.5)
    tip = v.spinous_tip
    fork = (tip[0], back + (tip[1] - back) * 0.55, tip[2] * 0.8)
    spine = torch.minimum(strut(q, (0, back - 1, -0.2 * h), fork, 4.6 * s, 4.4 * s, 0.36 * h, 0.32 * h, 2.2),
                          strut(ax, (1.0 * s, fork[1], fork[2]), (4.4 * s, tip[1], tip[2]), 3.8 * s, 3.4 * s, 5.0 * s,
                                4.2 * s, 2.0))
    d = smooth_min(d, spine, 2.0)
    tx, ty, tz = v.transverse_tip
    transverse = capsule(ax, (15 * s, -2 * s, -1 * s), (tx - 3 * s, ty, tz - 1 * s), 4.2 * s, 3.2 * s)
    d = smooth_min(d, transverse, 2.0)
    hole = capsule(ax, (19.5 * s, -2.5 * s, -20), (21.5 * s, -2.5 * s, 20), 2.6 * s)
    return torch.maximum(d, -hole)


def atlas(q, v: VertebraPlan, s: float) -> torch.Tensor:
    """Distance to C1: lateral masses joined by an anterior and a posterior arch, with transverse processes."""
    x, y, z = q
    ax = (x.abs(), y, z)
    cw, cd, cy = v.canal_width / 2, v.canal_depth / 2, v.canal_y
    mass_x, back = cw + 4.6 * s, cy - cd
    tilt = (x.abs() - mass_x) * 0.35
    section = superellipse(x.abs() - mass_x, y + 3.5 * s, 8.0 * s, 9.5 * s, 2.3)
    upper = z - v.height / 2 - tilt - 0.8 * s + 1.2 * s * (1 - section**2).clamp(min=0)
    lower = -z - v.height / 2 - 1.0 * s + tilt * 0.2 + 0.6 * (x.abs() - mass_x)
    d = torch.maximum((section - 1) * 8 * s, torch.maximum(upper, lower) * 0.9)
    front_y = v.depth / 2 + 4.6 * s
    front = torch.minimum(capsule(ax, (0, front_y, 0), (9 * s, front_y - 1.5 * s, 0), 3.2 * s, 2.9 * s, (1, 1, 1.55)),
                          capsule(ax, (9 * s, front_y - 1.5 * s, 0), (mass_x - 2 * s, 2 * s, 0), 2.9 * s, 3.4 * s,
                                  (1, 1, 1.5)))
    line = [(mass_x + 1 * s, cy + 0.35 * cd), (mass_x, cy - 0.35 * cd), (cw * 0.72, back - 0.2 * s),
            (0, back - 3.6 * s)]
    rear = None
    for (x0, y0), (x1, y1) in pairwise(line):
        piece = capsule(ax, (x0, y0, 1.0), (x1, y1, 0.0), 2.9 * s, 2.9 * s, (1, 1, 1.5))
        rear = piece if rear is None else torch.minimum(rear, piece)
    d = smooth_min(d, torch.minimum(front, rear), 2.0)
    tx, ty, _ = v.transverse_tip
    transverse = capsule(ax, (mass_x + 4 * s, -4 * s, -1 * s), (tx - 4 * s, ty - 2 * s, -2 * s), 4.4 * s, 4.6 * s,
                         (1, 1.1, 0.85))
    d = smooth_min(d, transverse, 2.5)
    hole_x = (mass_x + 8 * s + tx - 5 * s) / 2
    return torch.maximum(d, -capsule(ax, (hole_x, -4.5 * s, -20), (hole_x, -4.5 * s, 20), 3.1 * s))


def arch(q, v: VertebraPlan, s: float) -> torch.Tensor:
    """Distance to pedicles, laminae and processes of any vertebra, the canal left open; s: scale of the body."""
    if v.name == "C1":
        d = atlas(q, v, s)
    elif v.name == "C2":
        d = _axis_arch(q, v, s)
    else:
        d = {"C": _cervical_arch, "T": _thoracic_arch, "L": _lumbar_arch}[v.name[0]](q, v, s)
    return torch.maximum(d, -canal(q, v))


def dens(q, v: VertebraPlan, s: float) -> torch.Tensor:
    """Distance to the dens of C2, which stands on its body."""
    top = v.height / 2
    waist = capsule(q, (0, 0, top - 4 * s), (0, 0, top + 5 * s), 5.4 * s, 4.4 * s)
    return smooth_min(waist, capsule(q, (0, 0.3, top + 5 * s), (0, -1.0 * s, top + 10.5 * s), 4.6 * s, 4.9 * s), 2.0)
