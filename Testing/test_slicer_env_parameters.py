"""The stand-in of parameterNodeWrapper behaves as Slicer's own, on which these tests run where SLICER_SOURCE is set."""

import enum
import pathlib
from types import SimpleNamespace
from typing import Annotated

import pytest
import qt
import slicer
import vtk
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

from Testing.slicer_env.samples import add_volume, item, load_ui, named


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
