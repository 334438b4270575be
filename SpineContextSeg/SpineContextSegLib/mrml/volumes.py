"""A volume node of the scene as a `Volume`, or one sentence on why it can't be segmented."""

from __future__ import annotations

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..checks import check_geometry
from ..errors import InputRefused
from ..volume import Volume


def refusal(volume_node) -> str | None:
    """Why this node can't be segmented and what to do, in one sentence; None if it can.

    Looks at the kind of node, its size and its transforms; whether the values are those of a CT or an MR is
    for `checks.check_input`, which reads the voxels.
    """
    if volume_node is None:
        return "No volume is selected: choose the scan to segment."
    name = volume_node.GetName()
    if not volume_node.IsA("vtkMRMLScalarVolumeNode"):
        return f"'{name}' is not a volume: choose the scan to segment."
    if volume_node.IsA("vtkMRMLLabelMapVolumeNode"):
        return f"'{name}' is a label map, not a scan: choose the scan that it was made from."
    image = volume_node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        return f"'{name}' holds no voxels: load the scan again."
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        return f"'{name}' holds {components} values per voxel, as a color image does: choose a scan, which holds one."
    bending = non_linear_parent(volume_node)
    if bending is not None:
        return (
            f"'{name}' is under the non-linear transform '{bending.GetName()}': harden the transform on the volume or "
            "take the volume out of it, then segment it."
        )
    try:
        check_geometry(volume_from_node(volume_node).grid)
    except InputRefused as error:
        return str(error)
    return None


def volume_from_node(volume_node) -> Volume:
    """The voxels (k, j, i), a view into the node's own memory, with the node's own IJK -> RAS.

    Parent transforms are left out: the segmentation gets the same ones, so they matter to neither.

    Args:
        volume_node: a vtkMRMLScalarVolumeNode with one value per voxel.
    """
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return volume_from_image(volume_node.GetImageData(), matrix)


def volume_from_image(image, image_to_world) -> Volume:
    """A view of a vtkImageData's voxels (k, j, i).

    Args:
        image: one value per voxel; its own origin and spacing are left aside.
        image_to_world: vtkMatrix4x4, index (i, j, k) of the image -> RAS in mm. Where the image's extent does not begin
            at 0, the affine of the returned volume is that of its first voxel.
    """
    affine = slicer.util.arrayFromVTKMatrix(image_to_world)
    affine[:3, 3] += affine[:3, :3] @ image.GetExtent()[::2]
    return Volume(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]), affine)


def non_linear_parent(node):
    """The transform node above `node`, however far up, that bends space; None if all are linear."""
    transform = node.GetParentTransformNode()
    while transform is not None and transform.IsLinear():
        transform = transform.GetParentTransformNode()
    return transform
