"""The single images of multi-frame DICOM files, each with its own place and scale.

GDCM tells one position, one distance and one scale for all frames, which loses tilt, order and whatever differs, so
they are read from the functional groups: DICOM PS3.3 C.7.6.16.
"""

from __future__ import annotations

from dataclasses import replace

from .dicom_elements import Elements, read_elements
from .dicom_slice import Slice, axes_of, numbers_in, position_of, spacing_of

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_POSITIONS, _ORIENTATIONS, _MEASURES, _SCALES = 0x00209113, 0x00209116, 0x00289110, 0x00289145
_CONTENT, _PHASE = 0x00209111, 0x00209128
_POSITION, _ORIENTATION, _SPACING = 0x00200032, 0x00200037, 0x00280030
_INTERCEPT, _SLOPE, _SLICE_DISTANCE = 0x00281052, 0x00281053, 0x00180088
_SEQUENCES = (_SHARED, _PER_FRAME, _POSITIONS, _ORIENTATIONS, _MEASURES, _SCALES, _CONTENT)
_VALUES = (_POSITION, _ORIENTATION, _SPACING, _INTERCEPT, _SLOPE, _SLICE_DISTANCE, _PHASE)
# Enhanced and legacy converted CT and MR: GDCM scales all frames of theirs as the first one says.
_SCALED_AS_FIRST = tuple(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2.1", "2.2", "4.1", "4.4"))


def images_in(item: Slice) -> list[Slice]:
    """One slice per image of a file; none where it doesn't say where its only image lies.

    Args:
        item: the file, as `dicom_slice.read_slice` returns it.
    """
    if item.frames == 1 and item.position is not None and item.spacing is not None and item.axes is not None:
        return [item]
    try:
        header = read_elements(item.path, _VALUES, _SEQUENCES)
    except (OSError, ValueError):
        header = {}
    groups = header.get(_PER_FRAME, [])
    if groups:
        images = _grouped(item, header, groups)
    elif item.frames > 1:
        images = _evenly_spaced(item, header)
    else:
        images = [item]
    if item.frames == 1 and images[0].position is None:
        return []
    # What part of a file can't be told makes the rest of it doubtful.
    refusal = next(filter(None, map(_refusal, images)), "")
    return [replace(image, refusal=refusal) for image in images]


def _grouped(item: Slice, header: Elements, groups: list[Elements]) -> list[Slice]:
    shared = next(iter(header.get(_SHARED, [])), {})
    scales = [_scale(group, shared, header) for group in groups]
    images = []
    for n, (group, scale) in enumerate(zip(groups, scales)):
        position = position_of(_text(group, shared, _POSITIONS, _POSITION))
        spacing = spacing_of(_text(group, shared, _MEASURES, _SPACING))
        axes = axes_of(_text(group, shared, _ORIENTATIONS, _ORIENTATION))
        slope = scale[0] / scales[0][0]
        image = replace(
            item,
            # At the top it is that of one frame, if of any.
            position=item.position if position is None and item.frames == 1 else position,
            spacing=item.spacing if spacing is None else spacing,
            axes=item.axes if axes is None else axes,
            phase=(item.phase[0], _phase(group) or item.phase[1], *item.phase[2:]),
            order=(item.order[0], n),
            rescale=(slope, scale[1] - slope * scales[0][1]),
        )
        images.append(image)
    if len(images) != item.frames or any(image.position is None for image in images):
        return _unplaced(item)
    return images


def _evenly_spaced(item: Slice, header: Elements) -> list[Slice]:
    """Frames of a file without functional groups, where it states at least their distance."""
    distance = numbers_in(_decoded(header.get(_SLICE_DISTANCE, b"")), 1)
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
    if image.rescale != (1.0, 0.0) and image.sop_class not in _SCALED_AS_FIRST:
        return f"'{name}' scales its images in different ways: export the series again, as single images."
    return ""


def _text(group: Elements, shared: Elements, sequence: int, tag: int) -> str:
    """A value of a frame, be it its own or that of all frames."""
    for place in (group, shared):
        for element in place.get(sequence, [])[:1]:
            if tag in element:
                return _decoded(element[tag])
    return ""


def _scale(group: Elements, shared: Elements, header: Elements) -> tuple[float, float]:
    """Slope and intercept of a frame."""
    slope = numbers_in(_text(group, shared, _SCALES, _SLOPE) or _decoded(header.get(_SLOPE, b"")), 1) or [1.0]
    intercept = numbers_in(_text(group, shared, _SCALES, _INTERCEPT) or _decoded(header.get(_INTERCEPT, b"")), 1)
    return slope[0] or 1.0, (intercept or [0.0])[0]


def _phase(group: Elements) -> int:
    """Temporal Position Index, 0 where there is none. The byte order doesn't matter to sort a few of them."""
    content = next(iter(group.get(_CONTENT, [])), {})
    return int.from_bytes(content.get(_PHASE, b""), "little")


def _decoded(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\x00 ")
