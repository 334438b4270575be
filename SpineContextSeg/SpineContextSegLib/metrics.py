"""How well a prediction agrees with a reference on one grid: overlap, surface distances, volume.

Dice, recall and precision count voxels. Surface distances are between *surface voxels*: voxels of a mask of which at
least one of the six face neighbors is outside it (beyond the edge of the array counts as outside), measured from voxel
center to voxel center in mm. This is MONAI's definition (`monai.metrics.compute_average_surface_distance`,
`compute_hausdorff_distance`); the package `surface-distance` weighs surface elements by their area instead and differs
by a fraction of a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .errors import InputRefused
from .label_boxes import bounding_box
from .labels import BINARY_SPINE, IGNORED, SACRUM
from .volume import Grid

NAN = float("nan")


@dataclass(frozen=True)
class Agreement:
    """One structure in one scan. Differences are prediction minus reference; NaN is what can't be measured."""

    dice: float
    average_surface_distance_mm: float
    hausdorff95_mm: float
    volume_difference_ml: float
    volume_difference_percent: float
    recall: float
    precision: float
    prediction_ml: float
    reference_ml: float


def agreement(prediction: np.ndarray, reference: np.ndarray, grid: Grid) -> Agreement:
    """All figures for one structure.

    Two empty masks have no Dice (NaN): where there was nothing to find, finding nothing shows nothing. An empty one
    beside a filled one scores Dice 0; neither has surface distances. Recall of an empty reference and precision of an
    empty prediction are NaN. On a sheared grid (tilted gantry) the surface distances are NaN as well.

    Args:
        prediction, reference: masks (k, j, i) of the same shape.
        grid: where both lie; gives spacing and voxel volume.
    """
    box = bounding_box(prediction | reference)
    if box is None:
        return Agreement(NAN, NAN, NAN, 0.0, NAN, NAN, NAN, 0.0, 0.0)
    prediction, reference = prediction[box], reference[box]
    predicted, referenced = int(prediction.sum()), int(reference.sum())
    common = int((prediction & reference).sum())
    voxel_ml = grid.voxel_volume_mm3 / 1000.0
    average, hausdorff95 = NAN, NAN
    if predicted and referenced and not grid.is_sheared:
        outward, inward = surface_distances_mm(prediction, reference, grid)
        average, hausdorff95 = average_symmetric(outward, inward), hausdorff(outward, inward, 95.0)
    return Agreement(
        dice=dice(prediction, reference),
        average_surface_distance_mm=average,
        hausdorff95_mm=hausdorff95,
        volume_difference_ml=(predicted - referenced) * voxel_ml,
        volume_difference_percent=100.0 * (predicted - referenced) / referenced if referenced else NAN,
        recall=common / referenced if referenced else NAN,
        precision=common / predicted if predicted else NAN,
        prediction_ml=predicted * voxel_ml,
        reference_ml=referenced * voxel_ml,
    )


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice of two masks of the same shape; two empty ones agree."""
    voxels = int(prediction.sum()) + int(reference.sum())
    return 2.0 * int((prediction & reference).sum()) / voxels if voxels else 1.0


def dice_table(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Dice of every value of the reference (rows) with every value of the prediction (columns).

    Args:
        prediction, reference: labels uint8 (k, j, i) of the same shape.

    Returns:
        float64 (256, 256); 0 where either value is absent. Row and column 0, the background, are 0 as well.
    """
    pairs = np.zeros(256 * 256, dtype=np.int64)
    # Plane by plane, as `np.bincount` turns its input into eight bytes per voxel.
    for referenced, predicted in zip(reference, prediction, strict=True):
        pair = referenced.astype(np.uint16) << 8 | predicted
        pairs += np.bincount(pair[pair != 0], minlength=len(pairs))
    pairs = pairs.reshape(256, 256)
    voxels = pairs.sum(1, keepdims=True) + pairs.sum(0, keepdims=True)
    dice = np.divide(2.0 * pairs, voxels, out=np.zeros(pairs.shape), where=voxels > 0)
    dice[0], dice[:, 0] = 0.0, 0.0
    return dice


def surface_distances_mm(prediction: np.ndarray, reference: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every surface voxel of each mask to the nearest surface voxel of the other, in mm.

    Args:
        prediction, reference: masks (k, j, i) with at least one voxel each.
        grid: gives the spacing.

    Returns:
        One-dimensional arrays: from the prediction's surface to the reference's, and back.

    Raises:
        InputRefused: the grid is sheared; its voxels don't lie on a rectangular lattice.
        ValueError: a mask is empty.
    """
    if grid.is_sheared:
        raise InputRefused(
            "Surface distances can't be measured on a grid with oblique axes (tilted gantry); "
            "resample prediction and reference to straight axes first."
        )
    if not (prediction.any() and reference.any()):
        raise ValueError("surface distances need two masks that are not empty")
    box = bounding_box(prediction | reference)
    one, other = surface_voxels(prediction[box]), surface_voxels(reference[box])
    return _distance_to(other, grid.spacing_mm)[one], _distance_to(one, grid.spacing_mm)[other]


def average_symmetric(outward: np.ndarray, inward: np.ndarray) -> float:
    """Average symmetric surface distance: the mean over the surface voxels of both masks, in mm."""
    return float(np.concatenate((outward, inward)).mean(dtype=np.float64))


def hausdorff(outward: np.ndarray, inward: np.ndarray, percentile: float = 100.0) -> float:
    """Hausdorff distance: the larger of the two directed percentiles, in mm; 100 gives the classical one."""
    return float(max(np.percentile(outward, percentile), np.percentile(inward, percentile)))


def surface_voxels(mask: np.ndarray) -> np.ndarray:
    """The voxels of `mask` (k, j, i) that have a face neighbor outside it."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(window)]
    return mask & ~inner


def binary_spine(labels: np.ndarray) -> np.ndarray:
    """Mask of every vertebra, sacrum and coccyx in VerSe `labels`."""
    return (labels >= min(BINARY_SPINE)) & (labels <= max(BINARY_SPINE))


def drop_unscored(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Copies of both label arrays without what the reference says nothing about.

    Voxels that the reference marks 255 become background in both. Where the reference holds no sacrum (VerSe leaves it
    out), a predicted sacrum becomes background as well: it earns neither reward nor penalty.
    """
    ignored = reference == IGNORED
    if not (reference == SACRUM).any():
        prediction = np.where(ignored | (prediction == SACRUM), 0, prediction)
    else:
        prediction = np.where(ignored, 0, prediction)
    return prediction, np.where(ignored, 0, reference)


def _distance_to(surface: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Distance in mm of every voxel center to the nearest voxel center of `surface` (k, j, i)."""
    # ITK measures to the object's contour; a margin of background makes every surface voxel part of that contour.
    image = sitk.GetImageFromArray(np.pad(surface, 1).astype(np.uint8))
    image.SetSpacing([float(step) for step in spacing_mm])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.abs(sitk.GetArrayViewFromImage(distance)[1:-1, 1:-1, 1:-1])
