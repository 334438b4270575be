"""The voxels of a stack of DICOM slices, and of even slices in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk

from .dicom_slice import Slice
from .errors import InputRefused
from .faults import lacks_memory
from .volume import array_of


def read_pixels(stack: Sequence[Slice]) -> np.ndarray:
    """Rescaled voxels (k, j, i) in the order of the stack; int16 where they fit, else a wider integer or float32.

    Raises:
        InputRefused: pixels that can't be decoded.
    """
    in_file = defaultdict(list)
    for k, item in enumerate(stack):
        in_file[item.path].append(k)
    array = np.empty((len(stack), *stack[0].size), np.int16)
    # File by file, as GDCM chooses the type for each of them, and a series reader takes that of the first for all.
    for places in in_file.values():
        planes = _planes(stack[places[0]])
        for k in places:
            plane = _narrowed(_rescaled(planes[stack[k].order[1]], *stack[k].rescale))
            kind = np.promote_types(array.dtype, plane.dtype)
            kind = np.dtype(np.float32) if kind.kind == "f" else kind
            if kind != array.dtype:
                array = array.astype(kind)
            array[k] = plane
    return array


def onto_even_slices(array: np.ndarray, along: np.ndarray, even: np.ndarray) -> np.ndarray:
    """Linear interpolation of slices at `along` (mm, increasing) to those at `even`; keeps the type."""
    above = np.clip(np.searchsorted(along, even), 1, len(along) - 1)
    weight = (even - along[above - 1]) / (along[above] - along[above - 1])
    out = np.empty((len(even), *array.shape[1:]), dtype=array.dtype)
    for k, (upper, w) in enumerate(zip(above, weight)):
        blend = (1.0 - w) * array[upper - 1] + w * array[upper]
        out[k] = np.rint(blend) if np.issubdtype(array.dtype, np.integer) else blend
    return out


def _planes(item: Slice) -> np.ndarray:
    """All frames of a file, as GDCM scales them."""
    if not item.inverted:
        return _decoded(item.path, item)
    # MONOCHROME1 only says how to show an image (DICOM PS3.3 C.7.6.3.1.2), but GDCM turns its values around, before a
    # scale that depends on the kind of file, and can't read 12 bits with a sign: it gets a copy that says MONOCHROME2.
    with TemporaryDirectory() as folder:
        copy = Path(folder, "copy.dcm")
        _write_upright(item.path, copy)
        return _decoded(copy, item)


def _write_upright(path: Path, copy: Path) -> None:
    from pydicom import dcmread

    dataset = dcmread(path, force=True)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.save_as(copy)


def _decoded(path: Path, item: Slice) -> np.ndarray:
    """The frames in the file of a slice, or in the copy of it at `path`."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        return array_of(reader.Execute())
    except RuntimeError as error:
        if lacks_memory(error):
            raise
        raise InputRefused(
            f"The pixels of '{item.path.parent.name}' can't be decoded: export the series again, uncompressed."
        ) from error


def _rescaled(plane: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if (slope, intercept) == (1.0, 0.0):
        return plane
    scaled = plane * slope + intercept
    whole = np.issubdtype(plane.dtype, np.integer) and slope.is_integer() and intercept.is_integer()
    return scaled.astype(np.int32) if whole else scaled


def _narrowed(plane: np.ndarray) -> np.ndarray:
    """As int16 where whole numbers fit."""
    limits = np.iinfo(np.int16)
    if np.issubdtype(plane.dtype, np.integer) and limits.min <= plane.min() and plane.max() <= limits.max:
        return plane.astype(np.int16, copy=False)
    return plane
