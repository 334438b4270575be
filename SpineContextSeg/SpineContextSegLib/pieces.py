"""Connected pieces of what the network found: which are spine, which are specks."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

# Half of a small cervical vertebra. A speck in a rib or the pelvis is smaller, a vertebra cut by the border may be so
# too: therefore pieces at the border of the scan are kept.
LEAST_PIECE_ML = 2.0
HALF = 128  # of probabilities stored as 0..255


def drop_specks(probabilities: dict[int, np.ndarray], spine_values: frozenset[int], voxel_ml: float) -> int:
    """Set the spine's probabilities to zero, in place, where they belong to a small piece away from the border.

    Never keeps only the largest piece: a spine falls apart where a fracture, a cut or a bad slice interrupts it.

    Args:
        probabilities: label value -> uint8 (k, j, i), 0..255.
        spine_values: the label values that make up the binary spine; other structures are left alone.
        voxel_ml: volume of a voxel.

    Returns:
        How many pieces were dropped.
    """
    spine = sum(np.asarray(array, np.uint16) for value, array in probabilities.items() if value in spine_values)
    components = sitk.ConnectedComponent(sitk.GetImageFromArray((spine >= HALF).astype(np.uint8)), True)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(components)
    small = [n for n in statistics.GetLabels() if statistics.GetNumberOfPixels(n) * voxel_ml < LEAST_PIECE_ML]
    size = np.array(components.GetSize())
    dropped = []
    for label in small:
        box = np.array(statistics.GetBoundingBox(label))
        if (box[:3] > 0).all() and (box[:3] + box[3:] < size).all():
            dropped.append(label)
    if dropped:
        # One more voxel around each piece, or its rim of lower probabilities would leave a shell.
        mask = np.isin(sitk.GetArrayViewFromImage(components), dropped).astype(np.uint8)
        rim = sitk.GetArrayViewFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(mask), [1, 1, 1], sitk.sitkBox)) > 0
        for value in spine_values & probabilities.keys():
            probabilities[value][rim & ~((spine >= HALF) & (mask == 0))] = 0
    return len(dropped)
