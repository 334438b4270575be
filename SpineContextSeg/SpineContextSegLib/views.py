"""Flat views of a scan and its labels, as radiology shows them: through the spine, even where it bends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .even_sample import even_sample
from .metrics import binary_spine
from .mr import has_hounsfield_units
from .resampling import ras_grid, resample_intensity
from .volume import Grid, Volume, array_of, set_geometry, to_sitk

AIR_HU = -1000.0
# The bone window of radiology: level 400, width 1800 HU.
WINDOW_HU = (-500.0, 1300.0)
# Of an MR, the darkest and the brightest percent don't count.
_PERCENTILES = 1.0, 99.0
Marks = tuple[str, str, str, str]
# Finer pixels than these aren't seen in a picture, coarser ones are.
_FINEST_MM, _COARSEST_MM, _MOST_PIXELS = 0.5, 1.5, 700
_MARGIN_MM = 45.0
_AXIAL_ASPECT = 1.4
# Half a vertebra's height: keeps to the curve of the spine and not to the shape of a single level.
_SMOOTHING_MM = 12.0
_AXIAL_SEARCH_MM = 20.0
_PIECE_STEP_MM, _BRIDGED_MM = 3.0, 15.0
# Counted from the back, about 70 % of a vertebra's voxels lie behind the middle of its body.
BODY_QUANTILE = 0.7


@dataclass(frozen=True)
class View:
    """A picture in radiological convention (the patient's right on the left, front on the left, head up).

    Attributes:
        title: what it is.
        hu: (rows, columns) float32.
        labels: (rows, columns), values of the segmentation.
        pixel_mm: side of a square pixel.
        marks: letters for the left, right, upper and lower edge.
    """

    title: str
    hu: np.ndarray
    labels: np.ndarray
    pixel_mm: float
    marks: Marks


def display_range(array: np.ndarray) -> tuple[float, float]:
    """What to show as black and as white, given all voxels of a scan: HU of a CT, or signal of an MR."""
    if has_hounsfield_units(array):
        return WINDOW_HU
    low, high = np.nanpercentile(even_sample(array), _PERCENTILES)
    return float(low), float(max(high, low + 1e-3))


def spine_views(volume: Volume, labels: Volume) -> tuple[View, View, View]:
    """Sagittal, coronal and axial view. The first two follow the spine, so that a curved spine is seen as a whole.

    The scan is shown in its whole height, and around the grid of the labels from side to side and from front to back.
    Where nothing is labeled, the views go through the middle.

    Args:
        volume: HU (k, j, i) on any grid.
        labels: values (k, j, i); its grid may be a crop of the volume's, outside of which nothing is labeled.
    """
    finest = np.clip(volume.grid.spacing_mm.min(), _FINEST_MM, _COARSEST_MM)
    spacing = float(max(finest, volume.grid.extent_mm.max() / _MOST_PIXELS))
    whole = ras_grid(volume.grid, spacing)
    _, rows, columns = around = _around(whole, labels.grid)
    grid = whole.crop(around)
    mask = _spine(sample_labels(labels, grid), spacing)
    along_x, along_y = _course(mask.sum(1), 0.5, spacing), _course(mask.sum(2), BODY_QUANTILE, spacing)
    titles = [
        name + (", follows the spine" if np.ptp(course) * spacing > 3.0 else "")
        for name, course in (("Sagittal", along_x), ("Coronal", along_y))
    ]
    level = _fullest_level(mask, spacing)
    wider = max(0, round(_AXIAL_ASPECT * (rows.stop - rows.start)) - (columns.stop - columns.start)) // 2
    columns = slice(max(0, columns.start - wider), columns.stop + wider)
    return (
        _along(volume, labels, grid, 2, along_x, titles[0], ("A", "P", "S", "I")),
        _along(volume, labels, grid, 1, along_y, titles[1], ("R", "L", "S", "I")),
        _axial(volume, labels, whole.crop((slice(level, level + 1), rows, columns))),
    )


def _around(whole: Grid, labeled: Grid) -> tuple[slice, slice, slice]:
    """Slices (k, j, i) of an upright grid: its whole height, and sideways and in depth what lies around the labels."""
    origin, spacing = whole.affine[:3, 3], whole.spacing_mm
    low = np.floor((labeled.corners().min(0) - _MARGIN_MM - origin) / spacing).astype(int)
    high = np.ceil((labeled.corners().max(0) + _MARGIN_MM - origin) / spacing).astype(int)
    return slice(0, whole.shape[0]), slice(max(0, low[1]), high[1] + 1), slice(max(0, low[0]), high[0] + 1)


def sample_labels(labels: Volume, grid: Grid) -> np.ndarray:
    """The label of the nearest voxel at every point of `grid`, 0 outside; (k, j, i) in the type of the labels."""
    reference = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    set_geometry(reference, grid)
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    resampler.SetReferenceImage(reference)
    resampler.SetSize(grid.shape[::-1])
    return array_of(resampler.Execute(to_sitk(labels)))


def _spine(labels: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Mask of the largest piece of the binary spine, or of whatever is labeled where there is none.

    Vertebrae with discs between them are one piece; a mistaken piece elsewhere must not pull the views off the spine.
    """
    spine = binary_spine(labels)
    spine = spine if spine.any() else labels != 0
    step = max(1, round(_PIECE_STEP_MM / spacing_mm))
    coarse = sitk.GetImageFromArray(spine[::step, ::step, ::step].astype(np.uint8))
    reach = [round(_BRIDGED_MM / 2 / (step * spacing_mm))] * 3
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.BinaryDilate(coarse, reach)))
    sizes = np.bincount(pieces[sitk.GetArrayViewFromImage(coarse) > 0], minlength=2)
    main = pieces == sizes.argmax()
    return spine & main[np.ix_(*(np.arange(n) // step for n in spine.shape))]


def _course(profile: np.ndarray, quantile: float, spacing_mm: float) -> np.ndarray:
    """Where the spine runs: for every row k of `profile` (voxels at each index along another axis) a smooth position.

    The position is the quantile of the row's voxels, averaged over neighboring rows with their voxels as weights; rows
    far from any voxel take the nearest position.
    """
    rows, columns = profile.shape
    weight = profile.sum(1).astype(np.float64)
    if not weight.any():
        return np.full(rows, (columns - 1) / 2)
    filled = np.flatnonzero(weight)
    share = np.cumsum(profile[filled], axis=1) / weight[filled, None]
    position = np.zeros(rows)
    position[filled] = (share < quantile).sum(1)
    distance = (np.arange(rows)[:, None] - filled[None, :]) * spacing_mm / _SMOOTHING_MM
    kernel = np.exp(-0.5 * distance**2) * weight[filled]
    total = kernel.sum(1)
    near = np.flatnonzero(total > 1e-6 * total.max())
    smooth = (kernel[near] @ position[filled]) / total[near]
    return np.interp(np.arange(rows), near, smooth)


def _fullest_level(mask: np.ndarray, spacing_mm: float) -> int:
    """Of the levels near the middle of the spine, one that shows much of it; of equal ones, the nearest."""
    area = mask.sum((1, 2))
    if not area.any():
        return len(area) // 2
    filled = np.flatnonzero(area)
    middle, reach = (filled[0] + filled[-1]) // 2, max(1, round(_AXIAL_SEARCH_MM / spacing_mm))
    near = np.arange(max(0, middle - reach), min(len(area), middle + reach + 1))
    return int(near[np.argmax(area[near] * (1 - 0.2 * np.abs(near - middle) / reach))])


def _along(
    volume: Volume, labels: Volume, grid: Grid, axis: int, course: np.ndarray, title: str, marks: Marks
) -> View:
    """The surface that lies at `course[k]` along array axis 1 or 2 of `grid`, seen from the front or the left."""
    first, last = int(np.floor(course.min())), min(int(np.ceil(course.max())), grid.shape[axis] - 1)
    slices = [slice(None)] * 3
    slices[axis] = slice(first, last + 1)
    slab_grid = grid.crop(tuple(slices))
    slab = np.moveaxis(resample_intensity(volume, slab_grid, AIR_HU), axis, 1)
    slab_labels = np.moveaxis(sample_labels(labels, slab_grid), axis, 1)
    rows = np.arange(grid.shape[0])
    low = np.floor(course).astype(int) - first
    high = np.minimum(low + 1, last - first)
    share = (course - np.floor(course)).astype(np.float32)[:, None]
    hu = (1 - share) * slab[rows, low] + share * slab[rows, high]
    shown = slab_labels[rows, np.rint(course).astype(int) - first]
    # Both remaining axes increase against the convention: upward, and to the front or to the right.
    return View(title, hu[::-1, ::-1], shown[::-1, ::-1], float(grid.spacing_mm[0]), marks)


def _axial(volume: Volume, labels: Volume, plane: Grid) -> View:
    hu, shown = resample_intensity(volume, plane, AIR_HU)[0], sample_labels(labels, plane)[0]
    return View("Axial", hu[::-1, ::-1], shown[::-1, ::-1], float(plane.spacing_mm[0]), ("R", "L", "A", "P"))
