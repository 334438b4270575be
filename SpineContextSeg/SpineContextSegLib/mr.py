"""MR series have no unit; networks for MR see the values that this module makes of them."""

from __future__ import annotations

import numpy as np

from .even_sample import even_sample
from .hounsfield import looks_like_hu
from .volume import Volume

MR_MODEL = "spinecontext-mr"
"""The embedded model for MR."""
BRIGHT = 1000.0
"""The standardized value of what is brighter than all but one percent of the image."""
_BRIGHT_PERCENTILE = 99.0
# Less than when a scan is checked, where a person can overrule a refusal: of 600 crops of 20 to 60 mm about the spine
# in six CTs, three are taken for none.
_LEAST_FAT, _LEAST_SOFT_TISSUE = 0.001, 0.18


def standardized(volume: Volume) -> Volume:
    """An MR series in values that mean about the same in every series: BRIGHT times the square root of the signal's
    part of the 99th percentile.

    The root lifts the spine, which lies deep below the coil and so in the lowest quarter of the range. Voxels without
    a finite or positive value become 0.

    Args:
        volume: (k, j, i), any number type.

    Returns:
        float32 (k, j, i) on the same grid.
    """
    signal = np.nan_to_num(volume.array.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    np.maximum(signal, 0.0, out=signal)
    seen = even_sample(signal)
    seen = seen[seen > 0]
    bright = np.percentile(seen, _BRIGHT_PERCENTILE) if len(seen) else 1.0
    signal /= np.float32(bright)
    np.sqrt(signal, out=signal)
    signal *= np.float32(BRIGHT)
    return Volume(signal, volume.affine)


def in_units_of(modality: str, volume: Volume) -> Volume:
    """What networks for a modality see: HU as they are, signals standardized."""
    return volume if modality == "CT" else standardized(volume)


def has_hounsfield_units(array: np.ndarray) -> bool:
    """Whether values (k, j, i) can be those of a CT. Voxels without a number don't count."""
    sample = even_sample(array)
    return looks_like_hu(sample[np.isfinite(sample)], _LEAST_FAT, _LEAST_SOFT_TISSUE)


def segmented_in_hounsfield_units(modality: str, *, forced: bool) -> bool | None:
    """Whether a scan that a model for a modality has segmented holds HU: None, so that its values must tell, where a
    person has overruled the check of that."""
    if modality != "CT":
        return False
    return None if forced else True
