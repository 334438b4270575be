"""What is measured of each vertebra, in the scene: a point at its middle, and a table.

`measure` is imported where it is used: it brings SimpleITK, and Slicer imports this module at every start.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk

from ..mr import has_hounsfield_units
from .belonging import volume_of
from .contradictions import contradictions
from .label_volume import label_volume, reference_grid
from .labelmaps import labelmap_of
from .ours import our_segments, our_values
from .run_regions import regions_in
from .run_warnings import doubts
from .segmentations import place_beside
from .volumes import non_linear_parent, refusal, volume_from_node

if TYPE_CHECKING:
    from ..measure import VertebraRow

_POINTS, _TABLE = "SpineContextSeg.Points", "SpineContextSeg.Table"
# Of a length; a registration's rotation is rounded.
_RIGID = 1e-3


def show_measurements(segmentation_node):
    """Measures all vertebrae and writes them into a point list and a table; those of the last time are used again.

    Points are named as their segments, from top to bottom, and lie under the transform of the segmentation; the table
    tells where that brings them. Density is measured where the volume of the segmentation is in the scene, under the
    same transform.

    Returns:
        vtkMRMLMarkupsFiducialNode, vtkMRMLTableNode, and sentences for the user, most often none.

    Raises:
        InputRefused: single vertebrae are not told apart.
    """
    rows, remarks = _measure(segmentation_node)
    remarks += contradictions(segmentation_node.GetSegmentation())
    points = _node_for(segmentation_node, _POINTS, "vtkMRMLMarkupsFiducialNode", "points")
    _fill_points(points, rows, segmentation_node)
    table = _node_for(segmentation_node, _TABLE, "vtkMRMLTableNode", "table")
    _fill_table(table, rows, segmentation_node)
    return points, table, remarks


def is_measured(segmentation_node) -> bool:
    """Whether points or a table are in the scene."""
    return bool(_measured(segmentation_node))


def is_behind(segmentation_node) -> bool:
    """Whether voxels have changed since points or table were filled."""
    segmentation, measured = segmentation_node.GetSegmentation(), _measured(segmentation_node)
    images = {labelmap_of(segmentation.GetSegment(name)) for name in our_segments(segmentation).values()} - {None}
    changed = max((image.GetMTime() for image in images), default=0)
    return any(node.GetMTime() < changed for node in measured)


def _measured(segmentation_node) -> list:
    return [node for node in map(segmentation_node.GetNodeReference, (_POINTS, _TABLE)) if node is not None]


def update_measurements(segmentation_node) -> None:
    """Measures again where points or a table are in the scene, which would go on telling what was.

    Raises:
        InputRefused: as `show_measurements`.
    """
    if not is_measured(segmentation_node):
        return
    points, table = (segmentation_node.GetNodeReference(role) for role in (_POINTS, _TABLE))
    rows, _ = _measure(segmentation_node)
    if points is not None:
        _fill_points(points, rows, segmentation_node)
    if table is not None:
        _fill_table(table, rows, segmentation_node)


def _measure(segmentation_node) -> tuple[list[VertebraRow], list[str]]:
    """Rows in the segmentation's own coordinates, each with the doubt about its level, and sentences for the user."""
    rows, remarks = _rows(segmentation_node)
    doubtful = doubts(segmentation_node.GetSegmentation())
    rows = [row.with_remark(doubtful.get(row.value, "")) for row in rows]
    transform = segmentation_node.GetParentTransformNode()
    if non_linear_parent(segmentation_node) is None and not _is_rigid(transform):
        remarks.append(
            f"Volumes and heights are those without the transform '{transform.GetName()}', which changes lengths."
        )
    return rows, remarks


def _is_rigid(transform_node) -> bool:
    """Whether a linear transform, with all above it, leaves every length as it is; None is no transform."""
    to_world = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(transform_node, None, to_world)
    axes = slicer.util.arrayFromVTKMatrix(to_world)[:3, :3]
    return np.allclose(axes.T @ axes, np.eye(3), atol=_RIGID)


def _rows(segmentation_node) -> tuple[list[VertebraRow], list[str]]:
    from ..measure import NO_HOUNSFIELD_UNITS, vertebra_rows

    segmentation, volume_node = segmentation_node.GetSegmentation(), volume_of(segmentation_node)
    regions = regions_in(segmentation)
    bending = non_linear_parent(segmentation_node)
    if bending is not None:
        remark = (
            "No density was measured, and volumes and heights are those without the non-linear transform "
            f"'{bending.GetName()}'."
        )
    elif volume_node is None:
        remark = (
            "It is not known which volume the segmentation was made on, so that no density was measured: choose that "
            "as the input volume."
        )
    elif refusal(volume_node) is not None:
        remark = f"No density was measured. {refusal(volume_node)}"
    elif volume_node.GetParentTransformNode() is not segmentation_node.GetParentTransformNode():
        remark = "The volume is under another transform than the segmentation, so that no density was measured."
    else:
        ct = volume_from_node(volume_node)
        in_hu = has_hounsfield_units(ct.array)
        remarks = [] if in_hu else [NO_HOUNSFIELD_UNITS.format(name=f"'{volume_node.GetName()}'")]
        return vertebra_rows(ct, label_volume(segmentation, ct.grid), hounsfield=in_hu, regions=regions), remarks
    # The grid of the whole scan all the same: its border tells what is partial.
    return vertebra_rows(None, label_volume(segmentation, reference_grid(segmentation)), regions=regions), [remark]


def _node_for(segmentation_node, role: str, class_name: str, ending: str):
    """The node that is filled again, or a new one, beside the segmentation in the subject hierarchy."""
    node = segmentation_node.GetNodeReference(role)
    if node is None:
        scene = segmentation_node.GetScene()
        name = scene.GenerateUniqueName(f"{segmentation_node.GetName()} {ending}")
        node = scene.AddNewNodeByClass(class_name, name)
        segmentation_node.SetNodeReferenceID(role, node.GetID())
        place_beside(segmentation_node, node)
    return node


def _fill_points(points, rows: list[VertebraRow], segmentation_node) -> None:
    segments = our_values(segmentation_node)
    with slicer.util.NodeModify(points):
        points.CreateDefaultDisplayNodes()
        points.SetAndObserveTransformNodeID(segmentation_node.GetTransformNodeID())
        points.RemoveAllControlPoints()
        for row in rows:
            name = segmentation_node.GetSegmentation().GetSegment(segments[row.value]).GetName()
            number = points.AddControlPoint(vtk.vtkVector3d(row.center_mm), name)
            if row.partial:
                points.SetNthControlPointDescription(number, "not wholly in view")
        # Moved by accident, a point would lie beside its vertebra.
        points.SetLocked(True)


def _fill_table(table, rows: list[VertebraRow], segmentation_node) -> None:
    """With the middles in the world, where the points are."""
    from ..measure import TABLE_TITLES, table_cells

    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(segmentation_node.GetParentTransformNode(), None, to_world)
    lines = [table_cells(replace(row, center_mm=to_world.TransformPoint(row.center_mm))) for row in rows]
    with slicer.util.NodeModify(table):
        table.RemoveAllColumns()
        for number, title in enumerate(TABLE_TITLES):
            table.AddColumn(_column(title, [line[number] for line in lines]))
        # It doesn't keep what is typed into it.
        table.SetLocked(True)


def _column(title: str, cells: list[str]):
    """A cell without a number is NaN there."""
    from ..measure import TEXT_TITLES

    column = vtk.vtkStringArray() if title in TEXT_TITLES else vtk.vtkDoubleArray()
    for cell in cells:
        column.InsertNextValue(cell if title in TEXT_TITLES else float(cell or "nan"))
    column.SetName(title)
    return column
