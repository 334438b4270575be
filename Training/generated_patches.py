"""An endless source of patches rendered from generated anatomy.

Anatomy (slow to make) is kept in a pool; turning, scaling, bending and scanning (fast) happen anew for every patch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .anatomy.generate import Anatomy, generate
from .centers import generated_centers, offsets
from .classes import BACKGROUND, OTHER_BONE, RIB, SPINE
from .mr_scanner import draw_mr_recipe, render_mr, without_epidural_fat
from .sampling import (
    AIR_HU,
    Deformation,
    Patch,
    outside,
    patch_coordinates,
    points_by_level,
    sample,
    some_points,
    worth,
)
from .scanner import draw_recipe, render_ct

_ARRAYS = ("tissue", "label", "level", "bone", "cortex")
# Where patches are centered. In CT, bones that are not spine get their share, or skull and ribs are taken for arches;
# an MR of the spine shows little else.
_CENTERS = {
    "CT": {"spine": 0.66, "other_bone": 0.24, "anywhere": 0.10},
    "MR": {"spine": 0.86, "other_bone": 0.08, "anywhere": 0.06},
}
_JITTER_MM = 36.0
_SCANNERS = {"CT": (draw_recipe, render_ct), "MR": (draw_mr_recipe, render_mr)}


class StoredAnatomy:
    """The arrays of one body that rendering needs, and points to center patches on."""

    def __init__(self, arrays: dict[str, Tensor], body_centers: Tensor):
        """`body_centers` as in `centers.py`."""
        self.arrays, self.body_centers = arrays, body_centers
        label = arrays["label"]
        spine = (label >= min(SPINE)) & (label <= max(SPINE))
        level = torch.where(spine, arrays["level"], 0)
        self.centers = {
            "spine": points_by_level(level),
            "other_bone": some_points((label == RIB) | (label == OTHER_BONE)),
            "anywhere": some_points(label == BACKGROUND),
        }
        points = torch.from_numpy(self.centers["spine"].astype(np.int64))
        self.levels = frozenset(level[tuple(points.T)].unique().tolist())

    @classmethod
    def of(cls, anatomy: Anatomy) -> "StoredAnatomy":
        """Keep what rendering needs of a freshly generated body."""
        return cls({name: getattr(anatomy, name) for name in _ARRAYS}, generated_centers(anatomy))

    def draw_center(self, rng: np.random.Generator, modality: str = "CT") -> np.ndarray:
        """A voxel index (k, j, i) of a kind drawn by `_CENTERS`; a kind that this body lacks falls back to the next."""
        shares = _CENTERS[modality]
        kind = rng.choice(list(shares), p=list(shares.values()))
        points = next(p for p in (self.centers[kind], self.centers["spine"], self.centers["anywhere"]) if len(p))
        return points[rng.integers(len(points))].astype(np.float64)


def anatomy_file(folder: Path, seed: int) -> Path:
    return folder / f"anatomy_{seed:05d}.npz"


def store(folder: Path, seed: int, spacing_mm: float, device: str = "cpu") -> Path:
    """Generate body `seed` and write it to `folder`; an interrupted write leaves no file under the final name, and
    several processes may write the same body."""
    target = anatomy_file(folder, seed)
    anatomy = generate(seed, spacing_mm=spacing_mm, device=device)
    part = target.with_suffix(f".{os.getpid()}.part.npz")
    arrays = {name: getattr(anatomy, name).cpu().numpy() for name in _ARRAYS}
    np.savez(part, spacing_mm=spacing_mm, body_centers=generated_centers(anatomy).cpu().numpy(), **arrays)
    os.replace(part, target)
    return target


def even_over_levels(levels: Sequence[frozenset[int]]) -> np.ndarray:
    """How often to draw each body, (n,) with a sum of 1, given the levels that it shows: often where these are rare."""
    count = Counter(level for body in levels for level in body)
    weights = np.array([sum(worth(level) / count[level] for level in body) or 1.0 for body in levels])
    return weights / weights.sum()


class GeneratedPatches:
    """Draws (image, target) patches from a pool of bodies."""

    def __init__(
        self, spacing_mm: float, size_kji: tuple[int, int, int], device: str = "cpu", modality: str = "CT"
    ):  # fmt: skip
        """modality: "CT" or "MR", what the bodies are scanned with."""
        self.spacing_mm, self.size, self.device = spacing_mm, size_kji, device
        self.modality = modality
        self.deformation = Deformation()
        self._pool: dict[str, StoredAnatomy] = {}
        self._shares = np.ones(0)

    def __len__(self) -> int:
        return len(self._pool)

    def generate(self, seed: int) -> None:
        """Make body `seed` on the device and add it to the pool."""
        self.add(f"seed {seed}", StoredAnatomy.of(generate(seed, self.spacing_mm, self.device)))

    def hold(self, seeds: range) -> None:
        """Make the pool the bodies of these seeds, and no others, in this order; those it has already stay."""
        names = {f"seed {seed}": seed for seed in seeds}
        for name in self._pool.keys() - names.keys():
            del self._pool[name]
        for name in names.keys() - self._pool.keys():
            self.generate(names[name])
        self._pool = {name: self._pool[name] for name in names}
        self._shares = even_over_levels([body.levels for body in self.bodies()])

    def add(self, name: str, anatomy: StoredAnatomy) -> None:
        """Put a body, its arrays on this source's device, into the pool."""
        self._pool[name] = anatomy
        self._shares = even_over_levels([body.levels for body in self.bodies()])

    def take_up(self, folder: Path) -> None:
        """Load the bodies that have been stored in `folder` since the last call."""
        # Ends in a digit: what a process is just writing ends in .part.npz.
        new = [path for path in sorted(folder.glob("anatomy_*[0-9].npz")) if path.name not in self._pool]
        for path in new:
            with np.load(path) as file:
                if float(file["spacing_mm"]) != self.spacing_mm:
                    raise ValueError(f"{path} has voxels of {file['spacing_mm']} mm instead of {self.spacing_mm} mm")
                *arrays, centers = (torch.from_numpy(file[name]).to(self.device) for name in (*_ARRAYS, "body_centers"))
            self.add(path.name, StoredAnatomy(dict(zip(_ARRAYS, arrays)), centers))

    def draw(self, rng: np.random.Generator) -> Patch:
        """A rendered patch."""
        body = self.bodies()[rng.choice(len(self), p=self._shares)]
        center = body.draw_center(rng, self.modality)
        return self.render(body, center + rng.uniform(-1, 1, 3) * _JITTER_MM / self.spacing_mm, rng)

    def bodies(self) -> list[StoredAnatomy]:
        """The pool."""
        return list(self._pool.values())

    def render(self, body: StoredAnatomy, center: np.ndarray, rng: np.random.Generator) -> Patch:
        """A patch of a body around a voxel index (k, j, i)."""
        points, to_array = patch_coordinates(center, self.size, self.deformation, rng)
        beyond = outside(tuple(body.arrays["label"].shape), points).to(self.device)
        names = ("tissue", "label", "level")
        tissue, label, level = sample([body.arrays[name] for name in names], points, "nearest").to(torch.uint8)
        bone, cortex = sample([body.arrays["bone"], body.arrays["cortex"]], points, "bilinear") / 255
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        draw, scan = _SCANNERS[self.modality]
        image, valid = scan(tissue, bone, cortex, label, self.spacing_mm, draw(rng), generator)
        if self.modality == "MR":
            label = without_epidural_fat(label, tissue)
        # Where the scanner saw nothing there is nothing to find, as in the padding at inference.
        valid &= ~beyond
        label = torch.where(valid, label, BACKGROUND)
        return Patch(
            torch.where(beyond, AIR_HU, image), label, level, offsets(points, to_array, label, level, body.body_centers)
        )
