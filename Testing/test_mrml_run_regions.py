"""Vertebrae that a region of interest cuts: the table knows, also after more runs, edits, export and a saved scene."""

import csv

import numpy as np
import pytest
import slicer

from SpineContextSegLib.cli import main
from SpineContextSegLib.mrml.export import export_segmentation
from SpineContextSegLib.mrml.measurements import show_measurements
from SpineContextSegLib.mrml.run_regions import regions_in
from SpineContextSegLib.roi import Box, crop, paste
from Testing.sample_body import *  # noqa: F403
from Testing.sample_body import SAMPLE
from Testing.scene_nodes import add_volume, paint
from Testing.scene_results import add_result

L1, L2, L3, L4 = 20, 21, 22, 23


@pytest.fixture
def volume(scene, ct):
    return add_volume(ct.grid, array=ct.array)


def box_between(labels, upper, lower) -> Box:
    """From the middle of one vertebra to that of another."""
    heights = [labels.grid.world(np.argwhere(labels.array == value)[:, ::-1])[:, 2].mean() for value in (lower, upper)]
    matrix = np.eye(4)
    matrix[:3, 3] = labels.grid.corners().mean(0)
    matrix[2, 3] = np.mean(heights)
    return Box(matrix, [500, 500, heights[1] - heights[0]])


def segment(volume, labels, box, node=None, **options):
    """What a run limited to the box writes."""
    part, slices = crop(labels, box)
    return add_result(volume, paste(part, slices, labels.grid, box).array, box=box, segmentation_node=node, **options)


def cut(node) -> set[str]:
    table = show_measurements(node)[1].GetTable()
    cells = {title: table.GetColumnByName(title) for title in ("level", "partial", "body height front (mm)")}
    rows = [[cells[title].GetValue(n) for title in cells] for n in range(table.GetNumberOfRows())]
    assert all(np.isnan(height) for _, partial, height in rows if partial == "yes")
    return {level for level, partial, _ in rows if partial == "yes"}


def test_the_table_knows_what_a_region_cuts(volume, labels):
    node = segment(volume, labels, box_between(labels, L1, L3))
    assert cut(node) == {"L1", "L3"}
    volume.SetAndObserveTransformNodeID(None)
    slicer.mrmlScene.RemoveNode(volume)
    assert cut(node) == {"L1", "L3"}, "without the scan, too"


def test_a_second_region_goes_on_where_the_first_one_ends(volume, labels):
    node = segment(volume, labels, box_between(labels, L1, L3))
    segment(volume, labels, box_between(labels, L3, L4), node)
    assert len(regions_in(node.GetSegmentation())) == 2
    assert cut(node) == {"L1", "L4", "L5"}, "of L5, the joints with L4"
    # What was written into a part of the whole is no less whole.
    add_result(volume, labels.array, segmentation_node=node)
    segment(volume, labels, box_between(labels, L1, L3), node)
    assert regions_in(node.GetSegmentation()) == [] and not cut(node) & {"L1", "L2", "L3"}


def test_what_is_painted_beyond_the_region(volume, labels):
    node = segment(volume, labels, box_between(labels, L1, L3))
    paint(node, "SpineContextSeg_22", labels.array == L3, volume)
    assert cut(node) == {"L1"}


def test_a_run_of_other_structures_doesnt_change_it(volume, labels):
    node = segment(volume, labels, box_between(labels, L1, L3))
    add_result(volume, np.where(labels.array == 26, 26, 0).astype(np.uint8), segmentation_node=node, only={26})
    assert cut(node) == {"L1", "L3"}


def test_it_is_kept_in_a_scene_and_in_an_exported_file(scene, volume, labels, tmp_path):
    node = segment(volume, labels, box_between(labels, L1, L3))
    (path,) = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"]).files
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(False)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    assert cut(scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")) == {"L1", "L3"}
    again = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "Again")
    assert cut(again) == {"L1", "L3"}


def test_the_command_line_knows_it_from_an_exported_file(volume, labels, tmp_path):
    node = segment(volume, labels, box_between(labels, L1, L3))
    (path,) = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"]).files

    def cut_in(labels_path):
        table = tmp_path / "table.csv"
        assert main(["measure", str(SAMPLE / "phantom_ct.nii.gz"), str(labels_path), "--table", str(table)]) == 0
        with open(table, newline="") as file:
            return {line["level"] for line in csv.DictReader(file) if line["partial"] == "yes"}

    assert cut_in(path) == {"L1", "L3"}
    shifted = tmp_path / "shifted.seg.nrrd"
    assert main(["levels", str(path), "--shift", "1", "-o", str(shifted)]) == 0
    assert cut_in(shifted) == {"L2", "L4"}
