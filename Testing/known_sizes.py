"""Columns whose vertebrae have known sizes, and what tests of measuring want to know of them."""

import numpy as np
import pytest
import SimpleITK as sitk
from generated_spines import smooth_spine
from level_values import L1, L2, L3

from SpineContextSegLib.measure import vertebra_rows
from SpineContextSegLib.volume import Volume, to_sitk

# The fixture, for `from known_sizes import *`.
__all__ = ["lumbar"]

# A body whose column is straight and whose L2 is a wedge; one with a scoliosis of 46 degrees and a wedged T8; one whose
# T6 is biconcave.
STRAIGHT, CURVED, BICONCAVE = 8001, 8037, 8014
MARROW_HU, CORTEX_HU, OUTSIDE_HU = 150, 700, -80


@pytest.fixture(scope="module")
def lumbar():
    """Plan, and labels of L1 to L3 at 0.8 mm; L2 is a wedge."""
    return smooth_spine(STRAIGHT, "L1", "L3", 0.8)


def heights(row):
    return np.array([row.height_front_mm, row.height_middle_mm, row.height_back_mm])


def by_value(rows):
    return {row.value: row for row in rows}


def own_rows(labels, *values):
    return {value: row for value, row in by_value(vertebra_rows(None, labels)).items() if value in values}


def without(labels, *values):
    return Volume(np.where(np.isin(labels.array, values), 0, labels.array), labels.affine)


def lower_planes_lost(labels, value, share):
    """The scan begins so far up in a vertebra."""
    planes = np.flatnonzero((labels.array == value).any((1, 2)))
    first = int(planes[0] + share * len(planes))
    return Volume(labels.array[first:], labels.grid.crop((slice(first, None), slice(None), slice(None))).affine)


def painted_ct(labels):
    """Marrow of known density within 1.6 mm of cortex."""
    inside = np.isin(labels.array, (L1, L2, L3))
    depth = sitk.SignedMaurerDistanceMap(to_sitk(Volume(inside.astype(np.uint8), labels.affine)), True, False, True)
    marrow = sitk.GetArrayFromImage(depth) > 1.6
    return Volume(np.where(marrow, MARROW_HU, np.where(inside, CORTEX_HU, OUTSIDE_HU)).astype(np.int16), labels.affine)
