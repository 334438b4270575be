"""What happens by accident: other clicks, other volumes, other transforms than the run began with."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import slicer

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.model import FOLDER_VARIABLE, list_models, load_model
from SpineContextSegLib.mrml.export import FORMATS, export_segmentation
from SpineContextSegLib.panel.runs import RunOptions, SegmentationRun
from Testing.panel_use import *  # noqa: F403
from Testing.scene_nodes import add_volume


@pytest.fixture
def mr(user, sample_scan):
    """Gray values that are no Hounsfield units."""
    array = (sample_scan.volume.array - sample_scan.volume.array.min()) // 2
    return add_volume(sample_scan.volume.grid, "T2", array)


def test_no_run_outlives_its_end(user, ct):
    def alive() -> int:
        gc.collect()
        return sum(isinstance(item, SegmentationRun) for item in gc.get_objects())

    before = alive()
    for _ in range(3):
        user.segment()
    assert alive() <= before


def test_an_output_under_another_transform_stays_where_it_is(user, ct):
    node = user.segment()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert user.segment() != node
    assert node.GetTransformNodeID() == transform.GetID()
    assert "under another transform" in user.notice()


def test_the_segmentation_of_another_volume_is_kept(user, ct, sample_scan):
    node = user.segment()
    other = add_volume(sample_scan.volume.grid, "CT of another day", sample_scan.volume.array)
    user.parameters.inputVolume = other
    user.parameters.outputSegmentation = node
    assert user.segment() != node
    assert "belongs to another volume" in user.notice()


def test_segment_anyway_is_for_the_volume_that_was_refused(user, mr, ct):
    user.parameters.inputVolume = mr
    user.click_segment()
    user.parameters.inputVolume = ct
    user.wait_for_end()
    assert "T2" in user.notice()
    assert not user.ui.segmentAnywayButton.visible


def test_segment_anyway_needs_a_structure(user, mr):
    user.parameters.inputVolume = mr
    user.click_segment()
    user.wait_for_end()
    user.parameters.vertebrae = user.parameters.sacrum = False
    assert not user.ui.segmentAnywayButton.enabled
    assert "No structure" in user.reason()


def test_a_double_click_is_one_click(user, ct):
    user.click_segment()
    user.ui.segmentButton.click()
    user.wait_for_end()
    assert user.ui.statusLabel.text.startswith("Done")


def test_a_volume_that_was_moved_meanwhile_is_not_written_on(user, ct):
    user.click_segment()
    ct.SetOrigin(5, 5, 5)
    user.wait_for_end()
    assert "was moved" in user.notice()
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None


def test_export_without_the_voxels_of_the_volume(user, ct, tmp_path):
    node = user.segment()
    ct.SetAndObserveImageData(None)
    with pytest.raises(InputRefused, match="holds no voxels"):
        export_segmentation(node, ct, tmp_path, formats=FORMATS)
    assert not list(tmp_path.glob("*.seg.nrrd"))


def test_names_are_shown_as_they_are(user, ct):
    name = "<b>CT</b> of <img src='x'>"
    ct.SetName(name)
    node = user.segment()
    assert node.GetName() == f"{name} spine" and name in user.ui.statusLabel.text
    # Qt::PlainText
    assert int(getattr(user.ui.statusLabel.textFormat, "value", user.ui.statusLabel.textFormat)) == 0


def test_discs_alone_need_all_structures():
    with pytest.raises(InputRefused, match='structures="all"'):
        RunOptions(only=frozenset({200}))
    assert RunOptions(only=frozenset({200}), structures="all").only == {200}


def test_odd_names_of_models(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "spinecontext-ct" in list_models()
    with pytest.raises(InputRefused) as refusal:
        load_model("x" * 5000)
    assert len(str(refusal.value)) < 500


def test_a_folder_called_numpy_is_not_imported(user, ct, tmp_path, monkeypatch):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "json.py").write_text("raise RuntimeError('not the real one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":.")
    assert np.any(labels_of(user.segment(), ct))  # noqa: F405
