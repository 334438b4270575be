"""Some of the voxels of a large scan, for what is told from how often values occur."""

from __future__ import annotations

import numpy as np

SAMPLE_VOXELS = 2_000_000


def even_sample(array: np.ndarray) -> np.ndarray:
    """Up to two million voxels (k, j, i), of a large scan a quarter of a million or more, as float64 (n,).

    Even steps along each axis, and longer ones along longer axes: of few slices, each is seen, however they are stored.
    """
    steps = np.ones(3, int)
    while (counts := -(-np.array(array.shape) // steps)).prod() > SAMPLE_VOXELS:
        steps[counts.argmax()] += 1
    return array[tuple(slice(None, None, step) for step in steps)].astype(np.float64).ravel()
