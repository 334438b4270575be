"""Slicer's widgets around a segmentation, on PySide6: segments table, Show 3D, Segment Editor; the MRML is real."""

from __future__ import annotations

import qt
import slicer
from ctk import ctkMenuButton
from qt import Property, Signal

from Testing.slicer_env.qmrml import Observations, export, qMRMLWidget

CLOSED_SURFACE = "Closed surface"


@export
class qMRMLSegmentsTableView(qMRMLWidget):
    selectionChanged = Signal(object, object)
    cppSignals = (*qMRMLWidget.cppSignals, "selectionChanged(QItemSelection,QItemSelection)")

    VISIBILITY, COLOR, OPACITY, NAME = range(4)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._node, self._settings, self._observations = None, {}, Observations(self)
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._table = qt.QTableWidget(0, 4)
        self._table.setHorizontalHeaderLabels(["", "Color", "Opacity", "Name"])
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self._table.horizontalHeader().stretchLastSection = True
        self._table.setColumnWidth(self.VISIBILITY, 28)
        self._table.setColumnWidth(self.COLOR, 48)
        self._table.iconSize = qt.QSize(16, 16)
        self._table.connect("cellClicked(int,int)", self._onCellClicked)
        self._table.itemChanged.connect(self._onItemChanged)
        self._table.selectionModel().selectionChanged.connect(lambda *change: self.selectionChanged.emit(*change))
        layout.addWidget(self._table)

    @staticmethod
    def _column(column: int) -> Property:
        def write(self, shown):
            self._table.setColumnHidden(column, not shown)

        return Property(bool, lambda self: not self._table.isColumnHidden(column), write)

    visibilityColumnVisible = _column(VISIBILITY)
    colorColumnVisible = _column(COLOR)
    opacityColumnVisible = _column(OPACITY)
    headerVisible = Property(
        bool,
        lambda self: not self._table.horizontalHeader().isHidden(),
        lambda self, shown: self._table.horizontalHeader().setVisible(shown),
    )
    readOnly = Property(
        bool, lambda self: self._settings.get("readOnly", False), lambda self, on: self._set("readOnly", on)
    )
    segmentCount = Property(int, lambda self: self._table.rowCount)

    def _set(self, name: str, value) -> None:
        self._settings[name] = value
        self._fill()

    def tableWidget(self) -> qt.QTableWidget:
        return self._table

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node) -> None:
        self._observations.clear()
        self._node = node
        cls = slicer.vtkSegmentation
        events = (
            cls.SegmentAdded, cls.SegmentRemoved, cls.SegmentModified, cls.SegmentsOrderModified,
            slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent,
        )  # fmt: skip
        self._observations.observe(node, events, "_fill")
        self._fill()

    def _segmentation(self):
        return self._node.GetSegmentation() if self._node is not None else None

    def _fill(self) -> None:
        segmentation, selected = self._segmentation(), self.selectedSegmentIDs()
        self._table.blockSignals(True)
        self._table.setRowCount(segmentation.GetNumberOfSegments() if segmentation else 0)
        for row in range(self._table.rowCount):
            self._fillRow(row, segmentation.GetNthSegmentID(row), segmentation.GetNthSegment(row))
        self._table.blockSignals(False)
        if selected:
            self.setSelectedSegmentIDs(selected)

    def _fillRow(self, row: int, segment_id: str, segment) -> None:
        display = self._node.GetDisplayNode()
        shown = display.GetSegmentVisibility(segment_id) if display else True
        opacity = display.GetSegmentOpacity3D(segment_id) if display else 1.0
        fixed = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
        visibility, color = qt.QTableWidgetItem(_eye(shown), ""), qt.QTableWidgetItem()
        color.setBackground(qt.QColor.fromRgbF(*segment.GetColor()))
        name = qt.QTableWidgetItem(segment.GetName())
        for item in (visibility, color):
            item.setFlags(fixed)
        if self.readOnly:
            name.setFlags(fixed)
        for column, item in enumerate((visibility, color, qt.QTableWidgetItem(f"{opacity:.2f}"), name)):
            item.setData(qt.Qt.UserRole, segment_id)
            self._table.setItem(row, column, item)

    def _onCellClicked(self, row: int, column: int) -> None:
        display, segment_id = self._node.GetDisplayNode(), self.segmentIDForRow(row)
        if column == self.VISIBILITY and display is not None:
            display.SetSegmentVisibility(segment_id, not display.GetSegmentVisibility(segment_id))

    def _onItemChanged(self, item) -> None:
        if item.column() == self.NAME:
            self._segmentation().GetSegment(item.data(qt.Qt.UserRole)).SetName(item.text())

    def segmentIDForRow(self, row: int) -> str:
        return self._table.item(row, self.NAME).data(qt.Qt.UserRole)

    def rowForSegmentID(self, segment_id: str) -> int:
        return next((row for row in range(self._table.rowCount) if self.segmentIDForRow(row) == segment_id), -1)

    def displayedSegmentIDs(self) -> list[str]:
        return [self.segmentIDForRow(row) for row in range(self._table.rowCount)]

    def selectedSegmentIDs(self) -> list[str]:
        return [self.segmentIDForRow(index.row()) for index in self._table.selectionModel().selectedRows(self.NAME)]

    def setSelectedSegmentIDs(self, segment_ids) -> None:
        self._table.clearSelection()
        model = self._table.model()
        for row in filter(lambda row: row >= 0, map(self.rowForSegmentID, segment_ids)):
            self._table.selectionModel().select(
                model.index(row, 0), qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows
            )

    def clearSelection(self) -> None:
        self._table.clearSelection()


def _eye(is_open: bool) -> qt.QIcon:
    pixmap = qt.QPixmap(32, 32)
    pixmap.fill(qt.Qt.transparent)
    painter = qt.QPainter(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setPen(qt.QPen(qt.QColor("#303030" if is_open else "#a0a0a0"), 2.5))
    outline = qt.QPainterPath()
    outline.moveTo(3, 16)
    outline.quadTo(16, 2 if is_open else 24, 29, 16)
    outline.quadTo(16, 30 if is_open else 24, 3, 16)
    painter.drawPath(outline)
    if is_open:
        painter.setBrush(qt.QColor("#303030"))
        painter.drawEllipse(qt.QPointF(16, 16), 4, 4)
    painter.end()
    return qt.QIcon(pixmap)


@export
class qMRMLSegmentationShow3DButton(ctkMenuButton):
    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._node, self._locked, self._observations = None, False, Observations(self)
        self.text = "Show 3D"
        self.checkable = True
        self.enabled = False
        self.connect("toggled(bool)", self._onToggled)

    def _setLocked(self, locked: bool) -> None:
        self._locked = locked
        self._update()

    locked = Property(bool, lambda self: self._locked, _setLocked)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node) -> None:
        self._observations.clear()
        self._node = node
        cls = slicer.vtkSegmentation
        events = ("ModifiedEvent", cls.SegmentAdded, cls.SegmentRemoved, cls.ContainedRepresentationNamesModified)
        self._observations.observe(node, events, "_update")
        self._update()

    def _update(self) -> None:
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        if segmentation is None:
            self.enabled = False
            return
        self.enabled = not self._locked and segmentation.GetNumberOfSegments() > 0
        self.blockSignals(True)
        self.checked = segmentation.ContainsRepresentation(CLOSED_SURFACE)
        self.blockSignals(False)

    def _onToggled(self, shown: bool) -> None:
        segmentation, display = self._node.GetSegmentation(), self._node.GetDisplayNode()
        with slicer.util.NodeModify(self._node):
            if not shown:
                segmentation.RemoveRepresentation(CLOSED_SURFACE)
            elif segmentation.CreateRepresentation(CLOSED_SURFACE) and display is not None:
                display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
                display.SetPreferredDisplayRepresentationName2D("Binary labelmap")


@export
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Slicer's own parameter node, editor logic and history, without the effects."""

    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    cppSignals = (
        *qMRMLWidget.cppSignals, "segmentationNodeChanged(vtkMRMLSegmentationNode*)",
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)",
    )  # fmt: skip

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._history = slicer.vtkSegmentationHistory()
        self._logic.SetSegmentationHistory(self._history)
        self._logic.SetMaximumNumberOfUndoStates(10)
        self._undoEnabled = True
        layout = qt.QVBoxLayout(self)
        self._table = qMRMLSegmentsTableView()
        layout.addWidget(self._table)

    def _setUndoEnabled(self, enabled: bool) -> None:
        self._undoEnabled = enabled
        if enabled:
            self._logic.ClearUndoState()

    undoEnabled = Property(bool, lambda self: self._undoEnabled, _setUndoEnabled)
    maximumNumberOfUndoStates = Property(
        int,
        lambda self: self._logic.GetMaximumNumberOfUndoStates(),
        lambda self, count: self._logic.SetMaximumNumberOfUndoStates(count),
    )

    def setMRMLScene(self, scene) -> None:
        super().setMRMLScene(scene)
        self._logic.SetMRMLScene(scene)

    def editorLogic(self):
        """Not in Slicer, whose editor keeps its logic to itself: for tests that paint."""
        return self._logic

    def setMRMLSegmentEditorNode(self, node) -> None:
        self._logic.SetSegmentEditorNode(node)

    def mrmlSegmentEditorNode(self):
        return self._logic.GetSegmentEditorNode()

    def setSegmentationNode(self, node) -> None:
        self._logic.SetSegmentationNode(node)
        self._table.setSegmentationNode(node)
        self.segmentationNodeChanged.emit(node)

    def segmentationNode(self):
        return self._logic.GetSegmentationNode()

    def segmentationNodeID(self) -> str:
        return self.segmentationNode().GetID() if self.segmentationNode() else ""

    def setSourceVolumeNode(self, node) -> None:
        self._logic.SetSourceVolumeNode(node)
        self.sourceVolumeNodeChanged.emit(node)

    def sourceVolumeNode(self):
        return self._logic.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._logic.SetCurrentSegmentID(segment_id)

    def currentSegmentID(self) -> str:
        return self._logic.GetCurrentSegmentID()

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()
