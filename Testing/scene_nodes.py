"""Nodes for tests on the real Slicer core: volumes on any grid, segmentations before and after hand edits."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk

from SpineContextSegLib.mrml.segmentations import write_result
from SpineContextSegLib.mrml.volumes import volume_from_node
from SpineContextSegLib.volume import Grid, Volume


def add_volume(grid: Grid, name: str = "CT", array: np.ndarray | None = None):
    """A scalar volume node in the scene; `array` (k, j, i) is zero where not given."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.zeros(grid.shape, np.int16) if array is None else array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
    return node


def add_segmentation(volume_node, labels: np.ndarray, name: str = "CT spine"):
    """A segmentation as a run leaves it, with the labels (k, j, i) on the volume's grid; without any, an empty node."""
    if labels.any():
        result = Volume(labels, volume_from_node(volume_node).affine)
        node = write_result(volume_node, result, {"levels_known": False, "model": "tiny 0"})
    else:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        node.CreateDefaultDisplayNodes()
    node.SetName(name)
    return node


def oriented_image(array: np.ndarray, volume_node):
    """A vtkOrientedImageData with a copy of the voxels (k, j, i) on the volume's own grid."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.SetExtent([bound for n in array.shape[::-1] for bound in (0, n - 1)])
    kind = get_vtk_array_type(array.dtype)
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True, array_type=kind))
    image.SetImageToWorldMatrix(matrix)
    return image


def draw(segmentation_node, segment_id: str, mask: np.ndarray, volume_node) -> None:
    """Replaces a segment as an editor does, or adds a foreign one that may overlap others; `mask` (k, j, i)."""
    if segmentation_node.GetSegmentation().GetSegment(segment_id) is None:
        segmentation_node.GetSegmentation().AddEmptySegment(segment_id, segment_id)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image(mask.astype(np.uint8), volume_node), segmentation_node, segment_id
    )


def paint(segmentation_node, segment_id: str, mask: np.ndarray, volume_node, *, erase: bool = False) -> None:
    """Adds to a segment, or erases from it, through the logic behind Segment Editor's brush; others give way."""
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    logic.SetSegmentationNode(segmentation_node)
    logic.SetSourceVolumeNode(volume_node)
    logic.SetCurrentSegmentID(segment_id)
    mode = logic.ModificationModeRemove if erase else logic.ModificationModeAdd
    image = oriented_image(mask.astype(np.uint8), volume_node)
    logic.ModifySegmentByLabelmap(segmentation_node, segment_id, image, mode, False, False)


def mask_of(segmentation_node, segment_id: str, volume_node) -> np.ndarray:
    """Voxels (k, j, i) of one segment on the volume's grid, as Slicer's own export of a label map sees them."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation_node, segment_id, volume_node) != 0


def add_transform(matrix: np.ndarray, name: str = "moved"):
    """A linear transform node to put others under."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, dtype=float)))
    return node


def remove_views() -> None:
    """Closing a scene leaves crosshair and slices where they are, as desktop Slicer wants it."""
    for class_name in ("vtkMRMLCrosshairNode", "vtkMRMLSliceNode"):
        for node in slicer.util.getNodesByClass(class_name):
            slicer.mrmlScene.RemoveNode(node)
