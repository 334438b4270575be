"""What the distance to its neighbors says about the level of a vertebra, for a model without a network that names."""

from __future__ import annotations

import numpy as np

from .labels import LEVEL_ORDER

# From the middle of one body to that of the next below, in adults, about: heights of bodies and discs after Gilad and
# Nissan, Spine 11:154 (1986), and Kunkel et al., Journal of Anatomy 219:375 (2011). Linear between these.
_TYPICAL_MM = {1: 16.0, 7: 18.5, 8: 19.5, 19: 29.0, 20: 31.5, 24: 36.0}
# People differ in size by more than neighbors in one person.
_SPREAD = 0.13


def looks_by_spacing(centers: np.ndarray) -> dict[int, np.ndarray]:
    """Label value -> (n,), how well the distances to the neighbors fit each level; they add up to 1.

    Args:
        centers: (n, 3) middles of vertebrae in mm, from top to bottom.
    """
    values = [value for value in LEVEL_ORDER if value <= max(_TYPICAL_MM)]
    expected = np.interp(values, list(_TYPICAL_MM), list(_TYPICAL_MM.values()))
    gaps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    below, above = np.append(gaps, np.nan), np.insert(gaps, 0, np.nan)
    # The gap above a vertebra is that below its upper neighbor.
    off = np.stack([below[:, None] / expected, above[:, None] / np.insert(expected[:-1], 0, expected[0])]) - 1
    # However odd a distance is, where a vertebra was missed, some level is the likeliest.
    likeness = np.exp(-0.5 * (np.nan_to_num(off) / _SPREAD) ** 2).prod(0) + 1e-9
    likeness /= likeness.sum(1, keepdims=True)
    return dict(zip(values, likeness.T))
