"""Brain, airways, glands and muscles of head and neck."""

import numpy as np
import torch

from .fields import ellipsoid
from .landmarks import Landmarks
from .painter import Painter
from .tissues import Tissue
from .torso import smooth_line


def paint_head_and_neck(painter: Painter, marks: Landmarks, inside, rng: np.random.Generator):
    """Paint what lies in front of the cervical spine and in the skull. ``inside``: boolean (k, j, i)."""
    _neck_muscles(painter, marks, inside, rng)
    _glands(painter, marks, inside, rng)
    _brain(painter, marks, rng)
    _face(painter, marks, rng)
    _pharynx_and_larynx(painter, marks, inside, rng)


def _neck_muscles(painter, marks, inside, rng):
    plan, s = marks.plan, marks.plan.scale
    at = lambda name, right, before, up=0.0: marks.at(name, right * s, before * s, up)
    bulk, gap = plan.muscle * rng.uniform(0.8, 1.15), rng.uniform(0.8, 2.0)
    head = lambda point: plan.head.to_world(np.array(point) * plan.head.scale)
    # Fat of the lateral neck, of the supraclavicular fossa and of the axilla.
    for arm, clavicle in zip(plan.arms, plan.clavicles):
        side = arm.side
        fat = rng.uniform(9, 17) * s
        beside = [at("C3", side * 44, -6), at("C7", side * 50, -2), at("T2", side * 66, 14)]
        painter.tube(beside, fat, Tissue.FAT, inside, waves=2.5)
        painter.ellipsoid(arm.shoulder + np.array([-side * 34, 6, -62]) * s, np.array([17, 26, 46]) * s, Tissue.FAT,
                          inside, 3.5)
        sheath = [at("C2", side * 30, 0), at("C5", side * 30, 6), at("T1", side * 28, 14)]
        painter.tube(sheath, 9 * s, Tissue.FAT, inside, waves=1.5)
        muscles = [
            ([at("C1", side * 8, 3), at("C4", side * 8, 4), at("C6", side * 9, 4), at("T3", side * 8, 3)], 5.0,
             (1.4, 0.8, 1.0)),
            ([at("C3", side * 24, -6), at("C5", side * 28, -5), at("C7", side * 36, -4), at("T1", side * 52, 6, -10)],
             7.0, (1, 1, 1)),
            ([head([side * 53, 4, -8]), at("C4", side * 44, 10), clavicle[2]], 8.0, (0.9, 1.3, 1.0)),
            ([head([side * 40, -20, 0]), at("C4", side * 42, -18), at("T1", side * 60, -40)], 8.0, (1, 1, 1)),
        ]
        for points, radius, squash in muscles:
            line = smooth_line(np.array(points), 16)
            painter.tube(line, radius * s * bulk + gap, Tissue.FAT, inside, squash=squash)
            painter.tube(line, radius * s * bulk, Tissue.MUSCLE, inside, waves=0.6, squash=squash)


def _glands(painter, marks, inside, rng):
    plan, s = marks.plan, marks.plan.scale
    size = rng.uniform(0.7, 1.5)
    goitre = rng.uniform(1.2, 2.0) if rng.random() < 0.1 else 1.0
    for side in (1, -1):
        painter.ellipsoid(marks.at("C7", side * 15 * s * goitre, 18 * s), np.array([8.5, 10, 22]) * s * size * goitre,
                          Tissue.THYROID, inside, 1)
        parotid = plan.head.to_world(np.array([side * 57, 18, -22]) * plan.head.scale)
        painter.ellipsoid(parotid, np.array([11, 16, 24]) * s, Tissue.PANCREAS, inside, 2)
        below_jaw = plan.head.to_world(np.array([side * 36, 62, -72]) * plan.head.scale)
        painter.ellipsoid(below_jaw, np.array([10, 16, 12]) * s, Tissue.PANCREAS, inside, 1.5)
    painter.tube([marks.at("C7", side * 12 * s, 25 * s, -4) for side in (1, -1)], 4 * s, Tissue.THYROID, inside)


def _head_coordinates(painter, marks):
    """A box around the head and coordinates in its frame, divided by its scale; None outside the volume."""
    head = marks.plan.head
    corners = np.array([[x, y, z] for x in (-84, 84) for y in (-86, 128) for z in (-85, 145)]) * head.scale
    world = head.to_world(corners)
    box = painter.grid.box(world.min(0), world.max(0))
    if box is None:
        return None
    return box, [c / head.scale for c in box.local(head.center, head.rotation)]


def _brain(painter, marks, rng):
    found = _head_coordinates(painter, marks)
    if found is None:
        return
    box, (x, y, z) = found
    head = marks.plan.head
    vault = ellipsoid((x, y, z), head.vault_center / head.scale, head.vault_axes / head.scale)
    floor = -3 + 0.1 * y.clamp(min=0) + 0.55 * (y - 28).clamp(0, 55)
    depth = torch.maximum(vault + 0.6 * head.vault_thickness, floor + 1 - z)
    atrophy = float(rng.uniform(1.0, 4.5))
    painter.fill(box.slices, depth < 0, Tissue.CSF)
    folds = painter.noise(box, 9.0, 1)
    painter.fill(box.slices, depth < -0.4 * head.vault_thickness - atrophy * (0.6 + folds.abs()), Tissue.BRAIN)
    stem = torch.maximum(x.square() + (y - 4).square() - 13.0**2, (z - 20).abs() - 24)
    painter.fill(box.slices, (stem < 0) & (z > -6), Tissue.BRAIN)
    for side in (1, -1):
        horn = ellipsoid((x - side * 13, y - 20, z - 72), (0, 0, 0), (5 + atrophy, 34, 10))
        painter.fill(box.slices, horn < 0, Tissue.CSF)


def _face(painter, marks, rng):
    """Air of nose and sinuses, eyes, tongue, fat of the cheeks."""
    found = _head_coordinates(painter, marks)
    if found is None:
        return
    box, (x, y, z) = found
    ax = x.abs()
    fine = painter.noise(box, 4.5, 2)
    put = lambda mask, tissue: painter.fill(box.slices, mask, tissue)
    solid = lambda center, axes: ellipsoid((ax, y, z), center, axes) < 0
    put(solid((44, 66, -22), (10, 20, 26)), Tissue.FAT)
    put(solid((24, 44, -28), (9, 12, 28)), Tissue.FAT)
    put(solid((0, 66, -42), (26, 36, 22)) & (fine < 1.2), Tissue.MUSCLE)
    put(solid((27, 76, 25), (19, 24, 18)), Tissue.FAT)
    put(solid((31, 88, 25), (12, 12, 12)), Tissue.EYE)
    put((solid((30, 72, 25), (13, 22, 13))) & (solid((30, 60, 25), (3, 30, 3))), Tissue.MUSCLE)
    nose = (ax / 12.5) ** 3 + ((y - 78).abs() / 31) ** 3 + (z.abs() / 19) ** 3 < 1
    put(nose, Tissue.CONNECTIVE)
    put(nose & (fine.abs() > float(rng.uniform(0.3, 0.9))), Tissue.GAS)
    swollen = rng.random() < 0.2
    put(solid((28, 76, -3), (13.5, 17.5, 15.5)) & (fine > (0.4 if swollen else -9)), Tissue.GAS)
    ethmoid = (ax < 11.5) & ((y - 72).abs() < 21) & ((z - 27).abs() < 10.5)
    put(ethmoid, Tissue.CONNECTIVE)
    put(ethmoid & (fine > -0.8), Tissue.GAS)
    put(solid((0, 50, 27), (12.5, 13.5, 10.5)) | solid((12, 103, 46), (11.5, 5.5, 11.5)), Tissue.GAS)
    mastoid = solid((50, 8, 2), (12, 13, 17)) | solid((40, 24, 10), (14, 8, 7))
    put(mastoid & (fine > 0.1), Tissue.GAS)
    ear = ((y - 26).abs() < 3.5) & ((z - 8).abs() < 3.5) & (ax > 36)
    put(ear, Tissue.GAS)
    if rng.random() < 0.7:  # air between tongue and palate
        gap = (z + 21 - 0.01 * ax.square()).abs() < float(rng.uniform(0.8, 4))
        put(gap & (ax < 20) & (y > 50) & (y < 96), Tissue.GAS)


def _pharynx_and_larynx(painter, marks, inside, rng):
    plan, s, u = marks.plan, marks.plan.scale, rng.uniform
    at = lambda name, right, before, up=0.0: marks.at(name, right * s, before * s, up)
    head = lambda point: plan.head.to_world(np.array(point) * plan.head.scale)
    wall = u(4.5, 8.5)
    depth, width = u(3.5, 8.5), u(1.4, 2.6)
    before = {"C2": 9, "C3": 9, "C4": 10, "C5": 10, "C6": 9}
    line = smooth_line([head([0, 44, -2]), *(at(name, 0, wall + more) for name, more in before.items())], 30)
    along = np.linspace(0, 1, 30)
    radius = depth * s * np.interp(along, [0, 0.3, 0.55, 0.75, 1], [1.2, 1.0, 1.1, 0.8, 1.0])
    painter.tube(line, radius + 3.5, Tissue.MUSCLE, inside, squash=(width, 1, 1))
    painter.tube(line, radius, Tissue.GAS, inside, waves=1.0, squash=(width, 1, 1))
    epiglottis = [at("C3", 0, wall + 20), at("C4", 0, wall + 14, -4)]
    painter.tube(epiglottis, 2.0, Tissue.CONNECTIVE, inside, squash=(3.5, 1, 1))
    # Thyroid cartilage opens backwards, the cricoid is a ring; both calcify with age.
    patches = painter.noise(painter.whole, 6.0, 2) > u(-0.5, 1.5)
    larynx = at("C5", 0, wall + 14)
    for side in (1, -1):
        for up in (-10, -4, 2, 8):
            plate = [larynx + np.array([side * x, y, up]) * s for x, y in ((1, 14), (9, 5), (17, -8))]
            painter.tube(plate, 1.8 * s, Tissue.COSTAL_CARTILAGE, inside)
            painter.tube(plate, 1.8 * s, Tissue.CALCIFICATION, inside & patches)
    ring = [at("C6", 0, wall + 9) + np.array([12 * np.cos(t), 11 * np.sin(t), 0]) * s for t in np.linspace(0, 6.3, 13)]
    painter.tube(ring, 2.6 * s, Tissue.COSTAL_CARTILAGE, inside)
    painter.tube(ring, 2.0 * s, Tissue.CALCIFICATION, inside & patches)
