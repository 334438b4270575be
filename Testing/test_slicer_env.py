"""The core is booted, and Qt, modules and the application behave as in desktop Slicer."""

import numpy as np
import pytest
import qt
import slicer
import vtk

from Testing.slicer_env.application import load_module
from Testing.slicer_env.samples import add_segmentation, add_volume


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
        hidden = scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
        hidden.UnRegister(None)
        hidden.HideFromEditorsOn()
        scene.AddNode(hidden)
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


class TestQt:
    def test_properties_are_attributes_and_misspelled_ones_are_errors(self, application):
        button = qt.QPushButton("Segment")
        button.enabled, button.toolTip = False, "why"
        assert (button.isEnabled(), button.text, button.toolTip) == (False, "Segment", "why")
        assert (button.className(), slicer.qMRMLWidget().className()) == ("QPushButton", "qMRMLWidget")
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
        assert slicer.modules.probe.widgetRepresentation().mrmlScene() is slicer.mrmlScene

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
        assert logic.CanRedo()
        editor.undoEnabled = False
        assert logic.CanRedo()
        editor.undoEnabled = True
        assert not logic.CanRedo()
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

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_settings_are_those_of_this_test(self, application, time):
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
