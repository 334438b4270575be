"""A CT scanner for generated anatomy: CT numbers, bone, kernel, slice thickness, noise, metal, field of view.

Works on a whole volume and on a patch of one, on any device. What is drawn once per scan stands in a
:class:`Recipe`; what is drawn per voxel comes from a random generator seeded with it.
"""

from dataclasses import dataclass

import numpy as np
import torch

from Training.anatomy.tissues import Tissue
from Training.classes import BACKGROUND, DISC, RIB
from Training.findings import add_bone_lesions, add_metal
from Training.hounsfield import draw_phase, draw_tissue_hu, draw_tissue_texture
from Training.smoothing import along_axis, blur, noise, slice_matrices

MINIMUM_HU = -1024.0
MAXIMUM_HU = 3071.0
PARTIAL_VOLUME_VOXELS = 0.45


@dataclass(frozen=True)
class Recipe:
    """One scan of one patient. Lengths in mm, CT numbers in HU, standard deviations where it says noise or texture."""

    seed: int
    phase: str
    tissue_hu: np.ndarray  # per Tissue
    tissue_texture_hu: np.ndarray  # per Tissue
    tissue_texture_mm: float
    lung_vessel_hu: float  # height of the finest vessels over the lung

    trabecular_hu: float
    trabecular_texture_hu: tuple[float, float]  # fine, coarse
    trabecular_texture_mm: tuple[float, float]
    marrow_core_hu: float  # added deep inside a bone: fatty (negative) or dense core
    cortical_hu: float
    other_bone_factor: float  # trabecular bone of ribs, pelvis and skull against that of the vertebrae
    other_bone_offset_hu: float
    other_cortical_factor: float

    endplate_hu: float  # added to bone beside a disc: sclerosis or fat
    lytic_lesions: int
    sclerotic_lesions: int
    lesion_mm: float
    metal: str  # "none", "screws", "prosthesis", "fillings"
    streak_hu: float  # of the metal

    blur_mm: tuple[float, float]  # standard deviation of the point spread, in plane and along the slice axis
    sharpening: float  # overshoot of an edge-enhancing kernel
    sharpening_mm: float
    slice_axis: int  # 0 = k, 1 = j, 2 = i
    slice_thickness_mm: float  # 0 = as thin as the voxels
    slice_spacing_mm: float
    slice_offset: float
    slice_nearest: bool
    noise_hu: float
    noise_mm: float  # correlation in plane
    low_dose_streak_hu: float  # noise along i where the body is wide and dense
    shading_hu: float
    gain: float
    offset_hu: float

    crop: str  # "none", "circle", "box"
    crop_fraction: float  # of the extent that is lost, about
    pad_hu: float


def draw_recipe(rng: np.random.Generator) -> Recipe:
    """Draw a scan: 30 % with a sharp kernel and, whatever the kernel, half of them with thick slices (1 to 6 mm).

    Low, blurred bone is drawn more often than a hospital sees it, because that is where networks fail first.
    """
    u = rng.uniform

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    phase = draw_phase(rng)
    trabecular = float(u(60, 160) if chance(0.55) else u(40, 330))
    sharp = chance(0.3)
    blur_mm = float(np.exp(u(np.log(0.25), np.log(0.9))) if sharp else np.exp(u(np.log(0.6), np.log(2.6))))
    thick = chance(0.5)
    thickness = float(rng.choice([u(1, 2.5), u(2.5, 4), u(4, 6)], p=[0.3, 0.45, 0.25])) if thick else 0.0
    noise_hu = float(np.exp(u(np.log(3), np.log(45)))) * (u(1.0, 1.8) if sharp else 1.0)
    return Recipe(
        seed=int(rng.integers(2**31)),
        phase=phase,
        tissue_hu=draw_tissue_hu(rng, phase),
        tissue_texture_hu=draw_tissue_texture(rng),
        tissue_texture_mm=float(u(2.5, 9)),
        lung_vessel_hu=float(u(200, 750)),
        trabecular_hu=trabecular,
        trabecular_texture_hu=(float(u(5, 90)), float(u(0, 45))),
        trabecular_texture_mm=(float(u(0.6, 1.6)), float(u(4, 10))),
        marrow_core_hu=float(u(-70, 25)) if chance(0.6) else 0.0,
        cortical_hu=float(np.exp(u(np.log(420), np.log(1500)))),
        other_bone_factor=float(u(0.6, 1.3)),
        other_bone_offset_hu=float(u(-30, 120)),
        other_cortical_factor=float(u(0.7, 1.15)),
        endplate_hu=float(u(-80, 350)) if chance(0.3) else 0.0,
        lytic_lesions=int(rng.integers(1, 5)) if chance(0.06) else 0,
        sclerotic_lesions=int(rng.integers(1, 7)) if chance(0.08) else 0,
        lesion_mm=float(u(2.5, 10)),
        metal=str(rng.choice(["none", "screws", "prosthesis", "fillings"], p=[0.93, 0.03, 0.02, 0.02])),
        streak_hu=float(np.exp(u(np.log(30), np.log(400)))),
        blur_mm=(blur_mm, blur_mm * float(u(0.6, 1.4))),
        sharpening=float(u(0.3, 1.6)) if chance(0.3) else 0.0,
        sharpening_mm=float(u(0.8, 2.0)),
        slice_axis=int(rng.choice(3, p=[0.92, 0.04, 0.04])),
        slice_thickness_mm=thickness,
        slice_spacing_mm=thickness * float(rng.choice([1.0, u(0.5, 1.0), u(1.0, 1.25)], p=[0.6, 0.3, 0.1])),
        slice_offset=float(u(0.05, 0.95)),
        slice_nearest=chance(0.1),
        noise_hu=float(min(noise_hu, 80.0)),
        noise_mm=float(u(0.3, 0.9) if sharp else u(0.5, 1.9)),
        low_dose_streak_hu=float(np.exp(u(np.log(6), np.log(45)))) if chance(0.25) else 0.0,
        shading_hu=float(u(2, 15)) if chance(0.3) else 0.0,
        gain=float(u(0.95, 1.05)),
        offset_hu=float(u(-15, 15)),
        crop=str(rng.choice(["none", "circle", "box"], p=[0.8, 0.12, 0.08])),
        crop_fraction=float(u(0.05, 0.4)),
        pad_hu=float(rng.choice([-1000.0, -1024.0, u(-1024, -1000), -2000.0, -3024.0], p=[0.3, 0.4, 0.1, 0.1, 0.1])),
    )


def render_ct(
    tissue: torch.Tensor,
    bone: torch.Tensor,
    cortex: torch.Tensor,
    label: torch.Tensor,
    spacing_mm: float,
    recipe: Recipe,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scan an anatomy, whole or a patch of it.

    Args:
        tissue: ids of :class:`Training.anatomy.tissues.Tissue`, integer, (k, j, i), axes superior, anterior, right.
        bone: fraction of the voxel that is bone, uint8 0..255 or float 0..1, (k, j, i).
        cortex: fraction of that bone that is cortical, uint8 0..255 or float 0..1, (k, j, i).
        label: classes of anatomy (`classes.py`), integer, (k, j, i).
        spacing_mm: voxel edge.
        recipe: the scan.
        generator: on the device of the tensors; default: a new one seeded with ``recipe.seed``. The same state of it
            gives the same voxels.

    Returns:
        CT numbers in HU, float32 (k, j, i), and a boolean mask, False where the field of view was cropped and the
        voxel holds the recipe's padding value, which may lie below -1024.
    """
    device = tissue.device
    if generator is None:
        generator = torch.Generator(device=device).manual_seed(recipe.seed)
    bone, cortex = _fraction(bone), _fraction(cortex)

    # Tissue ids have hard edges; a voxel on a border holds both sides, which is a blur of about half a voxel.
    hu = blur(_soft_tissue(tissue, recipe, spacing_mm, generator), (PARTIAL_VOLUME_VOXELS,) * 3)
    hu = torch.lerp(hu, _bone(bone, cortex, label, recipe, spacing_mm, generator), bone)
    artifact = None
    if recipe.metal != "none":
        hu, artifact = add_metal(hu, label, recipe.metal, recipe.streak_hu, spacing_mm, generator)
    hu = _acquire(hu, artifact, recipe, spacing_mm, generator)
    hu = (hu * recipe.gain + recipe.offset_hu).clamp_(MINIMUM_HU, MAXIMUM_HU)
    valid = _field_of_view(hu.shape, recipe, generator)
    hu.masked_fill_(~valid, recipe.pad_hu)
    return hu, valid


def _fraction(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.is_floating_point() else values.float() / 255.0


def _averaged(texture_mm: float, spacing_mm: float) -> float:
    """What is left of a fine texture's standard deviation in voxels that average over it (second moments add)."""
    return (1.0 + spacing_mm**2 / (12.0 * texture_mm**2)) ** -1.5


def _soft_tissue(tissue, recipe, spacing_mm, generator):
    index = tissue.long()
    mean = torch.as_tensor(recipe.tissue_hu, device=tissue.device)
    texture = torch.as_tensor(recipe.tissue_texture_hu, device=tissue.device)
    sigma = recipe.tissue_texture_mm / spacing_mm
    pattern = noise(tissue.shape, (sigma,) * 3, generator)
    fine = 1.0 / spacing_mm
    grain = noise(tissue.shape, (fine,) * 3, generator)
    hu = mean[index] + texture[index] * (0.75 * pattern + 0.65 * _averaged(1.0, spacing_mm) * grain)
    # The finest vessels of the lung are spots and threads; larger ones are in the anatomy.
    vessels = (grain - 1.7).clamp(0, 1.2) * recipe.lung_vessel_hu
    return hu + vessels * (tissue == int(Tissue.LUNG))


def _bone(bone, cortex, label, recipe, spacing_mm, generator):
    fine_mm, coarse_mm = recipe.trabecular_texture_mm
    fine_hu, coarse_hu = recipe.trabecular_texture_hu
    fine_hu *= _averaged(fine_mm, spacing_mm)
    trabecular = recipe.trabecular_hu + fine_hu * noise(bone.shape, (fine_mm / spacing_mm,) * 3, generator)
    trabecular = trabecular + coarse_hu * noise(bone.shape, (coarse_mm / spacing_mm,) * 3, generator)
    cortical = torch.full_like(trabecular, recipe.cortical_hu)
    if recipe.marrow_core_hu:
        depth = blur(bone, (4.5 / spacing_mm,) * 3)
        trabecular = trabecular + recipe.marrow_core_hu * ((depth - 0.5) * 2).clamp(0, 1)
    # Ribs, other bone and bone without a class have a marrow of their own.
    other = (label >= RIB) | (label == BACKGROUND)
    trabecular = torch.where(other, trabecular * recipe.other_bone_factor + recipe.other_bone_offset_hu, trabecular)
    cortical = torch.where(other, cortical * recipe.other_cortical_factor, cortical)
    if recipe.endplate_hu:
        beside_disc = blur((label == DISC).float(), (1.8 / spacing_mm,) * 3)
        trabecular = trabecular + recipe.endplate_hu * (2 * beside_disc).clamp(0, 1)
    if recipe.lytic_lesions or recipe.sclerotic_lesions:
        trabecular, cortex = add_bone_lesions(
            trabecular, cortex, bone, recipe.lytic_lesions, recipe.sclerotic_lesions, recipe.lesion_mm, spacing_mm,
            generator,
        )
    return torch.lerp(trabecular.clamp_min(-120.0), cortical, cortex)


def _acquire(hu, artifact, recipe, spacing_mm, generator):
    """Point spread, slice profile, noise, edge enhancement; noise arises in the slices, so it is added there."""
    axis = recipe.slice_axis
    in_plane, through = (value / spacing_mm for value in recipe.blur_mm)
    hu = blur(hu, tuple(through if a == axis else in_plane for a in range(3)))
    if artifact is not None:
        hu = hu + artifact
    back = None
    if max(recipe.slice_thickness_mm, recipe.slice_spacing_mm) > 1.15 * spacing_mm:
        average, back = slice_matrices(
            hu.shape[axis], recipe.slice_thickness_mm / spacing_mm, recipe.slice_spacing_mm / spacing_mm,
            recipe.slice_offset, recipe.slice_nearest, hu.device,
        )
        hu = along_axis(hu, average, axis)
    short = recipe.noise_mm / spacing_mm
    sigmas = tuple(0.4 * short if a == axis and back is None else 0.0 if a == axis else short for a in range(3))
    if recipe.noise_hu:
        hu = hu + recipe.noise_hu * noise(hu.shape, sigmas, generator)
    if recipe.low_dose_streak_hu:
        streak = noise(hu.shape, (0.3 * short, 0.5 * short, 14.0 / spacing_mm), generator)
        density = ((hu + 1000.0) / 1000.0).clamp(0.0, 2.0).mean(2, keepdim=True)  # along a ray from side to side
        hu = hu + recipe.low_dose_streak_hu * density.square() * streak
    if recipe.shading_hu:
        hu = hu + recipe.shading_hu * noise(hu.shape, (40.0 / spacing_mm,) * 3, generator)
    if recipe.sharpening:
        wide = recipe.sharpening_mm / spacing_mm
        hu = hu + recipe.sharpening * (hu - blur(hu, tuple(0.0 if a == axis else wide for a in range(3))))
    return hu if back is None else along_axis(hu, back, axis)


def _field_of_view(shape, recipe, generator):
    """True inside the field of view: a circle in the axial plane, or a box that lacks one side."""
    device = generator.device
    valid = torch.ones(shape, dtype=torch.bool, device=device)
    if recipe.crop == "none":
        return valid
    draw = torch.rand(3, generator=generator, device=device).tolist()
    if recipe.crop == "box":
        axis = int(draw[0] * 3)
        lost = max(1, int(recipe.crop_fraction * shape[axis] * (0.2 + 0.8 * draw[1])))
        valid.narrow(axis, 0 if draw[2] < 0.5 else shape[axis] - lost, lost).fill_(False)
    elif recipe.crop == "circle":
        height, width = shape[1:]
        # A circle of any size, from inscribed in the array to far larger with its edge cutting one corner.
        radius = 0.5 * max(height, width) * (1.0 + 1.5 * draw[2])
        angle = 6.2832 * draw[0]
        away = radius - 0.5 * max(height, width) * (1.2 - recipe.crop_fraction * 1.5 * draw[1])
        j = torch.arange(height, device=device) - (height - 1) / 2 - away * np.sin(angle)
        i = torch.arange(width, device=device) - (width - 1) / 2 - away * np.cos(angle)
        valid &= (j[:, None] ** 2 + i[None, :] ** 2 <= radius**2)[None]
    return valid
