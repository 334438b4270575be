"""Paints ribs, sternum, clavicles, shoulder blades and arms."""

import numpy as np

from ..classes import OTHER_BONE, RIB
from .canvas import BoneCanvas
from .plan import ArmPlan, BodyPlan
from .torso import smooth_line


def paint_thorax(canvas: BoneCanvas, plan: BodyPlan, rng: np.random.Generator):
    """Paint ribs, and as other bone sternum, shoulder girdles and arms; joints stay open."""
    draws = rng.uniform(size=8)
    _paint_ribs(canvas, plan, 1.0 + 0.9 * draws[0])
    _paint_sternum(canvas, plan)
    canvas.begin_bone()
    s = plan.scale
    for line in plan.clavicles:
        along = np.linspace(0, 1, len(line))
        radii = np.interp(along, [0, 0.12, 0.35, 0.75, 1], [11, 8, 5.6, 5.6, 7.5]) * s
        canvas.rods(line[::2], radii[::2], OTHER_BONE, 0, plan.cortex * 2.2, 1.5, (1, 1.05, 0.9))
    for arm in plan.arms:
        _paint_arm(canvas, plan, arm)
        _paint_scapula(canvas, plan, arm)


def _paint_ribs(canvas: BoneCanvas, plan: BodyPlan, gap_mm: float):
    canvas.begin_bone()
    for rib in plan.ribs:
        along = np.linspace(0, 1, len(rib.bone))
        head = [1.25, 0.85, 1.0, 1.05, 1.0, 1.15]
        radii = rib.radius * np.interp(along, [0, 0.06, 0.15, 0.3, 0.85, 1], head)
        squash = (1.5, 1.2, 0.75) if rib.name == "T1" else (0.9, 0.9, rib.flatness)
        near = 9
        canvas.rods(rib.bone[:near], radii[:near] * 0.95, RIB, 0, plan.cortex * 1.5, gap_mm, (1, 1, 1.15))
        canvas.rods(rib.bone[near - 1:], radii[near - 1:], RIB, 0, plan.cortex * 1.6, gap_mm, squash)


def _paint_sternum(canvas: BoneCanvas, plan: BodyPlan):
    s = plan.scale
    along = np.linspace(0, 1, 16)
    half = np.interp(along, [0, 0.1, 0.24, 0.3, 0.55, 0.8, 0.88, 1], [22, 27, 18, 14, 16, 19, 10, 4]) * s
    line = smooth_line(plan.sternum, 16)
    columns = [line + np.stack([k * half, np.full(16, -1.5 * abs(k)), np.zeros(16)], axis=1)
               for k in (-1, -0.4, 0.4, 1)]
    thickness = np.interp(along, [0, 0.2, 0.85, 1], [12, 9.5, 9, 4.5])[None, :] * s * np.ones((4, 1))
    upper = np.stack(columns)[:, :5], thickness[:, :5]
    lower = np.stack(columns)[:, 5:], thickness[:, 5:]
    for net, thick in (upper, lower):
        canvas.begin_bone()
        canvas.sheet(net, thick, OTHER_BONE, 0, plan.cortex * 1.1, 1.2)


def _paint_arm(canvas: BoneCanvas, plan: BodyPlan, arm: ArmPlan):
    s = plan.scale
    shaft = arm.elbow - arm.shoulder
    canvas.begin_bone()
    canvas.rods([arm.shoulder, arm.shoulder + 0.1 * shaft, arm.shoulder + 0.22 * shaft],
                np.array([23.5, 18, 12.5]) * s, OTHER_BONE, 0, plan.cortex * 1.1, 1.5)
    canvas.rods([arm.shoulder + 0.14 * shaft, arm.shoulder + 0.3 * shaft, arm.shoulder + 0.85 * shaft, arm.elbow],
                np.array([14, 11.5, 11, 15]) * s, OTHER_BONE, 0, 3.6 * s, 1.5)
    fore = arm.wrist - arm.elbow
    aside = np.cross(fore, [0.3, 1.0, 0.2])
    aside = aside / np.linalg.norm(aside) * 11 * s
    canvas.begin_bone()
    for way in (-1, 1):
        line = [arm.elbow + fore * 0.04 + way * aside, arm.elbow + fore * 0.5 + way * aside * 1.2,
                arm.wrist + way * aside]
        canvas.rods(line, np.array([9.5, 7, 9]) * s, OTHER_BONE, 0, 2.8 * s, 2.0)


def _paint_scapula(canvas: BoneCanvas, plan: BodyPlan, arm: ArmPlan):
    s, side = plan.scale, arm.side
    second, seventh = plan.vertebra("T2").center, plan.vertebra("T7").center
    lift, turn = (18 * s, 34 * s) if plan.arms_up else (0.0, 0.0)
    shift = arm.shoulder - np.array([side * 158 * s, second[1] - 15 * s, second[2] + 12 * s])
    shift[0] *= side
    socket = arm.shoulder + np.array([-side * 27, -3, -2.0]) * s
    top = np.array([side * (70 * s + 0.3 * shift[0]), 0, second[2] + 8 * s + 0.4 * shift[2]])
    bottom = np.array([side * (82 * s + 0.3 * shift[0] + turn), 0, seventh[2] - 4 * s + 0.5 * shift[2] + lift])
    steps, across = np.linspace(0, 1, 10), np.linspace(0, 1, 7)
    net = np.zeros((10, 7, 3))
    for i, u in enumerate(steps):
        inner = top + (bottom - top) * u + np.array([-side * 6 * s * np.sin(np.pi * u), 0, 0])
        outer = np.array([socket[0], 0, socket[2] + 16 * s]) if u == 0 else None
        lateral = socket + (bottom - socket) * max(0.0, (u - 0.12) / 0.88)
        outer = lateral if outer is None else outer
        net[i] = inner + (outer - inner) * across[:, None]
    section = plan.rib_cage_at(net[..., 2].ravel())
    offset = (net[..., 0].ravel() - section[:, 0]) / section[:, 2]
    wall = section[:, 1] - section[:, 3] * np.clip(1 - np.abs(offset) ** 2.2, 0.12, 1) ** (1 / 2.2)
    net[..., 1] = (wall - 17 * s).reshape(net.shape[:2])
    near = np.exp(-np.linalg.norm(net[..., [0, 2]] - socket[[0, 2]], axis=-1) / (30 * s))
    net[..., 1] = net[..., 1] * (1 - near) + socket[1] * near
    for _ in range(3):
        net[1:-1, 1:-1, 1] = (net[:-2, 1:-1, 1] + net[2:, 1:-1, 1] + net[1:-1, :-2, 1] + net[1:-1, 2:, 1]) / 4
    thickness = np.full((10, 7), 2.8 * s)
    thickness[:, 0], thickness[:, -1] = 4.0 * s, 8.0 * s
    canvas.begin_bone()
    paint = {"label": OTHER_BONE, "level": 0, "cortex": plan.cortex * 1.6, "gap_mm": 1.5}
    canvas.sheet(net, thickness, rough_mm=0.2, **paint)
    canvas.rods([socket + np.array([-side * 6, 0, 0]) * s, socket + np.array([side * 1.0, 1.0, 0]) * s],
                np.array([11, 13]) * s, squash=(0.7, 0.85, 1.3), **paint)
    acromion = arm.shoulder + np.array([side * 8, -8, 33.0]) * s
    root = net[3, :, :] + np.array([0, -1.5, 0])
    blade = smooth_line([root[0], root[3], root[5] + np.array([0, -3, 6]) * s], 8)
    crest = smooth_line([root[0] + np.array([0, -4, 2]) * s, root[3] + np.array([0, -20, 12]) * s,
                         acromion + np.array([-side * 16, -14, -2]) * s], 8)
    canvas.sheet(np.stack([blade, (blade + crest) / 2, crest]), np.array([[4.0], [3.5], [6.5]]) * s, **paint)
    canvas.rods([crest[-1], acromion, acromion + np.array([-side * 4, 16, 0]) * s], np.array([6.5, 7.5, 6]) * s,
                squash=(1.3, 1.0, 0.65), **paint)
    canvas.rods([socket + np.array([-side * 6, 4, 12]) * s, socket + np.array([-side * 10, 18, 20]) * s,
                 socket + np.array([side * 4, 32, 14]) * s], np.array([7.5, 6.5, 5.5]) * s, **paint)
