"""A scan outside the data folder and versions of it, for tests of the workbench's store."""

import pytest

from Testing.store_use import NAMES, some_labels, write_scan

# The fixture, for `from Testing.versions_use import *`.
__all__ = ["scan"]


@pytest.fixture
def scan(tmp_path):
    return write_scan(tmp_path / "scans" / "chest.nii.gz", 1)


def save(versions, seed, kind="correction"):
    return versions.save(some_labels(seed), NAMES, kind=kind, by="anna")


def hidden(folder):
    return [path for path in folder.rglob(".*")]
