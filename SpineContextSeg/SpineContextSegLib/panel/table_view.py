"""Shows a table beside the slices, as Slicer's own modules do, but never in place of what is looked at."""

from __future__ import annotations

import slicer

_Layouts = slicer.vtkMRMLLayoutNode
# The one that Slicer shows a table with instead has the same slices and the same 3D view.
_LAYOUTS_TO_WIDEN = (
    _Layouts.SlicerLayoutConventionalView,
    _Layouts.SlicerLayoutConventionalWidescreenView,
    _Layouts.SlicerLayoutFourUpView,
    _Layouts.SlicerLayoutOneUp3DView,
)


def show_table(table_node) -> bool:
    """Makes all table views show a table, and a layout get one where no other view goes for it.

    Returns:
        Whether a table view is there.
    """
    slicer.app.applicationLogic().GetSelectionNode().SetActiveTableID(table_node.GetID())
    slicer.app.applicationLogic().PropagateTableSelection()
    manager = slicer.app.layoutManager()
    if manager is None:
        return False
    with_table = slicer.modules.tables.logic().GetLayoutWithTable(manager.layout)
    if manager.layout in _LAYOUTS_TO_WIDEN:
        manager.setLayout(with_table)
    return manager.layout == with_table
