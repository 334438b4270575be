"""The spinal column of a plan: which levels there are, how it curves, and how large and how worn each level is."""

from dataclasses import replace

import numpy as np

from .levels import LEVEL_SIZES, VERSE_VALUES
from .plan import SacralPlan, VertebraPlan

SPINOUS_GAP_MM = 1.5  # at least, between the spinous processes of neighbors


def rotation(pitch: float, roll: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """(3, 3) rotation in radians. pitch tips the upper end to the front, roll to the right, yaw turns to the left."""
    (cp, sp), (cr, sr), (cy, sy) = [(np.cos(a), np.sin(a)) for a in (pitch, roll, yaw)]
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def draw_level_names(rng) -> list[str]:
    """Names of the levels from C1 downwards; one body in eight or so has another number of them than usual."""
    thoracic, lumbar = 12, 5
    kind = rng.random()
    if kind < 0.03:
        thoracic = 13
    elif kind < 0.05:
        thoracic = 11
    elif kind < 0.11:
        lumbar = 6
    elif kind < 0.13:
        lumbar = 4
    counts = {"C": 7, "T": thoracic, "L": lumbar}
    return [f"{region}{i}" for region, count in counts.items() for i in range(1, count + 1)]


def _draw_pitch(rng, names) -> tuple[np.ndarray, float]:
    """Forward tilt of each level from the bottom upwards, and the slope of the sacrum, in radians."""
    at = {name: i for i, name in enumerate(names[::-1])}
    n, uniform = len(names), rng.uniform
    low_thoracic, middle = at["T6"] - 5, at["L1"] / 2
    kyphosis, lordosis, neck = uniform(0.4, 1.5), uniform(0.45, 1.3), uniform(-0.6, 1.3)
    slope = lordosis * uniform(30, 48)
    anchors = [(-0.8, slope), (0, lordosis * uniform(14, 24)), (middle * 0.55, lordosis * uniform(3, 10)),
               (middle, lordosis * -uniform(0, 8)), (at["L1"], -lordosis * uniform(10, 18)),
               (low_thoracic, -kyphosis * uniform(8, 16)), (at["T8"], -kyphosis * uniform(2, 8)),
               (at["T5"], kyphosis * uniform(6, 14)), (at["T1"], 10 + kyphosis * uniform(14, 24)),
               (at["C6"], 6 + neck * uniform(4, 12)), (at["C4"], neck * uniform(-4, 8)),
               (at["C2"], -neck * uniform(2, 14)), (at["C1"], -neck * uniform(2, 14) + uniform(-6, 6))]
    anchors.sort()
    pitch = np.interp(np.arange(-1, n + 1), *zip(*anchors))
    pitch = np.convolve(pitch, [0.2, 0.6, 0.2], mode="valid") + rng.normal(0, 0.7, n)
    head_forward = uniform(-6, 10)
    lowest_cervical = at["C7"]
    pitch[lowest_cervical:] += head_forward * np.linspace(1, 0.2, n - lowest_cervical)
    return np.deg2rad(pitch), float(np.deg2rad(slope))


def _draw_scoliosis(rng, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Side tilt and axial turn of each level from the bottom upwards, in radians."""
    roll, yaw = rng.normal(0, 0.6, n), rng.normal(0, 0.8, n)
    kind = rng.random()
    if kind < 0.55:
        curves = [(rng.uniform(0, 6), rng.uniform(2, 8), rng.uniform(12, 20))]
    elif kind < 0.85:
        curves = [(rng.uniform(8, 28), rng.uniform(0, 9), rng.uniform(11, 17))]
    else:
        split = rng.uniform(6, 9)
        curves = [(rng.uniform(15, 40), rng.uniform(-1, 1), split), (-rng.uniform(15, 40), split, rng.uniform(14, 17))]
    side = rng.choice([-1, 1])
    for cobb, low, high in curves:
        t = (np.arange(n) - low) / (high - low)
        fade = np.clip(1 - np.maximum(-t, t - 1) * (high - low) / 4, 0, 1)
        roll += side * cobb / 2 * np.cos(np.pi * np.clip(t, 0, 1)) * fade
        yaw += side * cobb * rng.uniform(0.2, 0.55) * np.sin(np.pi * np.clip(t, 0, 1))
    yaw[-5:] += np.linspace(0.2, 1, 5) * rng.normal(0, 6)
    return np.deg2rad(roll), np.deg2rad(yaw)


def _draw_wear(rng, name: str, porosity: float, age_wear: float) -> dict:
    """Factors of one level: fracture (heights), disc height, osteophytes."""
    wear = {"front": 1.0, "back": 1.0, "hollow": rng.uniform(0.5, 1.9), "disc": rng.uniform(0.85, 1.15), "lip": 0.0,
            "bridge": False, "gas": False, "ossified": False}
    thoracolumbar = name[0] in "TL" and name not in ("T1", "T2", "T3")
    if thoracolumbar and rng.random() < 0.01 + 0.12 * porosity**2:
        kind, loss = rng.choice(["wedge", "biconcave", "crush"], p=[0.55, 0.3, 0.15]), rng.uniform(0.15, 0.5)
        if kind == "wedge":
            wear |= {"front": 1 - loss, "back": 1 - 0.2 * loss}
        elif kind == "biconcave":
            wear["hollow"] = 2 + 12 * loss
        else:
            wear |= {"front": 1 - loss, "back": 1 - 0.8 * loss}
    if rng.random() < 0.6 * age_wear:
        wear["disc"] *= rng.uniform(0.3, 0.8)
        wear["gas"] = bool(rng.random() < 0.3)
        wear["lip"] = rng.uniform(0.5, 4.5)
    elif rng.random() < 0.5 * age_wear:
        wear["lip"] = rng.uniform(0.5, 3.0)
    if name != "C1" and rng.random() < 0.12 * age_wear:
        wear["bridge"] = True
        wear["lip"] = max(wear["lip"], 3.0)
    wear["ossified"] = bool(name != "C1" and rng.random() < 0.012)
    return wear


def draw_spine(rng, scale: float, width_scale: float, porosity: float, cortex: float):
    """Draw vertebrae (top to bottom), sacral segments (S1 downwards) and the slope of the sacrum in radians."""
    names = draw_level_names(rng)
    pitch, slope = _draw_pitch(rng, names)
    roll, yaw = _draw_scoliosis(rng, len(names))
    age_wear = rng.beta(1.0, 1.6)
    wears = [_draw_wear(rng, name, porosity, age_wear) for name in names[::-1]]
    lost = np.array([(1 - w["front"]) - (1 - w["back"]) for w in wears])
    pitch = pitch + 0.45 * np.cumsum(lost) * 0.6
    transitional = rng.random() < 0.06
    ratios = {"C": rng.uniform(0.86, 1.14, 2), "T": rng.uniform(0.88, 1.12, 2), "L": rng.uniform(0.85, 1.15, 2)}
    spread, canal_spread = rng.uniform(0.93, 1.05), rng.uniform(0.86, 1.1, 2)
    # Height of spinous processes, of that of the body. Drawn aside, so that all else of a seed's body stays.
    aside = rng.spawn(1)[0]
    spinous_share, spinous_round = aside.uniform(0.68, 1.2), aside.uniform(0, 1)
    vertebrae = []
    place, up_before = np.zeros(3), rotation(slope)[:, 2]
    for i, (name, wear) in enumerate(zip(names[::-1], wears)):
        size = LEVEL_SIZES[name]
        jitter = lambda amount: scale * np.exp(rng.normal(0, amount))
        lowest = i == 0
        width, depth = size.width * width_scale * jitter(0.025), size.depth * width_scale * jitter(0.025)
        posterior = size.height * jitter(0.02)
        anterior = (posterior + size.lordosis * scale + rng.normal(0, 0.4)) * wear["front"]
        posterior *= wear["back"]
        disc = size.disc * scale * wear["disc"]
        transverse = np.array([size.span / 2, -size.depth / 2 - size.back + rng.normal(0, 1.5),
                               {"C": -2.0, "T": 4.5, "L": 1.0}[name[0]] + rng.normal(0, 1.5)]) * scale
        transverse[0] *= spread * ratios[name[0]][0]
        spinous = np.array([rng.normal(0, 1.2), -size.depth / 2 - size.spinous * ratios[name[0]][1],
                            -size.droop + rng.normal(0, 1.5)]) * scale
        if name == "C1":
            disc, anterior, posterior = size.disc * scale, size.height * scale, size.height * scale
        sacralized = lowest and transitional
        if sacralized:
            disc *= 0.5
            transverse += np.array([2.0, 0.0, -4.0]) * scale
        turn = rotation(pitch[i], roll[i], yaw[i])
        between = up_before + turn[:, 2]
        place = place + between / np.linalg.norm(between) * disc
        height = (anterior + posterior) / 2
        center = place + turn[:, 2] * height / 2
        place, up_before = center + turn[:, 2] * height / 2, turn[:, 2]
        vertebrae.append(_plain(VertebraPlan,
            center=center, rotation=turn, name=name, value=VERSE_VALUES[name], width=width, depth=depth,
            height_anterior=anterior, height_posterior=posterior, concavity=min(wear["hollow"] * scale, 0.36 * height),
            waist=rng.uniform(0.04, 0.1), disc_below=disc, canal_width=size.canal_width * scale * canal_spread[0],
            canal_depth=size.canal_depth * scale * canal_spread[1],
            pedicle_width=size.pedicle_width * jitter(0.08), pedicle_height=size.pedicle_height * jitter(0.05),
            transverse_tip=transverse, spinous_tip=spinous, cortex=cortex * np.exp(rng.normal(0, 0.08)),
            spinous_height=size.height * scale * spinous_share * (0.7 if name in ("L5", "L6") else 1.0),
            spinous_round=spinous_round,
            osteophyte=wear["lip"] * scale, facet=rng.uniform(0.9, 1.1) + 0.25 * age_wear * rng.random(),
            bridge=wear["bridge"] and not lowest, gas=wear["gas"], disc_ossified=wear["ossified"] and not lowest))
    drift = np.array([np.mean([v.center[0] for v in vertebrae]) * 0.5, 0, 0])
    shear = lambda p: p - drift * np.clip(p[2] / 150.0, 0, 1)
    vertebrae = _with_room_for_spines([replace(v, center=shear(v.center)) for v in vertebrae])
    return tuple(vertebrae[::-1]), _draw_sacrum(rng, slope, scale, width_scale), slope


def _with_room_for_spines(vertebrae: list[VertebraPlan]) -> list[VertebraPlan]:
    """The same, lumbar spinous processes no higher than leaves a gap between them: those of some nearly touch."""
    middles = np.array([v.to_world(v.spinous_tip * [1, 0.75, 0.6]) for v in vertebrae])
    apart = np.linalg.norm(np.diff(middles, axis=0), axis=1)
    room = np.minimum([*apart, np.inf], [np.inf, *apart]) - SPINOUS_GAP_MM
    return [replace(v, spinous_height=min(v.spinous_height, float(space))) for v, space in zip(vertebrae, room)]


def _plain(kind, **values):
    """An instance of the dataclass kind with numpy scalars turned into plain numbers."""
    return kind(**{name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()})


def _draw_sacrum(rng, slope: float, scale: float, width_scale: float) -> tuple[SacralPlan, ...]:
    names = ["S1", "S2", "S3", "S4", "S5", "Co1", "Co2", "Co3"]
    heights = np.array([30, 25, 21, 18, 15, 9, 8, 7]) * scale
    widths = np.array([50, 40, 32, 26, 21, 14, 10, 8]) * scale * width_scale
    depths = np.array([32, 24, 19, 15, 12, 9, 8, 7]) * scale
    alae = np.array([55, 49, 38, 29, 20, 9, 0, 0]) * scale * width_scale
    canal_widths, canal_depths = np.array([30, 26, 21, 16, 13, 0, 0, 0.0]), np.array([15, 12, 9.5, 7.5, 6, 0, 0, 0.0])
    bend, coccyx_bend = np.deg2rad(rng.uniform(9, 19)), np.deg2rad(rng.uniform(5, 30))
    pitch, place, segments = slope, np.zeros(3), []
    for i, name in enumerate(names):
        turn = rotation(pitch)
        center = place - turn[:, 2] * heights[i] / 2
        place = place - turn[:, 2] * (heights[i] + (1.5 if i >= 4 else 0.0))
        segments.append(_plain(SacralPlan, center=center, rotation=turn, name=name, width=widths[i], depth=depths[i],
                                   height=heights[i], ala=alae[i], canal_width=canal_widths[i] * scale,
                                   canal_depth=canal_depths[i] * scale))
        pitch -= coccyx_bend if i >= 5 else bend * (0.5 if i == 0 else 1.0)
    return tuple(segments)
