"""The panel's .ui file: loads, fits the parameter node and the code, and uses only what Slicer's widgets have."""

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import ctk
import pytest
import qt
import slicer
from slicer.parameterNodeWrapper import parameterNodeWrapper

from Testing import slicer_env
from Testing.slicer_env import qmrml, segment_widgets
from Testing.slicer_env.headers import Headers

MODULE_FOLDER = Path(__file__).parents[1] / "SpineContextSeg"
UI_FILE = MODULE_FOLDER / "Resources" / "UI" / "SpineContextSeg.ui"
SOURCES = [MODULE_FOLDER / "SpineContextSeg.py", *(MODULE_FOLDER / "SpineContextSegLib" / "panel").glob("*.py")]
STAND_INS = [
    cls
    for module in (ctk, qmrml, segment_widgets)
    for cls in vars(module).values()
    if isinstance(cls, type) and cls.__module__ == module.__name__ and cls.__name__.startswith(("ctk", "qMRML"))
]
# What tests need of a stand-in although Slicer's widget keeps it to itself.
ONLY_IN_STAND_INS = {"editorLogic"}
INHERITED = dir(qt.QComboBox) + dir(qt.QGroupBox) + dir(qt.QMessageBox) + dir(qt.QAbstractButton)


@pytest.fixture(scope="module")
def root() -> ElementTree.Element:
    return ElementTree.parse(UI_FILE).getroot()


@pytest.fixture(scope="module")
def headers() -> Headers:
    folders = [os.environ.get("SLICER_SOURCE"), os.environ.get("CTK_SOURCE")]
    if not all(folders):
        pytest.skip("SLICER_SOURCE and CTK_SOURCE name no checkouts of Slicer and CTK")
    return Headers(*map(Path, folders))


def parameter_names(root):
    return [element.text for element in root.iterfind(".//property[@name='SlicerParameterName']/string")]


class TestOurs:
    def test_it_loads_and_connects_with_the_parameter_node(self, extension, scene, root):
        widget = slicer.util.loadUI(str(UI_FILE))
        widget.setMRMLScene(scene)
        parameters = extension.SpineContextSegParameterNode(extension.SpineContextSegLogic().createParameterNode())
        assert sorted(parameter_names(root)) == sorted(set(parameter_names(root)))
        assert set(parameter_names(root)) <= set(parameters.allParameters)
        parameters.connectGui(slicer.util.childWidgetVariables(widget))

    def test_the_code_names_only_widgets_that_are_there(self, root):
        named = {element.get("name") for element in root.iter("widget")}
        used = {name for path in SOURCES for name in re.findall(r"\bui\.(\w+)", path.read_text(encoding="utf-8"))}
        assert used and used <= named

    def test_every_scene_dependent_widget_gets_the_scene(self, root):
        needs = {each.get("name") for each in root.iter("widget") if each.get("class").startswith("qMRML")}
        needs -= {"SpineContextSeg", "show3DButton"}  # the panel itself, and a button that takes a node only
        wired = {each.findtext("receiver") for each in root.iter("connection")}
        assert needs == wired

    def test_buttons_say_what_they_do(self, root):
        labeled = [each for each in root.iter("widget") if each.get("class") in ("QPushButton", "QCheckBox")]
        assert [each.get("name") for each in labeled if not each.findtext("property[@name='text']/string")] == []


class TestAgainstSlicersSources:
    def test_widget_classes_and_properties(self, headers, root):
        for element in root.iter("widget"):
            properties = headers.widget_class(element.get("class")).properties
            for item in element.findall("property"):
                dynamic = item.get("name") == "SlicerParameterName"
                assert dynamic or item.get("name") in properties, (element.get("class"), item.get("name"))

    def test_connections(self, headers, root):
        classes = {element.get("name"): element.get("class") for element in root.iter("widget")}
        for connection in root.iter("connection"):
            sender = headers.widget_class(classes[connection.findtext("sender")])
            receiver = headers.widget_class(classes[connection.findtext("receiver")])
            assert connection.findtext("signal") in sender.signals
            assert connection.findtext("slot").partition("(")[0] in receiver.methods

    def test_base_classes_in_the_file(self, headers, root):
        for custom in root.iter("customwidget"):
            text = headers.widget_class(custom.findtext("class"))
            assert headers.widget_class(custom.findtext("extends")).properties <= text.properties

    @pytest.mark.parametrize("cls", STAND_INS, ids=lambda cls: cls.__name__)
    def test_stand_ins_offer_only_what_slicers_widgets_have(self, headers, cls):
        real = headers.widget_class(cls.__name__)
        for name, value in vars(cls).items():
            if name.startswith("_") or name.isupper() or name in INHERITED or name in ONLY_IN_STAND_INS:
                continue
            if isinstance(value, qt.Property):
                assert name in real.properties, name
            elif isinstance(value, qt.Signal):
                assert any(signature.startswith(f"{name}(") for signature in real.signals), name
            elif callable(value):
                assert name in real.methods, name
        assert set(getattr(cls, "cppSignals", ())) <= real.signals

    def test_the_parameter_node_is_slicers(self, headers):
        assert str(slicer_env.slicer_source()) in parameterNodeWrapper.__code__.co_filename
