"""Middles of vertebrae in VerSe's format, as nibabel reads them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel

from SpineContextSegLib.volume import Grid


def read_centroids(path: Path, grid: Grid) -> dict[int, tuple[float, float, float]]:
    """Value -> middle (R, A, S) in mm, of a file that belongs to an image on `grid`."""
    first, *entries = json.loads(path.read_text(encoding="utf-8"))
    assert first == {"direction": list(nibabel.aff2axcodes(grid.affine))}
    assert all(set(entry) == {"label", "X", "Y", "Z"} for entry in entries)
    indices = {entry["label"]: [entry[axis] for axis in "XYZ"] for entry in entries}
    return {value: tuple(nibabel.affines.apply_affine(grid.affine, index)) for value, index in indices.items()}
