"""Label maps drawn on a real body, as anatomy that the scanner can render: `StoredAnatomy` for `generated_patches`.

Shaped for the SPL abdominal atlas (github.com/stity/spl-abdominal-atlas, 3D Slicer licence). Its real sacrum and pelvis
are worth having; what it lacks (skin, canal, cord, the split of body and arch) its patches don't teach.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.resampling import ras_grid
from SpineContextSegLib.volume import Volume, to_sitk

from .anatomy.tissues import Tissue
from .classes import BODY, DISC, OTHER_BONE, RIB, SACRUM
from .generated_patches import StoredAnatomy
from .smoothing import blur

_TISSUE_OF = {
    Tissue.LIVER: (3,), Tissue.SPLEEN: (4,), Tissue.PANCREAS: (6, 111, 112),
    Tissue.ARTERY: (7, *range(16, 32), *range(71, 77), 126, 127, 227),
    Tissue.VEIN: (8, 11, 12, *range(81, 87), 117, 128, 129, 151, 152, 153),
    Tissue.BOWEL: (9,), Tissue.GALLBLADDER: (10,), Tissue.STOMACH: (13,),
    Tissue.MUSCLE: (32, *range(131, 141), 143, *range(231, 242)),
    Tissue.KIDNEY: (51, 52), Tissue.RENAL_PELVIS: (141, 142, 145, 146),
}  # fmt: skip
_CLASS_OF = {
    BODY: tuple(range(301, 506)), DISC: tuple(range(551, 560)), SACRUM: (600,),
    RIB: tuple(range(681, 694)), OTHER_BONE: (2, 299, 700),
}  # fmt: skip
_CORTEX_MM = 1.2
_SKIN_MM = 30.0  # from the outermost drawn structure to the air


def load_atlas(
    path: Path, true_spacing_mm: tuple[float, float, float], spacing_mm: float, device: str = "cpu"
) -> StoredAnatomy:
    """The atlas on a RAS-aligned grid of `spacing_mm`.

    true_spacing_mm: along i, j, k, in place of the header's, which is too small for the anatomy that it shows.
    """
    volume = read_labels(path)
    affine = volume.affine.copy()
    affine[:3, :3] = volume.grid.directions * np.array(true_spacing_mm)
    volume = Volume(volume.array.astype(np.int16), affine)
    grid = ras_grid(volume.grid, spacing_mm)
    reference = to_sitk(Volume(np.zeros(grid.shape, np.uint8), grid.affine))
    drawn = sitk.GetArrayFromImage(sitk.Resample(to_sitk(volume), reference, sitk.Transform(), sitk.sitkLabelGaussian))

    label = torch.from_numpy(_translated(drawn, _CLASS_OF, 0))
    depth_mm = _distance_mm(np.isin(label.numpy(), (BODY, SACRUM, RIB, OTHER_BONE)), spacing_mm)
    bone = (0.5 + depth_mm / spacing_mm).clamp(0, 1)
    cortex = ((_CORTEX_MM - depth_mm + spacing_mm / 2) / spacing_mm).clamp(0, 1)
    tissue = torch.from_numpy(_translated(drawn, _TISSUE_OF, Tissue.FAT))
    tissue[label == DISC] = Tissue.DISC
    from_drawn_mm = -_distance_mm(drawn > 0, spacing_mm)
    tissue[blur(from_drawn_mm, (8 / spacing_mm,) * 3) > _SKIN_MM] = Tissue.AIR
    level = torch.zeros_like(label)  # vertebrae stay one class: body and arch aren't drawn apart
    bone, cortex = (bone * 255).byte(), (cortex * 255).byte()
    arrays = {"tissue": tissue, "label": label, "level": level, "bone": bone, "cortex": cortex}
    unknown = torch.full((256, 3), float("nan"), device=device)
    return StoredAnatomy({name: array.to(device) for name, array in arrays.items()}, unknown)


def _translated(drawn: np.ndarray, table: dict[int, tuple[int, ...]], default: int) -> np.ndarray:
    values = np.full(int(drawn.max()) + 1, default, np.uint8)
    for target, sources in table.items():
        values[[source for source in sources if source < len(values)]] = target
    return values[drawn]


def _distance_mm(mask: np.ndarray, spacing_mm: float) -> torch.Tensor:
    """Depth below the surface in mm, positive inside."""
    distance = sitk.SignedMaurerDistanceMap(
        sitk.GetImageFromArray(mask.astype(np.uint8)), insideIsPositive=True, squaredDistance=False
    )
    return torch.from_numpy(sitk.GetArrayFromImage(distance)) * spacing_mm
