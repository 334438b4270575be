"""What a run has warned of stays with its segmentation: in the panel, in the scene and in the table."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer

from SpineContextSegLib.checks import CUT_VERTEBRAE
from SpineContextSegLib.levels import UNSURE
from SpineContextSegLib.mrml.export import export_segmentation
from SpineContextSegLib.mrml.sequences import write_frames
from SpineContextSegLib.panel.handover import Handover
from SpineContextSegLib.roi import Box
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import LABELS, REPORT, Request
from Testing.panel_use import *  # noqa: F403
from Testing.run_use import add_region, add_sequence
from Testing.scene_nodes import add_volume
from Testing.scene_results import LEVELS, SMALL, add_result, blocks, segments

LUMBAR = (26, 124, 24, 123, 23, 122, 22)
DOUBT = f"{UNSURE} (60%), as nothing to count from is wholly in view."
CUT = "L3 is cut by the border of the scan."
UNCERTAIN = LEVELS | {"levels": {"certain": False, "confidence": 0.6}, "warnings": [DOUBT, CUT]}
TOUCHES = "touches the lower end of the image"


@pytest.fixture
def volume(user):
    return add_volume(SMALL)


@pytest.fixture
def node(user, volume):
    """L3 to L5 of a run that wasn't sure, shown in the panel."""
    node = add_result(volume, blocks(*LUMBAR), UNCERTAIN)
    user.parameters.outputSegmentation = node
    return node


def remarks() -> list[str]:
    table = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLTableNode").GetTable()
    column = table.GetColumnByName("remark")
    return [str(column.GetValue(row)) for row in range(table.GetNumberOfRows())]


def test_they_are_said_whenever_the_segmentation_is_chosen(user, node, volume):
    assert "Please check" in user.notice() and DOUBT in user.notice() and CUT in user.notice()
    user.parameters.outputSegmentation = add_result(volume, blocks(20, 19))
    assert not user.notice()
    user.parameters.outputSegmentation = node
    assert DOUBT in user.notice() and CUT in user.notice()


def test_they_stay_beside_what_a_click_says(user, node, tmp_path):
    user.ui.measureButton.click()
    assert "No density was measured" in user.notice() and DOUBT in user.notice()
    user.ui.exportFolderEdit.currentPath = str(tmp_path / "none")
    user.ui.exportButton.click()
    assert "does not exist" in user.notice() and "No density" not in user.notice() and DOUBT in user.notice()
    user.ui.exportFolderEdit.currentPath = str(tmp_path)
    user.ui.exportButton.click()
    assert "does not exist" not in user.notice() and DOUBT in user.notice()


def test_they_are_said_once_after_a_run(user, ct):
    node = user.segment()
    assert user.notice().count(TOUCHES) == 1 and user.notice().count("Please check") == 1
    user.ui.measureButton.click()
    assert user.notice().count(TOUCHES) == 1
    # A run that spares no vertebra replaces what was said of those before.
    add_result(ct, np.full(slicer.util.arrayFromVolume(ct).shape, 24, np.uint8), segmentation_node=node)
    slicer.app.processEvents()
    assert TOUCHES not in user.notice()


def test_they_are_saved_with_the_scene(user, node, tmp_path):
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert not user.notice()
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    slicer.app.processEvents()
    assert DOUBT in user.notice() and CUT in user.notice()


def test_each_frame_has_its_own(user, sample_scan):
    volume, browser = add_sequence(sample_scan, (0, 4))
    array = np.zeros(sample_scan.volume.array.shape, np.uint8)
    array[5:9, 10:20, 10:20] = 24
    labels = Volume(array, sample_scan.volume.affine)
    results = [(number, labels, report) for number, report in enumerate((UNCERTAIN, LEVELS))]
    user.parameters.outputSegmentation = write_frames(volume, results)
    assert CUT in user.notice()
    browser.SetSelectedItemNumber(1)
    assert not user.notice()
    browser.SetSelectedItemNumber(0)
    assert CUT in user.notice()


def test_the_table_says_that_levels_are_uncertain(user, node):
    user.ui.measureButton.click()
    assert all(remark.startswith("levels uncertain (60%)") for remark in remarks())


def test_the_doubt_is_in_the_file_that_is_exported(user, node, volume, tmp_path):
    (path,) = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"]).files
    again = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "Again")
    user.parameters.outputSegmentation = again
    assert "Levels uncertain (60%)." in user.notice()
    user.ui.measureButton.click()
    assert all(remark.startswith("levels uncertain (60%)") for remark in remarks())


def test_levels_that_were_put_right_are_certain(user, node):
    user.ui.measureButton.click()
    user.ui.shiftUpButton.click()
    assert UNSURE not in user.notice() and CUT in user.notice()
    assert not any("uncertain" in remark for remark in remarks())
    user.ui.undoButton.click()
    assert DOUBT in user.notice() and all("uncertain" in remark for remark in remarks())


def test_a_run_that_spares_the_vertebrae_adds_its_own(user, node, volume):
    add_result(volume, blocks(26), LEVELS | {"warnings": ["The sacrum is small."]}, segmentation_node=node, only={26})
    slicer.app.processEvents()
    assert DOUBT in user.notice() and "The sacrum is small." in user.notice()


def test_levels_that_a_run_takes_over_are_as_sure_as_they_were(user, volume):
    node = add_result(volume, blocks(23, 22), UNCERTAIN)
    add_result(volume, blocks(23, 22, 21), LEVELS, segmentation_node=node, only={21})
    user.parameters.outputSegmentation = node
    user.ui.measureButton.click()
    assert len(segments(node)) == 3 and all("uncertain" in remark for remark in remarks())


@pytest.mark.parametrize("ends", ["done", "nothing found", "failed", "cancelled"])
def test_what_comes_of_a_run_under_another_volume_names_its_own(user, sample_scan, ends, monkeypatch):
    array = sample_scan.volume.array if ends != "nothing found" else np.minimum(sample_scan.volume.array, 210)
    ct = add_volume(sample_scan.volume.grid, "First", array)
    other = add_volume(sample_scan.volume.grid, "Second", sample_scan.volume.array)
    user.ui.inputVolumeSelector.setCurrentNode(ct)
    if ends == "failed":
        monkeypatch.setattr("SpineContextSegLib.panel.runs.SegmentationRun._write", lambda _: 1 / 0)
    user.click_segment()
    user.ui.inputVolumeSelector.setCurrentNode(other)
    if ends == "cancelled":
        user.ui.segmentButton.click()
        slicer.modules.SpineContextSegWidget._run.cancel()
    user.wait_for_end()
    assert user.ui.statusLabel.text.startswith("'First': ")
    assert slicer.util.mainWindow().statusBar().currentMessage().startswith("'First': ")
    headings = {"done": "Please check", "nothing found": "Nothing found", "failed": "The run failed"}
    assert ends == "cancelled" or f"<b>{headings[ends]}: &#x27;First&#x27;</b>" in user.notice()

    user.ui.inputVolumeSelector.setCurrentNode(ct)
    assert (TOUCHES in user.notice()) == (ends == "done") and "First" not in user.notice()


def test_a_region_that_limited_a_run_is_named(user, ct):
    user.parameters.region = add_region(sample_middle(ct), (500.0, 500.0, 30.0))
    user.segment()
    assert user.ui.statusLabel.text.endswith("'CTChest spine', only inside 'R'.")
    user.parameters.region = None
    user.segment()
    assert "inside" not in user.ui.statusLabel.text


def test_where_a_region_ends_is_not_where_the_scan_ends(user, ct):
    """The region and what surrounds it hold nothing but body; the scan has air around it."""
    user.parameters.region = add_region(sample_middle(ct), (50.0, 50.0, 500.0))
    user.segment()
    assert "Done" in user.ui.statusLabel.text and "field of view cuts" not in user.notice()
    # What is so of the whole scan is still said.
    array = slicer.util.arrayFromVolume(ct).copy()
    array[array < -500] = 40
    slicer.util.updateVolumeFromArray(ct, array)
    user.parameters.region = add_region(sample_middle(ct), (500.0, 500.0, 100.0))
    user.segment()
    assert "The field of view cuts the body at its left, right, back and front" in user.notice()


def test_a_vertebra_that_a_region_cuts_is_not_cut_by_the_scan(sample_scan, tmp_path):
    assert said_of(sample_scan, tmp_path, 22) == ["Levels fit together.", "L3 is cut by the border of the region."]


def test_a_vertebra_that_the_scan_cuts_too_is_cut_by_the_scan(sample_scan, tmp_path):
    """As at the end of a scan that a region reaches beyond."""
    *_, sentence = said_of(sample_scan, tmp_path, 22, size_mm=500)
    assert sentence == f"L3 is {CUT_VERTEBRAE}"


def test_vertebrae_that_are_not_told_apart_are_not_named(sample_scan, tmp_path):
    assert said_of(sample_scan, tmp_path, 1) == ["Levels fit together."]


def said_of(sample_scan, folder, value, size_mm=40) -> list[str]:
    """What is said after a run in a region around the middle that took all bone for one vertebra."""
    grid = sample_scan.volume.grid
    middle = np.eye(4)
    middle[:3, 3] = grid.world(np.array(grid.shape[::-1]) / 2)
    request = Request("tiny", "auto", "auto", 1, "spine", False)
    handover = Handover.send(sample_scan.volume, Box(middle, [size_mm] * 3), request, folder / "0")
    np.save(folder / "0" / LABELS, sample_scan.bone[handover.slices_kji].astype(np.uint8) * value)
    said = [f"L3 is {CUT_VERTEBRAE}", "Levels fit together."]
    (folder / "0" / REPORT).write_text(json.dumps({"warnings": said, "structures": []}))
    handover.receive()
    return handover.report["warnings"]


def sample_middle(volume_node) -> list[float]:
    bounds = [0.0] * 6
    volume_node.GetRASBounds(bounds)
    return [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2])]
