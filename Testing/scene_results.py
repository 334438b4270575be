"""Results as segmentation nodes, the ways in which a person changes them, and what tests want to know of a scene."""

import numpy as np
import slicer
import vtk

from SpineContextSegLib.mrml.ours import our_values
from SpineContextSegLib.mrml.segmentations import write_result
from SpineContextSegLib.volume import Volume
from Testing.geometry import OBLIQUE, centered_grid, rotation
from Testing.scene_nodes import mask_of, oriented_image

SMALL = centered_grid((1.0, 1.5, 2.0), (18.0, 24.0, 32.0), OBLIQUE)
ROTATED = np.vstack([np.c_[rotation(35, 2) @ rotation(10, 0), (5.0, -8.0, 40.0)], [0, 0, 0, 1]])
MIRRORED = np.diag([-1.0, 1.0, 1.0, 1.0])


def scene_state(scene) -> dict:
    """Which nodes there are and when each was last changed, and the items of the subject hierarchy."""
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    items = vtk.vtkIdList()
    scene.GetSubjectHierarchyNode().GetItemChildren(scene.GetSubjectHierarchyNode().GetSceneItemID(), items, True)
    return {node.GetID(): node.GetMTime() for node in nodes} | {"items": items.GetNumberOfIds()}


def place_under(node, transforms) -> None:
    """Puts a node under a chain of transforms, the first one nearest to it."""
    for transform in transforms:
        node.SetAndObserveTransformNodeID(transform.GetID())
        node = transform


def to_world(node) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(node.GetParentTransformNode(), None, matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


LEVELS = {"levels_known": True, "model": "spine 1"}
NO_LEVELS = {"levels_known": False, "model": "spine 1"}


def scattered(grid, values=(1, 26, 61, 200)) -> Volume:
    """Labels without any symmetry; some voxels of the border and of each corner are labeled."""
    labels = np.random.default_rng(3).choice([0, *values], grid.shape).astype(np.uint8)
    return Volume(labels, grid.affine)


def add_result(volume_node, labels: np.ndarray, report=LEVELS, **options):
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return write_result(volume_node, Volume(labels, slicer.util.arrayFromVTKMatrix(matrix)), report, **options)


def blocks(*values) -> np.ndarray:
    """A block of each value on the small grid, one above the other."""
    labels = np.zeros(SMALL.shape, np.uint8)
    for n, value in enumerate(values):
        labels[2 * n : 2 * n + 2, 3:9, 4 : 9 + n] = value
    return labels


def labels_in(node, volume_node) -> np.ndarray:
    """What Slicer's own export sees of our segments, in label values; fails where two of them overlap."""
    labels = np.zeros(volume_node.GetImageData().GetDimensions()[::-1], np.uint8)
    for value, segment_id in our_values(node).items():
        mask = mask_of(node, segment_id, volume_node)
        assert not labels[mask].any(), "segments overlap"
        labels[mask] = value
    return labels


def segments(node) -> dict:
    segmentation = node.GetSegmentation()
    return {segment_id: segmentation.GetSegment(segment_id) for segment_id in segmentation.GetSegmentIDs()}


def tag(segment, name: str) -> str | None:
    text = vtk.reference("")
    return str(text) if segment.GetTag(name, text) else None


def hierarchy():
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def editor(node, volume):
    """The logic behind Segment Editor with this segmentation, and its history of edits."""
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    logic.SetSegmentationNode(node)
    logic.SetSourceVolumeNode(volume)
    return logic


def edit(logic, node, segment_id, mask, volume):
    """One stroke of a brush, with the state before it saved for undo, as an effect does it."""
    assert logic.SaveStateForUndo()
    logic.SetCurrentSegmentID(segment_id)
    image = oriented_image(mask.astype(np.uint8), volume)
    logic.ModifySegmentByLabelmap(node, segment_id, image, logic.ModificationModeAdd, False, False)
