"""A data folder with three scans, and its worklist, for tests of the workbench's store."""

import pytest

from Testing.store_use import NAMES, some_labels, write_scan
from Workbench.store.worklist import Worklist

# The fixtures, for `from Testing.worklist_use import *`.
__all__ = ["folder", "worklist"]


@pytest.fixture
def folder(tmp_path):
    """A data folder with three scans."""
    for n in range(3):
        write_scan(tmp_path / "data" / f"scan{n}.nii.gz", n)
    return tmp_path / "data"


@pytest.fixture
def worklist(folder):
    worklist = Worklist.open(folder, "anna")
    worklist.add([folder])
    return worklist


def save(worklist, number, kind="correction"):
    versions = worklist.versions(number)
    version = versions.save(some_labels(number), NAMES, kind=kind, by="anna")
    versions.end()
    return version
