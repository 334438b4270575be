"""The canvas on which bones are painted one after the other, never into one another."""

import numpy as np
import torch

from .fields import FAR_MM, Box, SmoothNoise, WorldGrid, capsule, triangle

MARGIN_MM = 4.0
RODS_AT_ONCE = 4


class BoneCanvas:
    """Distance, class, level and cortical thickness of the bone nearest to each voxel.

    Tensors on the grid, shape (k, j, i): distance float32 signed distance in mm to the nearest bone (FAR_MM where
    none is near); label, level uint8; cortex float32 mm; disc_level uint8: level value of the disc whose envelope
    holds the voxel, else 0; canal bool: inside the canal's envelope. Bones painted earlier win: whatever comes later
    keeps off them by the gap it asks for.
    """

    def __init__(self, grid: WorldGrid, seed: int):
        self.grid = grid
        self.noise = SmoothNoise(seed, grid.device)
        make = lambda value, dtype: torch.full(grid.shape, value, dtype=dtype, device=grid.device)
        self.distance = make(FAR_MM, torch.float32)
        self.cortex = make(1.0, torch.float32)
        self.label, self.level, self.disc_level = (make(0, torch.uint8) for _ in range(3))
        self.canal = make(False, torch.bool)
        self._earlier = self.distance

    def begin_bone(self):
        """Start a bone that is put on the canvas in several pieces, which join one another but no earlier bone."""
        self._earlier = self.distance.clone()

    def put(self, box: Box, distance: torch.Tensor, label, level: int, cortex, gap_mm: float = 0.0,
            whole: bool = False):
        """Add a piece of bone in a box; label, cortex: a number or a tensor like distance.

        whole: the piece is a bone of its own, which keeps off all that is on the canvas; else it keeps off what was
        there at `begin_bone`.
        """
        s = box.slices
        if gap_mm > 0:
            earlier = self.distance if whole else self._earlier
            distance = torch.maximum(distance, gap_mm - earlier[s])
        wins = distance < self.distance[s]
        self.distance[s] = torch.where(wins, distance, self.distance[s])
        self.level[s] = torch.where(wins, level, self.level[s])
        for field, value in ((self.label, label), (self.cortex, cortex)):
            field[s] = torch.where(wins, torch.as_tensor(value, dtype=field.dtype, device=field.device), field[s])

    def rods(self, points, radii, label: int, level: int, cortex: float, gap_mm: float = 1.0, squash=(1.0, 1.0, 1.0),
             rough_mm: float = 0.3):
        """Add a chain of rods through points (n, 3) mm with radii (n,) or one number; squash as in `capsule`."""
        points = np.asarray(points, float)
        radii = np.broadcast_to(np.asarray(radii, float), len(points))
        for start in range(0, len(points) - 1, RODS_AT_ONCE):
            part = slice(start, start + RODS_AT_ONCE + 1)
            chain, thick = points[part], radii[part]
            reach = thick.max() * np.asarray(squash) + MARGIN_MM
            box = self.grid.box(chain.min(0) - reach, chain.max(0) + reach)
            if box is None:
                continue
            q, distance = (box.x, box.y, box.z), None
            for a, b, ra, rb in zip(chain[:-1], chain[1:], thick[:-1], thick[1:]):
                rod = capsule(q, a, b, float(ra), float(rb), squash)
                distance = rod if distance is None else torch.minimum(distance, rod)
            if rough_mm:
                distance = distance + rough_mm * self.noise(box, 5.0)
            self.put(box, distance, label, level, cortex, gap_mm)

    def sheet(self, points, thickness, label: int, level: int, cortex: float, gap_mm: float = 1.0,
              rough_mm: float = 0.3):
        """Add a curved plate through a net of points (u, v, 3) mm; thickness: full, mm, (u, v) or one number."""
        points = np.asarray(points, float)
        thickness = np.broadcast_to(np.asarray(thickness, float), points.shape[:2])
        for u in range(points.shape[0] - 1):
            for v in range(points.shape[1] - 1):
                corners = points[u:u + 2, v:v + 2].reshape(4, 3)
                half = float(thickness[u:u + 2, v:v + 2].mean()) / 2
                box = self.grid.box(corners.min(0) - half - MARGIN_MM, corners.max(0) + half + MARGIN_MM)
                if box is None:
                    continue
                q = (box.x, box.y, box.z)
                distance = torch.minimum(triangle(q, *corners[:3]), triangle(q, *corners[1:])) - half
                if rough_mm:
                    distance = distance + rough_mm * self.noise(box, 5.0)
                self.put(box, distance, label, level, cortex, gap_mm)
