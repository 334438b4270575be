"""The stand-ins of CTK's and Slicer's widgets behave as Slicer's own."""

import ctk
import numpy as np
import pytest
import qt
import slicer
import vtk

from Testing.slicer_env.samples import add_segmentation, add_volume, item, load_ui


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

    def test_a_node_chosen_before_there_is_a_scene(self, scene, application):
        add_volume(scene, "first")
        second = add_volume(scene, "second")
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.setCurrentNode(second)
        selector.setMRMLScene(scene)
        assert selector.currentNode() is second

    def test_a_node_of_another_kind_is_none(self, scene, selector):
        add_volume(scene)
        selector.setCurrentNode(add_segmentation(scene))
        assert selector.currentNode() is None
        selector.noneEnabled = True
        selector.setCurrentNode(scene.GetFirstNodeByName("Spine"))
        assert selector.currentNode() is None and selector.findChild(qt.QComboBox).currentText == "None"

    def test_lists_the_nodes_of_a_scene_that_is_read(self, scene, selector, tmp_path):
        add_volume(scene, "saved")
        scene.SetURL(str(tmp_path / "scene.mrml"))
        assert scene.Commit()
        scene.Clear(False)
        scene.SetURL(str(tmp_path / "scene.mrml"))
        assert scene.Import()
        assert selector.currentNode().GetName() == "saved"

    @pytest.mark.parametrize("none_enabled", [False, True])
    def test_a_scene_that_is_added_takes_the_choice_away(self, scene, selector, tmp_path, none_enabled):
        """Slicer's model inserts all rows anew: nothing is chosen, then the first node where there must be one."""
        selector.noneEnabled = none_enabled
        nodes = [add_volume(scene, name) for name in ("first", "second")]
        selector.setCurrentNode(nodes[1])
        seen = []
        selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: seen.append(node and node.GetName()))
        file = tmp_path / "empty.mrml"
        file.write_text('<MRML version="Slicer4.4.0"></MRML>')
        scene.SetURL(str(file))
        assert scene.Import()
        assert seen == ([None] if none_enabled else [None, "first"])

    def test_labelmaps_count_as_volumes_unless_child_types_are_left_out(self, scene, selector):
        scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        assert selector.nodeCount() == 1
        selector.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
        assert selector.nodeCount() == 0
        selector.hideChildNodeTypes = []
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
