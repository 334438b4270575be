"""Worklists whose scans are done, and a place to export them to, for tests of the exported dataset."""

import pytest

from SpineContextSegLib.reading import read_volume
from Testing.store_use import NAMES, some_labels
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist

# The fixture, for `from Testing.dataset_use import *`.
__all__ = ["target"]


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "finished set"


def finish(data, *paths, labels=some_labels, kind="correction"):
    """A worklist in which every scan is done with labels of its own."""
    worklist = Worklist.open(data, "anna")
    for entry in worklist.add(paths):
        grid = read_volume(entry.scan)[0].grid
        worklist.versions(entry.number).save(labels(entry.number, grid), NAMES, kind=kind, by="anna")
        worklist.set_state(entry.number, State.DONE)
    return worklist


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
