"""Boots the real Slicer core from PyPI, without Qt: scene, application logic and module logics, as the desktop has."""

from __future__ import annotations

import tempfile
import types
from importlib.util import find_spec
from pathlib import Path

import slicer
import vtk

# Name as in desktop Slicer, class of the logic.
MODULE_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Data": "vtkSlicerDataModuleLogic",
}

IN_SUBJECT_HIERARCHY = (
    "vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode", "vtkMRMLMarkupsNode",
    "vtkMRMLTransformNode", "vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLSequenceNode", "vtkMRMLSequenceBrowserNode",
)  # fmt: skip


class CoreModule:
    """What `slicer.modules.<name>` offers of a module that has a logic and no panel."""

    def __init__(self, name: str, logic) -> None:
        self.name = name
        self._logic = logic

    def logic(self):
        return self._logic


class SlicerCore:
    """The scene and everything that must stay alive beside it."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetMRMLScene(self.scene)
        self.modules = types.ModuleType("slicer.modules")
        for name, class_name in MODULE_LOGICS.items():
            self._add(name, self._logic(name, class_name))
        self._read_and_write_bundles()
        self._keep_subject_hierarchy()

    def _logic(self, name: str, class_name: str):
        if name == "Colors":
            logic = self.application_logic.GetColorLogic()
            logic.SetMRMLScene(self.scene)
            logic.AddDefaultColorNodes()
            return logic
        logic = getattr(slicer, class_name)()
        if hasattr(logic, "SetModuleShareDirectory"):
            logic.SetModuleShareDirectory(str(_share_folder() / ("terminologies" if name == "Terminologies" else "")))
        logic.SetMRMLScene(self.scene)
        logic.SetMRMLApplicationLogic(self.application_logic)
        return logic

    def _add(self, name: str, logic) -> None:
        self.application_logic.SetModuleLogic(name, logic)
        setattr(self.modules, name.lower(), CoreModule(name, logic))

    def _keep_subject_hierarchy(self) -> None:
        """Every visible data node gets an item under the scene, which Slicer's Qt plugins do in the desktop."""

        def hierarchy():
            return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

        def add(node) -> None:
            if any(map(node.IsA, IN_SUBJECT_HIERARCHY)) and not node.GetHideFromEditors():
                if not hierarchy().GetItemByDataNode(node):
                    hierarchy().CreateItem(hierarchy().GetSceneItemID(), node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def on_added(_scene, _event, node) -> None:
            if not self.scene.IsImporting():
                add(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def on_removed(_scene, _event, node) -> None:
            if not self.scene.IsClosing() and hierarchy().GetItemByDataNode(node):
                hierarchy().RemoveItem(hierarchy().GetItemByDataNode(node), False, False)

        def on_imported(*_) -> None:
            for index in range(self.scene.GetNumberOfNodes()):
                add(self.scene.GetNthNode(index))

        self.scene.AddObserver(self.scene.NodeAddedEvent, on_added)
        self.scene.AddObserver(self.scene.NodeAboutToBeRemovedEvent, on_removed)
        self.scene.AddObserver(self.scene.EndImportEvent, on_imported)
        self.scene.AddObserver(self.scene.EndCloseEvent, lambda *_: hierarchy())
        hierarchy()

    def _read_and_write_bundles(self) -> None:
        """Scenes in .mrb files go through the remote IO logic, even from the local disk."""
        self._cache = tempfile.TemporaryDirectory(prefix="slicer_cache_")
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.SetMRMLScene(self.scene)
        self._remote_io.SetMRMLApplicationLogic(self.application_logic)
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(self._cache.name)
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLScene(self.scene)
        self._data_io.SetMRMLApplicationLogic(self.application_logic)
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self._remote_io.AddDataIOToScene()


def _share_folder() -> Path:
    """Slicer's own data files (terminologies above all) as the trame-slicer wheel brings them."""
    return Path(find_spec("trame_slicer").origin).parent / "resources"


def boot() -> SlicerCore:
    """Boots once and sets `slicer.mrmlScene` and `slicer.modules`."""
    core = SlicerCore()
    slicer.mrmlScene = core.scene
    slicer.modules = core.modules
    return core


class VTKErrors:
    """Collects what VTK and MRML report as errors, which otherwise only reach stderr."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        window = vtk.vtkOutputWindow.GetInstance()
        window.SetDisplayModeToAlwaysStdErr()
        window.AddObserver("ErrorEvent", self._on_error)

    def _on_error(self, _window, _event, message) -> None:
        self.messages.append(message.strip())

    _on_error.CallDataType = vtk.VTK_STRING

    def take(self) -> list[str]:
        """The messages so far; they count as dealt with."""
        messages, self.messages = self.messages, []
        return messages
