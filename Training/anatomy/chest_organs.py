"""Lungs, airways, heart and mediastinum."""

import numpy as np

from .cavities import Cavities
from .landmarks import Landmarks
from .painter import Painter
from .tissues import Tissue
from .torso import smooth_line

HEART_AXES_MM = np.array([52.0, 42.0, 48.0])


def paint_chest(painter: Painter, marks: Landmarks, cavities: Cavities, rng: np.random.Generator):
    """Fill the chest; great vessels and esophagus come later, they run through several spaces."""
    plan, whole, s, uniform = marks.plan, painter.whole, marks.plan.scale, rng.uniform
    thorax, tissue = cavities.thorax, painter.tissue
    spine_x = painter.row(whole.z, marks.spine[:, 2], marks.spine[:, 0])
    section = plan.rib_cage_at(marks.spine[:, 2])
    middle = 0.6 * spine_x + 0.4 * painter.row(whole.z, marks.spine[:, 2], section[:, 0])
    heights = [marks.z("T10"), marks.z("T8"), marks.z("T5"), marks.z("T3"), marks.z("T1")]
    half = painter.row(whole.z, heights, np.array([26, 24, 27, 27, 24]) * s * uniform(0.75, 1.2))
    half = half + 5.0 * painter.noise(whole, 30.0)
    spine_y = painter.row(whole.z, marks.spine[:, 2], marks.spine[:, 1])
    # Behind the heart the lungs come together towards the spine, in front of it towards the sternum.
    forward = (whole.y - spine_y) / (100.0 * s)
    half = half * (0.72 + 1.1 * forward * (1.35 - forward)).clamp(0.35, 1.1)
    mediastinum = thorax & ((whole.x - middle).abs() < half) & (whole.y > spine_y)
    lungs = thorax & ~mediastinum
    tissue.masked_fill_(thorax, int(Tissue.FAT))
    tissue.masked_fill_(lungs, int(Tissue.LUNG))
    shell = (whole.z > cavities.dome - float(uniform(2, 4))) & (whole.z <= cavities.dome) & (cavities.cage < 0)
    tissue.masked_fill_(shell, int(Tissue.MUSCLE))
    nodes = painter.noise(whole, 9.0, 1)
    tissue.masked_fill_(mediastinum & (nodes > uniform(1.3, 2.2)), int(Tissue.CONNECTIVE))

    _lung_findings(painter, marks, cavities, lungs, rng)
    hilum = _airways(painter, marks, rng)
    _heart(painter, marks, cavities, rng)
    _lung_vessels(painter, lungs, hilum, rng)


def _lung_findings(painter, marks, cavities, lungs, rng):
    """Dense lung at the back of those who lie down, fluid around the lung, patches of pneumonia."""
    whole, tissue = painter.whole, painter.tissue
    near_wall = cavities.cage > -rng.uniform(4, 14)
    spine_y = painter.row(whole.z, marks.spine[:, 2], marks.spine[:, 1])
    back = whole.y < spine_y - 5
    if rng.random() < 0.35:
        dense = lungs & near_wall & back & (painter.noise(whole, 20.0, 2) > 0.2)
        tissue.masked_fill_(dense, int(Tissue.CONSOLIDATION))
    if rng.random() < 0.15:
        level = spine_y + rng.uniform(-30, 5)
        one_side = whole.x * float(rng.choice([-1, 1])) > 0
        tissue.masked_fill_(lungs & one_side & (whole.y < level) & (whole.z < marks.z("T5")), int(Tissue.FLUID))
    if rng.random() < 0.2:
        patches = painter.noise(whole, 22.0, 3) > rng.uniform(1.3, 2.0)
        tissue.masked_fill_(lungs & patches, int(Tissue.CONSOLIDATION))


def _airways(painter, marks, rng):
    """Trachea and bronchi; returns the two hila, right then left."""
    s = marks.plan.scale
    wall = rng.uniform(1.2, 2.2)
    radius = rng.uniform(6.5, 9.5) * s
    shift = rng.uniform(-5, 8)
    fork = marks.at("T5", 3 * s, 20 * s, 5)
    trachea = smooth_line([marks.at("C6", 0, 15 * s), marks.at("C7", 1, 17 * s), marks.at("T2", shift, 17 * s),
                           marks.at("T4", 4 * s, 19 * s), fork], 24)
    hila = [marks.at("T6", side * 38 * s, 13 * s, -4) for side in (1, -1)]
    lines = [(trachea, radius)]
    for side, hilum in zip((1, -1), hila):
        lines.append((smooth_line([fork, (fork + hilum) / 2 + [0, 0, 4], hilum], 10), radius * 0.72))
        for up, out in ((28, 30), (-6, 38), (-42, 32)):
            end = hilum + np.array([side * out, rng.uniform(-18, 18), up]) * s
            lines.append((smooth_line([hilum, (hilum + end) / 2 + rng.normal(0, 3, 3), end], 8),
                          np.linspace(radius * 0.5, 1.8, 8)))
    for line, r in lines:
        painter.tube(line, r + wall, Tissue.CONNECTIVE)
    for line, r in lines:
        painter.tube(line, r, Tissue.GAS)
    return hila


def _heart(painter, marks, cavities, rng):
    plan, s, uniform = marks.plan, marks.plan.scale, rng.uniform
    section = plan.rib_cage_at([marks.z("T8")])[0]
    size = HEART_AXES_MM * s * uniform(0.9, 1.15)
    front = section[1] + section[3] - size[1] * 1.05 - 8 * s
    body_front = marks.at("T8", 0, 0)[1]
    y = min(front, body_front + size[1] * 1.25 + 14 * s)
    dome = float(cavities.dome.max())
    center = np.array([section[0] - 18 * s, y, dome + size[2] * uniform(0.55, 0.75)])
    chest = cavities.thorax
    tilt = uniform(0.3, 0.8)
    c, q = np.cos(tilt), np.sin(tilt)
    turn = np.array([[c, 0, q], [0, 1, 0], [-q, 0, c]])  # the apex points to the left and down

    def part(offset, scale, tissue, waves=1.0):
        place = center + turn @ (np.array(offset) * size)
        painter.ellipsoid(place, np.array(scale) * size, tissue, chest, waves, turn)

    part((0, 0, 0), (1.12, 1.12, 1.1), Tissue.FAT, 2.0)
    part((0.05, -0.05, 0.05), (0.95, 0.95, 0.95), Tissue.MYOCARDIUM, 1.5)
    part((-0.38, -0.15, -0.25), (0.38, 0.42, 0.42), Tissue.HEART_LEFT)
    part((0.1, 0.5, -0.1), (0.6, 0.32, 0.5), Tissue.HEART_RIGHT)
    part((0.6, 0.15, 0.35), (0.4, 0.5, 0.5), Tissue.HEART_RIGHT)
    own = np.random.default_rng([plan.seed, 21])  # so that bodies of other hearts stay as they were
    wide = own.uniform(1.0, 1.7) if own.random() < 0.25 else 1.0  # a stretched left atrium reaches the spine
    part((0.15, -0.65, 0.45), np.array((0.6, 0.36, 0.36)) * wide, Tissue.HEART_LEFT)


def _lung_vessels(painter, lungs, hila, rng):
    """Vessels that fork on their way from each hilum to the pleura."""
    for side, hilum in zip((1, -1), hila):
        branches = [(hilum, np.array([side * 0.5, rng.normal(0, 0.6), up]), rng.uniform(4, 6), 34.0)
                    for up in (1.0, 0.4, -0.2, -0.7, -1.2)]
        for _ in range(5):
            grown = []
            for start, direction, radius, length in branches:
                direction = direction / np.linalg.norm(direction)
                end = start + direction * length * rng.uniform(0.7, 1.2)
                painter.tube([start, end], [radius, radius * 0.75], Tissue.LUNG_VESSEL, lungs)
                for _ in range(2):
                    turned = direction + rng.normal(0, 0.5, 3)
                    grown.append((end, turned, radius * 0.68, length * 0.8))
            branches = grown
