"""The stand-ins behave as Slicer's own: with SLICER_SOURCE set, the parameter node tests run on Slicer's own code."""

import enum
import pathlib
from types import SimpleNamespace
from typing import Annotated

import ctk
import numpy as np
import pytest
import qt
import slicer
import vtk
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

from Testing.slicer_env.application import load_module


class Detail(enum.Enum):
    COARSE = "c"
    FINE = "f"

    def label(self):
        return {"c": "Coarse look", "f": "Fine look"}[self.value]


@parameterNodeWrapper
class Parameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    flag: bool = True
    name: str = "spine"
    count: Annotated[int, WithinRange(0, 8)] = 2
    share: float = 0.5
    detail: Detail = Detail.FINE
    size: Annotated[str, Choice(["small", "large"])] = "small"
    folder: pathlib.Path
    values: list[int]
    words: Annotated[list[str], Default(generator=lambda: ["a"])]


@pytest.fixture
def node(scene):
    return scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")


@pytest.fixture
def parameters(node):
    return Parameters(node)


def add_volume(scene, name="CT"):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(volume, np.zeros((3, 4, 5), np.int16))
    return volume


def add_segmentation(scene):
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    segmentation.CreateDefaultDisplayNodes()
    for name in ("Vertebrae", "Sacrum"):
        segmentation.GetSegmentation().AddEmptySegment(name.lower(), name)
    return segmentation


def load_ui(tmp_path, body, connections=""):
    path = tmp_path / "panel.ui"
    path.write_text(
        f'<ui version="4.0"><class>Panel</class><widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" '
        f'name="rows">{body}</layout></widget><connections>{connections}</connections></ui>',
        encoding="utf-8",
    )
    return slicer.util.loadUI(str(path))


def item(cls, name, properties=""):
    return f'<item><widget class="{cls}" name="{name}">{properties}</widget></item>'


def named(parameter):
    return f'<property name="SlicerParameterName" stdset="0"><string>{parameter}</string></property>'


class TestScene:
    def test_modules_have_logics_that_know_the_scene(self, scene):
        assert slicer.mrmlScene is scene
        for name in ("segmentations", "volumes", "terminologies", "markups", "sequences", "subjecthierarchy"):
            assert getattr(slicer.modules, name).logic().GetMRMLScene() is scene

    def test_nodes_get_items_in_the_subject_hierarchy_as_in_the_desktop(self, scene):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        volume = add_volume(scene)
        item_id = hierarchy.GetItemByDataNode(volume)
        assert hierarchy.GetItemParent(item_id) == hierarchy.GetSceneItemID()
        scene.RemoveNode(volume)
        assert hierarchy.GetNumberOfItems() == 0

    def test_hidden_nodes_get_no_item(self, scene):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        add_volume(scene).CreateDefaultDisplayNodes()
        assert hierarchy.GetNumberOfItems() == 1

    def test_a_scene_comes_back_from_a_bundle(self, scene, tmp_path):
        segmentation = add_segmentation(scene)
        segmentation.GetSegmentation().GetSegment("sacrum").SetTag("SpineContextSeg.Value", "26")
        path = str(tmp_path / "scene.mrb")
        assert scene.WriteToMRB(path, None)
        scene.Clear(False)
        assert scene.ReadFromMRB(path, True)
        segment = scene.GetFirstNodeByName("Spine").GetSegmentation().GetSegment("sacrum")
        value = vtk.reference("")
        assert segment.GetTag("SpineContextSeg.Value", value) and value == "26"

    def test_what_vtk_calls_an_error_is_caught(self, scene, vtk_errors):
        scene.AddNode(None)
        assert "null node" in vtk_errors.take()[0]


class TestParameterNode:
    def test_defaults(self, parameters):
        assert parameters.volume is None
        assert (parameters.flag, parameters.name, parameters.count, parameters.share) == (True, "spine", 2, 0.5)
        assert (parameters.detail, parameters.size, parameters.folder) == (Detail.FINE, "small", pathlib.Path())
        assert parameters.values == [] and parameters.words == ["a"]

    def test_values_survive_a_saved_scene(self, scene, parameters, tmp_path):
        parameters.volume = add_volume(scene)
        parameters.flag, parameters.name, parameters.count, parameters.share = False, "Wirbelsäule <&>", 7, 0.25
        parameters.detail, parameters.size, parameters.folder = Detail.COARSE, "large", pathlib.Path("/data/ä")
        parameters.values = [3, 1]
        parameters.values.append(2)
        path = str(tmp_path / "scene.mrml")
        scene.SetURL(path)
        assert scene.Commit()
        scene.Clear(False)
        scene.SetURL(path)
        assert scene.Import()
        read = Parameters(scene.GetFirstNodeByName("Parameters"))
        assert read.volume.GetName() == "CT"
        assert (read.flag, read.name, read.count, read.share) == (False, "Wirbelsäule <&>", 7, 0.25)
        assert (read.detail, read.size, read.folder) == (Detail.COARSE, "large", pathlib.Path("/data/ä"))
        assert read.values == [3, 1, 2]

    def test_the_text_in_the_node_is_slicers(self, node, parameters):
        parameters.values = [5, 6, 7]
        parameters.values = [5]
        assert node.GetParameter("flag") == "True"
        assert node.GetParameter("detail") == "FINE"
        assert node.GetParameter("values.len") == "1" and node.GetParameter("values.0") == "5"
        assert not node.HasParameter("values.1")

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            ("count", 9, ValueError),
            ("count", 1.5, TypeError),
            ("count", None, ValueError),
            ("size", "huge", ValueError),
            ("flag", "yes", TypeError),
            ("name", 3, TypeError),
            ("volume", "CT", TypeError),
        ],
    )
    def test_wrong_values_are_refused_and_change_nothing(self, parameters, name, value, error):
        before = parameters.getValue(name)
        with pytest.raises(error):
            parameters.setValue(name, value)
        assert parameters.getValue(name) == before

    def test_a_removed_node_is_none(self, scene, parameters):
        parameters.volume = add_volume(scene)
        scene.RemoveNode(parameters.volume)
        assert parameters.volume is None

    def test_reserved_and_unknown_names(self, parameters):
        with pytest.raises(ValueError, match="wrong"):
            parameters.setValue("wrong", 1)
        with pytest.raises(ValueError, match="setValue"):
            parameterNodeWrapper(type("Clash", (), {"__annotations__": {"setValue": int}}))

    def test_one_modified_event_for_each_change(self, parameters):
        seen = []
        parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: seen.append(parameters.count))
        parameters.count = 4
        parameters.count = 4
        assert seen == [4]


class TestConnectGui:
    @pytest.fixture
    def ui(self, scene, application, tmp_path):
        rows = (
            ("QCheckBox", "flag"), ("QLineEdit", "name"), ("QSpinBox", "count"), ("QDoubleSpinBox", "share"),
            ("QComboBox", "detail"), ("QComboBox", "size"), ("ctkPathLineEdit", "folder"),
            ("qMRMLNodeComboBox", "volume"),
        )  # fmt: skip
        widget = load_ui(tmp_path, "".join(item(cls, f"{name}Widget", named(name)) for cls, name in rows))
        ui = slicer.util.childWidgetVariables(widget)
        ui.volumeWidget.noneEnabled = True
        ui.volumeWidget.setMRMLScene(scene)
        ui.panel = widget
        return ui

    def test_from_the_node_to_the_widgets(self, scene, parameters, ui):
        parameters.connectGui(ui)
        assert [ui.detailWidget.itemText(row) for row in range(2)] == ["Coarse look", "Fine look"]
        assert ui.detailWidget.currentText == "Fine look" and ui.countWidget.maximum == 8
        volume = add_volume(scene)
        parameters.volume, parameters.flag, parameters.name, parameters.count = volume, False, "ä", 8
        parameters.share, parameters.detail, parameters.size = 0.75, Detail.COARSE, "large"
        parameters.folder = pathlib.Path("/x")
        assert ui.volumeWidget.currentNode() is volume and ui.flagWidget.checked is False
        assert (ui.nameWidget.text, ui.countWidget.value, ui.shareWidget.value) == ("ä", 8, 0.75)
        assert (ui.detailWidget.currentText, ui.sizeWidget.currentText) == ("Coarse look", "large")
        assert ui.folderWidget.currentPath == "/x"

    def test_from_the_widgets_to_the_node(self, scene, parameters, ui):
        volume = add_volume(scene)
        parameters.connectGui(ui)
        ui.flagWidget.click()
        ui.nameWidget.text, ui.countWidget.value, ui.shareWidget.value = "typed", 5, 0.1
        ui.detailWidget.currentIndex, ui.sizeWidget.currentIndex = 0, 1
        ui.folderWidget.currentPath = "/y"
        ui.volumeWidget.setCurrentNode(volume)
        assert parameters.volume is volume and parameters.flag is False
        assert (parameters.name, parameters.count, parameters.share) == ("typed", 5, 0.1)
        assert (parameters.detail, parameters.size) == (Detail.COARSE, "large")
        assert parameters.folder == pathlib.Path("/y")
        scene.RemoveNode(volume)
        assert parameters.volume is None and ui.volumeWidget.currentNode() is None

    def test_disconnected_they_go_separate_ways(self, parameters, ui):
        tag = parameters.connectGui(ui)
        parameters.disconnectGui(tag)
        parameters.count = 7
        ui.nameWidget.text = "not stored"
        assert ui.countWidget.value == 2 and parameters.name == "spine"

    def test_two_panels_show_the_same(self, parameters, ui, tmp_path):
        other = slicer.util.childWidgetVariables(load_ui(tmp_path, item("QSpinBox", "spin", named("count"))))
        parameters.connectGui(ui)
        parameters.connectGui(other)
        other.spin.value = 6
        assert ui.countWidget.value == 6

    def test_a_widget_that_does_not_fit_is_refused(self, parameters, application):
        label = qt.QTextBrowser()
        label.setProperty("SlicerParameterName", "flag")
        with pytest.raises(RuntimeError, match="connector"):
            parameters.connectGui(SimpleNamespace(label=label))


class TestQt:
    def test_properties_are_attributes_and_misspelled_ones_are_errors(self, application):
        button = qt.QPushButton("Segment")
        button.enabled, button.toolTip = False, "why"
        assert (button.isEnabled(), button.text, button.toolTip) == (False, "Segment", "why")
        with pytest.raises(AttributeError, match="tooltip"):
            button.tooltip = "PythonQt refuses this, too"
        with pytest.raises(TypeError):
            button.text()

    def test_signals_by_signature_with_surplus_arguments_dropped(self, application):
        button, seen = qt.QPushButton(), []
        button.checkable = True
        with_argument, without = seen.append, lambda: seen.append("none")
        button.connect("clicked(bool)", with_argument)
        button.connect("clicked(bool)", without)
        button.connect("toggled(bool)", lambda *everything: seen.append(everything))
        button.click()
        assert seen == [(True,), True, "none"]
        button.disconnect("clicked(bool)", without)
        button.click()
        assert seen[3:] == [(False,), False]
        with pytest.raises(RuntimeError, match="klicked"):
            button.connect("klicked()", without)

    def test_timers(self, application, wait_until):
        seen, timer = [], qt.QTimer()
        timer.singleShot = True
        timer.interval = 1
        timer.connect("timeout()", lambda: seen.append("timer"))
        timer.start()
        qt.QTimer.singleShot(1, lambda: seen.append("static"))
        wait_until(lambda: len(seen) == 2, 5)
        assert sorted(seen) == ["static", "timer"]


class TestUiFiles:
    def test_connections_between_widgets_of_slicer(self, scene, application, tmp_path):
        connection = (
            "<connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
            "<receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
        )
        widget = load_ui(tmp_path, item("qMRMLNodeComboBox", "selector"), connection)
        widget.setMRMLScene(scene)
        assert slicer.util.childWidgetVariables(widget).selector.mrmlScene() is scene

    def test_flags_of_a_stand_in(self, application, tmp_path):
        flags = '<property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Writable</set></property>'
        ui = slicer.util.childWidgetVariables(load_ui(tmp_path, item("ctkPathLineEdit", "edit", flags)))
        assert ui.edit.filters == ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable

    def test_an_unknown_widget_class_is_an_error(self, application, tmp_path):
        with pytest.raises(RuntimeError, match="qMRMLNodeCombobox"):
            load_ui(tmp_path, item("qMRMLNodeCombobox", "selector"))

    def test_an_unknown_property_is_an_error(self, application, tmp_path):
        misspelled = '<property name="noneEnable"><bool>true</bool></property>'
        with pytest.raises(RuntimeError, match="noneEnable"):
            load_ui(tmp_path, item("qMRMLNodeComboBox", "selector", misspelled))

    def test_a_class_without_stand_in_can_be_named_but_not_made(self, application):
        assert type(qt.QLabel()) is not ctk.ctkRangeWidget
        with pytest.raises(RuntimeError, match="ctkRangeWidget"):
            ctk.ctkRangeWidget()


class TestNodeSelector:
    @pytest.fixture
    def selector(self, scene, application):
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.setMRMLScene(scene)
        return selector

    def test_follows_the_scene(self, scene, selector):
        seen = []
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: seen.append(node and node.GetName()))
        first = add_volume(scene, "first")
        add_segmentation(scene)
        second = add_volume(scene, "second")
        assert selector.nodeCount() == 2 and selector.currentNode() is first
        second.SetName("renamed")
        assert selector.findChild(qt.QComboBox).itemText(1) == "renamed"
        scene.RemoveNode(first)
        assert selector.currentNode() is second
        scene.Clear(False)
        assert selector.currentNode() is None and selector.nodeCount() == 0
        assert seen == ["first", "renamed", None]

    def test_none_stays_chosen_where_it_is_offered(self, scene, selector):
        selector.noneEnabled, selector.noneDisplay = True, "Create new"
        volume = add_volume(scene)
        assert selector.currentNode() is None and selector.findChild(qt.QComboBox).currentText == "Create new"
        selector.setCurrentNode(volume)
        assert selector.currentNodeID == volume.GetID()

    def test_labelmaps_count_as_volumes_unless_child_types_are_left_out(self, scene, selector):
        scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        assert selector.nodeCount() == 1
        selector.showChildNodeTypes = False
        assert selector.nodeCount() == 0

    def test_a_deleted_selector_leaves_the_scene_in_peace(self, scene, application, selector):
        selector.deleteLater()
        application.sendPostedEvents(None, qt.QEvent.DeferredDelete)
        add_volume(scene)


class TestSegmentWidgets:
    def test_the_table_follows_the_segmentation(self, scene, application):
        table, segmentation = slicer.qMRMLSegmentsTableView(), add_segmentation(scene)
        table.setSegmentationNode(segmentation)
        segmentation.GetSegmentation().AddEmptySegment("disc", "Disc")
        assert table.displayedSegmentIDs() == ["vertebrae", "sacrum", "disc"]
        table.tableWidget().item(0, table.NAME).setText("Column")
        assert segmentation.GetSegmentation().GetSegment("vertebrae").GetName() == "Column"
        table.tableWidget().cellClicked.emit(1, table.VISIBILITY)
        assert not segmentation.GetDisplayNode().GetSegmentVisibility("sacrum")
        table.setSelectedSegmentIDs(["sacrum"])
        segmentation.GetSegmentation().RemoveSegment("vertebrae")
        assert table.selectedSegmentIDs() == ["sacrum"]

    def test_show_3d_makes_and_removes_surfaces(self, scene, application):
        volume, segmentation = add_volume(scene), add_segmentation(scene)
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        mask = np.zeros((3, 4, 5), np.uint8)
        mask[1, 1:3, 1:4] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, "sacrum", volume)
        button = slicer.qMRMLSegmentationShow3DButton()
        assert not button.enabled
        button.setSegmentationNode(segmentation)
        button.click()
        surface = vtk.vtkPolyData()
        segmentation.GetClosedSurfaceRepresentation("sacrum", surface)
        assert surface.GetNumberOfPoints() > 0 and button.checked
        button.click()
        assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


class TestCollapsibleButton:
    def test_children_keep_what_was_decided_while_it_was_closed(self, application):
        button = ctk.ctkCollapsibleButton("Advanced")
        rows = qt.QVBoxLayout(button)
        kept, hidden = qt.QLabel("kept"), qt.QLabel("hidden meanwhile")
        rows.addWidget(kept)
        rows.addWidget(hidden)
        button.show()
        application.processEvents()
        button.collapsed = True
        hidden.visible = False
        assert not kept.visible and not hidden.visible
        button.click()
        assert not button.collapsed and kept.visible and not hidden.visible
        button.hide()


MODULE = """
from slicer.ScriptedLoadableModule import *
from slicer.i18n import tr as _, translate
import slicer

class Probe(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Probe {version}").format(version=VERSION)
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        slicer.app.connect("startupCompleted()", lambda: events.append("started"))

class ProbeWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ProbeLogic()
        events.append("setup")

    def enter(self):
        events.append("enter")

    def exit(self):
        events.append("exit")

    def cleanup(self):
        events.append("cleanup")

class ProbeLogic(ScriptedLoadableModuleLogic):
    pass

class ProbeTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.delayDisplay("testing")
        self.assertEqual(ProbeLogic().getParameterNode().GetAttribute("ModuleName"), "Probe")
        events.append("tested")

VERSION = 1
events = []
"""


class TestModule:
    @pytest.fixture
    def probe(self, scene, application, tmp_path):
        path = tmp_path / "Probe.py"
        path.write_text(MODULE, encoding="utf-8")
        yield load_module(path)
        if hasattr(slicer.modules, "probe"):
            slicer.modules.probe.unload()

    def test_loading(self, probe):
        assert slicer.modules.probe.title == "Probe 1" and probe.events == ["started"]
        assert slicer.util.getModule("Probe") is slicer.modules.probe

    def test_entering_and_leaving(self, probe):
        slicer.util.selectModule("Probe")
        slicer.util.selectModule("SegmentEditor")
        assert probe.events == ["started", "setup", "enter", "exit"]
        assert slicer.util.getModuleLogic("Probe").moduleName == "Probe"

    def test_reloading_and_unloading(self, probe):
        slicer.util.selectModule("Probe")
        reloaded = slicer.util.reloadScriptedModule("Probe")
        assert probe.events == ["started", "setup", "enter", "cleanup"] and reloaded.events == ["setup"]
        assert type(slicer.modules.ProbeWidget) is reloaded.ProbeWidget
        slicer.util.mainWindow().moduleSelector().selectModule("")
        slicer.modules.probe.unload()
        assert reloaded.events == ["setup", "exit", "cleanup"] and not hasattr(slicer.modules, "ProbeWidget")

    def test_its_own_test(self, probe):
        slicer.selfTests["Probe"]()
        assert probe.events[-1] == "tested"

    def test_segment_editor_undoes_what_was_painted(self, scene, application):
        volume, segmentation = add_volume(scene), add_segmentation(scene)
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        assert editor.segmentationNode() is segmentation
        editor.setSourceVolumeNode(volume)
        editor.setCurrentSegmentID("sacrum")
        logic = editor.editorLogic()
        logic.SaveStateForUndo()
        mask = np.ones((3, 4, 5), np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, "sacrum", volume)
        editor.undo()
        assert not slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "sacrum", volume).any()
        slicer.util.mainWindow().moduleSelector().selectModule("")


class TestApplication:
    def test_dialogs_answer_themselves_only_in_testing_mode(self, application, wait_until):
        slicer.util.errorDisplay("Would wait for a click.")
        application.setTestingEnabled(False)
        seen = []

        def answer():
            box = application.activeModalWidget()
            seen.append(box.text)
            box.reject()

        qt.QTimer.singleShot(50, answer)
        assert slicer.util.confirmOkCancelDisplay("Really?") is False
        assert seen == ["Really?"]

    def test_settings_are_those_of_this_test(self, application):
        assert not application.settings().allKeys()
        application.settings().setValue("Developer/DeveloperMode", True)
        assert slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)

    def test_the_status_bar_shows_messages(self, application):
        assert slicer.util.showStatusMessage("Done.", 1000)
        assert slicer.util.mainWindow().statusBar().currentMessage() == "Done."

    def test_pictures_show_readable_text(self, application, screenshot):
        label = qt.QLabel("WWW")
        label.resize(60, 30)
        picture = qt.QImage(str(screenshot(label, "text")))
        other = qt.QImage(str(screenshot(qt.QLabel("iii"), "other")))
        assert qt.QFontInfo(label.font).family() == "DejaVu Sans"
        assert picture != other

    def test_exceptions_in_slots_are_seen(self, application, wait_until, monkeypatch):
        seen = []
        monkeypatch.setattr("sys.excepthook", lambda *exception: seen.append(exception[0]))
        qt.QTimer.singleShot(0, lambda: 1 / 0)
        wait_until(lambda: seen, 5)
        assert seen == [ZeroDivisionError]
