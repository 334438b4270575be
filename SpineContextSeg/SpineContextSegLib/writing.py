"""From a `Volume` to a file: whole or not at all, and never with a geometry that the format can't hold.

SimpleITK is imported where it is used, see `volume`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from .errors import InputRefused
from .faults import lacks_memory
from .integrity import check_size, check_voxels
from .labels import STRUCTURES, VERTEBRAE, Segment, levels_known, structure
from .nifti import holds
from .outputs import check_place, write_complete
from .volume import Grid, Volume, count_labels, to_sitk

NIFTI_ENDINGS = (".nii", ".nii.gz")
# The header and the four bytes that say that no extension follows.
NIFTI_HEADER_BYTES = 352
# The longest first, as `.seg.nrrd` is also a `.nrrd`.
WRITABLE_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
# Label maps pack a hundredfold at every level; level 9 takes many times longer for a few percent.
SEGMENTATION_COMPRESSION = 2
# `vtkSegmentationConverter::GetReferenceImageGeometryParameterName`
_REFERENCE_GEOMETRY = "Reference image geometry"


def check_output(path: str | Path, grid: Grid) -> None:
    """Tells before any work whether a result on `grid` can be written to `path`.

    Raises:
        InputRefused: no folder to write to, unknown ending, or a sheared grid and a NIfTI ending.
    """
    path = Path(path)
    ending = _ending(path)
    check_place(path)
    if ending in NIFTI_ENDINGS and not holds(grid):
        raise InputRefused(
            "The scan is sheared (tilted gantry), which NIfTI can't hold: write to "
            f"'{path.name[: -len(ending)]}.seg.nrrd' or '.nrrd' instead."
        )


def write_volume(volume: Volume, path: str | Path) -> None:
    """Writes `.nii.gz`, `.nii`, `.nrrd` or `.mha`, packed; an earlier file stays as it is until the new one is whole.

    Args:
        volume: (k, j, i), any number type; affine IJK -> RAS in mm.
        path: in a folder that exists.

    Raises:
        InputRefused: as `check_output`.
        OSError: disk full or not writable; nothing is left behind.
        RuntimeError: memory ran out, see `faults.lacks_memory`.
    """
    path = Path(path)
    check_output(path, volume.grid)
    write_complete(path, lambda partial: _write_sitk(volume, partial))


def write_segmentation(
    labels: Volume, path: str | Path, described: Mapping[int, Segment] = MappingProxyType({}), doubt: str = ""
) -> None:
    """Writes a label map in VerSe values: `.seg.nrrd` with names, colors and terminology, or as `write_volume`.

    A `.seg.nrrd` holds all segments in one shared layer, from top to bottom of the spine; segments without voxels are
    left out.

    Args:
        labels: whole numbers from 0 to 65535, (k, j, i); affine IJK -> RAS in mm.
        path: in a folder that exists.
        described: value -> what a `.seg.nrrd` says of it, where that isn't what the table of labels says.
        doubt: why levels aren't certain, in short, which a `.seg.nrrd` says of every vertebra; "" where they are.

    Raises:
        InputRefused: as `check_output`.
        KeyError: a value that no structure has and that isn't described.
        ValueError: a value below 0 or above 65535.
        OSError: disk full or not writable; nothing is left behind.
        RuntimeError: memory ran out, see `faults.lacks_memory`.
    """
    path = Path(path)
    check_output(path, labels.grid)
    present = count_labels(labels.array)
    if min(present) < 0 or max(present) > np.iinfo(np.uint16).max:
        raise ValueError(f"labels from {min(present)} to {max(present)} can't be written")
    number_type = np.uint8 if max(present) < 256 else np.uint16
    labels = Volume(labels.array.astype(number_type, copy=False), labels.affine)
    if _ending(path) != ".seg.nrrd":
        write_volume(labels, path)
        return
    segments = _segments(set(present) - {0}, described)
    if doubt:
        segments = [item.with_doubt(doubt) if item.value in VERTEBRAE else item for item in segments]
    header = _header(segments, labels.grid)
    write_complete(path, lambda partial: _write_sitk(labels, partial, header))


def _segments(values: set[int], described: Mapping[int, Segment]) -> list[Segment]:
    """What is to be said of every value, in the order of the label table, then in rising order."""
    known, places = levels_known(values), {value: place for place, value in enumerate(STRUCTURES)}
    order = sorted(values, key=lambda value: (places.get(value, len(places)), value))
    return [described.get(value) or Segment.of(structure(value, levels_known=known)) for value in order]


def _header(segments: Iterable[Segment], grid: Grid) -> dict[str, str]:
    """The fields by which Slicer tells a segmentation with one shared layer (vtkMRMLSegmentationStorageNode)."""
    # Slicer takes the extent of a layer from its first segment, so each states the whole image.
    extent = [end for size in grid.shape[::-1] for end in (0, size - 1)]
    header = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        # Without it, Slicer crops the image to the segments when it saves.
        "Segmentation_ConversionParameters": f"{_REFERENCE_GEOMETRY}|{_serialized(grid, extent)}|&",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, segment in enumerate(segments):
        fields = {
            "ID": segment.segment_id,
            "Name": segment.name,
            "Color": " ".join(f"{part:.6g}" for part in segment.color),
            "LabelValue": str(segment.value),
            "Layer": "0",
            "Extent": " ".join(map(str, extent)),
            "Tags": "".join(f"{name}:{text}|" for name, text in segment.tags.items()),
        }
        header |= {f"Segment{number}_{field}": text for field, text in fields.items()}
    return header


def _serialized(grid: Grid, extent: Iterable[int]) -> str:
    """Matrix IJK -> RAS, row by row, and extent, as of `vtkSegmentationConverter::SerializeImageGeometry`."""
    return "".join(f"{number!r};" for number in (*grid.affine.ravel().tolist(), *extent))


def _ending(path: Path) -> str:
    ending = next((e for e in WRITABLE_ENDINGS if path.name.lower().endswith(e)), None)
    if ending is None:
        raise InputRefused(f"'{path.name}' has no known ending: use {', '.join(WRITABLE_ENDINGS[:-1])} or .mha.")
    return ending


def _write_sitk(volume: Volume, path: Path, header: Mapping[str, str] = MappingProxyType({})) -> None:
    import SimpleITK as sitk

    offset = NIFTI_HEADER_BYTES if _ending(path) in NIFTI_ENDINGS else 0
    image = to_sitk(volume)
    for field, text in header.items():
        image.SetMetaData(field, text)
    level = SEGMENTATION_COMPRESSION if header else -1
    try:
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=level)
        # ITK's NIfTI writer does not notice a full disk.
        check_size(path, volume.array.nbytes, offset)
        check_voxels(path, volume.array, volume.array.nbytes, offset)
    except (RuntimeError, InputRefused) as error:
        if lacks_memory(error):
            raise
        raise OSError(f"'{path.parent}' took no more data: is the disk full or protected?") from error
