"""Grids of every kind that scanners and programs make, for tests of geometry."""

import numpy as np

from SpineContextSegLib.volume import Grid


def rotation(degrees: float, axis: int) -> np.ndarray:
    """3x3 rotation about a world axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def centered_grid(spacing_ijk, size_mm_ijk, axes=np.eye(3), center=(12.5, -31.0, 204.25)) -> Grid:
    """A grid of about `size_mm_ijk` whose middle lies at `center` (RAS, mm); columns of `axes` are i, j, k in RAS."""
    spacing = np.asarray(spacing_ijk, dtype=float)
    shape = np.maximum(3, np.rint(np.asarray(size_mm_ijk) / spacing)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes, dtype=float) * spacing
    affine[:3, 3] = np.asarray(center) - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(tuple(shape[::-1]), affine)


def _gantry_tilt(degrees: float) -> np.ndarray:
    """Slices tilted about the left-right axis while the table moves along the body: a sheared lattice."""
    axes = rotation(degrees, 0)
    axes[:, 2] = (0.0, 0.0, 1.0)
    return axes


LPS = np.diag([-1.0, -1.0, 1.0])
SAGITTAL = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CORONAL = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
OBLIQUE = rotation(17, 0) @ rotation(-9, 1) @ rotation(23, 2)

SIZE_MM = (60.0, 54.0, 66.0)

GRIDS: dict[str, Grid] = {
    "upright": centered_grid((1, 1, 1), SIZE_MM),
    "lps": centered_grid((1, 1, 1), SIZE_MM, LPS),
    "upside_down": centered_grid((0.9, 0.9, 1.5), SIZE_MM, np.diag([1.0, -1.0, -1.0])),
    "left_handed": centered_grid((0.8, 0.8, 2.0), SIZE_MM, np.diag([1.0, -1.0, 1.0])),
    "sagittal": centered_grid((1.5, 1.5, 1.5), SIZE_MM, SAGITTAL),
    "sagittal_thick": centered_grid((0.55, 0.55, 5.0), SIZE_MM, SAGITTAL),
    "coronal": centered_grid((0.7, 1.2, 2.0), SIZE_MM, CORONAL),
    "fine": centered_grid((0.3, 0.3, 0.6), (27.0, 24.0, 30.0), LPS),
    "thick": centered_grid((0.7, 0.7, 5.0), SIZE_MM, LPS),
    "oblique": centered_grid((1.0, 1.0, 1.0), SIZE_MM, OBLIQUE),
    "oblique_thick": centered_grid((0.8, 0.8, 4.0), SIZE_MM, OBLIQUE @ LPS),
    "oblique_sagittal": centered_grid((0.6, 0.9, 3.0), SIZE_MM, OBLIQUE @ SAGITTAL),
    "sheared": centered_grid((0.8, 0.8, 2.5), SIZE_MM, _gantry_tilt(18) @ LPS),
    "sheared_oblique": centered_grid((0.9, 0.9, 3.0), SIZE_MM, OBLIQUE @ _gantry_tilt(-12) @ LPS),
}
SHEARED = ("sheared", "sheared_oblique")
# No tilt by `Grid.is_sheared`, yet NIfTI's right angles would move its ends by 0.16 mm.
HARDLY_SHEARED = Grid((700, 24, 24), np.array([[-0.8, 0, 0, 9], [0, -0.8, 4.5e-4, 9], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
PARALLEL_TO_WORLD = (
    "upright", "lps", "upside_down", "left_handed", "sagittal", "sagittal_thick", "coronal", "fine", "thick",
)  # fmt: skip


def world_positions(grid: Grid) -> np.ndarray:
    """(k, j, i, 3) RAS positions of all voxel centers, straight from the affine."""
    k, j, i = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
    return np.stack([i, j, k], axis=-1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def indices_in(grid: Grid, positions: np.ndarray) -> np.ndarray:
    """Fractional voxel indices (i, j, k) of RAS positions."""
    return (positions - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T


def within(grid: Grid, positions: np.ndarray, margin_voxels) -> np.ndarray:
    """Positions that lie deeper than the margin inside the outermost voxel centers."""
    indices = indices_in(grid, positions)
    last = np.array(grid.shape[::-1]) - 1
    return ((indices >= margin_voxels) & (indices <= last - margin_voxels)).all(axis=-1)
