"""Surfaces of segments as STL and OBJ files, written by Slicer's own export and checked afterward.

Slicer's export tells of a failure (a full disk, a name with a slash) on stderr only, and drops letters that are not
ASCII from the names of files. So it gets a copy of the surfaces under plain names, in a scene of its own, and what it
wrote is counted.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk

from ..volume import Grid
from .composition import CLOSED_SURFACE
from .labelmaps import BINARY_LABELMAP, labelmap_from
from .placing import incomplete
from .segment_voxels import SegmentVoxels

_NAME = "surfaces"
_JOINT_SMOOTHING = "Joint smoothing"
_STL_HEADER_BYTES = 84
_STL_TRIANGLE_BYTES = 50


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Copies of surfaces, numbered from 0 on.

    scene: owns `node`. node: a segmentation node with a segment per surface. polygons: how many each surface has.
    """

    scene: object
    node: object
    polygons: list[int]

    def write_stl(self, folder: Path) -> list[Path]:
        """One binary STL file per surface, in LPS as Slicer writes it (its header says so).

        Raises:
            OSError: a file is missing or cut short.
        """
        self._export(folder, "STL")
        paths = [folder / f"{_NAME}_{number}.stl" for number in range(len(self.polygons))]
        for path, polygons in zip(paths, self.polygons):
            content = path.read_bytes() if path.exists() else b""
            triangles = struct.unpack_from("<I", content, _STL_HEADER_BYTES - 4)[0] if len(content) >= 84 else 0
            if triangles < polygons or len(content) != _STL_HEADER_BYTES + _STL_TRIANGLE_BYTES * triangles:
                raise incomplete(folder.parent)
        return paths

    def write_obj(self, folder: Path) -> tuple[Path, Path]:
        """One OBJ file with a group per surface, in LPS as Slicer writes it, and its MTL file with the colors.

        Raises:
            OSError: a file is missing or cut short.
        """
        self._export(folder, "OBJ")
        paths = folder / f"{_NAME}.obj", folder / f"{_NAME}.mtl"
        if not all(path.exists() for path in paths):
            raise incomplete(folder.parent)
        content, materials = (path.read_bytes() for path in paths)
        if content.count(b"\nf ") < sum(self.polygons) or not content.endswith(b"\n"):
            raise incomplete(folder.parent)
        if materials.count(b"\nillum ") != len(self.polygons) or not materials.endswith(b"\n"):
            raise incomplete(folder.parent)
        return paths

    def _export(self, folder: Path, file_format: str) -> None:
        slicer.modules.segmentations.logic().ExportSegmentsClosedSurfaceRepresentationToFiles(
            str(folder), self.node, None, file_format, True, 1.0, False
        )


def copy_surfaces(segmentation_node, segments: list[SegmentVoxels], grid: Grid) -> Surfaces:
    """The surfaces that Slicer shows in 3D (smoothed as set there), made where they don't exist yet.

    They are in world coordinates: the parent transform of the segmentation is applied, as in Slicer's own export.

    Args:
        segments: of the segmentation, with voxels.
        grid: what their arrays lie on.
    """
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", _NAME)
    node.GetSegmentation().SetSourceRepresentationName(CLOSED_SURFACE)
    node.CreateDefaultDisplayNodes()
    polygons = []
    for number, item in enumerate(segments):
        surface = _surface(segmentation_node, item, grid)
        copy = slicer.vtkSegment()
        copy.SetName(str(number))
        copy.SetColor(item.segment.GetColor())
        copy.AddRepresentation(CLOSED_SURFACE, surface)
        node.GetSegmentation().AddSegment(copy, copy.GetName())
        polygons.append(surface.GetNumberOfPolys())
    return Surfaces(scene, node, polygons)


def _surface(segmentation_node, item: SegmentVoxels, grid: Grid):
    """vtkPolyData of one segment in world coordinates."""
    logic = slicer.modules.segmentations.logic()
    segmentation = segmentation_node.GetSegmentation()
    joint = segmentation.GetConversionParameter(_JOINT_SMOOTHING) == "1"
    if joint or not item.exact or segmentation.ContainsRepresentation(CLOSED_SURFACE):
        surface = vtk.vtkPolyData()
        logic.GetSegmentClosedSurfaceRepresentation(segmentation_node, item.segment_id, surface, True)
        # With VTK 9.6 joint smoothing yields points without polygons.
        if surface.GetNumberOfPolys():
            return surface
    # Slicer would look through the whole shared label map for every segment, which takes a second for each.
    part = grid.crop((item.planes, slice(None), slice(None)))
    alone = slicer.vtkSegment()
    alone.SetLabelValue(1)
    alone.AddRepresentation(
        BINARY_LABELMAP, labelmap_from((item.array[item.planes] == item.label).astype(np.uint8), part)
    )
    temporary = slicer.vtkSegmentation()
    temporary.SetSourceRepresentationName(BINARY_LABELMAP)
    temporary.CopyConversionParameters(segmentation)
    temporary.SetConversionParameter(_JOINT_SMOOTHING, "0")
    temporary.AddSegment(alone, item.segment_id)
    temporary.CreateRepresentation(CLOSED_SURFACE)
    surface = alone.GetRepresentation(CLOSED_SURFACE)
    logic.ApplyParentTransformToPolyData(segmentation_node, surface)
    return surface


def name_groups(obj: Path, names: list[str], material_file: str) -> None:
    """Writes the names of the surfaces, in their order, and of the MTL file into an OBJ file of `write_obj`."""
    left = iter(names)
    # A blank would begin the name of a second group.
    content = re.sub(rb"\nmtllib .*\n", lambda _: f"\nmtllib {material_file}\n".encode(), obj.read_bytes(), count=1)
    obj.write_bytes(re.sub(rb"\ng grp.*\n", lambda _: f"\ng {'_'.join(next(left).split())}\n".encode(), content))
