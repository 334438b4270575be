"""The vertebrae of a label map, each in a crop of its own, and what neighbors and canal say about where its body is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .column_order import top_to_bottom
from .field_of_view import CUT_PER_MM, FieldOfView
from .label_boxes import Box, label_boxes
from .labels import C1, C2, CANAL, VERTEBRAE
from .vertebral_frame import LOOK_MM, BodyFrame, coarsened, find_body, points_of
from .volume import Volume

# Of a body, by that of the next whole one; and how far it may lie aside of that, by the way between them.
_LEAST_RADIUS, _ASIDE_SHARE = 0.6, 0.2
_SUPERIOR = np.array([0.0, 0.0, 1.0])
# The canal within this distance of a vertebra's middle says which way the column runs there.
_CANAL_NEAR_MM, _LEAST_CANAL_LENGTH_MM = 40.0, 15.0
# A canal that is drawn as a thin line fills no bin.
_CANAL_POINT_MM, _CANAL_SHARE = 3.0, 0.1


@dataclass(frozen=True, eq=False)
class SeenVertebra:
    """One vertebra as it is in the labels.

    box: slices (k, j, i) around it, and mask: the vertebra in there. middle: (3,) RAS in mm, of all its voxels.
    border: (n, 3) RAS in mm, its voxels at the border of what is seen. border_mm2: their area there. partial: the
    border cuts it.
    """

    value: int
    box: Box
    mask: Volume
    middle: np.ndarray
    border: np.ndarray
    border_mm2: float
    partial: bool

    @classmethod
    def of(cls, value: int, box: Box, labels: Volume, view: FieldOfView) -> SeenVertebra:
        mask = Volume(labels.array[box] == value, labels.grid.crop(box).affine)
        border, projected_mm2 = [np.zeros((0, 3))], np.zeros(3)
        voxel_mm3 = mask.grid.voxel_volume_mm3
        for axis, indices in view.ends(mask.array, box):
            border.append(indices)
            projected_mm2[axis] += len(indices) * voxel_mm3 / mask.grid.spacing_mm[2 - axis]
        area_mm2 = float(np.linalg.norm(projected_mm2))  # also of a slanted end, which is seen along two axes or three
        along = [mask.array.sum(tuple({0, 1, 2} - {axis})) for axis in (2, 1, 0)]
        middle = mask.grid.world(np.array([counts @ np.arange(len(counts)) / counts.sum() for counts in along]))
        partial = bool(area_mm2 > CUT_PER_MM * np.count_nonzero(mask.array) * voxel_mm3)
        at_border = mask.grid.world(np.unique(np.concatenate(border), axis=0)[:, ::-1])
        return cls(value, box, mask, middle, at_border, area_mm2, partial)


def seen_vertebrae(labels: Volume, view: FieldOfView | None = None) -> tuple[list[SeenVertebra], np.ndarray]:
    """The vertebrae in VerSe labels (k, j, i) from top to bottom by their place, and (n, 3) RAS in mm: points within
    the labeled canal or less than a bin from it, some mm apart, or none.

    Args:
        view: what is seen on the grid of the labels; None for all of it.
    """
    view = view or FieldOfView(labels.grid)
    boxes = label_boxes(labels.array, VERTEBRAE | {CANAL})
    canal = np.zeros((0, 3))
    if CANAL in boxes:
        box = boxes.pop(CANAL)
        part = coarsened(Volume(labels.array[box] == CANAL, labels.grid.crop(box).affine), _CANAL_POINT_MM)
        canal = points_of(Volume(part.array >= _CANAL_SHARE, part.affine))
    seen = {value: SeenVertebra.of(value, box, labels, view) for value, box in boxes.items()}
    order = top_to_bottom({value: one.middle for value, one in seen.items()}, boxes, labels.grid)
    return [seen[value] for value in order], canal


def body_frames(seen: list[SeenVertebra], canal: np.ndarray) -> list[BodyFrame | None]:
    """The frame of each body, None where there is none: C1, and where the border leaves only an arch.

    Args:
        seen: from top to bottom.
        canal: (n, 3) RAS in mm, points within it; none where it isn't labeled.
    """
    whole = [one for one in seen if not one.partial]
    others = whole if len(whole) > 1 else seen

    def find(one: SeenVertebra, canal: np.ndarray) -> BodyFrame | None:
        return find_body(one.mask, _up(one, others, canal), canal, tilted=one.value != C2)

    frames = [None if one.value == C1 else find(one, canal) for one in seen]
    holes = [frame.canal for frame in frames if frame is not None and not np.isnan(frame.canal_mm)]
    if not len(canal) and len(holes) > 1:
        # Where the arch is broken, no hole shows the canal: it runs between those of the neighbors.
        line = _line(np.array(holes))
        frames = [
            find(one, line) if frame is not None and np.isnan(frame.canal_mm) else frame
            for one, frame in zip(seen, frames, strict=True)
        ]
    known = [frame for one, frame in zip(seen, frames) if frame is not None and not one.partial]
    return [
        frame if frame is None or not one.partial or _may_be_a_body(frame, known) else None
        for one, frame in zip(seen, frames)
    ]


def _may_be_a_body(frame: BodyFrame, known: list[BodyFrame]) -> bool:
    """Whether a frame in what the border leaves of a vertebra may be that of its body, by those of whole vertebrae.

    What is left may be half an arch, a transverse process, or the tip of a spinous process: these hang beside the
    vertebra below, so that of the first vertebra of a scan often only such a tip is seen.
    """
    if frame.canal_mm < frame.radius_mm:
        # The canal would run through it.
        return False
    if not known:
        return not np.isnan(frame.canal_mm)
    nearest = min(known, key=lambda other: float(np.linalg.norm(other.origin - frame.origin)))
    behind = nearest.radius_mm if np.isnan(nearest.canal_mm) else nearest.canal_mm
    aside, ahead, along = nearest.local(frame.origin)
    return (
        frame.radius_mm >= _LEAST_RADIUS * nearest.radius_mm
        and abs(aside) <= nearest.radius_mm + _ASIDE_SHARE * abs(along)
        and ahead >= -behind
    )


def _line(corners: np.ndarray) -> np.ndarray:
    """(m, 3) points along straight lines from each of the corners (n, 3) mm to the next."""
    pieces = [
        np.linspace(start, end, max(2, round(np.linalg.norm(end - start) / LOOK_MM)), endpoint=False)
        for start, end in zip(corners[:-1], corners[1:])
    ]
    return np.concatenate([*pieces, corners[-1:]])


def _up(one: SeenVertebra, others: list[SeenVertebra], canal: np.ndarray) -> np.ndarray:
    """(3,) about along the column at one vertebra: along the canal, else between its neighbors, else upright."""
    near = canal[((canal - one.middle) ** 2).sum(1) < _CANAL_NEAR_MM**2]
    if len(near) > 3:
        variances, axes = np.linalg.eigh(np.cov(near.T))
        # A line of length L has a variance of L^2 / 12; a piece as wide as long has no direction.
        if variances[2] > max(_LEAST_CANAL_LENGTH_MM**2 / 12, 2 * variances[1]):
            return axes[:, 2] * (1 if axes[:, 2] @ _SUPERIOR >= 0 else -1)
    above = [other.middle for other in others if other is not one and other.middle[2] > one.middle[2]]
    below = [other.middle for other in others if other is not one and other.middle[2] <= one.middle[2]]
    if not above and not below:
        return _SUPERIOR
    return (above[-1] if above else one.middle) - (below[0] if below else one.middle)
