"""Signed distances of simple solids, of which a canvas makes bones.

A signed distance is negative inside a solid; unit mm. All fields are float32 tensors that broadcast over a local box
of the world grid in array order (k, j, i) = (z, y, x).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

FAR_MM = 50.0


@dataclass(frozen=True)
class Box:
    """A box of a world grid. slices: (k, j, i); x, y, z: world coordinates in mm shaped to broadcast as (k, j, i)."""

    slices: tuple[slice, slice, slice]
    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor

    def local(self, center, rotation) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Coordinates (right, anterior, superior) in mm of every voxel in a frame (center (3,), rotation (3, 3))."""
        dx, dy, dz = self.x - float(center[0]), self.y - float(center[1]), self.z - float(center[2])
        return tuple(float(r[0]) * dx + float(r[1]) * dy + float(r[2]) * dz for r in np.asarray(rotation).T)


@dataclass(frozen=True)
class WorldGrid:
    """An isotropic grid along the world axes. shape (k, j, i); origin_mm: world (x, y, z) of voxel (0, 0, 0)."""

    shape: tuple[int, int, int]
    spacing_mm: float
    origin_mm: tuple[float, float, float]
    device: torch.device

    @classmethod
    def covering(cls, lo, hi, spacing_mm: float, device="cpu") -> "WorldGrid":
        """The grid whose voxels fill the box from lo to hi (3,) in world mm."""
        size = [max(1, round(float(b - a) / spacing_mm)) for a, b in zip(lo, hi)]
        origin = tuple(float(a) + spacing_mm / 2 for a in lo)
        return cls((size[2], size[1], size[0]), float(spacing_mm), origin, torch.device(device))

    def axis(self, name: str, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """World coordinates in mm of the voxels start..stop along "x", "y" or "z", shape (n,)."""
        a = "xyz".index(name)
        stop = self.shape[2 - a] if stop is None else stop
        return self.origin_mm[a] + self.spacing_mm * torch.arange(start, stop, dtype=torch.float32, device=self.device)

    def box(self, lo, hi) -> Box | None:
        """The part of the grid between lo and hi (3,) in world mm; None where they do not meet."""
        first = [max(0, math.ceil((float(a) - o) / self.spacing_mm)) for a, o in zip(lo, self.origin_mm)]
        last = [min(n, math.floor((float(b) - o) / self.spacing_mm) + 1)
                for b, o, n in zip(hi, self.origin_mm, self.shape[::-1])]
        if any(b <= a for a, b in zip(first, last)):
            return None
        slices = tuple(slice(a, b) for a, b in zip(first[::-1], last[::-1]))
        return Box(slices, self.axis("x", first[0], last[0])[None, None, :],
                   self.axis("y", first[1], last[1])[None, :, None], self.axis("z", first[2], last[2])[:, None, None])


class SmoothNoise:
    """Smooth random functions of place, the same at any spacing: cubic B-splines over a periodic random lattice."""

    LATTICE = 40

    def __init__(self, seed: int, device):
        values = np.random.default_rng([seed, 3]).standard_normal((4,) + (self.LATTICE,) * 3).astype(np.float32)
        self._lattice = torch.from_numpy(values * 2.9).to(device)

    def __call__(self, box: Box, cell_mm: float, channel: int = 0) -> torch.Tensor:
        """About standard normal values (k, j, i) that vary over cell_mm; channel (0..3) picks one function."""
        values = self._lattice[channel]
        for dim, place in ((0, box.z), (1, box.y), (2, box.x)):
            weights, index = self._weights(place.reshape(-1), cell_mm)
            values = torch.tensordot(weights, values.index_select(dim, index), dims=([1], [dim])).movedim(0, dim)
        return values

    def _weights(self, place: torch.Tensor, cell_mm: float):
        at = place / cell_mm
        base = torch.floor(at)
        t = (at - base)[:, None]
        spline = torch.cat([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
        first = int(base.min()) - 1
        count = int(base.max()) + 3 - first
        columns = (base.long() - first - 1)[:, None] + torch.arange(4, device=place.device)
        weights = torch.zeros(len(place), count, device=place.device).scatter_(1, columns, spline)
        return weights, torch.arange(first, first + count, device=place.device) % self.LATTICE


def smooth_min(a: torch.Tensor, b: torch.Tensor, blend_mm: float) -> torch.Tensor:
    """Union of two distances with a fillet of about blend_mm (polynomial smooth minimum, I. Quilez)."""
    h = (blend_mm - (a - b).abs()).clamp_(min=0)
    return torch.minimum(a, b) - h * h / (4 * blend_mm)


def sphere(q, center, radius: float) -> torch.Tensor:
    """Distance to a sphere; q: coordinates (x, y, z)."""
    return sum((c - float(p)) ** 2 for c, p in zip(q, center)).sqrt() - radius


def ellipsoid(q, center, axes) -> torch.Tensor:
    """Near the surface about the distance to an ellipsoid with half axes (3,) in mm."""
    d = [(c - float(p)) for c, p in zip(q, center)]
    inner = sum((c / float(a)) ** 2 for c, a in zip(d, axes)).sqrt()
    slope = sum((c / float(a) ** 2) ** 2 for c, a in zip(d, axes)).sqrt()
    return inner * (inner - 1) / slope.clamp(min=1e-4)


def capsule(q, a, b, radius_a: float, radius_b: float | None = None, squash=(1.0, 1.0, 1.0)) -> torch.Tensor:
    """Distance to a round rod from a to b (3,) whose radius goes from radius_a to radius_b.

    squash (3,) stretches the cross-section along each axis: 2 makes it twice as wide there.
    """
    radius_b = radius_a if radius_b is None else radius_b
    s = [float(v) for v in squash]
    d = [(c - float(p)) / k for c, p, k in zip(q, a, s)]
    ab = [(float(v) - float(u)) / k for u, v, k in zip(a, b, s)]
    t = (sum(c * v for c, v in zip(d, ab)) / max(sum(v * v for v in ab), 1e-6)).clamp_(0, 1)
    distance = sum((c - t * v) ** 2 for c, v in zip(d, ab)).sqrt_()
    if radius_a == radius_b:
        return distance - radius_a
    return distance - (radius_a + (radius_b - radius_a) * t)


def strut(q, a, b, thick_a: float, thick_b: float, tall_a: float, tall_b: float, rounding: float) -> torch.Tensor:
    """Distance to an upright bar from a to b (3,): half thickness across, half height along local z, both tapering."""
    x, y, z = q
    ax, ay, az = (float(v) for v in a)
    bx, by, bz = (float(v) for v in b)
    ux, uy = bx - ax, by - ay
    t = (((x - ax) * ux + (y - ay) * uy) / max(ux * ux + uy * uy, 1e-6)).clamp(0, 1)
    across = ((x - ax - t * ux) ** 2 + (y - ay - t * uy) ** 2).sqrt_() - (thick_a + (thick_b - thick_a) * t - rounding)
    along = (z - az - t * (bz - az)).abs() - (tall_a + (tall_b - tall_a) * t - rounding)
    outside = (across.clamp(min=0) ** 2 + along.clamp(min=0) ** 2).sqrt_()
    return outside + torch.maximum(across, along).clamp_(max=0) - rounding


def superellipse(x: torch.Tensor, y: torch.Tensor, half_width, half_depth, exponent: float) -> torch.Tensor:
    """Level function of a superellipse in the plane: 1 on its rim, 0 in its middle."""
    return ((x / half_width).abs() ** exponent + (y / half_depth).abs() ** exponent) ** (1 / exponent)


def triangle(q, a, b, c) -> torch.Tensor:
    """Unsigned distance to the triangle a, b, c (3,) each, in mm (Ericson, Real-Time Collision Detection, 5.1.5)."""
    a, b, c = (np.asarray(v, float) for v in (a, b, c))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal)
    normal = normal / max(area, 1e-9)
    dot = lambda d, v: d[0] * float(v[0]) + d[1] * float(v[1]) + d[2] * float(v[2])
    inside, edge = None, None
    for p, r in ((a, b), (b, c), (c, a)):
        d = [w - float(o) for w, o in zip(q, p)]
        e = r - p
        t = (dot(d, e) / max(float(e @ e), 1e-9)).clamp_(0, 1)
        squared = sum((w - t * float(v)) ** 2 for w, v in zip(d, e))
        edge = squared if edge is None else torch.minimum(edge, squared)
        side = dot(d, np.cross(normal, e)) >= 0
        inside = side if inside is None else inside & side
    if area < 1e-6:
        return edge.sqrt_()
    plane = dot([w - float(o) for w, o in zip(q, a)], normal).abs()
    return torch.where(inside, plane, edge.sqrt_())
