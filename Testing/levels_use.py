"""`spinecontextseg levels` as tests call it: small columns to call it on, and what it said."""

from __future__ import annotations

import numpy as np
import pytest

from SpineContextSegLib.cli import main
from SpineContextSegLib.labels import CANAL, SACRUM
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation
from Testing.geometry import GRIDS
from Testing.level_values import L1, L2, L3, L4, T12

# The fixture, for `from Testing.levels_use import *`.
__all__ = ["spine"]

GRID = GRIDS["lps"]


def stack(*values, grid=GRID) -> Volume:
    """Slabs of these values from top to bottom, with a voxel of background between them, on a grid whose k goes up."""
    array = np.zeros(grid.shape, np.uint16)
    thickness = grid.shape[0] // len(values)
    for n, value in enumerate(values):
        top = grid.shape[0] - n * thickness
        array[top - thickness + 1 : top, 20:40, 20:40] = value
    return Volume(array, grid.affine)


@pytest.fixture
def spine(tmp_path):
    """T12 to L4 with discs (the upper one of a vertebra that isn't seen), sacrum and canal, as .nii.gz."""
    path = tmp_path / "spine.nii.gz"
    write_segmentation(stack(118, T12, 119, L1, 120, L2, 121, L3, L4, SACRUM, CANAL), path)
    return path


def run(capsys, *arguments) -> tuple[list[str], list[str]]:
    """Lines on stdout and on stderr of a call that succeeds."""
    assert main(["levels", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def refused(capsys, *arguments) -> str:
    """The one line of a call that is refused."""
    try:
        code = main(["levels", *map(str, arguments)])
    except SystemExit as leaving:
        code = leaving.code
    captured = capsys.readouterr()
    assert code == 2 and captured.out == "", captured
    (line,) = captured.err.splitlines()
    assert line.startswith("spinecontextseg: ")
    return line.removeprefix("spinecontextseg: ")


def levels_in(lines: list[str]) -> list[str]:
    """The first words of a table, without its head."""
    assert lines[0].split() == ["Level", "Value", "Volume", "ml"]
    return [line.split()[0] for line in lines[1:] if line.split()[0] not in ("Written", "Nothing")]
