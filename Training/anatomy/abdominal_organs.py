"""Organs of abdomen and pelvis, bowel, and the muscles at the back wall of the abdomen."""

import numpy as np

from .cavities import Cavities
from .landmarks import Landmarks
from .painter import Painter
from .tissues import Tissue
from .torso import smooth_line


def paint_abdomen(painter: Painter, marks: Landmarks, cavities: Cavities, inside, rng: np.random.Generator):
    """Fill the abdomen: fat, bowel, then solid organs, then what lies behind the peritoneum beside the spine.

    ``inside``: boolean (k, j, i), within the layer of fat under the skin.
    """
    painter.tissue.masked_fill_(cavities.abdomen, int(Tissue.FAT))
    _small_bowel(painter, marks, cavities.abdomen, rng)
    _colon(painter, marks, cavities.abdomen, rng)
    _upper_organs(painter, marks, cavities, rng)
    _pelvic_organs(painter, marks, cavities.abdomen, rng)
    _kidneys(painter, marks, cavities.abdomen, rng)
    _back_wall(painter, marks, inside, rng)
    if rng.random() < 0.08:
        fluid = painter.noise(painter.whole, 30.0, 2) > rng.uniform(0.3, 1.2)
        painter.tissue.masked_fill_(cavities.abdomen & fluid & (painter.tissue == int(Tissue.FAT)), int(Tissue.FLUID))


def _loop(painter, line, radius, content, abdomen, rng, gas):
    """A piece of bowel: wall, content, and gas in its upper part where ``gas`` (0 to 1) says so."""
    wall = rng.uniform(1.5, 3.0)
    painter.tube(line, radius, Tissue.BOWEL, abdomen, waves=1.5)
    painter.tube(line, np.maximum(np.asarray(radius) - wall, 1.0), content, abdomen, waves=1.5)
    if rng.random() < gas:  # who lies on the back has the gas in front
        rise = np.array([0.0, rng.uniform(0.3, 0.6), 0.0]) * np.mean(radius)
        painter.tube(np.asarray(line) + rise, np.asarray(radius) * rng.uniform(0.45, 0.75), Tissue.GAS, abdomen)


def _small_bowel(painter, marks, abdomen, rng):
    plan, s = marks.plan, marks.plan.scale
    front = marks.at("L3", 0, 55 * s)
    reach = np.array([95.0, 45.0 + 0.5 * plan.fat, 105.0]) * s
    center = front + np.array([0, 10.0, -30.0]) * s
    if center[2] - 160 > painter.whole.z.max() or center[2] + 160 < painter.whole.z.min():
        return
    radius = rng.uniform(8.5, 13.5) * s
    place, direction = center + rng.uniform(-0.5, 0.5, 3) * reach, rng.normal(0, 1, 3)
    content = Tissue.BOWEL_CONTENT
    for _ in range(int(rng.uniform(35, 90))):
        line = [place]
        for _ in range(4):
            direction = direction + rng.normal(0, 0.9, 3)
            pull = (center - place) / reach
            direction = direction + 0.9 * pull * np.abs(pull)
            direction = direction / np.linalg.norm(direction)
            place = place + direction * 13 * s
            line.append(place)
        kind = content if rng.random() < 0.55 else Tissue.BOWEL
        _loop(painter, np.array(line), radius * rng.uniform(0.8, 1.25), kind, abdomen, rng, 0.12)
        if rng.random() < 0.3:
            place = center + rng.uniform(-0.8, 0.8, 3) * reach


def _colon(painter, marks, abdomen, rng):
    plan, s, u = marks.plan, marks.plan.scale, rng.uniform
    wide = plan.rib_cage_at([marks.z("T12")])[0][2] * 0.74
    spread = lambda: rng.normal(0, 7, 3)
    right_low, right_top = marks.at("L5", wide * 0.85, 25, -10) + spread(), marks.at("L2", wide, 5) + spread()
    left_top, left_low = marks.at("T12", -wide, 10) + spread(), marks.at("L5", -wide * 0.95, 15, -5) + spread()
    dip = marks.at("L3", 0, u(60, 95) * s, u(-30, 25))
    rectum = [f.to_world([0, f.depth / 2 + 20 * s, 0]) for f in plan.sacrum[1:6:2]]
    pieces = [
        (smooth_line([right_low, (right_low + right_top) / 2 + spread(), right_top], 16), u(19, 32)),
        (smooth_line([right_top, marks.at("L2", wide * 0.5, 70 * s), dip, marks.at("L1", -wide * 0.55, 72 * s),
                      left_top], 32), u(16, 28)),
        (smooth_line([left_top, (left_top + left_low) / 2 + spread(), left_low], 18), u(12, 20)),
        (smooth_line([left_low, left_low + np.array([35.0, 25, -45]) * s, rectum[0] + np.array([u(-40, 20), 45, 25]),
                      rectum[0]], 22), u(11, 22)),
        (smooth_line([rectum[0], *rectum[1:]], 14), u(13, 24)),
    ]
    for line, radius in pieces:
        pouches = 1 + 0.22 * np.sin(np.arange(len(line)) * 1.6 + u(0, 6))
        content = Tissue.STOOL if rng.random() < 0.7 else Tissue.BOWEL_CONTENT
        _loop(painter, line, radius * s * pouches, content, abdomen, rng, 0.5)
        for spot in line[rng.random(len(line)) < 0.5]:
            painter.ellipsoid(spot + rng.normal(0, 4, 3), rng.uniform(2, 7, 3), Tissue.GAS, abdomen)


def _upper_organs(painter, marks, cavities, rng):
    plan, s, u = marks.plan, marks.plan.scale, rng.uniform
    abdomen = cavities.abdomen
    top = float(cavities.dome.max())
    section = plan.rib_cage_at([marks.z("T11")])[0]
    cx, cy, a, b = section
    jitter = lambda size=6: rng.normal(0, size, 3)

    spleen = np.array([cx - a * 0.74, cy - b * 0.42, top - 55 * s]) + jitter()
    painter.ellipsoid(spleen, np.array([28, 38, 50]) * s * u(0.8, 1.25), Tissue.SPLEEN, abdomen, 2.5)
    fundus = np.array([cx - a * 0.42, cy - b * 0.1, top - 45 * s]) + jitter()
    stomach = smooth_line([fundus + [0, 0, 14], fundus, fundus + np.array([8, 38, -55]) * s,
                           marks.at("L1", -20 * s, 62 * s), marks.at("L1", 30 * s, 50 * s)], 22)
    size = np.interp(np.linspace(0, 1, 22), [0, 0.25, 0.6, 1], [34, 36, 27, 13]) * s * u(0.65, 1.15)
    painter.tube(stomach, size + u(2.5, 5), Tissue.BOWEL, abdomen, waves=2)
    painter.tube(stomach, size, Tissue.STOMACH, abdomen, waves=2)
    if rng.random() < 0.8:
        painter.tube(stomach + [0, 0.5 * size.max(), 4], size * u(0.45, 0.75), Tissue.GAS, abdomen)

    liver = np.array([cx + a * 0.5, cy + b * 0.02, top - 62 * s])
    free = abdomen & ~((painter.tissue == int(Tissue.STOMACH)) | (painter.tissue == int(Tissue.GAS)))
    painter.ellipsoid(liver, np.array([0.56 * a, 0.93 * b, 82 * s]) * u(0.92, 1.12), Tissue.LIVER, free, 3)
    painter.ellipsoid(liver + np.array([-0.58 * a, 0.38 * b, 14 * s]), np.array([0.5 * a, 0.5 * b, 38 * s]),
                      Tissue.LIVER, free, 3)
    is_liver = painter.tissue == int(Tissue.LIVER)
    porta = marks.at("L1", 18 * s, 28 * s, 15)
    for _ in range(9):
        end = liver + rng.uniform(-0.7, 0.7, 3) * [0.6 * a, 0.8 * b, 60 * s]
        painter.tube(smooth_line([porta, (porta + end) / 2 + jitter(8), end], 6), np.linspace(5.5, 1.2, 6) * s,
                     Tissue.VEIN, is_liver)
    painter.ellipsoid(liver + np.array([-0.22 * a, 0.5 * b, -58 * s]), np.array([14, 20, 26]) * s * u(0.7, 1.3),
                      Tissue.GALLBLADDER, abdomen, 1)
    pancreas = smooth_line([marks.at("L2", 26 * s, 38 * s), marks.at("L1", 12 * s, 40 * s),
                            marks.at("L1", -20 * s, 38 * s, 8), marks.at("T12", -62 * s, 20 * s)], 14)
    painter.tube(pancreas, np.linspace(13, 8, 14) * s * u(0.7, 1.1), Tissue.PANCREAS, abdomen, waves=2.5)
    duodenum = smooth_line([marks.at("L1", 38 * s, 45 * s), marks.at("L2", 46 * s, 30 * s),
                            marks.at("L3", 36 * s, 20 * s), marks.at("L3", 0, 26 * s),
                            marks.at("L2", -26 * s, 30 * s)], 18)
    _loop(painter, duodenum, u(9, 13) * s, Tissue.BOWEL_CONTENT, abdomen, rng, 0.3)


def _kidneys(painter, marks, abdomen, rng):
    s, u = marks.plan.scale, rng.uniform
    sheath = u(4, 9) + 0.25 * marks.plan.fat
    for side, lower in ((1, 12), (-1, 0)):
        center = marks.at("L1", side * u(56, 70) * s, -u(22, 34) * s, -lower * s - u(5, 25))
        axes = np.array([u(24, 30), u(22, 28), u(48, 60)]) * s
        lean = side * u(0.1, 0.35)
        turn = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]]).T
        painter.ellipsoid(center, axes + sheath, Tissue.FAT, abdomen, 2, turn)
        painter.ellipsoid(center, axes, Tissue.KIDNEY, abdomen, 1.5, turn)
        inner = center - np.array([side * 14, -5, 0]) * s
        painter.ellipsoid(inner, axes * [0.55, 0.5, 0.55], Tissue.FAT, abdomen, 2, turn)
        painter.ellipsoid(inner, axes * [0.42, 0.3, 0.4] * u(0.7, 1.3), Tissue.RENAL_PELVIS, abdomen, 1, turn)
        ureter = smooth_line([inner - [side * 10, 0, 25], marks.at("L3", side * 38 * s, -4 * s),
                              marks.at("L5", side * 36 * s, 8 * s), marks.at("L5", side * 52 * s, -20 * s, -60)], 16)
        painter.tube(ureter, u(1.5, 3), Tissue.RENAL_PELVIS, abdomen)
        gland = center + np.array([-side * 16, 10, 0.9 * axes[2]]) * [1, 1, 1]
        painter.tube([gland + [0, 8, 8], gland, gland + [side * 8, -12, -6]], 2.5 * s, Tissue.PANCREAS, abdomen)
        if rng.random() < 0.2:
            cyst = center + rng.normal(0, 0.6, 3) * axes
            painter.ellipsoid(cyst, np.full(3, u(4, 18)), Tissue.GALLBLADDER, abdomen)


def _pelvic_organs(painter, marks, abdomen, rng):
    plan, s, u = marks.plan, marks.plan.scale, rng.uniform
    hip = np.mean([leg.hip for leg in plan.legs], axis=0)
    bladder = hip + np.array([rng.normal(0, 4), 24 * s, u(8, 30) * s])
    full = u(0.6, 1.5)
    below = painter.whole.z < 80
    painter.ellipsoid(bladder, np.array([36, 28, 25]) * s * full + 4, Tissue.MUSCLE, abdomen, 1.5)
    painter.ellipsoid(bladder, np.array([36, 28, 25]) * s * full, Tissue.BLADDER, abdomen, 1.5)
    behind = bladder + np.array([rng.normal(0, 8), -48 * s, 22 * s])
    if plan.female:
        painter.ellipsoid(behind, np.array([28, 24, 34]) * s * u(0.7, 1.3), Tissue.MUSCLE, abdomen & below, 2.5)
    else:
        painter.ellipsoid(hip + [0, 4, -22 * s], np.array([22, 18, 18]) * s * u(0.9, 1.4), Tissue.MYOCARDIUM, abdomen)


def _back_wall(painter, marks, inside, rng):
    """Psoas, iliacus and the crura of the diaphragm, each in fat: the soft tissue next to the lumbar spine."""
    plan, s, u = marks.plan, marks.plan.scale, rng.uniform
    bulk, gap = plan.muscle * u(0.75, 1.2), u(1.0, 2.5)
    spread = u(0.9, 1.15)
    for leg in plan.legs:
        side = leg.side
        levels = [("T12", 2, -22, 4), ("L1", 4, -20, 8), ("L2", 9, -17, 12), ("L3", 13, -14, 16.5),
                  ("L4", 17, -9, 20), ("L5", 24, -2, 21)]
        line = [marks.at(n, side * (marks.vertebra(n).width / 2 + out * s * spread), before * s)
                for n, out, before, _ in levels]
        line += [leg.hip * [0.72, 0, 0] + [0, leg.hip[1] + 18 * s, -25 * s],
                 leg.hip + np.array([-2 * side, 38, 12]) * s, leg.hip + np.array([-12 * side, 8, -55]) * s]
        radius = np.array([r for *_, r in levels] + [18, 17, 11]) * s * bulk
        line, radius = smooth_line(line, 34), np.interp(np.linspace(0, 1, 34), np.linspace(0, 1, len(radius)), radius)
        squash = (0.9, 1.15, 1.0)
        painter.tube(line, radius + gap, Tissue.FAT, inside, squash=squash)
        painter.tube(line, radius, Tissue.MUSCLE, inside, waves=0.8, squash=squash)
        bowl = np.array([[-4 * side, -5, 118], [6 * side, 22, 60], [2 * side, 36, 10]]) * s
        iliacus = smooth_line(leg.hip + bowl, 10)
        painter.tube(iliacus, np.array([8, *[13] * 8, 12]) * s * bulk, Tissue.MUSCLE, inside, squash=(1.5, 1, 1))
    for side, lowest in ((1, "L3"), (-1, "L2")):
        line = [marks.at("T11", side * 16 * s, 6), marks.at("T12", side * 14 * s, 6), marks.at("L1", side * 13 * s, 4),
                marks.at(lowest, side * 11 * s, 1)]
        size = np.array([3.5, 5.5, 5.5, 2.0]) * s * u(0.6, 1.3)
        painter.column(line, size, size * 1.2, Tissue.MUSCLE, inside)
