"""The folder that the panel suggests for exported files."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import qt
import slicer

from Testing.panel_use import *  # noqa: F403
from Testing.scene_results import add_result


def loaded(path):
    """A volume that was read from a file."""
    volume_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(volume_node)
    volume_node.SetAndObserveStorageNodeID(storage.GetID())
    return volume_node


def test_export_begins_beside_the_file_of_the_volume(user, sample_scan):
    user.ui.inputVolumeSelector.setCurrentNode(loaded(sample_scan.path))
    user.segment()
    assert Path(user.ui.exportFolderEdit.currentPath) == sample_scan.path.parent


def test_export_begins_there_in_a_later_session_too(user, sample_scan, tmp_path):
    user.ui.inputVolumeSelector.setCurrentNode(loaded(sample_scan.path))
    user.segment()
    user.ui.exportFolderEdit.currentPath = str(tmp_path)
    user.ui.exportButton.click()
    assert "Exported to" in user.ui.statusLabel.text
    slicer.modules.spinecontextseg.widgetRepresentation().reload()
    assert Path(user.ui.exportFolderEdit.currentPath) == sample_scan.path.parent
    assert user.ui.exportFolderEdit.comboBox().findText(str(tmp_path)) >= 0


def test_export_goes_to_the_folder_of_each_scan_until_one_is_chosen(user, sample_scan, tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    labels = np.full(sample_scan.volume.array.shape, 24, np.uint8)
    for folder in folders:
        folder.mkdir()
        node = add_result(loaded(shutil.copy(sample_scan.path, folder)), labels)
        if folder.name == "c":
            user.ui.exportFolderEdit.currentPath = str(tmp_path)
        user.parameters.outputSegmentation = node
        expected = tmp_path if folder.name == "c" else folder
        assert Path(user.ui.exportFolderEdit.currentPath) == expected


@pytest.fixture
def folders_of_slicer(scene, application, tmp_path, monkeypatch) -> dict[str, Path]:
    """What Slicer empties or alone may write to, by name."""
    cache, database = scene.GetCacheManager(), tmp_path / "SlicerDICOMDatabase"
    before = cache.GetRemoteCacheDirectory()
    (tmp_path / "SlicerIO").mkdir()
    # The same folder by another name, as macOS has it for temporary files.
    (tmp_path / "link").symlink_to(tmp_path / "SlicerIO")
    cache.SetRemoteCacheDirectory(str(tmp_path / "link"))
    monkeypatch.setattr(slicer, "dicomDatabase", SimpleNamespace(databaseDirectory=str(database)), raising=False)
    yield {
        "cache": tmp_path / "SlicerIO",
        "temporary": Path(slicer.app.temporaryPath, "RemoteIO"),
        "database": database / "dicom" / "1.2.3",
    }
    cache.SetRemoteCacheDirectory(before)


@pytest.mark.parametrize("name", ["cache", "temporary", "database"])
def test_export_never_begins_in_a_folder_of_slicers_own(user, sample_scan, folders_of_slicer, name):
    """Downloaded samples lie in the cache, which Slicer empties; masks beside them would be gone then."""
    folder = folders_of_slicer[name]
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.full(sample_scan.volume.array.shape, 24, np.uint8)
    user.parameters.outputSegmentation = add_result(loaded(shutil.copy(sample_scan.path, folder)), labels)
    documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
    assert Path(user.ui.exportFolderEdit.currentPath) == Path(documents)


def test_a_database_that_is_not_open_has_no_folder(user, sample_scan, monkeypatch):
    """Its empty name would stand for the folder that Slicer was started in."""
    monkeypatch.setattr(slicer, "dicomDatabase", SimpleNamespace(databaseDirectory=""), raising=False)
    monkeypatch.chdir(sample_scan.path.parent)
    user.parameters.outputSegmentation = add_result(
        loaded(sample_scan.path), np.full(sample_scan.volume.array.shape, 24, np.uint8)
    )
    assert Path(user.ui.exportFolderEdit.currentPath) == sample_scan.path.parent
