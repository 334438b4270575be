"""Patients' folders that are links, as where scans lie on another disk: every command finds what is in them."""

from pathlib import Path

import numpy as np
import pytest
from generated_spines import smooth_spine

from SpineContextSegLib.cohort.segmented import find_segmented
from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.pairing import label_files
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Training.labelled_scans import find_labelled

PATIENTS = ("p1", "p2")


@pytest.fixture(scope="module")
def labels() -> Volume:
    _, labels = smooth_spine(8001, "L1", "L2", 2.0)
    return labels


def linked(root: Path, store: Path) -> Path:
    """A folder with a link to each patient's, and one in there that leads around in a circle."""
    root.mkdir()
    for patient in PATIENTS:
        (root / patient).symlink_to(store / patient, target_is_directory=True)
        (store / patient / "around").symlink_to(root, target_is_directory=True)
    return root


@pytest.fixture
def scans(labels, tmp_path) -> Path:
    """Of each patient ct.nii.gz with ct_labels.nii.gz beside it."""
    for patient in PATIENTS:
        folder = tmp_path / "store" / patient
        folder.mkdir(parents=True)
        write_volume(Volume((labels.array != 0) * np.int16(200), labels.affine), folder / "ct.nii.gz")
        write_volume(labels, folder / "ct_labels.nii.gz")
    return linked(tmp_path / "scans", tmp_path / "store")


def test_labels_are_found_once_and_by_the_name_of_their_folder(scans):
    (scans / ".hidden").symlink_to(scans / "p1", target_is_directory=True)
    (scans / "a").mkdir()
    (scans / "a" / "spine.nrrd").touch()
    (scans / "0").symlink_to(scans / "a", target_is_directory=True)
    names = [path.relative_to(scans).as_posix() for path in label_files(scans)]
    assert names == ["a/spine.nrrd", *(f"{p}/{name}.nii.gz" for p in PATIENTS for name in ("ct", "ct_labels"))]


def test_references_are_found(scans, labels, tmp_path):
    for patient in PATIENTS:
        (tmp_path / "mine" / patient).mkdir(parents=True)
        write_segmentation(labels, tmp_path / "mine" / patient / "ct.seg.nrrd")
    assert [case.name for case in evaluate(tmp_path / "mine", scans).cases] == ["p1/ct_labels", "p2/ct_labels"]


def test_scans_to_learn_from_are_found(scans):
    assert find_labelled(scans) == [scans / patient / "ct.nii.gz" for patient in PATIENTS]


def test_segmentations_to_measure_are_found(scans):
    for results in (scans, scans.parent / "store"):
        found = find_segmented(scans, results)
        assert [one.scan.source for one in found.segmented] == [scans / patient / "ct.nii.gz" for patient in PATIENTS]
        assert [len(one.segmentations) for one in found.segmented] == [1, 1] and found.problems == []
