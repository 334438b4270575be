"""Painting tissue ids with simple solids, each only inside the box of voxels that it can reach."""

import numpy as np
import torch

from .fields import Box, SmoothNoise, WorldGrid, capsule, superellipse

WAVE_MM = 16.0  # over which the surfaces of organs wave
WAVE_REACH = 2.5  # waves counted in standard deviations


class Painter:
    """A uint8 tissue volume (k, j, i) on a world grid. Points and sizes are world mm; later paint covers earlier."""

    def __init__(self, grid: WorldGrid, seed: int):
        self.grid = grid
        self.tissue = torch.zeros(grid.shape, dtype=torch.uint8, device=grid.device)
        self.noise = SmoothNoise(seed, grid.device)
        self.whole = Box(
            (slice(None),) * 3, grid.axis("x")[None, None, :], grid.axis("y")[None, :, None],
            grid.axis("z")[:, None, None],
        )

    def row(self, z: torch.Tensor, heights, values) -> torch.Tensor:
        """A piecewise linear function of height, known at ``heights`` (n,) in any order, at ``z`` (m, 1, 1)."""
        heights = np.asarray(heights, float)
        order = np.argsort(heights, kind="stable")
        at = z.reshape(-1).cpu().numpy()
        row = np.interp(at, heights[order], np.broadcast_to(np.asarray(values, float), heights.shape)[order])
        return torch.as_tensor(row, dtype=torch.float32, device=z.device).reshape(-1, 1, 1)

    def fill(self, slices, inside: torch.Tensor, tissue: int, only: torch.Tensor | None = None):
        """Paint where ``inside`` (boolean, shaped like the slices); ``only``: boolean (k, j, i) that limits it."""
        if only is not None:
            inside = inside & only[slices]
        self.tissue[slices].masked_fill_(inside, int(tissue))

    def ellipsoid(self, center, half_axes, tissue, only=None, waves=0.0, rotation=None):
        """Solid ellipsoid. waves: how far its surface waves, mm; rotation: (3, 3), columns are its own axes."""
        half_axes = np.asarray(half_axes, float)
        reach = half_axes if rotation is None else np.abs(rotation) @ half_axes
        box = self.grid.box(center - reach - WAVE_REACH * waves, center + reach + WAVE_REACH * waves)
        if box is None:
            return
        local = box.local(center, np.eye(3) if rotation is None else rotation)
        rho = sum((c / float(a)) ** 2 for c, a in zip(local, half_axes))
        if waves:
            rho = rho.sqrt_() + waves / float(half_axes.mean()) * self.noise(box, WAVE_MM)
        self.fill(box.slices, rho < 1, tissue, only)

    def tube(self, points, radius, tissue, only=None, waves=0.0, squash=(1.0, 1.0, 1.0)):
        """Tube along points (n, 3); radius: one or n values in mm; squash stretches its section along each axis."""
        points = np.asarray(points, float)
        radius = np.broadcast_to(np.asarray(radius, float), (len(points),))
        for a, b, ra, rb in zip(points[:-1], points[1:], radius[:-1], radius[1:]):
            reach = (max(ra, rb) + WAVE_REACH * waves) * np.maximum(squash, 1.0)
            box = self.grid.box(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
            if box is None:
                continue
            distance = capsule((box.x, box.y, box.z), a, b, float(ra), float(rb), squash)
            if waves:
                distance = distance + waves * self.noise(box, WAVE_MM)
            self.fill(box.slices, distance < 0, tissue, only)

    def column(self, points, half_width, half_depth, tissue, only=None, waves=0.0, exponent=2.0):
        """Upright solid whose axial section is a superellipse around a line of points (n, 3), one at each height.

        half_width, half_depth: one or n values in mm. Its ends are flat, at the lowest and the highest point.
        """
        points = np.asarray(points, float)
        half_width, half_depth = (np.broadcast_to(v, (len(points),)).astype(float) for v in (half_width, half_depth))
        reach = np.array([half_width.max(), half_depth.max(), 0.0]) + np.array([1.0, 1.0, 0.0]) * WAVE_REACH * waves
        box = self.grid.box(points.min(0) - reach, points.max(0) + reach)
        if box is None:
            return
        cx, cy, a, b = (
            self.row(box.z, points[:, 2], v) for v in (points[:, 0], points[:, 1], half_width, half_depth)
        )
        level = superellipse(box.x - cx, box.y - cy, a, b, exponent)
        if waves:
            level = level + waves / torch.minimum(a, b) * self.noise(box, WAVE_MM)
        self.fill(box.slices, level < 1, tissue, only)
