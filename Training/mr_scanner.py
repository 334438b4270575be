"""An MR scanner for generated anatomy: contrast, coil, slices, noise, field of view. Shares its filters with the CT's.

Works on a patch of a body, on any device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from SpineContextSegLib.mr import BRIGHT
from Training.anatomy.tissues import Tissue
from Training.classes import BACKGROUND, BODY, CANAL, DISC, OTHER_BONE, POSTERIOR, RIB, SACRUM
from Training.mr_signal import Signals, draw_signals
from Training.smoothing import along_axis, blur, noise, slice_matrices

_SAGITTAL, _CORONAL, _AXIAL = 2, 1, 0
_PARTIAL_VOLUME_VOXELS = 0.45


@dataclass(frozen=True)
class MRRecipe:
    """One series of one patient. Lengths in mm; textures, noise and shading in parts of the signal they lie on."""

    signals: Signals
    texture: float
    fat_in_muscle: float  # share of fat where there is most of it; 0 = none
    marrow_texture: tuple[float, float]  # fine, patchy
    endplate: float  # change of the marrow beside a disc
    arch_marrow: float  # signal of the marrow of arches and sacrum, in parts of that of bodies
    shell_mm: float  # depth below the surface of arches and sacrum at which most is marrow
    ring_mm: float  # thickness of the rim of a disc
    blur_mm: float
    chemical_shift_mm: float  # of fat, along the frequency axis
    frequency_axis: int
    slice_axis: int
    slice_thickness_mm: float  # 0 = as thin as the voxels
    slice_spacing_mm: float
    slice_offset: float
    noise: float
    coil_mm: float  # the signal falls to 1/e over this way to the front; 0 = even
    shading: float
    shading_mm: float
    saturated_mm: float  # a band without signal begins this far in front of the vertebral bodies; 0 = none
    brightness: float  # of the brightest common tissue, against the 99th percentile of the series
    slab_mm: float  # extent of the stack of slices; 0 = the whole patch


def draw_mr_recipe(rng: np.random.Generator) -> MRRecipe:
    """Draw a series: mostly thick sagittal slices, as in the clinic; some axial, some isotropic."""
    u = rng.uniform

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    thickness = float(u(2.5, 5.5)) if chance(0.8) else 0.0
    return MRRecipe(
        signals=draw_signals(rng),
        texture=float(u(0.02, 0.15)),
        fat_in_muscle=float(u(0.2, 1.0)) if chance(0.5) else 0.0,
        marrow_texture=(float(u(0, 0.12)), float(u(0, 0.25))),
        endplate=float(u(-0.5, 0.6)) if chance(0.25) else 0.0,
        arch_marrow=float(u(0.8, 1.3)),
        shell_mm=float(u(0.4, 1.6)),
        ring_mm=float(u(1.5, 4.0)),
        blur_mm=float(u(0.3, 1.1)),
        chemical_shift_mm=float(u(-1.2, 1.2)) if chance(0.5) else 0.0,
        frequency_axis=int(rng.choice([_AXIAL, _CORONAL])),
        slice_axis=int(rng.choice([_SAGITTAL, _CORONAL, _AXIAL], p=[0.75, 0.05, 0.20])),
        slice_thickness_mm=thickness,
        slice_spacing_mm=thickness * float(u(1.0, 1.3)),
        slice_offset=float(u(0.05, 0.95)),
        noise=float(np.exp(u(np.log(0.006), np.log(0.045)))),
        coil_mm=float(np.exp(u(np.log(90), np.log(400)))) if chance(0.75) else 0.0,
        shading=float(u(0, 0.35)),
        shading_mm=float(u(30, 80)),
        saturated_mm=float(u(4, 30)) if chance(0.25) else 0.0,
        brightness=float(np.exp(u(np.log(0.25), np.log(1.3)))),
        slab_mm=float(u(45, 110)) if chance(0.6) else 0.0,
    )


def render_mr(
    tissue: torch.Tensor,
    bone: torch.Tensor,
    cortex: torch.Tensor,
    label: torch.Tensor,
    spacing_mm: float,
    recipe: MRRecipe,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scan a patch of an anatomy.

    Args:
        tissue: ids of :class:`Training.anatomy.tissues.Tissue`, integer, (k, j, i), axes superior, anterior, right.
        bone: fraction of the voxel that is bone, float 0..1, (k, j, i).
        cortex: fraction of that bone that is dense, float 0..1, (k, j, i).
        label: classes of anatomy (`classes.py`), integer, (k, j, i).
        spacing_mm: voxel edge.
        recipe: the series.
        generator: of what is drawn per voxel, on the device of the tensors.

    Returns:
        Values as after `SpineContextSegLib.mr.standardized`, float32 (k, j, i), and a boolean mask, False where no
        slice lies; there the value is 0.
    """
    signal = _soft_tissue(tissue, label, spacing_mm, recipe, generator)
    marrow = _marrow(label, spacing_mm, recipe, generator)
    cortex = _shell(bone, cortex, label, spacing_mm, recipe)
    fat = (tissue == int(Tissue.FAT)) * (1 - bone)
    signal = blur(signal, (_PARTIAL_VOLUME_VOXELS,) * 3)
    signal = torch.lerp(signal, torch.lerp(marrow, torch.full_like(marrow, recipe.signals.cortical), cortex), bone)
    if recipe.chemical_shift_mm:
        fatty = blur(fat + bone * (1 - cortex), (_PARTIAL_VOLUME_VOXELS,) * 3).clamp(0, 1) * signal
        shifted = _shifted(fatty, recipe.chemical_shift_mm / spacing_mm, recipe.frequency_axis)
        signal = (signal - 0.6 * fatty + 0.6 * shifted).clamp_min(0)
    signal = signal * _sensitivity(label, spacing_mm, recipe, generator)
    signal = _acquired(signal, spacing_mm, recipe, generator)
    valid = _slab(signal, spacing_mm, recipe, generator)
    return torch.sqrt(signal * recipe.brightness) * valid * BRIGHT, valid


def without_epidural_fat(label: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
    """Labels (k, j, i) in which the canal is the dural sac: what an MR shows of it, and what others label in one."""
    return torch.where((label == CANAL) & (tissue == int(Tissue.FAT)), BACKGROUND, label)


def _soft_tissue(tissue, label, spacing_mm, recipe, generator):
    signals = recipe.signals
    signal = torch.as_tensor(signals.tissue, device=tissue.device)[tissue.long()]
    disc = label == DISC
    if disc.any():  # a bright middle in a dark ring
        middle = (2 * blur(disc.float(), (recipe.ring_mm / spacing_mm,) * 3) - 1).clamp(0, 1)
        signal = torch.where(disc, signals.annulus + (signals.nucleus - signals.annulus) * middle, signal)
    pattern = noise(tissue.shape, (4.0 / spacing_mm,) * 3, generator)
    if recipe.fat_in_muscle:
        streaks = noise(tissue.shape, (9.0 / spacing_mm, 2.5 / spacing_mm, 2.5 / spacing_mm), generator)
        share = recipe.fat_in_muscle * (0.5 + streaks).clamp(0, 1) * (tissue == int(Tissue.MUSCLE))
        signal = torch.lerp(signal, torch.full_like(signal, float(signals.tissue[Tissue.FAT])), share)
    grain = noise(tissue.shape, (1.0 / spacing_mm,) * 3, generator)
    return signal * (1 + recipe.texture * (0.7 * pattern + 0.7 * grain)).clamp_min(0)


def _marrow(label, spacing_mm, recipe, generator):
    fine, patchy = recipe.marrow_texture
    texture = 1 + fine * noise(label.shape, (0.8 / spacing_mm,) * 3, generator)
    texture = texture + patchy * noise(label.shape, (6.0 / spacing_mm,) * 3, generator)
    marrow = recipe.signals.marrow * texture.clamp_min(0.1)
    marrow = torch.where((label == RIB) | (label == OTHER_BONE), marrow * 1.1, marrow)
    marrow = torch.where((label == POSTERIOR) | (label == SACRUM), marrow * recipe.arch_marrow, marrow)
    if recipe.endplate:
        beside = (2 * blur((label == DISC).float(), (2.5 / spacing_mm,) * 3)).clamp(0, 1)
        marrow = marrow * (1 + recipe.endplate * beside)
    return marrow


def _shell(bone, cortex, label, spacing_mm, recipe):
    """The dense part of bone. More than half of an arch is dense to a CT, where an MR shows marrow in a dark line."""
    within = (2 * blur(bone, (recipe.shell_mm / spacing_mm,) * 3) - 1).clamp(0, 1)
    return torch.where((label == POSTERIOR) | (label == SACRUM), cortex * (1 - within), cortex)


def _shifted(values, voxels, axis):
    """Moved along an axis, between voxels linearly; what comes in at the edge repeats it."""
    place = (torch.arange(values.shape[axis], device=values.device) - voxels).clamp(0, values.shape[axis] - 1)
    low = place.floor().long().clamp_max(values.shape[axis] - 2)
    shape = [1, 1, 1]
    shape[axis] = -1
    return torch.lerp(
        values.index_select(axis, low), values.index_select(axis, low + 1), (place - low).reshape(shape)
    )


def _sensitivity(label, spacing_mm, recipe, generator):
    """How much signal comes from each voxel: the coil lies under the back, what moves in front may be saturated."""
    result = torch.exp(recipe.shading * noise(label.shape, (recipe.shading_mm / spacing_mm,) * 3, generator))
    ahead_mm = torch.arange(label.shape[1], device=label.device)[None, :, None] * spacing_mm
    if recipe.coil_mm:
        result = result * torch.exp(-ahead_mm / recipe.coil_mm)
    bodies = torch.nonzero((label == BODY).any(2).any(0))
    if recipe.saturated_mm and len(bodies):
        begins_mm = float(bodies[-1]) * spacing_mm + recipe.saturated_mm
        result = result * (0.12 + 0.88 * torch.sigmoid((begins_mm - ahead_mm) / 3.0))
    return result


def _acquired(signal, spacing_mm, recipe, generator):
    """Point spread, slices, and noise that is Rician: of the length of a complex number."""
    axis = recipe.slice_axis
    in_plane = recipe.blur_mm / spacing_mm
    signal = blur(signal, tuple(0.0 if a == axis else in_plane for a in range(3)))
    back = None
    if recipe.slice_spacing_mm > 1.15 * spacing_mm:
        average, back = slice_matrices(
            signal.shape[axis], recipe.slice_thickness_mm / spacing_mm, recipe.slice_spacing_mm / spacing_mm,
            recipe.slice_offset, False, signal.device,
        )  # fmt: skip
        signal = along_axis(signal, average, axis)
    sigmas = tuple(0.0 if a == axis else 0.35 / spacing_mm for a in range(3))
    real, imaginary = (recipe.noise * noise(signal.shape, sigmas, generator) for _ in range(2))
    signal = torch.sqrt((signal + real).square() + imaginary.square())
    return signal if back is None else along_axis(signal, back, axis)


def _slab(signal, spacing_mm, recipe, generator):
    """True where the stack of slices lies: all of it within the patch, 15 to 85 % of what it leaves free before it."""
    valid = torch.ones(signal.shape, dtype=torch.bool, device=signal.device)
    length = signal.shape[recipe.slice_axis]
    kept = round(recipe.slab_mm / spacing_mm)
    if not recipe.slab_mm or kept >= length:
        return valid
    draw = float(torch.rand(1, generator=generator, device=signal.device))
    first = round((length - kept) * (0.15 + 0.7 * draw))
    valid.narrow(recipe.slice_axis, 0, first).fill_(False)
    valid.narrow(recipe.slice_axis, first + kept, length - first - kept).fill_(False)
    return valid
