"""Gaussian importance sliding window over an image or a part of it, slab by slab, so that memory stays bounded.

Windows over a whole image, weights and padding are those of MONAI's `sliding_window_inference(mode="gaussian",
padding_mode="constant")`; the results are equal to within rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .errors import Cancelled
from .runtime import Runtime
from .windows import Corner

SIGMA_SCALE = 0.125  # MONAI's default: sigma of the importance, as a fraction of the window's size
IMPORTANCE_FLOOR = 1e-3  # MONAI's: no voxel of a window has less weight, so the border of the field of view counts

Region = tuple[slice, slice, slice]


def importance_map(roi_size: Sequence[int]) -> np.ndarray:
    """Weight of each voxel of a window, float32 of shape roi_size, highest in the middle and nowhere zero."""
    axes = []
    for size in roi_size:
        distance = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
        axes.append(np.exp(distance**2 / np.float32(-2 * (SIGMA_SCALE * size) ** 2)))
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return np.maximum(weights, max(float(weights.min()), IMPORTANCE_FLOOR), dtype=np.float32)


def sweep(
    image: np.ndarray,
    runtime: Runtime,
    roi_size: Sequence[int],
    corners: Sequence[Corner],
    pad_value: float,
    *,
    normalize: Callable[[np.ndarray], np.ndarray] | None = None,
    merge: np.ndarray | None = None,
    skip: Callable[[np.ndarray], np.ndarray | None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[Region, np.ndarray, np.ndarray]]:
    """Class probabilities where windows lie, slab by slab along the axis with the most windows' lengths in it.

    Memory: one slab, as thick as a batch of windows, of the plane that the windows span (float32 for each class and
    for the weights). The image is read window by window and never copied as a whole.

    Args:
        image: (d, h, w) in the network's axis order, of any number type, for example int16 HU; a view is fine.
        runtime: turns windows (n, 1, *roi_size) into class probabilities (n, classes, *roi_size).
        roi_size: voxels of a window along the three axes.
        corners: where windows lie (see `windows`); each meets the image.
        pad_value: what surrounds the image, in the network's intensities.
        normalize: a window of the image -> float32 network intensities; None where the image already has them.
        merge: (outputs, classes) float32: the blocks hold these sums of class probabilities instead of the classes,
            added up per window, which saves memory.
        skip: a window of the image as it is (without padding) -> class probabilities (classes,) of all its voxels
            where they are known beforehand, or None where the network must look.
        progress: called with (windows done, windows in total) after each batch, and after windows that are skipped.
        cancelled: asked before each batch.

    Yields:
        (where, block, weights): block (classes or outputs, *shape) float32 holds the finished probabilities of
        image[where]; weights (*shape) float32 the sum of the importance of the windows there. Where that is zero no
        window lies, and the block is zero. Blocks don't overlap; together they cover every window. Both arrays are
        views of the slab: they change when the next block is asked for.

    Raises:
        Cancelled: when `cancelled` returned True.
        ValueError: not a 3D image, no windows, or one that lies beyond the image.
    """
    if image.ndim != 3:
        raise ValueError(f"A sliding window needs a 3D image, not one of shape {image.shape}.")
    places = np.array(corners).reshape(-1, 3)
    if not len(places) or (places + roi_size <= 0).any() or (places >= image.shape).any():
        raise ValueError("A sliding window needs windows, all of which meet the image.")
    low, high = np.maximum(places.min(0), 0), np.minimum(places.max(0) + roi_size, image.shape)
    along = int(np.argmax((high - low) / roi_size))
    to_do = [tuple(map(int, corner)) for corner in places[np.argsort(places[:, along], kind="stable")]]
    done, total = 0, len(to_do)

    def voxels(corner: Corner) -> tuple[np.ndarray, Region]:
        """The part of the image that a window meets, and where in the window it lies."""
        bounds = [(max(c, 0), min(c + roi, n)) for c, roi, n in zip(corner, roi_size, image.shape)]
        inside = image[tuple(slice(*b) for b in bounds)]
        return inside, tuple(slice(first - c, last - c) for (first, last), c in zip(bounds, corner))

    def window(corner: Corner) -> np.ndarray:
        inside, target = voxels(corner)
        padded = np.full(roi_size, pad_value, np.float32)
        padded[target] = normalize(inside) if normalize else inside
        return padded

    if runtime.blends_on_device:
        from .runtime.on_device import blend_on_device

        part = tuple(slice(int(first), int(last)) for first, last in zip(low, high))
        block = blend_on_device(
            normalize(image[part]) if normalize else image[part], runtime, importance_map(roi_size),
            [tuple(c - int(first) for c, first in zip(corner, low)) for corner in to_do], pad_value, merge,
            [skip(voxels(corner)[0]) if skip else None for corner in to_do], progress, cancelled,
        )  # fmt: skip
        if block is not None:
            yield part, *block
            return

    batches = [to_do[n : n + runtime.preferred_batch] for n in range(0, total, runtime.preferred_batch)]
    thickest = max(batch[-1][along] - batch[0][along] for batch in batches) + roi_size[along]
    slab = _Slab(image.shape, roi_size, along, low, high, thickest)
    for batch, following in itertools.zip_longest(batches, batches[1:]):
        if cancelled and cancelled():
            raise Cancelled
        to_run = []
        for corner in batch:
            known = skip(voxels(corner)[0]) if skip else None
            if known is None:
                to_run.append(corner)
            else:
                slab.add(corner, _merged(known[:, None, None, None], merge))
        if to_run:
            answers = runtime(np.stack([window(corner) for corner in to_run])[:, None])
            for corner, probabilities in zip(to_run, answers, strict=True):
                slab.add(corner, _merged(probabilities, merge))
        done += len(batch)
        if progress:
            progress(done, total)
        next_start = following[0][along] if following else image.shape[along]
        if next_start > slab.first:
            yield slab.finished(next_start)
            slab.move_on(next_start)


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
    """Weighted sums of the windows that overlap the slab in work; it moves along one axis as planes are finished.

    It spans what the windows span of the image, `low` to `high`, but only `planes` planes along the axis `along`.
    """

    def __init__(
        self, image_shape: Sequence[int], roi_size: Sequence[int], along: int, low: np.ndarray, high: np.ndarray,
        planes: int,
    ):  # fmt: skip
        self.image_shape, self.along, self.weights = image_shape, along, importance_map(roi_size)
        self.origin, self.end = low.tolist(), high.tolist()
        self.shape = tuple(planes if n == along else self.end[n] - self.origin[n] for n in range(3))
        self.total = np.zeros(self.shape, np.float32)
        self.sums: np.ndarray | None = None

    @property
    def first(self) -> int:
        """Index in the image of the slab's first plane."""
        return self.origin[self.along]

    def add(self, corner: Corner, probabilities: np.ndarray) -> None:
        """Add a window's probabilities, (outputs, *roi_size) or (outputs, 1, 1, 1), at its corner in the image."""
        if self.sums is None:
            self.sums = np.zeros((len(probabilities), *self.shape), np.float32)
        target, own = [], []
        for start, size, origin, roi in zip(corner, self.image_shape, self.origin, self.weights.shape):
            first, last = max(start, 0), min(start + roi, size)
            target.append(slice(first - origin, last - origin))
            own.append(slice(first - start, last - start))
        weights = self.weights[tuple(own)]
        self.total[tuple(target)] += weights
        weighted = np.empty_like(weights)
        for sums, values in zip(self.sums, probabilities, strict=True):
            np.multiply(weights, values[tuple(own)] if values.size > 1 else values, out=weighted)
            sums[tuple(target)] += weighted

    def finished(self, stop: int) -> tuple[Region, np.ndarray, np.ndarray]:
        """Divide the planes before `stop` by their weights, in place: their place in the image, and views of both."""
        stop = min(stop, self.first + self.shape[self.along], self.end[self.along])
        where = tuple(slice(o, stop if n == self.along else e) for n, (o, e) in enumerate(zip(self.origin, self.end)))
        part = tuple(slice(bounds.stop - bounds.start) for bounds in where)
        block, weights = self.sums[(slice(None), *part)], self.total[part]
        # Without a window the sum is zero too; the floor only keeps it so.
        block /= np.maximum(weights, IMPORTANCE_FLOOR)
        return where, block, weights

    def move_on(self, first: int) -> None:
        """Drop the planes before `first`."""
        count = first - self.first
        for array in (self.total, *self.sums):
            planes = np.moveaxis(array, self.along, 0)
            kept = max(0, len(planes) - count)
            planes[:kept] = planes[count:]
            planes[kept:] = 0
        self.origin[self.along] = first
