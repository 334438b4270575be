"""What a scan shows around the body: couch, head rest, blankets, tubes and wires."""

import numpy as np

from .landmarks import Landmarks
from .painter import Painter
from .tissues import Tissue
from .torso import smooth_line


def paint_surroundings(painter: Painter, marks: Landmarks, skin, rng: np.random.Generator):
    """Paint outside the skin. ``skin``: signed distance in mm, (k, j, i)."""
    outside = skin > 0
    lowest = _lowest_point(painter, skin)
    if lowest is None:
        return
    if rng.random() < 0.35:
        _cloth(painter, skin, rng)
    if rng.random() < 0.85:
        _couch(painter, outside, lowest, rng)
    if rng.random() < 0.6:
        _head_rest(painter, marks, outside, rng)
    if rng.random() < 0.35:
        _wires(painter, marks, skin, outside, rng)


def _lowest_point(painter, skin):
    rows = (skin < 0).any(2).any(0).nonzero()
    return float(painter.whole.y.reshape(-1)[rows[0]]) if len(rows) else None


def _couch(painter, outside, lowest, rng):
    """A shallow trough of thin shells with foam between them, with or without a mattress."""
    whole, u = painter.whole, rng.uniform
    half_width, curve = float(u(185, 260)), float(rng.choice([0.0, u(0.0003, 0.0018)]))
    off = rng.normal(0, 15)
    top = lowest + float(u(-10, 8)) + curve * (whole.x - float(off)) ** 2
    under = top - whole.y
    across = (whole.x - float(off)).abs() < half_width
    height, shell = float(u(15, 70)), float(u(1.0, 2.5))
    plate = (under > 0) & (under < height) & across & outside
    if rng.random() < 0.6:
        mat = (under > -float(u(4, 25))) & (under <= 0) & across & outside
        painter.tissue.masked_fill_(mat, int(Tissue.TABLE_FOAM))
    painter.tissue.masked_fill_(plate, int(Tissue.TABLE_FOAM))
    bottom = (under - height).abs() < shell
    if rng.random() < 0.5:  # the lower shell is flat or rounder than the upper
        bottom = (lowest - whole.y - height + float(u(0, 0.0012)) * (whole.x - float(off)) ** 2).abs() < shell
    shells = (under.abs() < shell) | bottom
    painter.tissue.masked_fill_(shells & across & outside, int(Tissue.TABLE_SHELL))


def _head_rest(painter, marks, outside, rng):
    """A half pipe that holds the head."""
    head, whole = marks.plan.head, painter.whole
    center = head.to_world(head.vault_center)
    if center[2] - 130 > float(whole.z.max()):
        return
    radius, shell = float(rng.uniform(105, 150)), float(rng.uniform(1.0, 2.5))
    x, y = whole.x - float(center[0]), whole.y - float(center[1] - head.vault_axes[1] - 10 + radius)
    pipe = ((x.square() + y.square()).sqrt() - radius).abs() < shell
    reach = (y < float(rng.uniform(-80, 0))) & (whole.z > float(center[2] - rng.uniform(60, 130)))
    painter.tissue.masked_fill_(pipe & reach & outside, int(Tissue.TABLE_SHELL))


def _cloth(painter, skin, rng):
    whole = painter.whole
    folds = painter.noise(whole, 20.0, 3)
    gap = 1.0 + float(rng.uniform(1, 10)) * folds.abs()
    layer = (skin > gap) & (skin < gap + float(rng.uniform(1, 4)))
    upper = whole.y > float(rng.uniform(-60, 80))
    painter.tissue.masked_fill_(layer & upper, int(Tissue.CLOTH))


def _wires(painter, marks, skin, outside, rng):
    """Leads and tubes that follow the skin over some way."""
    section = marks.plan.rib_cage_at([marks.z("T6")])[0]
    front = section[1] + section[3] + marks.plan.fat + 40
    thin = outside & (skin < 25)
    for _ in range(int(rng.integers(1, 5))):
        start = np.array([rng.uniform(-110, 110), front - 20, marks.z("T6") + rng.uniform(-160, 160)])
        line = smooth_line(start + np.cumsum(rng.normal(0, 40, (5, 3)) * [1, 0.6, 1], axis=0), 20)
        if rng.random() < 0.6:
            painter.tube(line, 1.2, Tissue.WIRE, thin)
        else:
            painter.tube(line, 4.5, Tissue.PLASTIC, thin)
            painter.tube(line, 3.0, Tissue.AIR, thin)
