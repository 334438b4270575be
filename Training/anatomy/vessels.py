"""Arteries and veins, the esophagus that runs among them, and plaques."""

import numpy as np

from .aneurysms import paint_aneurysm
from .cavities import Cavities
from .landmarks import Landmarks
from .painter import Painter
from .tissues import Tissue
from .torso import smooth_line


def paint_vessels(painter: Painter, marks: Landmarks, cavities: Cavities, inside, rng: np.random.Generator):
    """Paint great vessels from neck to groin. ``inside``: boolean (k, j, i), within the fat under the skin."""
    _pulmonary(painter, marks, rng)
    _veins(painter, marks, inside, rng)
    _esophagus(painter, marks, cavities, inside, rng)
    arteries = _aorta(painter, marks, inside, rng) + _neck_arteries(painter, marks, inside, rng)
    if rng.random() < 0.4:
        _plaques(painter, arteries, inside, rng)
    _lymph_nodes(painter, marks, inside, rng)


def _line(points, n):
    return smooth_line(np.array(points), n)


def _aorta(painter, marks, inside, rng):
    s, u = marks.plan.scale, rng.uniform
    width, winding = u(0.85, 1.35), u(-8, 8)
    at = lambda name, right, before, up=0.0: marks.at(name, right * s, before * s, up)
    root, fork = at("T7", -12, 62), at("L4", -3 + 0.4 * winding, 11)
    rising = _line([root, at("T5", 16, 62), at("T4", 12, 48, 4), at("T4", -6, 26, 8), at("T4", -19, 6),
                    at("T5", -22, 2)], 26)
    falling = _line([at("T5", -22, 2), at("T7", -20, 5), at("T9", -15, 8), at("T11", -8 + winding, 11),
                     at("L1", -6 + winding, 12), at("L3", -6 - winding, 12), fork], 44)
    wide = np.linspace(15.5, 12.5, 26) * s * width
    narrow = np.interp(np.linspace(0, 1, 44), [0, 0.5, 1], [12.5, 11.0, 8.0]) * s * width
    if rng.random() < 0.08:  # aneurysm
        narrow = narrow + u(4, 18) * np.exp(-0.5 * ((np.arange(44) - u(5, 40)) / 4.0) ** 2)
    lines = [(rising, wide), (falling, narrow)]
    for leg in marks.plan.legs:
        side = leg.side
        groin = leg.hip + np.array([-8 * side, 48, 8]) * s
        lines.append((_line([fork, at("L5", side * 22, 12), leg.hip * [0.62, 0, 0] + [0, 25 * s, -45 * s],
                             leg.hip + np.array([-18 * side, 32, 45]) * s, groin, groin + [0, 0, -90]], 26),
                      np.linspace(6.5, 4.2, 26) * s * min(width, 1.15)))
        inner = leg.hip * [0.5, 0, 0] + [0, -15 * s, -60 * s]
        lines.append((_line([at("L5", side * 28, 8, -22), inner, inner - [0, 18, 45]], 10), np.linspace(4, 2, 10) * s))
        kidney = at("L1", side * 44, -22, -18)
        lines.append((_line([at("L1", -4, 12, -8), at("L1", side * 20, 6, -12), kidney], 8), 2.8 * s))
    lines.append((_line([at("T12", -3, 12), at("T12", -2, 34, -4), at("T12", -50, 20, 10)], 10), 3 * s))
    lines.append((_line([at("L1", -3, 14), at("L2", -4, 34), at("L4", 6, 48)], 12), 3 * s))
    for v in marks.plan.vertebrae:
        if v.name[0] in "TL" and rng.random() < 0.8:
            for side in (1, -1):  # segmental arteries hug the waist of the bodies
                rim = [marks.at(v.name, side * share * (v.width / 2 + 3), before)
                       for share, before in ((0.1, 5), (0.9, -4), (1.05, -20))]
                painter.tube(rim, 1.1 * s, Tissue.ARTERY, inside)
    for line, radius in lines:
        painter.tube(line, radius, Tissue.ARTERY, inside)
    ahead = at("T9", -20, 20) - at("T9", 0, 0)
    paint_aneurysm(painter, falling, narrow, ahead / np.linalg.norm(ahead), inside, marks.plan.seed)
    return lines[:4]


def _neck_arteries(painter, marks, inside, rng):
    s = marks.plan.scale
    at = lambda name, right, before, up=0.0: marks.at(name, right * s, before * s, up)
    lines = []
    for side in (1, -1):
        start = at("T4", side * 3 + 8, 38, 12)
        carotid = [start, at("T2", side * 15, 24), at("C7", side * 22, 14), at("C5", side * 25, 10),
                   at("C3", side * 27, 5), at("C1", side * 27, 2, 5), at("C1", side * 24, 8, 35)]
        lines.append((_line(carotid, 30), np.linspace(4.2, 2.8, 30) * s * rng.uniform(0.8, 1.2)))
        shoulder = marks.plan.arms[0 if marks.plan.arms[0].side == side else 1].shoulder
        lines.append((_line([at("T3", side * 10, 24), at("T1", side * 28, 8), at("T1", side * 55, 0, 10),
                             shoulder - np.array([side * 40, -8, 30]) * s,
                             shoulder - np.array([side * 12, 0, 55]) * s], 20), np.linspace(5, 3.5, 20) * s))
        vertebral = [v.to_world([side * (v.width / 2 + 5.5 * s), 0, 0])
                     for v in marks.plan.vertebrae if v.name in ("C2", "C3", "C4", "C5", "C6")]
        painter.tube(_line([*vertebral, at("C7", side * 18, -2)], 24), 2.0 * s, Tissue.ARTERY, inside)
    for line, radius in lines:
        painter.tube(line, radius, Tissue.ARTERY, inside)
    return lines


def _veins(painter, marks, inside, rng):
    s, u = marks.plan.scale, rng.uniform
    width, flat = u(0.7, 1.3), (1.15, u(0.55, 1.0), 1.0)
    at = lambda name, right, before, up=0.0: marks.at(name, right * s, before * s, up)
    low = at("L5", 12, 8)
    tube = lambda points, n, radius, squash=(1.0, 1.0, 1.0): painter.tube(
        _line(points, n), np.asarray(radius) * s * width, Tissue.VEIN, inside, squash=squash)
    tube([at("T9", 24, 34), at("T10", 24, 28), at("T12", 22, 20), at("L2", 19, 12), at("L4", 16, 9), low],
         36, 11, flat)
    tube([at("T7", 24, 48), at("T5", 24, 44), at("T3", 22, 38), at("T2", 20, 34)], 14, 9)
    tube([at("T3", 20, 36), at("T2", 0, 40), at("T1", -30, 22)], 12, 7)
    tube([at("T2", 20, 34), at("T1", 30, 20)], 5, 7)
    for leg in marks.plan.legs:
        side, groin = leg.side, leg.hip + np.array([-20 * leg.side, 44, 5]) * s
        tube([low, at("L5", side * 24, 3, -15), leg.hip * [0.6, 0, 0] + [0, 12 * s, -50 * s],
              leg.hip + np.array([-26 * side, 26, 40]) * s, groin, groin + [0, 0, -90]], 24, 6)
        kidney = at("L1", side * 44, -20, -24)
        tube([at("L1", 16, 16, -14), at("L1", side * 22, 16, -16), kidney], 8, 4)
    for side in (1, -1):
        size = u(3.5, 7.5)
        tube([at("T1", side * 28, 20), at("C7", side * 32, 14), at("C5", side * 33, 6), at("C3", side * 33, -2),
              at("C1", side * 33, -8)], 24, size)
        tube([at("C6", side * 46, 10), at("C4", side * 50, 0), at("C2", side * 52, -15)], 12, u(1.2, 2.8))
    azygos = u(2.0, 4.5)
    tube([at("T4", 22, 34, 6), at("T4", 16, 10, 8), at("T5", 8, 5), at("T8", 6, 5), at("T11", 8, 5), at("L1", 8, 3)],
         30, azygos)
    tube([at("T8", 2, 4), at("T8", -14, 1), at("T10", -14, 1), at("L1", -12, 0)], 16, azygos * 0.65)
    tube([at("L3", 6, 40), at("L2", 10, 32), at("L1", 14, 28), at("T12", 22, 34)], 14, 5.5)
    tube([at("L1", 12, 30), at("L1", -30, 32, 6), at("T12", -68, 12)], 12, 4)


def _pulmonary(painter, marks, rng):
    s, wide = marks.plan.scale, rng.uniform(0.85, 1.3)
    at = lambda name, right, before, up=0.0: marks.at(name, right * s, before * s, up)
    trunk = [at("T7", -18, 72), at("T6", -24, 60), at("T5", -22, 42)]
    for points, radius in (
        (trunk, 13),
        ([trunk[-1], at("T5", -36, 26), at("T6", -44, 18)], 9.5),
        ([trunk[-1], at("T5", 4, 34, -6), at("T6", 38, 22)], 9.5),
    ):
        painter.tube(_line(points, 10), radius * s * wide, Tissue.PULMONARY_ARTERY)
    for side in (1, -1):
        for up in (10, -14):
            painter.tube(_line([at("T7", side * 8, 30), at("T7", side * 44, 22, up)], 6), 6 * s, Tissue.HEART_LEFT)


def _esophagus(painter, marks, cavities, inside, rng):
    s, u = marks.plan.scale, rng.uniform
    dome = float(cavities.dome.max())
    lean = u(-8, 2)
    at = lambda name, right, before, up=0.0: marks.at(name, right * s, before * s, up)
    line = [at("C5", 0, 8), at("C7", lean, 8), at("T2", lean, 9), at("T5", lean, 10), at("T8", lean - 2, 16),
            at("T10", -14, 26), at("T11", -32, 32)]
    line = _line(line, 44)
    radius = u(5.5, 9.0) * s * (1 + 0.2 * np.sin(np.arange(44) * u(0.3, 0.8)))
    squash = (1.25, u(0.65, 1.0), 1.0)
    painter.tube(line, radius, Tissue.ESOPHAGUS, inside, squash=squash)
    if rng.random() < 0.5:
        for spot in line[rng.random(44) < 0.3]:
            painter.ellipsoid(spot + [0, 1, 0], np.array([u(1, 5), u(1, 4), u(3, 9)]), Tissue.GAS,
                              inside & (painter.whole.z > dome - 40))


def _plaques(painter, lines, inside, rng):
    """Lime in the walls of arteries: curved flecks, often on the side towards the spine."""
    share = rng.uniform(0.02, 0.3)
    for line, radius in lines:
        radius = np.broadcast_to(radius, len(line))
        for place, r in zip(line, radius):
            if rng.random() < share:
                turn = rng.uniform(0, 2 * np.pi)
                spot = place + r * np.array([np.cos(turn), np.sin(turn), rng.normal(0, 0.4)])
                painter.ellipsoid(spot, rng.uniform(0.8, 3.0, 3), Tissue.CALCIFICATION, inside)


def _lymph_nodes(painter, marks, inside, rng):
    s = marks.plan.scale
    for _ in range(int(rng.uniform(6, 40))):
        v = marks.plan.vertebrae[rng.integers(len(marks.plan.vertebrae))]
        spot = marks.at(v.name, rng.normal(0, 26) * s, rng.uniform(6, 30) * s)
        kind = Tissue.CALCIFICATION if rng.random() < 0.03 else Tissue.CONNECTIVE
        painter.ellipsoid(spot, rng.uniform(1.5, 5.5, 3), kind, inside & (painter.tissue == int(Tissue.FAT)))
