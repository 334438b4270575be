"""The single images of multi-frame DICOM files, each with its own place and scale.

GDCM tells one position, one distance and one scale for all frames, which loses tilt, order and whatever differs, so
they are read from the functional groups: DICOM PS3.3 C.7.6.16.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .dicom_slice import Slice, axes_of, numbers_in, position_of, spacing_of

if TYPE_CHECKING:
    from pydicom import Dataset

# Where each is in a frame: its sequence, then the value in that.
_POSITION = "PlanePositionSequence", "ImagePositionPatient"
_ORIENTATION = "PlaneOrientationSequence", "ImageOrientationPatient"
_SPACING = "PixelMeasuresSequence", "PixelSpacing"
_THICKNESS = "PixelMeasuresSequence", "SliceThickness"
_SLOPE = "PixelValueTransformationSequence", "RescaleSlope"
_INTERCEPT = "PixelValueTransformationSequence", "RescaleIntercept"
_PHASE = "FrameContentSequence", "TemporalPositionIndex"
_SHARED, _PER_FRAME, _DISTANCE = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SpacingBetweenSlices"
)  # fmt: skip
_READ = (_SHARED, _PER_FRAME, _DISTANCE, _SLOPE[1], _INTERCEPT[1])
# Enhanced and legacy converted CT, MR and PET, and 3D X-ray: GDCM scales all frames of theirs as the functional groups
# of the first one say. Of other kinds it looks at the top of the header alone.
_SCALED_AS_FIRST = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("2.1", "2.2", "4.1", "4.4", "128.1", "130", "13.1.1", "13.1.2", "13.1.3")
)
# What pydicom raises over a header, or a value in it, that isn't as the standard wants it (over an unknown kind of
# value: NotImplementedError).
_DAMAGED = (OSError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError, struct.error, zlib.error)


def images_in(item: Slice) -> list[Slice]:
    """One slice per image of a file; none where it doesn't say where its only image lies.

    Args:
        item: the file, as `dicom_slice.read_slice` returns it.
    """
    if item.frames == 1 and item.position is not None and item.spacing is not None and item.axes is not None:
        return [item]
    try:
        images = _images(item, _header(item.path))
    except _DAMAGED:
        images = _unplaced(item)
    if item.frames == 1 and images[0].position is None:
        return []
    # What part of a file can't be told makes the rest of it doubtful.
    refusal = next(filter(None, map(_refusal, images)), "")
    return [replace(image, refusal=refusal) for image in images]


def _header(path: Path) -> Dataset:
    from pydicom import dcmread

    return dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_READ))


def _images(item: Slice, header: Dataset) -> list[Slice]:
    if header.get(_PER_FRAME):
        return _grouped(item, header)
    return _evenly_spaced(item, header) if item.frames > 1 else [item]


def _grouped(item: Slice, header: Dataset) -> list[Slice]:
    groups = header.get(_PER_FRAME)
    shared = next(iter(header.get(_SHARED) or []), {})
    scales = [_scale(group, shared, header) for group in groups]
    applied = scales[0] if item.sop_class in _SCALED_AS_FIRST else _scale({}, {}, header)
    images = []
    for n, (group, scale) in enumerate(zip(groups, scales)):
        position = position_of(_text(group, shared, *_POSITION))
        spacing = spacing_of(_text(group, shared, *_SPACING))
        axes = axes_of(_text(group, shared, *_ORIENTATION))
        thickness = numbers_in(_text(group, shared, *_THICKNESS), 1)
        slope = scale[0] / applied[0]
        image = replace(
            item,
            # At the top it is that of one frame, if of any.
            position=item.position if position is None and item.frames == 1 else position,
            spacing=item.spacing if spacing is None else spacing,
            thickness=max(0.0, thickness[0]) if thickness else item.thickness,
            axes=item.axes if axes is None else axes,
            phase=(item.phase[0], int(_text(group, {}, *_PHASE) or item.phase[1]), *item.phase[2:]),
            order=(item.order[0], n),
            rescale=(slope, scale[1] - slope * applied[1]),
        )
        images.append(image)
    if len(images) != item.frames or any(image.position is None for image in images):
        return _unplaced(item)
    return images


def _evenly_spaced(item: Slice, header: Dataset) -> list[Slice]:
    """Frames of a file without functional groups, where it states at least their distance."""
    distance = numbers_in(_written(header, _DISTANCE), 1)
    if not distance or distance[0] <= 0 or item.position is None:
        return _unplaced(item)
    step = distance[0] * item.normal
    return [
        replace(item, position=item.position + n * step, order=(item.order[0], n), assumed=True)
        for n in range(item.frames)
    ]


def _unplaced(item: Slice) -> list[Slice]:
    return [replace(item, position=None, order=(item.order[0], n)) for n in range(item.frames)]


def _refusal(image: Slice) -> str:
    name = image.path.name
    if image.position is None:
        return f"'{name}' does not say where each of its images lies: export the series again, as single images."
    if image.spacing is None:
        return f"'{name}' does not state how large its voxels are: export the scan again."
    return ""


def _text(group: Mapping, shared: Mapping, sequence: str, keyword: str) -> str:
    """A value of a frame, be it its own or that of all frames."""
    for place in (group, shared):
        for content in (place.get(sequence) or [])[:1]:
            if keyword in content:
                return _written(content, keyword)
    return ""


def _written(place: Mapping, keyword: str) -> str:
    """A value as DICOM writes it, several numbers parted by backslashes; "" where there is none."""
    value = place.get(keyword)
    if value is None:
        return ""
    return str(value) if isinstance(value, (str, int, float)) else "\\".join(map(str, value))


def _scale(group: Mapping, shared: Mapping, header: Mapping) -> tuple[float, float]:
    """Slope and intercept of a frame."""
    slope, intercept = (
        numbers_in(_text(group, shared, *place) or _written(header, place[1]), 1) for place in (_SLOPE, _INTERCEPT)
    )
    return (slope or [1.0])[0] or 1.0, (intercept or [0.0])[0]
