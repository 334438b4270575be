"""What can be said about each vertebra of a segmentation: where it is, how large, how high, how dense.

Works from labels alone, a network's or a person's, with or without the spinal canal; see `vertebral_frame` for how
the body is told from the arch and `centroids` for VerSe's files of middles. Research use only.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import InputRefused
from .field_of_view import FieldOfView
from .label_boxes import Box
from .labels import C1, C2, SACRUM, VERTEBRA_LEVEL_UNKNOWN, VERTEBRAE, levels_known, structure
from .metrics import NAN
from .mr import has_hounsfield_units
from .roi import Box as Region
from .seen_vertebrae import SeenVertebra, body_frames, seen_vertebrae
from .vertebral_body import SHELL_MM, Body, interior_hu, measure_body
from .vertebral_frame import BodyFrame
from .volume import Volume, count_labels

_SHELL_VOXELS = 1.5
# Of the interior of a body: single voxels without a number say nothing of the rest of it.
_LEAST_FINITE_SHARE = 0.9
# Of a body's middle part at the border of the scan: a stray voxel or two there cut nothing.
_STRAY_VOXELS = 4
# Heights err by a slice and more, which a ratio of two doesn't forgive.
_THIN_MM = 2.0
# A process may be cut though its vertebra isn't called partial; at less, it all but ends there.
_CUT_PROCESS_MM2 = 30.0
# Share of an endplate that touches the next vertebra: over a disc 0.2 at the most in scans of 1 and 1.5 mm. In slices
# of 3 mm it is up to 0.6, but heights are rough there anyway.
_GROWN_TOGETHER = 0.3
TOO_LITTLE, NO_BODY, CUT_PROCESS = "too little interior for HU", "no whole body in view", "a process is cut"
"""Remarks."""
NO_HOUNSFIELD_UNITS = "No density was measured: the values of {name} are not the Hounsfield units of a CT."
"""For whoever wants one."""


@dataclass(frozen=True)
class VertebraRow:
    """One vertebra. What can't be measured is NaN.

    Attributes:
        value: VerSe's.
        name: of its segment, such as "L3 vertebra".
        center_mm: (R, A, S), the middle of the body; of the whole ring for C1, which has none, and of what is seen
            where the border of the scan leaves no body.
        volume_ml: of all its voxels, arch and processes included; of what is seen where it is `partial`.
        body_hu: mean HU of the trabecular interior of the body, 4 mm and 1.5 voxels within its surface; NaN without
            a CT, for C1 and C2 (the dens is hardly more than its cortex), where heights are NaN, where less than 0.2 ml
            of it is there, where more than a tenth of it has no number, and where it holds metal.
        height_front_mm, height_middle_mm, height_back_mm: of the body in its midsagittal plane: at the front wall, half
            way, at the back wall, along the line that halves the angle between its endplates. NaN for C1 and C2, whose
            bodies have no two endplates, and where the border of the scan cuts the body.
        partial: the border of the scan cuts it, as in the report of a run: 1 % of its voxels lie there, were they of
            1.5 mm (`field_of_view.CUT_PER_MM`). Where the border cuts only a process, up to a ninth of the vertebra
            may lie beyond it without that; a remark says so. Or the end of the labels' file cuts it (`covered`).
        metal: there is metal in the interior of the body, as of a screw or a cage.
        remark: in words, why something is empty or is not to be relied on.
    """

    value: int
    name: str
    center_mm: tuple[float, float, float]
    volume_ml: float
    body_hu: float
    height_front_mm: float
    height_middle_mm: float
    height_back_mm: float
    partial: bool
    metal: bool = False
    remark: str = ""

    def with_remark(self, remark: str) -> VertebraRow:
        return replace(self, remark="; ".join(filter(None, (remark, self.remark))))

    @property
    def front_to_back(self) -> float:
        """Height at the front by height at the back: small in a wedge fracture."""
        return self.height_front_mm / self.height_back_mm

    @property
    def middle_to_back(self) -> float:
        """Height in the middle by height at the back: small in a biconcave fracture."""
        return self.height_middle_mm / self.height_back_mm


def vertebra_rows(
    ct: Volume | None,
    labels: Volume,
    *,
    hounsfield: bool | None = None,
    regions: Sequence[Region] = (),
    covered: Box | None = None,
) -> list[VertebraRow]:
    """All vertebrae C1 to L6 of a segmentation, from top to bottom by their place; without the sacrum.

    Args:
        ct: HU on the same grid; None, or the signal of an MR, leaves the density out. It also tells where the grid
            holds nothing but filling, as after a rotation.
        labels: VerSe values (k, j, i) on the grid of the whole scan (its border says what is partial).
        hounsfield: whether `ct` holds HU, where that is known; None lets its values tell.
        regions: what all runs were limited to, whose sides are a border too; none where the whole scan was segmented.
        covered: slices (k, j, i) of what the file of labels covers, whose ends are a border, too, but for vertebrae
            that it was cropped to; None for the whole scan.

    Raises:
        InputRefused: single vertebrae aren't told apart in the labels, or CT and labels don't lie on one grid.
    """
    if ct is not None and not ct.grid.same_as(labels.grid):
        raise InputRefused("CT and labels don't lie on the same grid: save both on the scan's own grid.")
    view = FieldOfView(labels.grid, None if ct is None else ct.array, regions, covered)
    if ct is not None and not (has_hounsfield_units(ct.array) if hounsfield is None else hounsfield):
        ct = None
    seen, canal = seen_vertebrae(labels, view)
    if [one.value for one in seen] == [VERTEBRA_LEVEL_UNKNOWN] and not levels_known(count_labels(labels.array)):
        raise InputRefused(
            "These labels hold one value for all vertebrae, so that none can be measured on its own: give labels in "
            "which each has its own (1 to 25 and 28, as in VerSe)."
        )
    return [_row(one, frame, ct, labels) for one, frame in zip(seen, body_frames(seen, canal), strict=True)]


def _row(one: SeenVertebra, frame: BodyFrame | None, ct: Volume | None, labels: Volume) -> VertebraRow:
    # A voxel with endplate in it is no marrow, and neither is all of the way from there to the next one.
    shell_mm = max(SHELL_MM, _SHELL_VOXELS * float(one.mask.grid.spacing_mm.max()))
    body = frame and measure_body(one.mask, frame, shell_mm)
    heights, hu, metal, center = (NAN, NAN, NAN), np.zeros(0), False, one.middle
    if body:
        center = body.center
        if ct is not None and one.value != C2:
            hu, metal = interior_hu(Volume(ct.array[one.box], one.mask.affine), body)
        if one.value != C2 and not _cut(one, frame, body):
            heights = body.heights_mm
    seen = bool(np.isfinite(heights).all())
    remarks = []
    # Rounded, as two millimeters on oblique axes may come to a trace more.
    thickness_mm = float(one.mask.grid.plane_distances_mm.max().round(2))
    if one.value not in (C1, C2):
        if not seen:
            # What is left of it has its own density, and may be no more than cortex.
            hu = np.zeros(0)
            remarks.append(NO_BODY)
        elif thickness_mm > _THIN_MM:
            remarks.append(f"slices of {thickness_mm:.3g} mm: heights are rough")
        elif other := _grown_together_with(one, frame, body, labels):
            remarks.append(f"grown together with {structure(other).abbreviation}: heights are arbitrary")
        if ct is not None and seen and not len(hu):
            remarks.append(TOO_LITTLE)
    if one.border_mm2 > _CUT_PROCESS_MM2 and not one.partial and (seen or one.value in (C1, C2)):
        remarks.append(CUT_PROCESS)
    return VertebraRow(
        one.value,
        structure(one.value).name,
        tuple(float(part) for part in center),
        float(np.count_nonzero(one.mask.array) * one.mask.grid.voxel_volume_mm3 / 1000),
        NAN if metal else _mean(hu),
        *heights,
        one.partial,
        metal,
        "; ".join(remarks),
    )


def _mean(hu: np.ndarray) -> float:
    """Of the voxels (n,) that have a number; NaN where too few have one."""
    finite = hu[np.isfinite(hu)]
    return float(np.mean(finite)) if len(finite) and len(finite) >= _LEAST_FINITE_SHARE * len(hu) else NAN


def _cut(one: SeenVertebra, frame: BodyFrame, body: Body) -> bool:
    """Whether the border of the scan goes through the middle part of the body, from which its heights come."""
    x, y, _ = frame.local(one.border).T
    return np.count_nonzero((y >= body.y_back) & (np.abs(x) <= frame.radius_mm)) > _STRAY_VOXELS


def _grown_together_with(one: SeenVertebra, frame: BodyFrame, body: Body, labels: Volume) -> int | None:
    """Value of the vertebra, or of the sacrum, that begins where an endplate of the body ends; None over a disc."""
    to_indices = np.linalg.inv(labels.affine)
    up = frame.rotation[:, 2]
    half_voxel = up / (2 * np.abs(to_indices[:3, :3] @ up).max())
    for places in (body.top + half_voxel, body.bottom - half_voxel):
        indices = np.rint(places @ to_indices[:3, :3].T + to_indices[:3, 3]).astype(int)[:, ::-1]
        beyond = labels.array[tuple(indices.clip(0, np.array(labels.array.shape) - 1).T)]
        found, counts = np.unique(beyond[(beyond != 0) & (beyond != one.value)], return_counts=True)
        for value, count in zip(found, counts):
            if value in VERTEBRAE | {SACRUM} and count > _GROWN_TOGETHER * len(beyond):
                return int(value)
    return None


_COLUMNS = (
    ("level", lambda row: structure(row.value).abbreviation),
    ("label", lambda row: row.value),
    ("center R (mm)", lambda row: _number(row.center_mm[0], 1)),
    ("center A (mm)", lambda row: _number(row.center_mm[1], 1)),
    ("center S (mm)", lambda row: _number(row.center_mm[2], 1)),
    ("volume (ml)", lambda row: _number(row.volume_ml, 2)),
    ("body interior mean (HU)", lambda row: _number(row.body_hu, 1)),
    ("body height front (mm)", lambda row: _number(row.height_front_mm, 1)),
    ("body height middle (mm)", lambda row: _number(row.height_middle_mm, 1)),
    ("body height back (mm)", lambda row: _number(row.height_back_mm, 1)),
    ("front/back", lambda row: _number(row.front_to_back, 3)),
    ("middle/back", lambda row: _number(row.middle_to_back, 3)),
    ("partial", lambda row: "yes" if row.partial else "no"),
    # Empty where nobody looked: without density there is no answer.
    ("metal in body", lambda row: "yes" if row.metal else "" if math.isnan(row.body_hu) else "no"),
    ("remark", lambda row: row.remark),
)
TABLE_TITLES = tuple(title for title, _ in _COLUMNS)
TEXT_TITLES = frozenset({"level", "partial", "metal in body", "remark"})
"""Of the columns that hold words; the others hold numbers."""


def table_cells(row: VertebraRow) -> tuple[str, ...]:
    """What stands under `TABLE_TITLES` for one vertebra; empty where it couldn't be measured."""
    return tuple(str(cell(row)) for _, cell in _COLUMNS)


def write_table(rows: Iterable[VertebraRow], path: str | Path) -> None:
    """Writes a CSV file (UTF-8, commas, decimal points) with units in its header, one line per vertebra.

    Raises:
        OSError: the file can't be written.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(TABLE_TITLES)
        writer.writerows(table_cells(row) for row in rows)


def _number(value: float, decimals: int) -> str:
    return "" if math.isnan(value) else f"{value:.{decimals}f}"
