"""What lies in the spinal canal and between the vertebrae: cord, sac, fat, roots, discs, cartilage."""

import numpy as np

from .canvas import BoneCanvas
from .landmarks import Landmarks
from .painter import Painter
from .tissues import Tissue
from .torso import smooth_line


def paint_canal(painter: Painter, marks: Landmarks, bone: BoneCanvas, rng: np.random.Generator):
    """Fill foramina, canal and discs; the canvas says where canal and discs are."""
    plan, s, u = marks.plan, marks.plan.scale, rng.uniform
    foraminal_fat = u(3.5, 7.0)
    for v in plan.vertebrae:
        for side in (1, -1):
            inner = v.to_world([side * v.canal_width * 0.35, v.canal_y, -0.25 * v.height])
            outer = v.to_world([side * (v.canal_width / 2 + 7 * s), v.canal_y + 3 * s, -0.5 * v.height])
            far = v.to_world([side * (v.width / 2 + 12 * s), -4 * s, -0.9 * v.height])
            if v.name[0] != "C":
                painter.tube([inner, outer], foraminal_fat * s, Tissue.FAT)
            painter.tube([inner, outer, far], (2.2 if v.name[0] == "T" else 3.0) * s, Tissue.NERVE_ROOT)
    _ligaments(painter, marks, rng)

    canal, tissue = bone.canal, painter.tissue
    tissue.masked_fill_(canal, int(Tissue.FAT))
    line = plan.canal_line()
    levels = [v for v in plan.vertebrae] + [f for f in plan.sacrum if f.canal_depth > 0]
    width = np.array([levels[0].canal_width, *(v.canal_width for v in levels)]) / 2
    depth = np.array([levels[0].canal_depth, *(v.canal_depth for v in levels)]) / 2
    fill = u(0.72, 0.97)
    end = plan.sacrum[int(rng.integers(1, 3))].center[2]  # the sac ends at S2 or S3
    keep = line[:, 2] >= end
    dense = smooth_line(line[keep], 160)
    t, at = np.linspace(0, 1, 160), np.linspace(0, 1, int(keep.sum()))
    squeeze = np.interp(t, at, np.where(line[keep][:, 2] < 20, 0.65, 1.0))
    sac = fill * np.interp(t, at, np.minimum(width, depth)[keep]) * squeeze
    wider = np.clip(np.interp(t, at, (width / depth)[keep]), 1.0, 1.4).mean()
    forward = np.array([0, 0.06, 0]) * sac[:, None]
    dura = rng.spawn(1)[0].uniform(0.3, 0.8)
    painter.tube(dense + forward, sac + dura, Tissue.DURA, canal, squash=(wider, 1, 1))
    painter.tube(dense + forward, sac, Tissue.CSF, canal, squash=(wider, 1, 1))
    tip = marks.z("L1") + u(-18, 18)
    cord = dense[:, 2] > tip
    size = np.interp(dense[:, 2], [tip, tip + 25, marks.z("T9"), marks.z("T3"), marks.z("C6"), marks.z("C2")],
                     [1.0, 4.4, 3.7, 3.8, 5.0, 4.6]) * s
    painter.tube(dense[cord], np.minimum(size, 0.8 * sac)[cord], Tissue.CORD, canal, squash=(1.25, 1, 1))
    for _ in range(10):  # the cauda equina lies at the back of the sac
        turn = u(0, 2 * np.pi)
        drift = np.array([0.6 * np.cos(turn), -0.25 + 0.45 * np.sin(turn), 0])
        painter.tube((dense + sac[:, None] * drift)[~cord], 0.8, Tissue.NERVE_ROOT, canal)
    disc = (bone.disc_level > 0) & ~canal
    tissue.masked_fill_(disc, int(Tissue.DISC))
    for v in plan.vertebrae:
        if v.gas:  # vacuum phenomenon: flat lenses of gas
            low = v.to_world([0, 0, -v.height / 2 - v.disc_below / 2])
            for _ in range(int(rng.integers(1, 4))):
                place = low + v.rotation @ (np.array([v.width, v.depth, 0]) * u(-0.3, 0.3, 3))
                axes = np.array([v.width * u(0.08, 0.32), v.depth * u(0.08, 0.3), u(0.7, 2.0)])
                painter.ellipsoid(place, axes, Tissue.GAS, disc, rotation=v.rotation)


def _ligaments(painter, marks, rng):
    """Flaval, interspinous and supraspinous ligaments; between spinous processes lies sometimes fat instead."""
    s = marks.plan.scale
    for upper, lower in zip(marks.plan.vertebrae[:-1], marks.plan.vertebrae[1:]):
        for side in (1, -1):
            ends = [v.to_world([side * 0.25 * v.canal_width, v.canal_y - v.canal_depth * 0.6, 0])
                    for v in (upper, lower)]
            painter.tube(ends, rng.uniform(2.0, 4.0) * s, Tissue.CONNECTIVE)
        if rng.random() < 0.85:
            kind = Tissue.CONNECTIVE if rng.random() < 0.8 else Tissue.FAT
            for part in np.linspace(0.15, 1.05, 7):  # from the laminae to over the tips: a sheet in the midline
                ends = [v.to_world(part * v.spinous_tip + (1 - part) * np.array([0, v.canal_y - v.canal_depth / 2, 0]))
                        for v in (upper, lower)]
                painter.tube(ends, rng.uniform(2.0, 4.0) * s, kind if part < 1 else Tissue.CONNECTIVE)
