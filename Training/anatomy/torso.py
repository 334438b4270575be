"""Chest, shoulders, pelvis and head of a plan: where the bones around the spine lie."""

import numpy as np

from .plan import ArmPlan, Frame, HeadPlan, LegPlan, RibPlan, VertebraPlan
from .posture import rotation


def smooth_line(points, n: int) -> np.ndarray:
    """(n, 3) evenly spaced points on a centripetal Catmull-Rom curve through points (m, 3), m >= 2."""
    points = np.asarray(points, float)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(padded, axis=0), axis=1) ** 0.5 + 1e-6)])
    u = np.linspace(knots[1], knots[-2], 8 * n)
    span = np.clip(np.searchsorted(knots, u, side="right") - 1, 1, len(points) - 1)
    p = [padded[span + k] for k in (-1, 0, 1, 2)]
    t = [knots[span + k] for k in (-1, 0, 1, 2)]
    mix = lambda a, b, ta, tb: a + (b - a) * ((u - ta) / (tb - ta))[:, None]
    a1, a2, a3 = mix(p[0], p[1], t[0], t[1]), mix(p[1], p[2], t[1], t[2]), mix(p[2], p[3], t[2], t[3])
    curve = mix(mix(a1, a2, t[0], t[2]), mix(a2, a3, t[1], t[3]), t[1], t[2])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, length[-1], n)
    return np.stack([np.interp(at, length, curve[:, a]) for a in range(3)], axis=1)


def draw_cage(rng, vertebrae: tuple[VertebraPlan, ...], scale: float, width_scale: float):
    """Ribs (top to bottom, right before left) and the sternum's center line (n, 3) from top to bottom."""
    half_width = rng.uniform(118, 140) * scale * width_scale
    half_depth = rng.uniform(74, 94) * scale
    slant, squareness = rng.uniform(0.8, 1.2), rng.uniform(2.0, 2.5)
    radius, flatness = rng.uniform(3.2, 4.0) * scale, rng.uniform(1.3, 1.8)
    thoracic = [v for v in vertebrae if v.name[0] == "T"]
    at = lambda q, table: float(np.interp(q, *zip(*table)))
    widths = ((1, 0.43), (2, 0.6), (3, 0.72), (4, 0.82), (6, 0.95), (8, 1.0), (10, 0.98), (12, 0.9))
    depths = ((1, 0.46), (2, 0.6), (4, 0.82), (6, 0.95), (8, 1.0), (12, 1.0))
    drops = ((1, 32), (2, 48), (3, 60), (5, 78), (7, 92), (10, 105), (11, 95), (12, 80))
    angles = ((1, 2.75), (2, 2.65), (5, 2.5), (8, 2.35), (10, 2.1), (11, 1.5), (12, 1.0), (13, 0.7))
    first, eighth = thoracic[0], thoracic[min(7, len(thoracic) - 1)]
    front_top = first.center + np.array([0, at(1, depths) * 2 * half_depth - 22 * scale, -42 * scale])
    front_low = np.array([eighth.center[0] * 0.5, eighth.center[1] + 2 * half_depth - 24 * scale,
                          eighth.center[2] - 34 * scale])
    sternum = smooth_line([front_top, front_top * 0.72 + front_low * 0.28 + [0, 5 * scale, 0], front_low], 60)
    ribs = []
    for q, vertebra in enumerate(thoracic, start=1):
        a, b, drop = half_width * at(q, widths), half_depth * at(q, depths), slant * scale * at(q, drops)
        tip = vertebra.transverse_tip
        end = at(q, angles) + rng.uniform(-0.08, 0.08)
        for side in (1, -1):
            head_height = 0.46 * vertebra.height if 1 < q < 11 else 0.15 * vertebra.height
            head_x = vertebra.width / 2 + 1.5 if q < 11 else vertebra.width / 2 + 3.0
            head = vertebra.to_world([side * head_x, -vertebra.depth * 0.40, head_height])
            neck = vertebra.to_world([side * (abs(tip[0]) * 0.55 + vertebra.width * 0.24), tip[1] * 0.5 - 3 * scale
                                      - vertebra.depth * 0.24, head_height * 0.4])
            tubercle = vertebra.to_world([side * (tip[0] + 1.5 * scale), tip[1] + 6.5 * scale, tip[2] - 1.0 * scale])
            base = vertebra.center
            x0, y_back = abs(tip[0]) + 18 * scale, tip[1] - 13 * scale
            start = np.arcsin(min(x0 / a, 0.92)) if q < 11 else np.arcsin(min(x0 / a, 0.5))
            f = np.linspace(start, max(end, start + 0.35), 14)
            sine, cosine = np.sin(f), np.cos(f)
            x = a * np.sign(sine) * np.abs(sine) ** (2 / squareness)
            y = base[1] + y_back + b - b * np.sign(cosine) * np.abs(cosine) ** (2 / squareness)
            t = (f - start) / (2.5 - start)
            z = base[2] + tip[2] - 3 * scale - drop * np.clip(t, 0, None) ** 1.15
            lean = base[0] * (1 - 0.5 * np.clip(t, 0, 1))
            arch = np.stack([lean + side * x, y, z], axis=1)
            points = np.concatenate([[head, neck, tubercle], arch])
            bone = smooth_line(points if q < 11 else np.concatenate([[head], arch]), 49)
            ribs.append(RibPlan(name=vertebra.name, value=vertebra.value, side=side, bone=bone,
                                cartilage=_cartilage(q, bone[-1], sternum, side, scale),
                                radius=radius * (1.15 if q == 1 else 0.8 if q > 11 else 1.0),
                                flatness=flatness))
    return tuple(ribs), sternum


def _cartilage(q: int, end: np.ndarray, sternum: np.ndarray, side: int, scale: float) -> np.ndarray:
    """(n, 3) center line of the costal cartilage of rib q from its bony end, empty for the floating ribs."""
    if q > 10:
        return np.zeros((0, 3))
    place = np.interp(q, [1, 2, 3, 4, 5, 6, 7, 10], [0.08, 0.3, 0.45, 0.58, 0.7, 0.8, 0.88, 0.97])
    half = np.interp(q, [1, 2, 3, 7, 10], [26, 20, 15, 18, 26]) * scale
    goal = sternum[int(place * (len(sternum) - 1))] + np.array([side * half, -1.0, 0.0])
    middle = (end + goal) / 2 + np.array([0, 4.0, -0.15 * abs(end[2] - goal[2])]) * scale
    return smooth_line([end, middle, goal], 24)


def draw_shoulders(rng, vertebrae, sternum, scale: float, width_scale: float):
    """Clavicles (right, left), arms (right, left) and whether the arms are up."""
    first = next(v for v in vertebrae if v.name == "T1")
    arms_up = bool(rng.random() < 0.55)
    lift = rng.uniform(15, 45) if arms_up else rng.uniform(-25, 15)
    half = rng.uniform(150, 172) * scale * width_scale * (0.88 if arms_up else 1.0)
    back = rng.uniform(2, 26) * scale
    clavicles, arms = [], []
    for side in (1, -1):
        place = rng.normal(0, 4, 3)
        shoulder = np.array([first.center[0], first.center[1] + 8 * scale - back, first.center[2]]) + place
        shoulder += np.array([side * half, 0.0, (lift - 22) * scale])
        inner = sternum[0] + np.array([side * 15, -2.0, 2.0]) * scale
        outer = shoulder + np.array([-side * 12, -4.0, 27.0]) * scale
        clavicles.append(smooth_line([inner, inner * 0.68 + outer * 0.32 + np.array([0, 14, 6.0]) * scale,
                                      inner * 0.3 + outer * 0.7 + np.array([0, -8, 6.0]) * scale, outer], 40))
        if arms_up:
            elbow = shoulder + np.array([side * rng.uniform(20, 120), rng.uniform(20, 90), 260.0]) * scale
            wrist = elbow + np.array([-side * rng.uniform(80, 200), rng.uniform(-20, 60), 120.0]) * scale
        else:
            elbow = shoulder + np.array([side * rng.uniform(12, 45), rng.uniform(-35, 15), -305.0]) * scale
            wrist = elbow + np.array([-side * rng.uniform(-20, 110), rng.uniform(10, 120), -215.0]) * scale
        arms.append(ArmPlan(side=side, shoulder=shoulder, elbow=elbow, wrist=wrist))
    return tuple(clavicles), tuple(arms), arms_up


def draw_pelvis(rng, slope: float, scale: float, width_scale: float, female: bool):
    """The pelvis's frame, its scale along right, anterior and superior, and the legs (right, left)."""
    tilt = slope - np.deg2rad(40) + np.deg2rad(rng.normal(0, 5))
    frame = Frame(center=np.zeros(3), rotation=rotation(tilt * 0.8))
    sizes = scale * np.array([width_scale * (1.06 if female else 0.99), 1.0, 0.95 if female else 1.03])
    sizes = sizes * np.exp(rng.normal(0, 0.02, 3))
    spread, flexion = rng.uniform(-0.03, 0.12), rng.uniform(-0.05, 0.25)
    legs = []
    for side in (1, -1):
        hip = frame.to_world(np.array([side * 88.0, 26.0, -98.0]) * sizes)
        knee = hip + 420 * scale * np.array([side * spread, np.sin(flexion), -np.cos(flexion)])
        legs.append(LegPlan(side=side, hip=hip, knee=knee, head_radius=(22.5 if female else 24.5) * scale))
    return frame, sizes, tuple(legs)


def draw_head(rng, atlas: VertebraPlan, scale: float) -> HeadPlan:
    """The head on top of the atlas."""
    size = float(np.clip(scale, 0.92, 1.08) ** 0.6 * np.exp(rng.normal(0, 0.02)))
    nod = rotation(np.deg2rad(rng.normal(0, 5)), np.deg2rad(rng.normal(0, 2)), np.deg2rad(rng.normal(0, 3)))
    turn = atlas.rotation @ nod
    center = atlas.to_world(np.array([0.0, -14.0, 15.0]) * scale)
    return HeadPlan(center=center, rotation=turn, vault_center=np.array([0.0, 20.0, 63.0]) * size,
                    vault_axes=np.array([rng.uniform(69, 77), rng.uniform(86, 95), rng.uniform(66, 73)]) * size,
                    vault_thickness=float(rng.uniform(4.5, 8.0)), scale=size,
                    foramen_axes=np.array([rng.uniform(14, 16.5), rng.uniform(16.5, 19)]) * scale,
                    jaw_open=float(rng.uniform(0, 0.3)), teeth=float(np.clip(rng.normal(0.85, 0.25), 0, 1)))
