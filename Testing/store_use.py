"""Small scans and labels for tests of the workbench's store, and processes of their own to do something with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.labels import STRUCTURES
from SpineContextSegLib.volume import Grid, Volume
from SpineContextSegLib.writing import write_volume

# The fixture, for `from Testing.store_use import *`.
__all__ = ["data"]

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither this signal nor this limit")

ROOT = Path(__file__).parents[1]
NAMES = {value: item.name for value, item in STRUCTURES.items()}
SMALL = Grid((12, 11, 10), np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 40], [0, 0, 3.0, -50], [0, 0, 0, 1]]))
DEADLINE_S = 120


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_scan(path: Path, seed: int, grid: Grid = SMALL) -> Path:
    """A scan of noise, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(-1000, 900, grid.shape).astype(np.int16)
    write_volume(Volume(voxels, grid.affine), path)
    return path


def some_labels(seed: int, grid: Grid = SMALL, values: tuple[int, ...] = (20, 21, 22)) -> Volume:
    """Every value in a block of its own on a grid, another place for each seed."""
    array = np.zeros(grid.shape, np.uint8)
    for n, value in enumerate(values):
        k = (seed + n * 3) % (grid.shape[0] - 2)
        array[k : k + 2, 2:7, 3:8] = value
    return Volume(array, grid.affine)


def same_voxels(one: Volume, other: Volume) -> bool:
    return np.array_equal(one.array, other.array) and one.grid.same_as(other.grid)


def start(code: str, *arguments: object, **options: object) -> subprocess.Popen:
    """A Python process that can import everything; its output is text in pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **options,
    )  # fmt: skip


def finished(process: subprocess.Popen) -> str:
    """What a process printed, once it has ended well."""
    out, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, error
    return out


def let_go(waiting: list[subprocess.Popen]) -> None:
    """Lets processes that wait for the end of their stdin go on at once, up to their end."""
    for process in waiting:
        process.stdin.close()
        process.stdin = None  # else it is closed once more
    for process in waiting:
        finished(process)
