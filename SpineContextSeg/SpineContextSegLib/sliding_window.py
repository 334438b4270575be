"""Gaussian importance sliding window over a volume or a region, slab by slab, so that memory stays bounded.

Windows, weights and padding are those of MONAI's `sliding_window_inference(mode="gaussian", padding_mode="constant")`;
the results are equal to within rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import Cancelled
from .runtime import Runtime

SIGMA_SCALE = 0.125  # MONAI's default: sigma of the importance, as a fraction of the window's size
IMPORTANCE_FLOOR = 1e-3  # MONAI's: no voxel of a window has less weight, so the border of the field of view counts

Region = tuple[slice, slice, slice]
Corner = tuple[int, int, int]
WHOLE = (slice(None), slice(None), slice(None))


def importance_map(roi_size: Sequence[int]) -> np.ndarray:
    """Weight of each voxel of a window, float32 of shape roi_size, highest in the middle and nowhere zero."""
    axes = []
    for size in roi_size:
        distance = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
        axes.append(np.exp(distance**2 / np.float32(-2 * (SIGMA_SCALE * size) ** 2)))
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return np.maximum(weights, max(float(weights.min()), IMPORTANCE_FLOOR), dtype=np.float32)


def window_starts(size: int, roi: int, overlap: float) -> list[int]:
    """First index of every window along one axis of `size` >= `roi` voxels; the last window ends at the border."""
    interval = max(int(roi * (1 - overlap)), 1)
    count = -(-(size - roi) // interval) + 1
    return [min(n * interval, size - roi) for n in range(count)]


@dataclass(frozen=True)
class _Axis:
    """One axis of a sweep: the region's bounds in the image, the padding before it, the windows in padded voxels."""

    start: int
    size: int
    pad: int
    roi: int
    starts: list[int]

    @classmethod
    def of(cls, bounds: slice, length: int, roi: int, overlap: float) -> _Axis:
        start, stop, step = bounds.indices(length)
        if step != 1 or stop <= start:
            raise ValueError(f"A region needs whole, non-empty bounds along each axis, not {bounds} of {length}.")
        size = stop - start
        return cls(start, size, max(roi - size, 0) // 2, roi, window_starts(max(size, roi), roi, overlap))

    def inside(self, first: int, count: int) -> tuple[slice, slice]:
        """Where `count` padded voxels from `first` on meet the region: as a slice of the image, and of those voxels."""
        low, high = max(first - self.pad, 0), min(first + count - self.pad, self.size)
        return slice(self.start + low, self.start + high), slice(low + self.pad - first, high + self.pad - first)


def sweep(
    image: np.ndarray,
    runtime: Runtime,
    roi_size: Sequence[int],
    overlap: float,
    pad_value: float,
    *,
    normalize: Callable[[np.ndarray], np.ndarray] | None = None,
    region: Region | None = None,
    merge: np.ndarray | None = None,
    skip: Callable[[np.ndarray], np.ndarray | None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[Region, np.ndarray]]:
    """Class probabilities of a volume, slab by slab along the axis with the most windows' lengths in it.

    Memory: one slab, as thick as a window, of the region's plane (float32 for each class and for the weights). The
    image is read window by window and never copied as a whole.

    Args:
        image: (d, h, w) in the network's axis order, of any number type, for example int16 HU; a view is fine.
        runtime: turns windows (n, 1, *roi_size) into class probabilities (n, classes, *roi_size).
        roi_size: voxels of a window along the three axes.
        overlap: fraction of a window shared with the next one, at least 0 and below 1.
        pad_value: what surrounds a region that is smaller than a window, in the network's intensities.
        normalize: a window of the image -> float32 network intensities; None where the image already has them.
        region: the part of the image to look at; nothing outside it is read. None for the whole image.
        merge: (outputs, classes) float32: the blocks hold these sums of class probabilities instead of the classes,
            added up per window, which saves memory.
        skip: a window of the image as it is (without padding) -> class probabilities (classes,) of all its voxels
            where they are known beforehand, or None where the network must look.
        progress: called with (windows done, windows in total) after each batch, and after windows that are skipped.
        cancelled: asked before each batch.

    Yields:
        (where, block): block (classes or outputs, *shape) float32 holds the finished probabilities of image[where].
        The blocks together cover the region once. A block is a view of the slab: it changes when the next one is
        asked for.

    Raises:
        Cancelled: when `cancelled` returned True.
        ValueError: not a 3D image, an overlap outside [0, 1) or an empty region.
    """
    if image.ndim != 3:
        raise ValueError(f"A sliding window needs a 3D image, not one of shape {image.shape}.")
    if not 0 <= overlap < 1:
        raise ValueError(f"The overlap must be at least 0 and below 1, not {overlap}.")
    axes = [_Axis.of(*of_axis, overlap) for of_axis in zip(region or WHOLE, image.shape, roi_size, strict=True)]
    along = max(range(3), key=lambda n: axes[n].size / axes[n].roi)
    across = [[0] if n == along else axis.starts for n, axis in enumerate(axes)]
    layers = axes[along].starts
    done, total = 0, len(layers) * math.prod(len(starts) for starts in across)

    def voxels(corner: Corner) -> tuple[np.ndarray, Region]:
        source, target = zip(*(axis.inside(start, axis.roi) for axis, start in zip(axes, corner)))
        return image[source], target

    def window(corner: Corner) -> np.ndarray:
        inside, target = voxels(corner)
        padded = np.full(roi_size, pad_value, np.float32)
        padded[target] = normalize(inside) if normalize else inside
        return padded

    slab = _Slab(axes, along, importance_map(roi_size))
    for layer, following in itertools.zip_longest(layers, layers[1:], fillvalue=layers[-1] + axes[along].roi):
        corners = [tuple(layer if n == along else place[n] for n in range(3)) for place in itertools.product(*across)]
        to_run = []
        for corner in corners:
            known = skip(voxels(corner)[0]) if skip else None
            if known is None:
                to_run.append(corner)
            else:
                slab.add(corner, _merged(known[:, None, None, None], merge))
        done += len(corners) - len(to_run)
        if progress and len(to_run) < len(corners):
            progress(done, total)
        while to_run:
            if cancelled and cancelled():
                raise Cancelled
            batch, to_run = to_run[: runtime.preferred_batch], to_run[runtime.preferred_batch :]
            answers = runtime(np.stack([window(corner) for corner in batch])[:, None])
            for corner, probabilities in zip(batch, answers, strict=True):
                slab.add(corner, _merged(probabilities, merge))
            done += len(batch)
            if progress:
                progress(done, total)
        yield slab.finished(following - layer)
        slab.move_on(following - layer)


def sliding_window(
    image: np.ndarray, runtime: Runtime, roi_size: Sequence[int], overlap: float, pad_value: float, **options
) -> np.ndarray:
    """All blocks of `sweep` in one float32 array (classes, *region's shape), for small volumes; arguments as there."""
    region = options.get("region") or WHOLE
    first, last = zip(*(bounds.indices(length)[:2] for bounds, length in zip(region, image.shape)))
    result = None
    for where, block in sweep(image, runtime, roi_size, overlap, pad_value, **options):
        if result is None:
            result = np.empty((len(block), *np.subtract(last, first)), np.float32)
        target = (slice(bounds.start - origin, bounds.stop - origin) for bounds, origin in zip(where, first))
        result[(slice(None), *target)] = block
    return result


def _merged(probabilities: np.ndarray, merge: np.ndarray | None) -> np.ndarray:
    if merge is None:
        return probabilities
    # Sums and no matrix product, which BLAS would spread over threads that wait for each other on a busy computer.
    merged = np.zeros((len(merge), *probabilities.shape[1:]), np.float32)
    for total, row in zip(merged, merge, strict=True):
        for weight, probability in zip(row, probabilities, strict=True):
            if weight:
                total += weight * probability
    return merged


class _Slab:
    """Weighted sums of the windows that overlap the slab in work; it moves along one axis as layers are finished."""

    def __init__(self, axes: list[_Axis], along: int, weights: np.ndarray):
        self.axes, self.along, self.weights = axes, along, weights
        self.shape = tuple(axis.roi if n == along else axis.size for n, axis in enumerate(axes))
        self.first = 0  # padded index of the slab's first plane
        self.total = np.zeros(self.shape, np.float32)
        self.sums: np.ndarray | None = None

    def add(self, corner: tuple[int, ...], probabilities: np.ndarray) -> None:
        """Add a window's probabilities, (outputs, *roi_size) or (outputs, 1, 1, 1), at a corner in padded voxels."""
        if self.sums is None:
            self.sums = np.zeros((len(probabilities), *self.shape), np.float32)
        target, own = [], []
        for n, (axis, start) in enumerate(zip(self.axes, corner)):
            where, part = axis.inside(start, axis.roi) if n != self.along else (slice(0, axis.roi), slice(None))
            offset = axis.start if n != self.along else 0
            target.append(slice(where.start - offset, where.stop - offset))
            own.append(part)
        weights = self.weights[tuple(own)]
        self.total[tuple(target)] += weights
        weighted = np.empty_like(weights)
        for sums, values in zip(self.sums, probabilities, strict=True):
            np.multiply(weights, values[tuple(own)] if values.size > 1 else values, out=weighted)
            sums[tuple(target)] += weighted

    def finished(self, count: int) -> tuple[Region, np.ndarray]:
        """Divide the first `count` planes by their weights, in place: their place in the image, and a view of them."""
        where, part = zip(
            *(axis.inside(self.first, count) if n == self.along else axis.inside(axis.pad, axis.size)
              for n, axis in enumerate(self.axes))
        )
        block = self.sums[(slice(None), *part)]
        block /= self.total[part]
        return where, block

    def move_on(self, count: int) -> None:
        """Drop the first `count` planes."""
        kept = self.axes[self.along].roi - count
        for array in (self.total, *self.sums):
            planes = np.moveaxis(array, self.along, 0)
            planes[:kept] = planes[count:]
            planes[kept:] = 0
        self.first += count
