"""Slicer's qMRMLWidget and qMRMLNodeComboBox on PySide6; the MRML behind them is real."""

from __future__ import annotations

import weakref

import ctk
import qt
import shiboken6
import slicer
from qt import Property, Signal, registerWidget


def export(cls: type) -> type:
    """Known to `.ui` files, and in `slicer` as in desktop Slicer."""
    setattr(slicer, cls.__name__, cls)
    return registerWidget(cls)


class Observations:
    """What a widget observes in MRML; ends with the widget, which the observed objects outlive."""

    def __init__(self, widget) -> None:
        self._widget = weakref.ref(widget)
        self._tags: list[tuple[object, int]] = []

    def observe(self, subject, events, method_name: str) -> None:
        """Calls the widget's method, without arguments, at each of the events."""

        def call(*_):
            widget = self._widget()
            if widget is not None and shiboken6.isValid(widget):
                getattr(widget, method_name)()

        for event in events if subject is not None else ():
            self._tags.append((subject, subject.AddObserver(event, call)))

    def clear(self) -> None:
        for subject, tag in self._tags:
            subject.RemoveObserver(tag)
        self._tags.clear()


@export
class qMRMLWidget(qt.QWidget):
    mrmlSceneChanged = Signal(object)
    cppSignals = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class _Flag(Property):
    """A property of the node selector; setting it lists the nodes again."""

    def __init__(self, kind, name: str, default) -> None:
        def write(self, value):
            self._settings[name] = value
            self._list()

        super().__init__(kind, lambda self: self._settings.get(name, default), write)


@export
class qMRMLNodeComboBox(qt.QWidget):
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    cppSignals = ("currentNodeChanged(vtkMRMLNode*)", "nodeAddedByUser(vtkMRMLNode*)")

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._settings, self._scene, self._shown, self._requested = {}, None, "", ""
        self._sceneObservations, self._nodeObservations = Observations(self), Observations(self)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._combo = qt.QComboBox()
        # A long name may not make the panel wider.
        self._combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        self._combo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._combo.connect("currentIndexChanged(int)", self._onIndex)
        row.addWidget(self._combo)

    noneEnabled = _Flag(bool, "noneEnabled", False)
    noneDisplay = _Flag(str, "noneDisplay", "None")
    addEnabled = _Flag(bool, "addEnabled", True)
    removeEnabled = _Flag(bool, "removeEnabled", True)
    editEnabled = _Flag(bool, "editEnabled", False)
    renameEnabled = _Flag(bool, "renameEnabled", False)
    showHidden = _Flag(bool, "showHidden", False)
    showChildNodeTypes = _Flag(bool, "showChildNodeTypes", True)
    hideChildNodeTypes = _Flag("QStringList", "hideChildNodeTypes", [])
    selectNodeUponCreation = _Flag(bool, "selectNodeUponCreation", True)
    baseName = _Flag(str, "baseName", "")

    def _setNodeTypes(self, classNames) -> None:
        self._settings["nodeTypes"] = list(classNames)
        self._list()

    nodeTypes = Property("QStringList", lambda self: self._settings.get("nodeTypes", []), _setNodeTypes)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is self._scene:
            return
        self._sceneObservations.clear()
        self._scene = scene
        cls = slicer.vtkMRMLScene
        self._sceneObservations.observe(scene, (cls.NodeAddedEvent, cls.NodeRemovedEvent, cls.EndCloseEvent), "_list")
        self._sceneObservations.observe(scene, (cls.EndImportEvent,), "_listAnew")
        self._list()
        if self._requested:
            self.setCurrentNodeID(self._requested)
            self._requested = ""

    def _nodes(self) -> list:
        listed = []
        for class_name in self.nodeTypes if self._scene else ():
            for node in slicer.util.getNodesByClass(class_name, self._scene):
                exact = node.GetClassName() in self.nodeTypes
                if node in listed or (node.GetHideFromEditors() and not self.showHidden):
                    continue
                if exact or (self.showChildNodeTypes and not any(map(node.IsA, self.hideChildNodeTypes))):
                    listed.append(node)
        return listed

    def _list(self) -> None:
        """Lists the nodes again. A current node that is gone gives way to the last one, if there must be one."""
        if self._scene is not None and (self._scene.IsImporting() or self._scene.IsClosing()):
            return  # as in Slicer: what is read isn't complete yet
        self._fill(self._nodes(), otherwise=-1)

    def _listAnew(self) -> None:
        """After a scene was read all rows go, and the choice with them; then the first comes, if there must be one."""
        self._fill([], otherwise=0)
        self._fill(self._nodes(), otherwise=0)

    def _fill(self, nodes: list, otherwise: int) -> None:
        """Shows these nodes; `otherwise` is the row to choose where the current node isn't among them."""
        self._nodeObservations.clear()
        self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.placeholderText = f"Select a {self._typeLabel()}"
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
            self._nodeObservations.observe(node, ("ModifiedEvent",), "_rename")
        row = self._combo.findData(self._shown)
        if row < 0:
            row = 0 if self.noneEnabled else otherwise % max(1, self._combo.count)
        self._combo.currentIndex = row
        self._combo.blockSignals(False)
        self._onIndex()

    def _typeLabel(self) -> str:
        label = self._scene.GetTypeDisplayNameByClassName(self.nodeTypes[0]) if self._scene and self.nodeTypes else ""
        return label or "node"

    def _rename(self) -> None:
        for row in range(self._combo.count):
            node = self._scene.GetNodeByID(self._combo.itemData(row) or "")
            if node is not None and self._combo.itemText(row) != node.GetName():
                self._combo.setItemText(row, node.GetName())

    def _onIndex(self) -> None:
        if self.currentNodeID != self._shown:
            self._shown = self.currentNodeID
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(self._shown)

    def nodeCount(self) -> int:
        return self._combo.count - bool(self.noneEnabled)

    def currentNode(self):
        return self._scene.GetNodeByID(self.currentNodeID) if self._scene and self.currentNodeID else None

    def setCurrentNode(self, node) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id: str) -> None:
        if self._scene is None:
            self._requested = node_id
        row = self._combo.findData(node_id or "")
        self._combo.currentIndex = row if row >= 0 or not self.noneEnabled else 0

    currentNodeID = Property(str, lambda self: self._combo.currentData or "", setCurrentNodeID)

    def addNode(self, class_name: str | None = None):
        """What "Create new ..." in the list does."""
        class_name = class_name or self.nodeTypes[0]
        node = self._scene.AddNewNodeByClass(class_name, self._scene.GenerateUniqueName(self.baseName or "Node"))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """What "Delete current ..." in the list does."""
        self._scene.RemoveNode(self.currentNode())


# Slicer's own parameterNodeWrapper asks whether a widget is one of these.
for _name in ("qMRMLSliderWidget", "qMRMLSpinBox", "qMRMLRangeWidget"):
    setattr(slicer, _name, ctk.unavailable(_name))
