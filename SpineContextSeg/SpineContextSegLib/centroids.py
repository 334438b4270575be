"""Middles of vertebrae as VerSe's JSON: voxel indices along the axes of the image, and what these axes are.

The format is that of VerSe's published data and helper code (github.com/anjany/verse: README, section "Data";
`utils/data_utilities.py`, `load_centroids` and `calc_centroids`): a list whose first entry states the direction in
which each voxel axis increases, as in ["P", "I", "R"], followed by one entry of "label", "X", "Y", "Z" per vertebra,
counted from 0 at the center of the first voxel. anduin's result files are of the same kind.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .volume import Grid

if TYPE_CHECKING:
    from .measure import VertebraRow

_LETTERS = ("RL", "AP", "SI")
_DECIMALS = 2  # of a voxel; VerSe's own files hold one, which is 2.5 mm in a thick slice


def write_centroids(rows: Iterable[VertebraRow], grid: Grid, path: str | Path) -> None:
    """Writes the middles of vertebrae (`measure.vertebra_rows`), in their order, as voxel indices of `grid`.

    Args:
        rows: value and center of each vertebra are written.
        grid: of the image that the file belongs to.
        path: an earlier file is overwritten.

    Raises:
        OSError: the file can't be written.
    """
    to_index = np.linalg.inv(grid.affine)
    content: list[dict] = [{"direction": list(_directions(grid))}]
    for row in rows:
        place = to_index[:3, :3] @ np.array(row.center_mm) + to_index[:3, 3]
        x, y, z = (round(float(index), _DECIMALS) for index in place)
        content.append({"label": row.value, "X": x, "Y": y, "Z": z})
    Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _directions(grid: Grid) -> tuple[str, str, str]:
    """For each of the axes i, j, k the letter of the patient's side (R L A P S I) to which it runs, each axis another.

    On an oblique grid, the letters that fit best; nibabel's `aff2axcodes` gives the same up to a turn of 45 degrees.
    """
    cosines = grid.directions
    order = max(
        itertools.permutations(range(3)), key=lambda sides: sum(abs(cosines[side, n]) for n, side in enumerate(sides))
    )
    return tuple(_LETTERS[side][int(cosines[side, n] < 0)] for n, side in enumerate(order))
