"""What each vertebra looks like: a crop around its middle, out of the overview, through the naming network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .locate import Overview

if TYPE_CHECKING:
    from .card import ModelCard
    from .runtime import Runtime

_AIR_HU = -1000.0


def looks_of(
    centers: np.ndarray, seen: Overview, card: ModelCard, runtime: Runtime, upside_down: bool = False
) -> dict[int, np.ndarray]:
    """Label value -> (n,) probability that each vertebra has that level, seen on its own.

    Args:
        centers: (n, 3) middles of vertebrae in mm along R, A, S.
        seen: at the spacing of the card.
        card: of a network that names vertebrae, see `Model.namer`.
        runtime: what runs it.
        upside_down: look at each vertebra with head and feet exchanged.
    """
    crops = [crop_around(center, seen, card) for center in centers]
    windows = [card.to_network_axes(crop[::-1] if upside_down else crop) for crop in crops]
    found = runtime(card.normalize(np.stack(windows))[:, None])
    by_value = found @ card.structure_matrix(list(card.structures)).T
    return dict(zip(card.structures, by_value.T))


def crop_around(center: np.ndarray, seen: Overview, card: ModelCard) -> np.ndarray:
    """HU (k, j, i) of the card's window with a point (mm along R, A, S) in its middle, to the voxel; air beyond."""
    size = card.window_kji
    middle = ((center - seen.grid.affine[:3, 3]) / seen.grid.spacing_mm)[::-1]
    first = np.rint(middle - (np.array(size) - 1) / 2).astype(int)
    inside = np.clip(first, 0, seen.hu.shape), np.clip(first + size, 0, seen.hu.shape)
    crop = np.full(size, _AIR_HU, np.float32)
    where = tuple(slice(a - f, b - f) for a, b, f in zip(*inside, first))
    crop[where] = seen.hu[tuple(slice(a, b) for a, b in zip(*inside))]
    return crop
