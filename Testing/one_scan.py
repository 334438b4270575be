"""A worklist with one scan, for tests of the workbench."""

from __future__ import annotations

import shutil

import pytest

from Workbench.store.worklist import Worklist

# The fixture, for `from Testing.one_scan import *`.
__all__ = ["scan"]


@pytest.fixture
def scan(data, sample_scan):
    """The only one in the worklist."""
    shutil.copy(sample_scan.path, data / "scan.nii.gz")
    Worklist.open(data, "tester").add([data / "scan.nii.gz"])
    return data / "scan.nii.gz"
