"""The outline of the body, and what lies between skin and cavities: fat, muscles and the planes of fat among them."""

import numpy as np
import torch

from .fields import capsule, ellipsoid, smooth_min, superellipse
from .landmarks import Landmarks
from .painter import Painter
from .tissues import Tissue

BLEND_MM = 24.0
SKIN_MM = 2.0


def skin_distance(painter: Painter, marks: Landmarks, rng: np.random.Generator) -> torch.Tensor:
    """Signed distance in mm to the skin, (k, j, i) float32, negative inside the body."""
    distance = _trunk(painter, marks, rng)
    _add_neck_and_head(painter, marks, rng, distance)
    _add_limbs(painter, marks, rng, distance)
    return distance.add_(painter.noise(painter.whole, 45.0), alpha=1.5)


def _trunk(painter, marks, rng):
    plan, whole, s = marks.plan, painter.whole, marks.plan.scale
    fat, uniform = plan.fat, rng.uniform
    cage_z = np.array([v.center[2] for v in plan.vertebrae if v.name[0] == "T"])
    cage = plan.rib_cage_at(cage_z)
    hip_x = np.mean([abs(leg.hip[0]) for leg in plan.legs])
    hip_z = np.mean([leg.hip[2] for leg in plan.legs])
    hip_y = np.mean([leg.hip[1] for leg in plan.legs])
    z1, z3 = marks.z("T1"), marks.z("L3")

    waist = cage[-1, 2] * uniform(0.88, 1.02) + 8 + 0.8 * fat
    heights = [hip_z - 120, hip_z - 60, hip_z, 30, z3, *cage_z, z1 + 30, z1 + 60]
    chest_width = cage[:, 2] + 14 + 0.5 * fat + 10 * np.linspace(1.4, 0, len(cage_z)) * plan.muscle
    hips = hip_x + 62 * s + 0.7 * fat
    width = [hips * 0.9, hips, hips, hips * 0.93, waist, *chest_width, 66 * s + 0.4 * fat, 50 * s]
    middle = [0, 0, 0, 0, plan.spine_at([z3])[0, 0] * 0.5, *cage[:, 0], plan.spine_at([z1])[0, 0]]
    middle.append(middle[-1])

    belly = uniform(95, 140) * s + uniform(0.9, 1.6) * fat
    spine_y = plan.spine_at([z3, 30])[:, 1]
    chest_front = cage[:, 1] + cage[:, 3] + 12 + 0.35 * fat
    throat = plan.spine_at([z1 + 40])[0, 1]
    # Above the sternum the outline falls back to the throat.
    fall = np.clip((cage_z - plan.sternum[0, 2] + 10) / (z1 - plan.sternum[0, 2] + 10), 0, 1)
    chest_front = chest_front + fall * (throat + 62 * s - chest_front)
    front = [hip_y + 60 * s, hip_y + 70 * s + 0.5 * fat, hip_y + 62 * s + fat, spine_y[1] + belly, spine_y[0] + belly]
    front = [*front, *chest_front, throat + 48 * s, throat + 38 * s]
    tips = np.array([v.to_world(v.spinous_tip) for v in plan.vertebrae])
    chest_back = np.minimum(cage[:, 1] - cage[:, 3] - 16, np.interp(cage_z, tips[::-1, 2], tips[::-1, 1]) - 6)
    chest_back = chest_back - 0.45 * fat
    sacral_back = np.array([f.to_world([0, f.canal_y - 26 * s, 0]) for f in plan.sacrum[:4]])
    seat = sacral_back[:, 1].min() - 18 - 0.9 * fat
    low_back = np.interp(z3, tips[::-1, 2], tips[::-1, 1]) - 8 - 0.6 * fat
    back = [seat + 30, seat, seat, sacral_back[0, 1] - 6 - 0.6 * fat, low_back, *chest_back]
    back = [*back, chest_back[0], chest_back[0] + 5]

    half_width, cx, y_front, y_back = (painter.row(whole.z, heights, v) for v in (width, middle, front, back))
    half_depth, cy = (y_front - y_back) / 2, (y_front + y_back) / 2
    exponent = float(uniform(2.3, 2.9))
    level = superellipse(whole.x - cx, whole.y - cy, half_width, half_depth, exponent)
    distance = (level - 1) * torch.minimum(half_width, half_depth)
    # The furrow over the spinous processes, between the long muscles of the back.
    spine_x = painter.row(whole.z, *_columns(marks.spine[:, [2, 0]]))
    behind = ((cy - whole.y) / half_depth).clamp(0, 1)
    furrow = float(uniform(2, 10)) * torch.exp(-(((whole.x - spine_x) / 22.0) ** 2))
    distance = distance + furrow * behind
    ends = torch.maximum(whole.z - (z1 + 45), (hip_z - 95) - whole.z)
    return torch.maximum(distance, ends)


def _columns(points):
    return points[:, 0], points[:, 1]


def _join(painter, distance, lo, hi, solid):
    """Blend a solid into the distance inside a box; ``solid`` takes the box's (x, y, z)."""
    margin = BLEND_MM + 30.0  # as far as fat is counted from this skin
    box = painter.grid.box(np.asarray(lo) - margin, np.asarray(hi) + margin)
    if box is not None:
        distance[box.slices] = smooth_min(distance[box.slices], solid((box.x, box.y, box.z)), BLEND_MM)


def _add_neck_and_head(painter, marks, rng, distance):
    plan, s = marks.plan, marks.plan.scale
    head, size = plan.head, plan.head.scale
    low, middle, top = marks.at("T2", 0, 0), marks.at("C5", 0, 0), marks.at("C1", 0, 0)
    shift = np.array([0, rng.uniform(3, 10) * s, 0])
    radius = rng.uniform(46, 57) * s + 0.2 * plan.fat
    for a, b in ((low, middle), (middle, top + [0, 0, 20 * s])):
        _join(painter, distance, np.minimum(a, b) - 1.2 * radius, np.maximum(a, b) + 1.2 * radius,
              lambda q, a=a, b=b: capsule(q, a + shift, b + shift, radius, radius, (1.0, 1.1, 1.0)))
    skull = head.vault_axes + rng.uniform(6, 10)

    def rounded(center, axes):
        place = head.to_world(center)

        def solid(q):
            d = [q[0] - float(place[0]), q[1] - float(place[1]), q[2] - float(place[2])]
            local = [sum(float(head.rotation[r, c]) * d[r] for r in range(3)) for c in range(3)]
            return ellipsoid(local, (0, 0, 0), axes)

        reach = float(np.max(axes))
        _join(painter, distance, place - reach, place + reach, solid)

    rounded(head.vault_center, skull)
    rounded(np.array([0, 50.0, -8.0]) * size, np.array([74, 60, 78]) * size)
    rounded(np.array([0, 88.0, -50.0]) * size, np.array([42, 34, 36]) * size)
    rounded(np.array([0, 104.0, -5.0]) * size, np.array([14, 17, 24]) * size)


def _add_limbs(painter, marks, rng, distance):
    plan, s = marks.plan, marks.plan.scale
    bulk = 0.75 + 0.25 * plan.muscle
    rods, free = [], []
    for arm in plan.arms:
        inner = marks.at("T1", arm.side * 45 * s, -20 * s)
        shoulder = arm.shoulder + np.array([0, 0, -6.0]) * s
        thick, thin = 50 * s * bulk + 0.35 * plan.fat, 36 * s + 0.2 * plan.fat
        armpit = 0.6 * arm.shoulder + 0.4 * arm.elbow
        rods += [(inner, shoulder, 48 * s * bulk, thick), (arm.shoulder, armpit, thick, 0.6 * thick + 0.4 * thin)]
        free += [(armpit, arm.elbow, 0.6 * thick + 0.4 * thin, thin), (arm.elbow, arm.wrist, thin, 26 * s)]
    for leg in plan.legs:
        start = leg.hip + np.array([-leg.side * 8.0, -8.0, 0.0]) * s
        rods += [(start, leg.knee, 84 * s * bulk + 0.6 * plan.fat, 58 * s + 0.3 * plan.fat)]
        seat = leg.hip + np.array([-leg.side * 18.0, -62.0, 10.0]) * s
        rods += [(seat, seat + [0, 0, 30 * s], 55 * s + 0.6 * plan.fat, 50 * s + 0.6 * plan.fat)]
    if plan.female:
        chest = plan.rib_cage_at([marks.z("T7")])[0]
        size = rng.uniform(25, 62) * s + 0.4 * plan.fat
        for side in (1, -1):
            place = np.array([chest[0] + side * chest[2] * 0.55, chest[1] + chest[3] * 0.75, marks.z("T8")])
            rods += [(place, place + [side * 10, 12, -15], size, size)]
    trunk = distance.clone()
    for a, b, ra, rb in rods:
        reach = max(ra, rb)
        _join(painter, distance, np.minimum(a, b) - reach, np.maximum(a, b) + reach,
              lambda q, a=a, b=b, ra=ra, rb=rb: capsule(q, a, b, ra, rb))
    for a, b, ra, rb in free:
        reach = max(ra, rb) + 30.0
        box = painter.grid.box(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
        if box is None:
            continue
        limb, body = capsule((box.x, box.y, box.z), a, b, ra, rb), trunk[box.slices]
        joined = torch.minimum(distance[box.slices], limb)
        # An arm that lies against the trunk is parted from it by skin and a little air.
        contact = (limb < 3) & (body < 3)
        distance[box.slices] = torch.where(contact, torch.maximum(joined, 1.5 - (limb - body).abs()), joined)


def fat_thickness(painter: Painter, marks: Landmarks, rng: np.random.Generator) -> torch.Tensor:
    """Thickness in mm of skin and fat over the muscles, (k, j, i) float32: thin at the neck, thick at the seat."""
    plan, whole = marks.plan, painter.whole
    heights = [-250, -60, marks.z("L3"), marks.z("T8"), marks.z("T2"), marks.z("C6"), marks.z("C2")]
    behind = painter.row(whole.z, heights, [1.0, 1.2, 0.8, 0.45, 0.6, 0.5, 0.25])
    before = painter.row(whole.z, heights, [0.8, 0.9, 1.0, 0.5, 0.35, 0.25, 0.15])
    spine_y = painter.row(whole.z, marks.spine[:, 2], marks.spine[:, 1])
    share = torch.sigmoid((whole.y - spine_y - 40) / 25.0)
    thickness = plan.fat * (behind + (before - behind) * share)
    waves = painter.noise(painter.whole, 32.0, 1)
    return (thickness * (1 + rng.uniform(0.1, 0.35) * waves)).clamp_(min=2.0) + SKIN_MM


def paint_wall(painter: Painter, marks: Landmarks, skin: torch.Tensor, fat: torch.Tensor, rng: np.random.Generator):
    """Fill the body with skin, fat and muscle; muscles are parted by wavy sheets of fat.

    Returns:
        boolean (k, j, i): inside the layer of fat.
    """
    plan, tissue = marks.plan, painter.tissue
    tissue.masked_fill_(skin < 0, int(Tissue.FAT))
    tissue.masked_fill_((skin < 0) & (skin > -SKIN_MM), int(Tissue.SKIN))
    inside = skin < -fat
    tissue.masked_fill_(inside, int(Tissue.MUSCLE))
    # Where a smooth function passes through zero lies a sheet: planes of fat between muscles, threads in the fat.
    sheet = painter.noise(painter.whole, 24.0, 2).abs()
    width = 0.03 + 0.003 * plan.fat + 0.12 * plan.porosity * rng.random()
    tissue.masked_fill_(inside & (sheet < width), int(Tissue.FAT))
    strands = painter.noise(painter.whole, 11.0, 3).abs()
    strands = strands < max(0.0, rng.uniform(-0.03, 0.03))
    tissue.masked_fill_(~inside & (skin < -SKIN_MM) & strands, int(Tissue.CONNECTIVE))
    if plan.female:
        chest = plan.rib_cage_at([marks.z("T7")])[0]
        glands = rng.uniform(-0.6, 0.8)
        for side in (1, -1):
            place = np.array([chest[0] + side * chest[2] * 0.6, chest[1] + chest[3] * 0.75 + 25, marks.z("T8") - 10])
            gland = ~inside & (skin < -8) & (painter.noise(painter.whole, 9.0, 1) > glands)
            painter.ellipsoid(place, np.array([45, 42, 48]) * plan.scale, Tissue.CONNECTIVE, gland)
    return inside


def paint_back_muscles(painter: Painter, marks: Landmarks, inside: torch.Tensor, rng: np.random.Generator):
    """The long muscles beside the spine, each in a sheath of fat, wasted and fatty in some bodies."""
    plan, s, uniform = marks.plan, marks.plan.scale, rng.uniform
    bulk = plan.muscle * uniform(0.85, 1.1)
    gap = uniform(0.8, 1.8) + 0.02 * plan.fat
    wasting = max(0.0, uniform(-0.8, 0.9) * (0.4 + plan.porosity))
    fatty = inside & (painter.noise(painter.whole, 8.0, 3) > 2.4 - 2.0 * wasting)

    def muscle(levels, right, behind, half_width, half_depth, fatty_share=True):
        """A pair of columns: per vertebra the place (right of the canal, behind its back wall) and half axes in mm."""
        for side in (1, -1):
            chosen = [v for v in plan.vertebrae if v.name in levels]
            if len(chosen) < 2:
                return
            t = np.linspace(0, 1, len(chosen))
            value = [np.interp(t, np.linspace(0, 1, len(c)), c) * s for c in (right, behind, half_width, half_depth)]
            line = np.array([
                v.to_world([side * r, v.canal_y - v.canal_depth / 2 - b, 0]) for v, r, b in zip(chosen, *value[:2])
            ])
            a, b = value[2] * bulk, value[3] * bulk
            painter.column(line, a + gap, b + gap, Tissue.FAT, inside, exponent=2.4)
            painter.column(line, a, b, Tissue.MUSCLE, inside, waves=1.2, exponent=2.4)
            if fatty_share:
                painter.column(line, a, b, Tissue.FAT, fatty, exponent=2.4)

    lumbar, thoracic, cervical = (
        [v.name for v in plan.vertebrae if v.name[0] == c] for c in ("L", "T", "C")
    )
    low_back = thoracic[-4:] + lumbar
    muscle(thoracic[2:], (24, 27), (9, 12), (17, 22), (9, 15))
    muscle(low_back, (27, 38), (14, 15), (22, 25), (15, 20))
    muscle(lumbar, (12, 15), (13, 17), (10, 14), (12, 16))
    muscle(thoracic, (8, 9), (8, 10), (7, 8), (8, 9), False)
    muscle(cervical[1:] + thoracic[:3], (14, 15), (13, 14), (12, 13), (7, 8))
    muscle(cervical[1:] + thoracic[:3], (19, 24), (24, 26), (18, 19), (6, 7))
    muscle(cervical[2:] + thoracic[:2], (33, 37), (-4, 0), (9, 11), (9, 10))
    muscle(cervical[1:], (9, 10), (6, 7), (7, 8), (6, 6), False)
    for side in (1, -1):
        line = [v.to_world([side * (abs(v.transverse_tip[0]) + 9 * s), v.transverse_tip[1] + 2, 0])
                for v in plan.vertebrae if v.name in lumbar]
        painter.column(line, 17 * s * bulk + gap, 8 * s * bulk + gap, Tissue.FAT, inside)
        painter.column(line, 17 * s * bulk, 8 * s * bulk, Tissue.MUSCLE, inside)
