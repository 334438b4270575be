"""Between the scan's own grid and the upright grid that the network sees, both ways, without a half-voxel shift.

Two ways lead to the same numbers. Where the axes of both grids are parallel (any flip, any permutation), interpolation
is separable and runs slice by slice in numpy; everywhere else SimpleITK interpolates in space.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .volume import Grid, Volume, set_geometry, to_sitk

# Over the length of a whole spine this angle (in radians) moves nothing by a tenth of a voxel.
PARALLEL_TOLERANCE = 1e-4
# Half of 255, less what float32 may lose, so that a tie counts as structure.
HALF = 127.5 - 1e-3
SLAB_VOXELS = 8_000_000


def ras_grid(source: Grid, spacing_mm: float | tuple[float, float, float]) -> Grid:
    """The upright grid over a scan: i to the right, j to the front, k upward.

    Its voxel edges cover the outer edges of the source; what sticks out is split evenly between both ends. A source
    whose axes are upright up to flips and permutation and that already has this spacing keeps its voxel centers.

    Args:
        source: any grid.
        spacing_mm: one number, or along (R, A, S).
    """
    spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), (3,))
    corners = source.corners()
    low, high = corners.min(axis=0), corners.max(axis=0)
    count = np.maximum(1, np.ceil((high - low) / spacing - 1e-3)).astype(int)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (low + high) / 2 - spacing * (count - 1) / 2
    return Grid(tuple(count[::-1]), affine)


def resample_intensity(volume: Volume, grid: Grid, fill: float = -1000.0) -> np.ndarray:
    """Linear interpolation of gray values, averaged first along axes where `grid` is coarser than the volume.

    Args:
        volume: (k, j, i), any number type; voxels that are not finite are read as `fill`.
        grid: where values are wanted.
        fill: value outside the volume's voxel edges (air in HU).

    Returns:
        float32 of the shape of `grid`.
    """
    match = _parallel_axes(grid, volume.grid)
    if match is not None:
        out = np.empty(grid.shape, dtype=np.float32)
        for k, plane in enumerate(_separable_planes(match.view(volume.array), match.taps(grid.shape), fill)):
            out[k] = plane
        return out
    image = to_sitk(_averaged(volume, grid, fill))
    out = np.empty(grid.shape, dtype=np.float32)
    for slab, slab_grid in _slabs(grid):
        out[slab] = _interpolated(image, slab_grid, fill)
    return out


def labels_on_grid(probabilities: dict[int, np.ndarray], source_grid: Grid, target_grid: Grid) -> np.ndarray:
    """Labels from structure probabilities, on another grid: linear interpolation of probabilities, then the decision.

    A voxel is labeled where the structures together reach 50 %; its label is the most probable structure's. Works in
    slabs inside the box where that can happen, so memory grows with the structures' box and not with the target.

    Args:
        probabilities: label value (1..255) -> uint8 of the shape of `source_grid`, 255 = certain.
        source_grid: where the probabilities lie.
        target_grid: where labels are wanted.

    Returns:
        uint8 of the shape of `target_grid`, 0 = background.
    """
    labels = np.zeros(target_grid.shape, dtype=np.uint8)
    source_box = _decided_box(list(probabilities.values()))
    if source_box is None:
        return labels
    source = source_grid.crop(source_box)
    target_box = _box_around(source, target_grid)
    if target_box is None:
        return labels
    target = target_grid.crop(target_box)
    values = np.array(list(probabilities), dtype=np.uint8)
    cropped = [p[source_box] for p in probabilities.values()]
    out = labels[target_box]
    match = _parallel_axes(target, source)
    if match is not None:
        taps = match.taps(target.shape, antialias=False)
        planes = zip(*(_separable_planes(np.ascontiguousarray(match.view(p)), taps, 0.0) for p in cropped))
        for k, group in enumerate(planes):
            out[k] = _decide(values, group)
    else:
        images = [to_sitk(Volume(np.ascontiguousarray(p), source.affine)) for p in cropped]
        for slab, slab_grid in _slabs(target):
            out[slab] = _decide(values, [_interpolated(image, slab_grid, 0.0) for image in images])
    return labels


def _decide(values: np.ndarray, group: list[np.ndarray]) -> np.ndarray:
    """uint8 labels from one float32 array of 0..255 per value."""
    best, total = group[0].copy(), group[0].copy()
    label = np.full(best.shape, values[0], dtype=np.uint8)
    for value, probability in zip(values[1:], group[1:]):
        total += probability
        np.putmask(label, probability > best, value)
        np.maximum(best, probability, out=best)
    label[total < HALF] = 0
    return label


def _decided_box(probabilities: list[np.ndarray]) -> tuple[slice, slice, slice] | None:
    """Where the sum reaches one half, and one voxel around: interpolation reaches one half nowhere else."""
    if not probabilities:
        return None
    shape = probabilities[0].shape
    hit = [np.zeros(n, dtype=bool) for n in shape]
    for k in range(shape[0]):
        total = probabilities[0][k].astype(np.uint16)
        for probability in probabilities[1:]:
            total += probability[k]
        inside = total > HALF
        hit[0][k] = inside.any()
        hit[1] |= inside.any(axis=1)
        hit[2] |= inside.any(axis=0)
    if not hit[0].any():
        return None
    bounds = [np.flatnonzero(h)[[0, -1]] for h in hit]
    return tuple(slice(max(0, int(a) - 1), min(n, int(b) + 2)) for (a, b), n in zip(bounds, shape))


def _box_around(inner: Grid, outer: Grid) -> tuple[slice, slice, slice] | None:
    """Slices (k, j, i) of the voxels of `outer` whose centers may lie within `inner`'s edges."""
    indices = (inner.corners() - outer.affine[:3, 3]) @ np.linalg.inv(outer.affine[:3, :3]).T
    low = np.maximum(0, np.floor(indices.min(axis=0)).astype(int))
    high = np.minimum(outer.shape[::-1], np.ceil(indices.max(axis=0)).astype(int) + 1)
    if np.any(low >= high):
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1]))


# SimpleITK, for any pair of grids ---------------------------------------------------------------------------------


def _slabs(grid: Grid) -> Iterator[tuple[slice, Grid]]:
    """The grid cut along k, so that intermediate images stay small."""
    depth = max(1, SLAB_VOXELS // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], depth):
        slab = slice(start, start + depth)
        yield slab, grid.crop((slab, slice(None), slice(None)))


def _interpolated(image: sitk.Image, grid: Grid, fill: float) -> np.ndarray:
    """float32 (k, j, i) of `grid`; ITK holds the value of the outermost centers up to the voxel edge."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetDefaultPixelValue(float(fill))
    reference = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    set_geometry(reference, grid)
    resampler.SetReferenceImage(reference)
    resampler.SetSize(grid.shape[::-1])
    return sitk.GetArrayFromImage(resampler.Execute(image))


def _averaged(volume: Volume, grid: Grid, fill: float) -> Volume:
    """The volume on its own axes, averaged in whole bins of voxels where `grid` is coarser than that."""
    source = volume.grid
    # Distance that one step of the target grid covers along each source axis.
    wanted = 1.0 / np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]) @ source.directions, axis=0)
    sizes = np.array(source.shape[::-1])
    counts = np.ceil(sizes / np.maximum(1, np.floor(wanted / source.spacing_mm + 1e-3))).astype(int)
    steps = sizes / counts
    if np.all(counts == sizes):
        return Volume(_finite(volume.array, fill), volume.affine)
    affine = volume.affine.copy()
    affine[:3, 3] = source.world((steps - 1) / 2)
    affine[:3, :3] *= steps
    taps = [_taps((np.arange(n) + 0.5) * step - 0.5, int(size), step) for n, step, size in zip(counts, steps, sizes)]
    array = np.empty(tuple(counts[::-1]), dtype=np.float32)
    for k, plane in enumerate(_separable_planes(volume.array, taps[::-1], fill)):
        array[k] = plane
    return Volume(array, affine)


def _finite(array: np.ndarray, fill: float) -> np.ndarray:
    if np.issubdtype(array.dtype, np.integer):
        return array
    return np.where(np.isfinite(array), array, np.float32(fill)).astype(np.float32, copy=False)


# numpy, for parallel axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Taps:
    """How the outputs along one axis are made from the inputs: `index` and `weight` are (outputs, taps).

    Outputs whose `inside` is False lie beyond the voxel edges of the input.
    """

    index: np.ndarray
    weight: np.ndarray
    inside: np.ndarray
    inputs: int

    @property
    def is_copy(self) -> bool:
        return self.weight.shape[1] == 1 and np.array_equal(self.index[:, 0], np.arange(self.inputs))

    def along_rows(self, plane: np.ndarray) -> np.ndarray:
        """(inputs, n) float32 -> (outputs, n).

        Sums of rows and no matrix product, which is no faster here and which BLAS spreads over threads that wait for
        each other on a busy computer.
        """
        if self.is_copy:
            return plane
        out = self.weight[:, :1] * plane[self.index[:, 0]]
        for tap in range(1, self.index.shape[1]):
            out += self.weight[:, tap, None] * plane[self.index[:, tap]]
        return out


@dataclass(frozen=True)
class _ParallelAxes:
    """source index = offset + scale * target index, axis by axis.

    Everything in (i, j, k) order of the target; `axes` names the source axis that runs along each target axis, `flips`
    whether it runs the other way; offset, scale (positive) and sizes hold for the source as `view` turns it.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    offset: np.ndarray
    scale: np.ndarray
    source_sizes: np.ndarray

    def view(self, array: np.ndarray) -> np.ndarray:
        """The source array with its axes in the order and direction of the target's, without a copy."""
        turned = array.transpose([2 - self.axes[2 - axis] for axis in range(3)])
        return turned[tuple(slice(None, None, -1 if self.flips[2 - axis] else 1) for axis in range(3))]

    def taps(self, shape_kji: tuple[int, int, int], antialias: bool = True) -> list[_Taps]:
        """Weights along (k, j, i) of the target.

        With `antialias`, linear interpolation is followed by an average over the width that blurs as much as linear
        interpolation between voxels of the target's size: variances w^2/12 + 1/6 = scale^2/6. A ramp stays a ramp.
        """
        taps = []
        for t in (2, 1, 0):
            positions = self.offset[t] + self.scale[t] * np.arange(shape_kji[2 - t])
            width = np.sqrt(2.0 * max(0.0, self.scale[t] ** 2 - 1.0)) if antialias else 0.0
            taps.append(_taps(positions, int(self.source_sizes[t]), width))
        return taps


def _parallel_axes(target: Grid, source: Grid) -> _ParallelAxes | None:
    """How target indices map to source indices where every axis of one is parallel to an axis of the other."""
    cosines = source.directions.T @ target.directions
    axes = np.argmax(np.abs(cosines), axis=0)
    along = cosines[axes, range(3)]
    rest = cosines.copy()
    rest[axes, range(3)] = 0.0
    right_angles = max(np.abs(g.directions.T @ g.directions - np.eye(3)).max() for g in (source, target))
    if len(set(axes)) < 3 or max(np.abs(rest).max(), right_angles) > PARALLEL_TOLERANCE:
        return None
    start = np.linalg.solve(source.affine[:3, :3], target.affine[:3, 3] - source.affine[:3, 3])[axes]
    scale = target.spacing_mm / source.spacing_mm[axes]
    sizes = np.array(source.shape[::-1])[axes]
    flips = along < 0
    offset = np.where(flips, sizes - 1 - start, start)
    return _ParallelAxes(tuple(int(a) for a in axes), tuple(bool(f) for f in flips), offset, scale, sizes)


def _taps(positions: np.ndarray, inputs: int, width: float) -> _Taps:
    """Linear interpolation at `positions` (in voxels), averaged over `width` voxels; edge values are held beyond."""
    inside = (positions >= -0.5 - 1e-6) & (positions <= inputs - 0.5 + 1e-6)
    nearest = np.rint(positions)
    if width < 1e-6 and np.abs(positions - nearest).max() < 1e-5:
        index = np.clip(nearest, 0, inputs - 1).astype(int)[:, None]
        return _Taps(index, np.ones(index.shape, dtype=np.float32), inside, inputs)
    reach = width / 2 + 1
    first = np.ceil(positions - reach).astype(int)
    index = first[:, None] + np.arange(int(np.floor(2 * reach)) + 1)
    distance = index - positions[:, None]
    if width < 1e-6:
        weight = np.maximum(0.0, 1.0 - np.abs(distance))
    else:
        weight = (_hat_integral(width / 2 - distance) - _hat_integral(-width / 2 - distance)) / width
    return _Taps(np.clip(index, 0, inputs - 1), weight.astype(np.float32), inside, inputs)


def _hat_integral(t: np.ndarray) -> np.ndarray:
    """Integral of max(0, 1 - |x|) from minus infinity to t."""
    t = np.clip(t, -1.0, 1.0)
    return np.where(t < 0, 0.5 * (1 + t) ** 2, 1 - 0.5 * (1 - t) ** 2)


def _separable_planes(array: np.ndarray, taps: list[_Taps], fill: float) -> Iterator[np.ndarray]:
    """Interpolated planes (j, i), float32, one per output k; only a few input planes are float at a time."""
    along_k, along_j, along_i = taps
    outside = ~(along_j.inside[:, None] & along_i.inside[None, :])
    has_outside = outside.any()
    for index, weight, inside in zip(along_k.index, along_k.weight, along_k.inside):
        if not inside:
            yield np.full(outside.shape, fill, dtype=np.float32)
            continue
        plane = sum(
            np.float32(w) * _finite(array[k], fill).astype(np.float32, copy=False) for k, w in zip(index, weight) if w
        )
        plane = along_j.along_rows(plane)
        if not along_i.is_copy:
            plane = along_i.along_rows(np.ascontiguousarray(plane.T)).T
        if has_outside:
            plane[outside] = fill
        yield plane
