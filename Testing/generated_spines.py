"""Generated columns with smooth surfaces, so that the numbers of their plan are the sizes of the bodies."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import torch

from SpineContextSegLib.volume import Volume
from Training.anatomy.canvas import BoneCanvas
from Training.anatomy.fields import WorldGrid
from Training.anatomy.generate import skeleton_arrays
from Training.anatomy.plan import BodyPlan, VertebraPlan, draw_plan
from Training.anatomy.spine import paint_spine
from Training.make_phantom import verse_labels

_MARGIN_MM = np.array([[-62.0, -75.0, -28.0], [62.0, 35.0, 30.0]])
# Of a front endplate in the neck, which reaches down over the disc: `Training.anatomy.vertebra.body`.
_NECK_LIP_MM = 1.44


@functools.cache
def smooth_spine(seed: int, first: str, last: str, spacing_mm: float = 1.0) -> tuple[BodyPlan, Volume]:
    """The plan of a body, and VerSe labels of its column in a box around some of its vertebrae."""
    plan = draw_plan(seed, "whole")
    centers = np.array([plan.vertebra(name).center for name in (first, last)])
    inside = [v for v in plan.vertebrae if centers[1, 2] <= v.center[2] <= centers[0, 2]]
    ends = np.array([v.center for v in inside])
    box = _MARGIN_MM + [ends.min(0), ends.max(0)]
    plan = dataclasses.replace(plan, view_lo=box[0], view_hi=box[1])
    grid = WorldGrid.covering(plan.view_lo, plan.view_hi, spacing_mm)
    canvas = BoneCanvas(grid, plan.seed)
    canvas.noise = lambda box, cell_mm, channel=0: torch.zeros(())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy computer, threads wait for each other longer than they work
    try:
        paint_spine(canvas, plan, np.random.default_rng(0))
        label, level, _, _ = skeleton_arrays(canvas)
    finally:
        torch.set_num_threads(threads)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = grid.origin_mm
    return plan, Volume(verse_labels(SimpleNamespace(label=label, level=level)), affine)


def planned_heights(vertebra: VertebraPlan) -> np.ndarray:
    """(front, middle, back) in mm. The back wall is flat, so that the hollow of the endplates reaches it in part."""
    hollow_at_wall = 2 * vertebra.concavity * (1 - (0.87 * 0.93) ** 2)
    lip = _NECK_LIP_MM if vertebra.name[0] == "C" else 0.0
    return np.array([
        vertebra.height_anterior + lip,
        vertebra.height - 2 * vertebra.concavity,
        vertebra.height_posterior - hollow_at_wall,
    ])

