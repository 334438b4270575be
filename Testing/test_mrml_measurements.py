"""Points and table of the vertebrae, as nodes of a scene, of the shipped phantom and its exact labels."""

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.measure import TABLE_TITLES, TEXT_TITLES, table_cells, vertebra_rows
from SpineContextSegLib.repair import level_sequence

slicer = pytest.importorskip("slicer")

from SpineContextSegLib.mrml.levels import Levels  # noqa: E402
from SpineContextSegLib.mrml.measurements import show_measurements, update_measurements  # noqa: E402
from Testing.sample_body import *  # noqa: E402, F403
from Testing.scene_nodes import add_transform, add_volume  # noqa: E402
from Testing.scene_results import (  # noqa: E402
    NO_LEVELS,
    ROTATED,
    SMALL,
    add_result,
    blocks,
    hierarchy,
    segments,
)


@pytest.fixture(scope="module")
def rows(ct, labels):
    return vertebra_rows(ct, labels)


@pytest.fixture
def volume(scene, ct):
    return add_volume(ct.grid, array=ct.array)


@pytest.fixture
def node(volume, labels):
    return add_result(volume, labels.array)


def names_of(points) -> list[str]:
    return [points.GetNthControlPointLabel(n) for n in range(points.GetNumberOfControlPoints())]


def places_of(points, world: bool = False) -> np.ndarray:
    read = points.GetNthControlPointPositionWorld if world else points.GetNthControlPointPosition
    return np.array([read(n) for n in range(points.GetNumberOfControlPoints())])


def column_of(table, title: str) -> list:
    array = table.GetTable().GetColumnByName(title)
    return [array.GetValue(n) for n in range(array.GetNumberOfValues())]


def test_a_point_in_every_vertebra_and_a_line_in_the_table(node, rows):
    points, table, remarks = show_measurements(node)
    assert remarks == []
    assert points.GetName() == "CT spine points" and table.GetName() == "CT spine table"
    assert names_of(points) == [row.name for row in rows] and len(rows) == 20
    np.testing.assert_allclose(places_of(points), [row.center_mm for row in rows], atol=1e-6)
    descriptions = [points.GetNthControlPointDescription(n) for n in range(len(rows))]
    assert [bool(text) for text in descriptions] == [row.partial for row in rows]
    assert points.GetLocked() and points.GetDisplayNode() is not None

    assert table.GetNumberOfColumns() == len(TABLE_TITLES) and table.GetNumberOfRows() == len(rows)
    for title, cells in zip(TABLE_TITLES, zip(*map(table_cells, rows))):
        found = column_of(table, title)
        assert isinstance(found[0], str) == (title in TEXT_TITLES)
        if title in TEXT_TITLES:
            assert found == list(cells)
        else:
            np.testing.assert_allclose(found, [float(cell or "nan") for cell in cells])


def test_they_lie_beside_the_segmentation(node, volume):
    folder = hierarchy().CreateFolderItem(hierarchy().GetSceneItemID(), "Study")
    hierarchy().SetItemParent(hierarchy().GetItemByDataNode(node), folder)
    for made in show_measurements(node)[:2]:
        assert hierarchy().GetItemParent(hierarchy().GetItemByDataNode(made)) == folder


def test_again_into_the_same_nodes(scene, node):
    points, table, _ = show_measurements(node)
    points.SetName("renamed")
    Levels(node).shift(-1, level_sequence())
    segments(node)["SpineContextSeg_20"].SetName("Fracture")
    assert show_measurements(node)[:2] == (points, table) and points.GetName() == "renamed"
    names = names_of(points)
    assert names[-1] == "L4 vertebra" and names[-5] == "Fracture" and len(names) == 20
    assert column_of(table, TABLE_TITLES[0])[-1] == "L4" and table.GetNumberOfRows() == 20
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 1
    scene.RemoveNode(points)
    assert show_measurements(node)[0] is not points


def test_what_is_there_is_kept_up_to_date(scene, node):
    update_measurements(node)
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    points, table, _ = show_measurements(node)
    scene.RemoveNode(points)
    segments(node)["SpineContextSeg_24"].SetTag("SpineContextSeg.Value", "25")
    update_measurements(node)
    assert column_of(table, TABLE_TITLES[0])[-1] == "L6"
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0, "it was removed, and stays so"


def test_they_follow_repairs_and_their_undo(node):
    """Called from Python, without the panel."""
    points, table, _ = show_measurements(node)
    levels = Levels(node)
    before = names_of(points)
    assert levels.shift(-1, level_sequence()) == ["L5 is missing between L4 and Sacrum."]
    assert names_of(points)[-1] == "L4 vertebra" and column_of(table, TABLE_TITLES[0])[-1] == "L4"
    levels.merge(22)
    assert names_of(points)[-2:] == ["L2 vertebra", "L3 vertebra"] and table.GetNumberOfRows() == 19
    middle = points.GetNthControlPointPosition(18)
    levels.split(22, middle, None, level_sequence())
    assert points.GetNumberOfControlPoints() == table.GetNumberOfRows() == 20
    for _ in range(3):
        assert levels.undo() == []
    assert names_of(points) == before and column_of(table, TABLE_TITLES[0])[-1] == "L5"


def test_a_repair_stays_where_nothing_can_be_measured_after_it(volume):
    """C1 alone has the value that stands for all vertebrae where levels are unknown."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    labels[20:40, 20:40, 20:40] = 2
    node = add_result(volume, labels)
    points, _, _ = show_measurements(node)
    levels = Levels(node)
    (remark,) = levels.rename(2, 1, level_sequence())
    assert remark.startswith("Points and table are still those of before. These labels hold one value")
    assert [vertebra.value for vertebra in levels.vertebrae] == [1] and names_of(points) == ["C2 vertebra"]
    assert levels.undo() == []


def test_points_go_with_the_transform(node, volume, rows):
    transform = add_transform(ROTATED)
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    points, table, remarks = show_measurements(node)
    assert remarks == []
    centers = np.array([row.center_mm for row in rows])
    np.testing.assert_allclose(places_of(points, world=True), centers @ ROTATED[:3, :3].T + ROTATED[:3, 3], atol=1e-3)
    told = np.transpose([column_of(table, f"center {axis} (mm)") for axis in "RAS"])
    np.testing.assert_allclose(told, places_of(points, world=True), atol=0.06)


def test_a_transform_that_changes_lengths_is_told(node, volume, rows):
    transform = add_transform(np.diag([1.1, 1.0, 0.9, 1.0]), "stretched")
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    points, table, (remark,) = show_measurements(node)
    assert remark == "Volumes and heights are those without the transform 'stretched', which changes lengths."
    np.testing.assert_allclose(column_of(table, "volume (ml)"), [row.volume_ml for row in rows], atol=0.01)
    np.testing.assert_allclose(column_of(table, "center S (mm)"), places_of(points, world=True)[:, 2], atol=0.06)


@pytest.mark.parametrize("why", ["not known", "holds no voxels", "another transform", "non-linear transform 'bent'"])
def test_without_the_ct_there_is_no_density(scene, node, volume, rows, why):
    if why == "not known":
        scene.RemoveNode(volume)
    elif why == "holds no voxels":
        volume.SetAndObserveImageData(None)
    elif why.startswith("non-linear"):
        bent = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bent")
        for each in (volume, node):
            each.SetAndObserveTransformNodeID(bent.GetID())
    else:
        volume.SetAndObserveTransformNodeID(add_transform(ROTATED).GetID())
    points, table, remarks = show_measurements(node)
    assert len(remarks) == 1 and "no density" in remarks[0].lower() and why in remarks[0]
    assert np.isnan(column_of(table, "body interior mean (HU)")).all()
    assert set(column_of(table, "metal in body")) == {""}, "a column of nothing but empty words is none of numbers"
    assert [points.GetNthControlPointDescription(n) != "" for n in range(20)] == [row.partial for row in rows]
    np.testing.assert_allclose(places_of(points), [row.center_mm for row in rows], atol=1e-6)


def test_a_volume_without_hounsfield_units_gives_no_density(node, volume):
    slicer.util.updateVolumeFromArray(volume, np.maximum(slicer.util.arrayFromVolume(volume), 0) * 3)
    _, table, (remark,) = show_measurements(node)
    assert remark.startswith("No density was measured") and volume.GetName() in remark
    assert np.isnan(column_of(table, "body interior mean (HU)")).all()


def test_a_saved_scene_finds_them_again(scene, node, tmp_path):
    show_measurements(node)
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(False)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    points = show_measurements(node)[0]
    assert len(names_of(points)) == 20 and scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 1


def test_levels_unknown(scene):
    node = add_result(add_volume(SMALL), blocks(1, 26), NO_LEVELS)
    with pytest.raises(InputRefused, match="one value for all"):
        show_measurements(node)
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_emptied_segments(scene):
    node = add_result(add_volume(SMALL), blocks(22, 23))
    for segment_id in segments(node):
        slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(node, segment_id)
    points, table, _ = show_measurements(node)
    assert names_of(points) == [] and table.GetNumberOfRows() == 0
