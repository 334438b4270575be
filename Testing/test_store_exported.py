"""Scans of an exported set don't come back as new ones, wherever it lies among the scans that are searched."""

import gzip

import pytest

from SpineContextSegLib.errors import InputRefused
from Testing.dataset_use import finish
from Testing.store_use import *  # noqa: F403
from Testing.store_use import write_scan
from Workbench.store.dataset import export_dataset
from Workbench.store.worklist import Worklist


@pytest.fixture
def scans(tmp_path):
    """Two scans, packed as another program does, so that copies of ours have other fingerprints."""
    for seed in (1, 2):
        path = write_scan(tmp_path / "all" / "scans" / f"{seed}.nii.gz", seed)
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    return tmp_path / "all" / "scans"


@pytest.mark.parametrize("place", ["all/scans/set", "all/set", "all/scans/deep/er/set", "elsewhere"])
def test_they_are_passed_over(place, scans, data, tmp_path):
    worklist = finish(data, scans)
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    export_dataset(worklist, tmp_path / place)
    (scans / "link").symlink_to(tmp_path / place)
    write_scan(tmp_path / "all" / "rawdata" / "sub-1" / "sub-1_ct.nii.gz", 3)
    assert [entry.number for entry in worklist.add([tmp_path / "all"])] == [3, 1, 2]
    assert [entry.name for entry in worklist.entries()] == ["1.nii.gz", "2.nii.gz", "sub-1_ct.nii.gz"]


def test_whoever_names_a_set_gets_its_scans(scans, data, tmp_path):
    for folder in ("sets", "mine"):
        (tmp_path / folder).mkdir()
    export_dataset(finish(data, scans), tmp_path / "sets" / "a")
    worklist = Worklist.open(tmp_path / "mine", "tester")
    with pytest.raises(InputRefused, match="name the folder of that set"):
        worklist.add([tmp_path / "sets"])
    assert len(worklist.add([tmp_path / "sets" / "a"])) == 2
    assert len(worklist.add([tmp_path / "sets" / "a" / "rawdata" / "sub-0001" / "sub-0001_ct.nii.gz"])) == 1


def test_a_set_in_which_something_is_unreadable_is_told_of_as_one(scans, data, tmp_path):
    (tmp_path / "sets").mkdir()
    export_dataset(finish(data, scans), tmp_path / "sets" / "a")
    (tmp_path / "sets" / "a" / "rawdata" / "gone_ct.nii.gz").symlink_to(tmp_path / "nowhere")
    worklist = Worklist.open(tmp_path, "tester")
    assert worklist.add([tmp_path / "sets"], (problems := []).append) == []
    assert len(problems) == 1 and "name the folder of that set" in problems[0]
