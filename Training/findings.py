"""Findings laid over generated anatomy while it is scanned: lesions and metal with its artifacts."""

import math

import torch

from Training.classes import BODY, OTHER_BONE
from Training.smoothing import noise

METAL_HU = 6000.0  # before clipping


def _pick(mask: torch.Tensor, count: int, generator: torch.Generator) -> list[list[int]]:
    """Random voxels (k, j, i) of a mask, fewer than ``count`` where there are none."""
    found = torch.nonzero(mask)
    if len(found) == 0:
        return []
    index = torch.randint(len(found), (count,), generator=generator, device=generator.device)
    return found[index].tolist()


def _offsets(shape, center, device):
    return [
        (torch.arange(n, device=device, dtype=torch.float32) - c).reshape([-1 if a == b else 1 for b in range(3)])
        for a, (n, c) in enumerate(zip(shape, center))
    ]


def _capsule(shape, start, end, radius, device):
    """True within ``radius`` voxels of the segment from ``start`` to ``end`` (k, j, i voxels)."""
    offsets = _offsets(shape, start, device)
    axis = [e - s for s, e in zip(start, end)]
    along = sum(o * a for o, a in zip(offsets, axis)) / max(sum(a * a for a in axis), 1e-6)
    along = along.clamp(0, 1)
    return sum((o - along * a) ** 2 for o, a in zip(offsets, axis)) <= radius**2


def add_bone_lesions(trabecular, cortex, bone, lytic, sclerotic, size_mm, spacing_mm, generator):
    """Replace round-ish parts of bone by soft tissue (lytic, through the cortex) or dense bone (sclerotic).

    Returns:
        trabecular bone in HU and cortical fraction, changed.
    """
    rough = noise(bone.shape, (3.0 / spacing_mm,) * 3, generator)
    for number, center in enumerate(_pick(bone > 0.5, lytic + sclerotic, generator)):
        scale, level = torch.rand(2, generator=generator, device=generator.device).tolist()
        radius = size_mm * (0.5 + scale) / spacing_mm
        distance = sum(o**2 for o in _offsets(bone.shape, center, bone.device)).sqrt()
        amount = torch.sigmoid((radius - distance + 0.25 * radius * rough) * 2.0)
        if number < lytic:
            trabecular = torch.lerp(trabecular, torch.full_like(trabecular, 20.0 + 60.0 * level), amount)
            cortex = cortex * (1 - amount)
        else:
            trabecular = trabecular + amount * (150.0 + 650.0 * level)
    return trabecular, cortex


def add_metal(hu, label, kind, streak_hu, spacing_mm, generator):
    """Lay metal into bone.

    Args:
        kind: "screws" (pedicle screws with rods), "prosthesis" (ball and stem) or "fillings" (small lumps).
        streak_hu: height of the artifact beside the metal.

    Returns:
        CT numbers with metal, and the artifact to be added after the blur, or None where no metal fell.
    """
    shape, device = hu.shape, hu.device
    metal = torch.zeros(shape, dtype=torch.bool, device=device)
    centers = []
    mm = 1.0 / spacing_mm
    if kind == "screws":
        for k, j, i in _pick(label == BODY, 3, generator):
            a, b, c = torch.rand(3, generator=generator, device=generator.device).tolist()
            radius, length = (1.8 + 1.6 * a) * mm, (38 + 14 * b) * mm
            for side in (-1, 1):
                tip = (k, j + 4 * mm, i + side * 6 * mm)
                head = (k + 3 * mm, j + 4 * mm - length, i + side * (14 + 8 * c) * mm)
                metal |= _capsule(shape, tip, head, radius, device)
                rod = [(head[0] + s * (25 + 30 * a) * mm, head[1], head[2]) for s in (-1, 1)]
                metal |= _capsule(shape, *rod, 3.0 * mm, device)
                centers += [tip, head]
    elif kind == "prosthesis":
        for k, j, i in _pick(label == OTHER_BONE, 1, generator):
            a, b = torch.rand(2, generator=generator, device=generator.device).tolist()
            metal |= _capsule(shape, (k, j, i), (k, j, i), (11 + 6 * a) * mm, device)
            stem = (k - 110 * mm, j, i + (40 if b < 0.5 else -40) * mm)
            metal |= _capsule(shape, (k, j, i), stem, 6.0 * mm, device)
            centers += [(k, j, i), stem]
    else:
        for k, j, i in _pick(label == OTHER_BONE, 4, generator):
            a = torch.rand(1, generator=generator, device=generator.device).item()
            metal |= _capsule(shape, (k, j, i), (k + 2 * mm, j, i), (1.2 + 2.0 * a) * mm, device)
            centers.append((k, j, i))
    if not metal.any():
        return hu, None
    return torch.where(metal, METAL_HU, hu), _streaks(metal, centers, streak_hu, spacing_mm, generator)


def _streaks(metal, centers, streak_hu, spacing_mm, generator):
    """Bright and dark rays in the axial plane from each center, as strong as the slice holds metal.

    Between two pieces of metal the beam is hardened most, so the line that joins them is dark.
    """
    shape, device = metal.shape, metal.device
    amount = metal.sum((1, 2)).float().clamp(max=60.0).sqrt()
    amount = (amount / amount.max())[:, None, None]
    plane = torch.zeros(shape[1:], device=device)
    for _, j, i in centers:
        dj = (torch.arange(shape[1], device=device) - j)[:, None] * spacing_mm
        di = (torch.arange(shape[2], device=device) - i)[None, :] * spacing_mm
        angle, radius = torch.atan2(dj, di), torch.sqrt(dj**2 + di**2)
        draw = torch.rand(8, generator=generator, device=generator.device).tolist()
        rays = sum(
            torch.cos(order * angle + 2 * math.pi * phase) / math.sqrt(order)
            for order, phase in zip((2, 3, 5, 8, 13, 21), draw)
        )
        plane += rays * torch.exp(-radius / (8.0 + 25.0 * draw[6]))
    for (_, j0, i0), (_, j1, i1) in zip(centers[::2], centers[1::2]):
        length = math.hypot(j1 - j0, i1 - i0)
        if length < 1:
            continue
        j = torch.arange(shape[1], device=device)[:, None] - j0
        i = torch.arange(shape[2], device=device)[None, :] - i0
        along = (j * (j1 - j0) + i * (i1 - i0)) / length
        across = (j * (i1 - i0) - i * (j1 - j0)) / length * spacing_mm
        beyond = torch.maximum(-along, along - length).clamp_min(0) * spacing_mm
        plane -= 2.5 * torch.exp(-0.5 * (across / 5.0) ** 2 - beyond / 25.0)
    ripple = 1.0 + 0.3 * noise((shape[0], 1, 1), (0.0, 0.0, 0.0), generator)
    return streak_hu / math.sqrt(len(centers)) * amount * ripple * plane[None]
