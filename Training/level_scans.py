"""Generated scans for judging levels: random partial fields of view, and what of the column they show to count from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from SpineContextSegLib.identification import cut_vertebrae
from SpineContextSegLib.labels import SACRUM, VERTEBRAE, levels_known
from SpineContextSegLib.volume import Volume, count_labels

from .anatomy.levels import VERSE_VALUES
from .anatomy.plan import draw_plan
from .generated_scans import GeneratedScan
from .shown_findings import shown_findings

USUAL_COUNTS = 12, 5
SEEN, NOTHING, MISLEADING = "seen", "none in view", "seen, but misleading"
"""What there is to count from (`anchor`)."""

_C1, _C2, _C7, _T1, _T11, _T12, _L1, _L4, _L5, _L6, _T13 = (
    VERSE_VALUES[name] for name in ("C1", "C2", "C7", "T1", "T11", "T12", "L1", "L4", "L5", "L6", "T13")
)
_THORACIC = frozenset(value for name, value in VERSE_VALUES.items() if name.startswith("T"))
# The scanner pads what is out of its field of view with this or less.
_PADDING_HU = -1000
# How many scans are cut to a short piece of the column, and how long it is: from two lumbar vertebrae to half a trunk.
_SHORT_SHARE = 0.4
_SHORT_MM = 70.0, 260.0


@dataclass(frozen=True)
class LevelScan:
    """`image` (HU of a CT, signal of an MR) and `labels` VerSe values, both (k, j, i) on one grid.

    groups: words to group scans by, under "region", "slices", "blur", "finding", "variant in view", "field of
        view", "anchor".
    """

    image: Volume
    labels: Volume
    groups: dict[str, list[str]]


def level_scan(scan: GeneratedScan) -> LevelScan | None:
    """A generated scan, often only a short piece of it; None where it shows no whole vertebra but C1."""
    image, labels = seen_part(scan.image, scan.labels)
    rng = np.random.default_rng([scan.seed, 21])
    is_short = rng.random() < _SHORT_SHARE
    if is_short:
        image, labels = _short_field(image, labels, rng)
    values = set(count_labels(labels.array))
    whole = (values & VERTEBRAE) - cut_vertebrae(labels)
    if not levels_known(whole):
        return None
    vertebrae = draw_plan(scan.seed).vertebrae
    counts = tuple(sum(vertebra.name.startswith(region) for vertebra in vertebrae) for region in "TL")
    groups = {
        "region": [scan.region],
        "slices": [scan.slices],
        "blur": [scan.blur],
        "finding": [*scan.traits, *shown_findings(vertebrae, labels)] or ["plain"],
        "variant in view": variants(values),
        "field of view": ["short" if is_short else "usual"],
        "anchor": [anchor(whole, SACRUM in values, counts)],
    }
    return LevelScan(image, labels, groups)


def seen_part(ct: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """Without the slices that are all padding."""
    slices = np.flatnonzero((ct.array > _PADDING_HU).any(axis=(1, 2)))
    piece = slice(int(slices[0]), int(slices[-1]) + 1), slice(None), slice(None)
    affine = labels.grid.crop(piece).affine
    return Volume(ct.array[piece], affine), Volume(labels.array[piece], affine)


def anchor(whole: Collection[int], sacrum: bool, counts: tuple[int, int] = USUAL_COUNTS) -> str:
    """What a scan shows that levels can be counted from, given the whole vertebrae in view, from top to bottom.

    Anchors are C1 or C2, the first ribs (C7 and T1), the last ribs (the lowest thoracic vertebra and L1) and the
    lowest lumbar vertebra above the sacrum. An anchor misleads where the body has another number of levels than usual
    and the scan doesn't show it: a thirteenth rib where the first ones are out of view looks like the twelfth.

    Args:
        whole: values of the vertebrae that are wholly in view.
        sacrum: whether sacrum is in view.
        counts: how many thoracic and lumbar vertebrae the body has.
    """
    whole = set(whole)
    thoracic = whole & _THORACIC
    top = bool(whole & {_C1, _C2}) or {_C7, _T1} <= whole
    last_ribs = bool(thoracic) and _L1 in whole
    bottom = sacrum and _L1 + counts[1] - 1 in whole
    if not (top or last_ribs or bottom):
        return NOTHING
    usual_thoracic, usual_lumbar = (count == usual for count, usual in zip(counts, USUAL_COUNTS))
    if not top and (thoracic and not usual_thoracic or not last_ribs and not usual_lumbar):
        return MISLEADING
    return SEEN


def variants(values: Collection[int]) -> list[str]:
    """Which other numbers of levels the labels in view show."""
    values = set(values)
    shown = {
        "T13": _T13 in values,
        "no T12": {_T11, _L1} <= values and _T12 not in values,
        "L6": _L6 in values,
        "no L5": {_L4, SACRUM} <= values and _L5 not in values,
    }
    return [name for name, is_shown in shown.items() if is_shown]


def _short_field(ct: Volume, labels: Volume, rng: np.random.Generator) -> tuple[Volume, Volume]:
    """A random piece along the column, of vertebrae and sacrum that are in view."""
    column = np.isin(labels.array, [*VERTEBRAE, SACRUM])
    slices = np.flatnonzero(column.any(axis=(1, 2)))
    count = max(1, round(rng.uniform(*_SHORT_MM) / labels.grid.spacing_mm[2]))
    first = int(rng.integers(slices[0], max(slices[0], slices[-1] + 1 - count) + 1))
    piece = slice(first, first + count), slice(None), slice(None)
    affine = labels.grid.crop(piece).affine
    return Volume(ct.array[piece], affine), Volume(labels.array[piece], affine)
