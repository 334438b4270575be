"""Where to look: the part of a scan that the fine windows have to cover."""

from __future__ import annotations

import numpy as np

# Between lung and fat: a box around everything denser holds the whole body.
BODY_HU = -300.0
# Planes with less of it are noise, table edges or cables, not body.
_LEAST_SHARE = 0.002
_MARGIN_MM = 10.0


def body_region(hu: np.ndarray, spacing_mm: float) -> tuple[slice, slice, slice]:
    """The box around the body: HU (k, j, i) on an isotropic grid -> slices (k, j, i).

    Air around the patient costs windows and holds nothing. Where no body stands out, the whole array is returned.
    """
    dense = hu > BODY_HU
    margin = round(_MARGIN_MM / spacing_mm)
    region = []
    for axis in range(3):
        others = tuple(n for n in range(3) if n != axis)
        planes = np.flatnonzero(dense.mean(axis=others) > _LEAST_SHARE)
        first, last = (planes[0], planes[-1] + 1) if len(planes) else (0, hu.shape[axis])
        region.append(slice(max(0, int(first) - margin), min(hu.shape[axis], int(last) + margin)))
    return tuple(region)
