"""Between the scan's own grid and the upright grid that the network sees, both ways, without a half-voxel shift.

There are two ways, which blur alike. Where the axes of both grids are parallel (any flip, any permutation),
interpolation is separable and runs plane by plane in numpy; everywhere else SimpleITK interpolates in space, after the
source has been smoothed along its own axes. On both ways only that part of the source is touched that lies around the
target.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .label_boxes import Box
from .volume import Grid, Volume, array_of, set_geometry, to_sitk

# Over the length of a whole spine this angle (in radians) moves nothing by a tenth of a voxel.
PARALLEL_TOLERANCE = 1e-4
# What float32 may lose of a probability; a tie counts as structure.
_ROUNDING = 1e-3
SLAB_VOXELS = 8_000_000
# Thin, so that a box around a bent spine stays narrow; thick enough that the work outweighs its preparation.
LABEL_SLAB_VOXELS = 1_000_000
# Small enough for the processor's cache.
BLOCK_VOXELS = 2_000_000


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


def resample_intensity(volume: Volume, grid: Grid, fill: float = -1000.0, antialias: bool = True) -> np.ndarray:
    """Linear interpolation of gray values, averaged first along axes where `grid` is coarser than the volume.

    On a crop of a grid the values are those of the whole grid, and the time is that of the crop.

    Args:
        volume: (k, j, i), any number type; voxels that are not finite are read as `fill`.
        grid: where values are wanted.
        fill: value outside the volume's voxel edges (air in HU).
        antialias: False for values as they are in single points, to measure edges by, and not to look at.

    Returns:
        float32 of the shape of `grid`.
    """
    out = np.full(grid.shape, fill, dtype=np.float32)
    match = _parallel_axes(grid, volume.grid)
    if match is not None:
        _interpolate(volume.array, match.taps(grid.shape, antialias), fill, match.in_source_order(out))
        return out
    near = _smoothed(volume, grid, fill) if antialias else _cropped(volume, grid, fill)
    if near is not None:
        image = to_sitk(near)
        for slab in _slabs(grid, SLAB_VOXELS):
            out[slab] = _interpolated(image, grid.crop(slab), fill)
    return out


def labels_on_grid(
    probabilities: dict[int, np.ndarray],
    source_grid: Grid,
    target_grid: Grid,
    inside: float,
    written: Collection[int] | None = None,
) -> np.ndarray:
    """Labels from structure probabilities, on another grid: linear interpolation of probabilities, then the decision.

    A voxel is labeled where the structures together reach `inside`; its label is the most probable structure's. Works
    in slabs, each inside the box where that can happen, so that time and memory grow with the structures and not with
    the target.

    Args:
        probabilities: label value (1..255) -> uint8 of the shape of `source_grid`, 255 = certain.
        source_grid: where the probabilities lie.
        target_grid: where labels are wanted.
        inside: the probability from which on a voxel is labeled, of 0..255.
        written: the values that may appear, None for all. The others take part in the decision and leave background,
            so that a structure ends at its neighbor whether or not the neighbor is shown.

    Returns:
        uint8 of the shape of `target_grid`, 0 = background.
    """
    labels = np.zeros(target_grid.shape, dtype=np.uint8)
    values = np.array([v if written is None or v in written else 0 for v in probabilities], dtype=np.uint8)
    boxes = _meeting(list(probabilities.values()), source_grid, target_grid, inside)
    if boxes is None:
        return labels
    stack = [p[boxes[0]] for p in probabilities.values()]
    source, target, out = source_grid.crop(boxes[0]), target_grid.crop(boxes[1]), labels[boxes[1]]
    for slab in _slabs(target, LABEL_SLAB_VOXELS):
        slab_grid = target.crop(slab)
        boxes = _meeting(stack, source, slab_grid, inside)
        if boxes is not None:
            near = [np.ascontiguousarray(p[boxes[0]]) for p in stack]
            present = [n for n, p in enumerate(near) if p.any()]
            here, there = source.crop(boxes[0]), slab_grid.crop(boxes[1])
            _decide(values[present], [near[n] for n in present], here, there, out[slab][boxes[1]], inside)
    return labels


def _decide(
    values: np.ndarray, stack: list[np.ndarray], source: Grid, target: Grid, out: np.ndarray, inside: float
) -> None:
    """Writes into `out` the labels on `target` of the probabilities on `source`, one array for each value."""
    match = _parallel_axes(target, source)
    if match is None:
        images = [to_sitk(Volume(p, source.affine)) for p in stack]
        out[...] = _most_probable(values, [_interpolated(image, target, 0.0) for image in images], inside)
        return
    taps = match.taps(target.shape, antialias=False)
    group = [_separable(p, taps, 0.0) for p in stack]
    _inside(match.in_source_order(out), taps)[...] = _most_probable(values, group, inside).transpose(2, 1, 0)


def _most_probable(values: np.ndarray, group: list[np.ndarray], inside: float) -> np.ndarray:
    """uint8 labels from one float32 array of 0..255 per value."""
    best, total = group[0].copy(), group[0].copy()
    label = np.full(best.shape, values[0], dtype=np.uint8)
    for value, probability in zip(values[1:], group[1:]):
        total += probability
        np.putmask(label, probability > best, value)
        np.maximum(best, probability, out=best)
    label[total < inside - _ROUNDING] = 0
    return label


def _meeting(
    probabilities: list[np.ndarray], source: Grid, target: Grid, inside: float
) -> tuple[Box, Box] | None:
    """The part of the source that decides a label on the target, and the part of the target where it does; or None."""
    near = _box_around(target, source)
    decided = near and _decided_box([p[near] for p in probabilities], inside)
    if not decided:
        return None
    source_box = tuple(slice(n.start + d.start, n.start + d.stop) for n, d in zip(near, decided))
    target_box = _box_around(source.crop(source_box), target)
    return target_box and (source_box, target_box)


def _decided_box(probabilities: list[np.ndarray], inside: float) -> Box | None:
    """Where the sum reaches `inside`, and one voxel around: interpolation reaches it nowhere else."""
    if not probabilities:
        return None
    shape = probabilities[0].shape
    hit = [np.zeros(n, dtype=bool) for n in shape]
    for k in range(shape[0]):
        total = probabilities[0][k].astype(np.uint16)
        for probability in probabilities[1:]:
            total += probability[k]
        decided = total >= np.uint16(np.ceil(inside))
        hit[0][k] = decided.any()
        hit[1] |= decided.any(axis=1)
        hit[2] |= decided.any(axis=0)
    if not hit[0].any():
        return None
    bounds = [np.flatnonzero(h)[[0, -1]] for h in hit]
    return tuple(slice(max(0, int(a) - 1), min(n, int(b) + 2)) for (a, b), n in zip(bounds, shape))


def _box_around(inner: Grid, outer: Grid) -> Box | None:
    """Slices (k, j, i) of the voxels of `outer` whose centers may lie within `inner`'s edges."""
    indices = (inner.corners() - outer.affine[:3, 3]) @ np.linalg.inv(outer.affine[:3, :3]).T
    low = np.maximum(0, np.floor(indices.min(axis=0)).astype(int))
    high = np.minimum(outer.shape[::-1], np.ceil(indices.max(axis=0)).astype(int) + 1)
    if np.any(low >= high):
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1]))


def _slabs(grid: Grid, voxels: int) -> list[Box]:
    """The grid cut along k into slabs of about so many voxels."""
    planes = max(1, voxels // (grid.shape[1] * grid.shape[2]))
    return [(slice(start, start + planes), slice(None), slice(None)) for start in range(0, grid.shape[0], planes)]


# SimpleITK, for any pair of grids ---------------------------------------------------------------------------------


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
    return array_of(resampler.Execute(image))


def _smoothed(volume: Volume, grid: Grid, fill: float) -> Volume | None:
    """The volume on its own axes around `grid`, averaged where `grid` is coarser than that.

    None where `grid` lies beside the volume. From two voxels for a step of the target on, it is averaged in whole bins,
    which saves memory; the bins are those of the whole volume, wherever `grid` lies. Below, voxels are blurred, so that
    with the linear interpolation that follows the variance is that on the way of parallel axes (see `taps`).
    """
    source = volume.grid
    # Voxels that one step of the target grid covers along each source axis.
    ratio = 1.0 / np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]) @ source.affine[:3, :3], axis=0)
    sizes = np.array(source.shape[::-1])
    counts = np.ceil(sizes / np.maximum(1, np.floor(ratio + 1e-3))).astype(int)
    steps = sizes / counts
    affine = volume.affine.copy()
    affine[:3, 3] = source.world((steps - 1) / 2)
    affine[:3, :3] *= steps
    bins = Grid(tuple(counts[::-1]), affine)
    box = _box_around(grid, bins)
    if box is None:
        return None
    # A voxel's neighbors weigh width/8 each up to a width of 2, so its variance is width/4; wanted is (ratio^2 - 1)/6.
    widths = np.where(steps > 1, steps, np.maximum(0.0, ratio**2 - 1) * 2 / 3)
    if np.all(counts == sizes) and widths.max() < 1e-6:
        return _cropped(volume, grid, fill)
    taps = [
        _taps((np.arange(part.start, part.stop) + 0.5) * step - 0.5, int(size), float(width))
        for part, step, size, width in zip(box, steps[::-1], source.shape, widths[::-1])
    ]
    array = np.empty([part.stop - part.start for part in box], dtype=np.float32)
    _interpolate(volume.array, taps, fill, array)
    return Volume(array, bins.crop(box).affine)


def _cropped(volume: Volume, grid: Grid, fill: float) -> Volume | None:
    """What of the volume lies around `grid`; None where that is nothing."""
    box = _box_around(grid, volume.grid)
    return box and Volume(_finite(volume.array[box], fill), volume.grid.crop(box).affine)


def _finite(array: np.ndarray, fill: float) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    with np.errstate(over="ignore"):  # a double beyond float32 counts as infinite
        array = array.astype(np.float32, copy=False)
    finite = np.isfinite(array)
    return array if finite.all() else np.where(finite, array, np.float32(fill))


# numpy, for parallel axes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Taps:
    """How outputs along one axis are made from inputs.

    inside: the outputs that lie within the voxel edges of the input; only these are made.
    span: the inputs that they are made from.
    first: (outputs,) the first input of each, counted from the start of the span.
    weight: (outputs, taps) float32, of that input and the following ones.
    """

    inside: slice
    span: slice
    first: np.ndarray
    weight: np.ndarray

    def part(self, outputs: slice) -> "_Taps":
        """The same for some of the outputs within."""
        first, weight = self.first[outputs], self.weight[outputs]
        low, high = int(first.min()), int(first.max()) + weight.shape[1]
        return _Taps(self.inside, slice(self.span.start + low, self.span.start + high), first - low, weight)

    def along_first_axis(self, array: np.ndarray) -> np.ndarray:
        """(inputs of the span, m, n) of any number type -> (outputs, m, n) float32."""
        out = np.empty((len(self.first), *array.shape[1:]), dtype=np.float32)
        for values, first, weight in zip(out, self.first, self.weight):
            # Converts, multiplies and adds in one pass, in pieces that stay in the processor's cache. No matrix
            # product: BLAS spreads it over threads that wait for each other on a busy computer.
            inputs = array[first : first + len(weight)]
            np.einsum("t,tmn->mn", weight, inputs, out=values, dtype=np.float32, casting="unsafe")
        return out


@dataclass(frozen=True)
class _ParallelAxes:
    """source index = start + step * target index, axis by axis.

    Everything in (i, j, k) order of the source; `axes` names the target axis that runs along each source axis, `step`
    is negative where it runs the other way.
    """

    axes: tuple[int, int, int]
    start: np.ndarray
    step: np.ndarray
    source_sizes: tuple[int, int, int]

    def in_source_order(self, array: np.ndarray) -> np.ndarray:
        """An array (k, j, i) of the target with its axes in the order of the source's, without a copy.

        So the source, the larger of the two on the way to the network, is read in the order of its memory.
        """
        return array.transpose([2 - self.axes[2 - axis] for axis in range(3)])

    def taps(self, target_shape: tuple[int, int, int], antialias: bool = True) -> list[_Taps]:
        """Weights along (k, j, i) of the source for a target of a shape (k, j, i).

        With `antialias`, linear interpolation is followed by an average over the width that blurs as much as linear
        interpolation between voxels of the target's size: variances w^2/12 + 1/6 = step^2/6. A ramp stays a ramp.
        """
        taps = []
        for axis in (2, 1, 0):
            positions = self.start[axis] + self.step[axis] * np.arange(target_shape[2 - self.axes[axis]])
            width = np.sqrt(2.0 * max(0.0, self.step[axis] ** 2 - 1.0)) if antialias else 0.0
            taps.append(_taps(positions, self.source_sizes[axis], width))
        return taps


def _parallel_axes(target: Grid, source: Grid) -> _ParallelAxes | None:
    """How target indices map to source indices where every axis of one is parallel to an axis of the other."""
    cosines = target.directions.T @ source.directions
    axes = np.argmax(np.abs(cosines), axis=0)
    along = cosines[axes, range(3)]
    rest = cosines.copy()
    rest[axes, range(3)] = 0.0
    right_angles = max(np.abs(g.directions.T @ g.directions - np.eye(3)).max() for g in (source, target))
    if len(set(axes)) < 3 or max(np.abs(rest).max(), right_angles) > PARALLEL_TOLERANCE:
        return None
    start = np.linalg.solve(source.affine[:3, :3], target.affine[:3, 3] - source.affine[:3, 3])
    step = np.sign(along) * target.spacing_mm[axes] / source.spacing_mm
    return _ParallelAxes(tuple(int(a) for a in axes), start, step, source.shape[::-1])


def _taps(positions: np.ndarray, inputs: int, width: float) -> _Taps:
    """Linear interpolation at `positions` (in voxels), averaged over `width` voxels; edge values are held beyond."""
    within = np.flatnonzero((positions >= -0.5 - 1e-6) & (positions <= inputs - 0.5 + 1e-6))
    if not within.size:
        return _Taps(slice(0, 0), slice(0, 0), np.zeros(0, int), np.zeros((0, 1), np.float32))
    inside = slice(int(within[0]), int(within[-1]) + 1)
    positions = positions[inside]
    nearest = np.rint(positions)
    if width < 1e-6 and np.abs(positions - nearest).max() < 1e-5:
        first, weight = np.clip(nearest, 0, inputs - 1).astype(int), np.ones((len(positions), 1))
    else:
        reach = width / 2 + 1
        index = np.ceil(positions - reach).astype(int)[:, None] + np.arange(int(np.floor(2 * reach)) + 1)
        distance = index - positions[:, None]
        if width < 1e-6:
            single = np.maximum(0.0, 1.0 - np.abs(distance))
        else:
            single = (_hat_integral(width / 2 - distance) - _hat_integral(-width / 2 - distance)) / width
        taps = min(index.shape[1], inputs)
        first = np.clip(index[:, 0], 0, inputs - taps)
        weight = np.zeros((len(positions), taps))
        np.add.at(weight, (np.arange(len(weight))[:, None], np.clip(index, 0, inputs - 1) - first[:, None]), single)
    low = int(first.min())
    span = slice(low, int(first.max()) + weight.shape[1])
    return _Taps(inside, span, first - low, weight.astype(np.float32))


def _hat_integral(t: np.ndarray) -> np.ndarray:
    """Integral of max(0, 1 - |x|) from minus infinity to t."""
    t = np.clip(t, -1.0, 1.0)
    return np.where(t < 0, 0.5 * (1 + t) ** 2, 1 - 0.5 * (1 - t) ** 2)


def _interpolate(array: np.ndarray, taps: list[_Taps], fill: float, out: np.ndarray) -> None:
    """Fills an array of all outputs (k, j, i); those beyond the input's edges stay as they are."""
    along_k, along_j, along_i = taps
    inside = _inside(out, taps)
    plane_voxels = (along_j.span.stop - along_j.span.start) * (along_i.span.stop - along_i.span.start)
    depth = max(1, BLOCK_VOXELS // max(1, plane_voxels))
    for start in range(0, len(along_k.first), depth):
        block = slice(start, start + depth)
        inside[block] = _separable(array, [along_k.part(block), along_j, along_i], fill).transpose(2, 1, 0)


def _inside(out: np.ndarray, taps: list[_Taps]) -> np.ndarray:
    return out[tuple(axis.inside for axis in taps)]


def _separable(array: np.ndarray, taps: list[_Taps], fill: float) -> np.ndarray:
    """float32 (i, j, k) of the outputs within the edges of the input (k, j, i)."""
    along_k, along_j, along_i = taps
    values = along_k.along_first_axis(_finite(array[tuple(axis.span for axis in taps)], fill))
    values = along_j.along_first_axis(values.transpose(1, 0, 2))
    return along_i.along_first_axis(np.ascontiguousarray(values.transpose(2, 0, 1)))
