"""Segments on a volume's grid as `.seg.nrrd`, through Slicer's own writer, and the names of a label map."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import slicer
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk

from ..errors import InputRefused
from ..integrity import check_complete
from ..labels import TERMINOLOGY_TAG
from ..volume import Grid
from .labelmaps import BINARY_LABELMAP, REFERENCE_GEOMETRY
from .ours import tag
from .placing import incomplete
from .segment_voxels import SegmentVoxels, layers, name_of

# Which parts of a TerminologyEntry tag Slicer's color tables hold, each as three columns.
_CODES = {"Category": 1, "Type": 2, "TypeModifier": 3, "Region": 5, "RegionModifier": 6}
_CODE_PARTS = ("CodingScheme", "CodeValue", "CodeMeaning")
_PARTS_OF_ENTRY = 7


def write_seg_nrrd(path: Path, segmentation_node, segments: list[SegmentVoxels], grid: Grid) -> None:
    """Writes all segments, also those without voxels, with name, color, tags (terminology) and conversion parameters.

    Args:
        path: ends with `.seg.nrrd`, in the staging folder.
        segments: of `segmentation_node`, in the order of its list.

    Raises:
        OSError: the disk took no more data.
    """
    images, voxel_bytes = {}, 0
    for array, members in layers(segments, grid):
        image = _image(array, grid)
        images.update({item.segment_id: image for item in members})
        voxel_bytes += array.nbytes
    # A scene of its own: no view, no selector and no subject hierarchy learns of the copy.
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", segmentation_node.GetName())
    copy = node.GetSegmentation()
    copy.SetSourceRepresentationName(BINARY_LABELMAP)
    copy.CopyConversionParameters(segmentation_node.GetSegmentation())
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(next(iter(images.values())))
    copy.SetConversionParameter(REFERENCE_GEOMETRY, geometry)
    for item in segments:
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(item.segment)
        segment.SetLabelValue(item.value)
        segment.AddRepresentation(BINARY_LABELMAP, images[item.segment_id])
        copy.AddSegment(segment, item.segment_id)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    storage.SetUseCompression(True)
    try:
        if not storage.WriteData(node):
            raise incomplete(path.parent.parent)
        # Slicer's writer does not notice where only the last bytes found no room.
        check_complete(path, voxel_bytes)
    except InputRefused as error:
        raise incomplete(path.parent.parent) from error


def write_names(path: Path, segments: list[SegmentVoxels]) -> None:
    """Writes a CSV file with value, name, color and codes of the segments, in rising order of their values.

    The columns are those of Slicer's color tables, so that Slicer can take them from this file.
    """
    columns = ["LabelValue", "Name", *(f"Color_{channel}" for channel in "RGBA")]
    columns += [f"{code}_{part}" for code in _CODES for part in _CODE_PARTS]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        table.writerow(columns)
        for item in sorted(segments, key=lambda item: item.value):
            color = [round(255 * channel) for channel in item.segment.GetColor()]
            table.writerow([item.value, name_of(item), *color, 255, *_codes(item.segment)])


def _codes(segment) -> list[str]:
    """Scheme, value and meaning of every code in `_CODES`, empty where the segment has none."""
    entry = tag(segment, TERMINOLOGY_TAG)
    triplets = [(part.split("^") + [""] * 3)[:3] for part in entry.split("~")] + [[""] * 3] * _PARTS_OF_ENTRY
    return [text for position in _CODES.values() for text in triplets[position]]


def _image(array: np.ndarray, grid: Grid):
    """A vtkOrientedImageData with a copy of the voxels (k, j, i), uint8 or uint16, on the whole grid."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent([bound for n in grid.shape[::-1] for bound in (0, n - 1)])
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    kind = get_vtk_array_type(array.dtype)
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True, array_type=kind))
    return image
