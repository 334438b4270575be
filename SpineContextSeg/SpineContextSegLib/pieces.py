"""Connected pieces of what the network found: which of them make up the spine, and which are something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import SimpleITK as sitk

from .labels import SACRUM

# Half of a small cervical vertebra. A speck in a rib or the pelvis is smaller; a vertebra cut by the border may be so
# too, therefore pieces at the border of the scan may be of any size.
LEAST_PIECE_ML = 2.0
# How far to the side the middle of one piece may lie from that of its neighbor at the same height: a loose spinous
# process lies 40 mm from the middle of its vertebra, the head of a femur or a humerus 80 mm and more from the spine.
REACH_MM = 45.0
# Beyond a gap of three small vertebrae the column goes on with a whole one, or it has ended: what lies there belongs to
# a hip or the skull. What looks like sacrum that far above it is brain: nearer, it is that of a scan upside down.
FAR_MM, LEAST_FAR_ML = 60.0, 10.0
# How much further for each mm of height between two pieces: a column leaning by 35 degrees.
LEAN = 0.7
# Canal and discs lie against bone; a gap of two voxels is blur.
TOUCH_VOXELS = 2
# A column in more pieces than this isn't one: the largest are looked at, the rest are specks (noise gives thousands).
MOST_PIECES = 200
AtBorder = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Piece:
    """A connected piece: its label among the components, and where its middle runs.

    heights: (n,) in mm, rising; middles: (n, 2) in mm along (j, i), of each plane of the piece.
    """

    label: int
    voxels: int
    heights: np.ndarray
    middles: np.ndarray


def _apart(piece: Piece, column: list[Piece]) -> tuple[float, float]:
    """Distance in mm upward or downward to the nearest planes of the column, and the least distance aside there."""
    heights, middles = (np.concatenate([getattr(one, name) for one in column]) for name in ("heights", "middles"))
    gaps = np.abs(piece.heights[:, None] - heights)
    own, others = np.nonzero(gaps <= gaps.min() + 1e-6)
    return float(gaps.min()), float(np.linalg.norm(piece.middles[own] - middles[others], axis=1).min())


def keep_column(
    probabilities: dict[int, np.ndarray],
    spine_values: frozenset[int],
    spacing_mm: tuple[float, float, float],
    inside: int,
    at_border: AtBorder | None = None,
) -> None:
    """Set probabilities to zero, in place, in pieces that are specks, stand aside from the column or don't touch it.

    The column grows from the largest piece of bone. It may be in several: a fracture, a cut or a bad slice interrupts
    it. Pieces of the other structures (canal, discs) stay where they touch it.

    Args:
        probabilities: label value -> uint8 (k, j, i), 0..255, k upward along the body.
        spine_values: the label values that make up the binary spine.
        spacing_mm: along (i, j, k).
        inside: what belongs to a structure has this probability or more, of 0..255.
        at_border: (n, 3) indices (k, j, i) of voxels -> (n,) bool, whether they lie at the border of the scan; None
            where all faces of the arrays do.
    """
    spine = sum(np.asarray(array, np.uint16) for value, array in probabilities.items() if value in spine_values)
    sacrum = probabilities[SACRUM] >= inside if SACRUM in probabilities else None
    components, column = _column_among(spine >= inside, spacing_mm, at_border, sacrum)
    kept = np.isin(components, column)
    _clear([probabilities[value] for value in spine_values & probabilities.keys()], (components > 0) & ~kept, inside)
    around = dilated(kept, TOUCH_VOXELS)
    for value in probabilities.keys() - spine_values:
        others = components_of(probabilities[value] >= inside)
        _clear([probabilities[value]], (others > 0) & ~np.isin(others, np.unique(others[around])), inside)


def column_of(bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The part of `bone`, bool (k, j, i), that `keep_column` would keep if it were vertebrae and all faces were at the
    border of the scan."""
    return np.isin(*_column_among(bone, spacing_mm))


def _column_among(
    bone: np.ndarray,
    spacing_mm: tuple[float, float, float],
    at_border: AtBorder | None = None,
    sacrum: np.ndarray | None = None,
) -> tuple[np.ndarray, list[int]]:
    """The pieces of bone, see `components_of`, and the numbers of those that make up the column. sacrum: bool, which
    part of the bone that is."""
    components = components_of(bone)
    sacrum = np.zeros_like(bone) if sacrum is None else sacrum
    of_sacrum = np.bincount(components[sacrum], minlength=components.max() + 1)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    small = LEAST_PIECE_ML / voxel_ml
    candidates = _largest_pieces(components, spacing_mm, small, at_border or partial(_at_faces, bone.shape))
    column, rest = candidates[:1], candidates[1:]
    while rest:
        # The nearest in height comes first: the pieces between two that lie far apart say where the column leads.
        gap, aside, number = min((*_apart(piece, column), n) for n, piece in enumerate(rest))
        piece = rest.pop(number)
        is_above = gap > FAR_MM and piece.heights[0] > max(one.heights[-1] for one in column)
        if is_above and of_sacrum[piece.label] > 0.5 * piece.voxels:
            continue
        if aside <= REACH_MM + LEAN * gap and (gap <= FAR_MM or piece.voxels * voxel_ml >= LEAST_FAR_ML):
            column.append(piece)
    return components, [piece.label for piece in column]


def _at_faces(shape: tuple[int, int, int], indices: np.ndarray) -> np.ndarray:
    """(n,) bool: voxels (n, 3) in the first or last plane of an array along any axis."""
    return ((indices == 0) | (indices == np.array(shape) - 1)).any(1)


def components_of(mask: np.ndarray) -> np.ndarray:
    """Connected pieces, numbered from 1 on, the largest first."""
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    return sitk.GetArrayFromImage(sitk.RelabelComponent(components))


def dilated(mask: np.ndarray, voxels: int) -> np.ndarray:
    """The mask and all within a box of this many voxels to each side."""
    for axis in range(3):
        grown = mask.copy()
        before, after = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
        for step in range(1, voxels + 1):
            after[step:] |= before[:-step]
            after[:-step] |= before[step:]
        mask = grown
    return mask


def _clear(arrays: list[np.ndarray], lost: np.ndarray, inside: int) -> None:
    """Zero where `lost` and one voxel around, or the rim of lower probabilities would leave a shell."""
    if lost.any():
        rim = dilated(lost, 1)
        for array in arrays:
            array[rim & (lost | (array < inside))] = 0


def _largest_pieces(
    components: np.ndarray, spacing_mm: tuple[float, float, float], small: float, at_border: AtBorder
) -> list[Piece]:
    """The pieces, at most MOST_PIECES, in an array (k, j, i) of `components_of`, the largest first, without those of
    less than `small` voxels that don't reach the border."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(sitk.GetImageFromArray(np.where(components <= MOST_PIECES, components, 0)))
    pieces = []
    for label in statistics.GetLabels():
        box = np.array(statistics.GetBoundingBox(label))
        low, high = box[:3], box[:3] + box[3:]
        part = components[tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))] == label
        voxels = statistics.GetNumberOfPixels(label)
        # Seldom asked, as it would take long for large ones.
        if voxels < small and not at_border(np.argwhere(part) + low[::-1]).any():
            continue
        counts = part.sum((1, 2))
        planes = np.flatnonzero(counts)
        rows, columns = (np.arange(n) for n in part.shape[1:])
        middles = np.stack([part.sum(2) @ rows, part.sum(1) @ columns], 1)[planes] / counts[planes, None]
        pieces.append(
            Piece(
                label,
                voxels,
                (low[2] + planes) * spacing_mm[2],
                (middles + low[[1, 0]]) * np.array(spacing_mm)[[1, 0]],
            )
        )
    return pieces
