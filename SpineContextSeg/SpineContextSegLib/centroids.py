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

from .errors import InputRefused
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
    content: list[dict] = [{"direction": list(directions(grid))}]
    for row in rows:
        place = to_index[:3, :3] @ np.array(row.center_mm) + to_index[:3, 3]
        x, y, z = (round(float(index), _DECIMALS) for index in place)
        content.append({"label": row.value, "X": x, "Y": y, "Z": z})
    Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_centroids(path: str | Path, grid: Grid) -> dict[int, tuple[float, float, float]]:
    """VerSe value -> middle (R, A, S) in mm, of a file in VerSe's format; entries without a number are left out.

    Args:
        path: the file.
        grid: of the image that it belongs to, or of the same voxels stored with other flips and another order of axes.

    Raises:
        InputRefused: the file can't be read, or isn't such a file.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputRefused(f"'{path}' can't be read ({error.strerror or error}): check the path.") from error
    except ValueError as error:
        raise InputRefused(f"'{path.name}' is no JSON file: give centroids in VerSe's format.") from error
    try:
        stated = [tuple(entry["direction"]) for entry in content if "direction" in entry]
        points = {
            int(entry["label"]): np.array([float(entry[axis]) for axis in "XYZ"])
            for entry in content
            if "direction" not in entry
        }
        axes, flips = _way(stated[0], directions(grid))
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise InputRefused(
            f"'{path.name}' holds no centroids in VerSe's format: a direction such as ['P', 'I', 'R'], then label, X, "
            "Y and Z of each vertebra."
        ) from error
    last = np.array(grid.shape[::-1]) - 1
    centers = {}
    for value, point in points.items():
        index = np.where(flips, last - point[axes], point[axes])
        if np.isfinite(index).all():
            centers[value] = tuple(float(part) for part in grid.world(index))
    return centers


def directions(grid: Grid) -> tuple[str, str, str]:
    """For each of the axes i, j, k the letter of the patient's side (R L A P S I) to which it runs, each axis another.

    On an oblique grid, the letters that fit best; nibabel's `aff2axcodes` gives the same up to a turn of 45 degrees.
    """
    cosines = grid.directions
    order = max(
        itertools.permutations(range(3)), key=lambda sides: sum(abs(cosines[side, n]) for n, side in enumerate(sides))
    )
    return tuple(_LETTERS[side][int(cosines[side, n] < 0)] for n, side in enumerate(order))


def _way(stated: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[list[int], list[bool]]:
    """For each wanted axis, the stated axis along the same line, and whether it runs the other way.

    Raises:
        ValueError: the stated letters aren't three different axes.
    """
    lines = [next(line for line, letters in enumerate(_LETTERS) if letter in letters) for letter in wanted]
    own = [[line for line, letters in enumerate(_LETTERS) if str(letter) in letters] for letter in stated]
    if sorted(own) != [[0], [1], [2]]:
        raise ValueError(f"{stated} are no three directions")
    axes = [own.index([line]) for line in lines]
    return axes, [stated[axis] != letter for axis, letter in zip(axes, wanted, strict=True)]
