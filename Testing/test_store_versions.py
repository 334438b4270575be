"""Saved versions: they come back to the voxel, none but old autosaves go, and a damaged one is refused."""

import json
import shutil
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from Testing.geometry import GRIDS
from Testing.store_use import *  # noqa: F403
from Testing.store_use import NAMES, SMALL, same_voxels, some_labels, write_scan
from Testing.versions_use import *  # noqa: F403
from Testing.versions_use import hidden, save
from Workbench.store import versions as versions_module
from Workbench.store.versions import KEPT_AUTOSAVES, Versions


@pytest.mark.parametrize("name", ["lps", "sagittal_thick", "left_handed", "oblique_sagittal", "sheared_oblique"])
def test_labels_names_and_report_come_back(name, tmp_path, data):
    grid = GRIDS[name]
    versions = Versions(write_scan(tmp_path / "scan.nrrd", 1, grid), data)
    array = np.random.default_rng(0).choice([0, 1, 28, 61, 200, 300], grid.shape)
    names = {1: "C1", 28: "T13", 61: "Canal", 200: "Disc", 300: "Плечо \udcff", 301: "no voxels"}
    report = {"model": "tiny", "warnings": ["a"]}
    saved = versions.save(Volume(array, grid.affine), names, kind="model", by="Jürgen", report=report)
    (found,) = Versions(tmp_path / "scan.nrrd", data).list()
    assert same_voxels(versions.load(found), Volume(array, grid.affine))
    assert found == saved
    assert (found.number, found.kind, found.by, found.names, found.report) == (1, "model", "Jürgen", names, report)
    assert abs(found.saved - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_values_that_can_not_be_saved_are_errors_and_nothing_is_written(scan, data):
    versions = Versions(scan, data)
    for value, names in ((77, NAMES), (-1, {-1: "own"}), (70000, {70000: "own"})):
        with pytest.raises(ValueError, match=str(value)):
            versions.save(Volume(np.full(SMALL.shape, value), SMALL.affine), names, kind="model", by="a")
    with pytest.raises(ValueError):
        save(versions, 1, "result")  # would be under a name by which nobody looks for it
    assert versions.list() == [] and list(scan.parent.iterdir()) == [scan]


def test_results_and_corrections_stay_and_old_autosaves_go(scan, data):
    versions = Versions(scan, data)
    save(versions, 0, "model")
    for seed in range(6):
        save(versions, seed, "autosave")
    assert [version.number for version in versions.list()] == [1, 5, 6, 7] and KEPT_AUTOSAVES == 3
    save(versions, 9)
    save(versions, 0, "model")
    save(versions, 10)
    assert [(v.number, v.kind) for v in versions.list()] == [
        (1, "model"), (8, "correction"), (9, "model"), (10, "correction"),
    ]  # fmt: skip
    versions.end()
    assert hidden(scan.parent) == []


def test_autosaves_of_another_session_are_never_removed(scan, data):
    here, there = Versions(scan, data), Versions(scan, data)
    save(there, 1, "autosave")
    for seed in range(6):
        save(here, seed, "autosave")
    save(here, 7)
    assert [(v.number, v.kind) for v in here.list()] == [(1, "autosave"), (8, "correction")]


def test_work_after_the_last_correction_is_told_of_until_it_is_saved_or_set_aside(scan, data):
    crashed = Versions(scan, data)
    assert crashed.unsaved_autosave() is None
    save(crashed, 0, "model")
    save(crashed, 1, "autosave")
    save(crashed, 2, "autosave")
    later = Versions(scan, data)
    # As long as the session lives, it is its own work.
    assert later.unsaved_autosave() is None and crashed.unsaved_autosave().number == 3
    crashed.end()
    unsaved = later.unsaved_autosave()
    assert unsaved.number == 3 and same_voxels(later.load(unsaved), some_labels(2))
    save(later, 5, "model")  # a new run doesn't make up for lost work
    assert later.unsaved_autosave().number == 3
    later.set_aside(unsaved)
    assert Versions(scan, data).unsaved_autosave() is None
    assert len(later.list()) == 4  # still there
    save(later, 6, "autosave")
    assert later.unsaved_autosave().number == 5
    save(later, 6)
    assert later.unsaved_autosave() is None


def test_the_latest_is_a_result_or_a_correction(scan, data):
    versions = Versions(scan, data)
    assert versions.latest() is None
    for kind in ("model", "correction", "autosave"):
        save(versions, 3, kind)
    assert versions.latest().kind == "correction"
    save(versions, 3, "model")
    assert versions.latest().number == 4


def test_a_correction_that_was_made_during_a_run_stays_the_latest(scan, data):
    versions = Versions(scan, data)
    assert versions.newest_number() == 0
    save(versions, 1)
    begun_after = Versions(scan, data).newest_number()
    save(versions, 2)
    result = Versions(scan, data).save(some_labels(3), NAMES, kind="model", by="anna", begun_after=begun_after)
    assert (result.number, result.begun_after) == (3, 1) and versions.latest().number == 2
    # Done anew on purpose.
    save(versions, 3, "model")
    assert versions.latest().number == 4


def test_versions_of_earlier_workbenches_are_in_the_order_of_saving(scan, data):
    versions = Versions(scan, data)
    for version in (save(versions, 1), save(versions, 2, "model")):
        path = version.folder / "version.json"
        content = json.loads(path.read_text())
        del content["begun_after"]
        path.write_text(json.dumps(content))
    assert versions.latest().number == 2


def test_a_clock_that_goes_backwards_changes_no_order(scan, data, monkeypatch):
    versions = Versions(scan, data)
    save(versions, 1)

    class Yesterday(datetime):
        @classmethod
        def now(cls, zone):
            return datetime.now(zone) - timedelta(days=300)

    monkeypatch.setattr(versions_module, "datetime", Yesterday)
    save(versions, 2, "autosave")
    save(versions, 3)
    save(versions, 4, "autosave")
    found = versions.list()
    assert [version.number for version in found] == [1, 3, 4] and found[0].saved > found[1].saved
    assert versions.latest().number == 3 and versions.unsaved_autosave().number == 4


def test_a_damaged_version_is_refused_and_the_others_stay(scan, data):
    versions = Versions(scan, data)
    first, second, third = (save(versions, seed) for seed in range(3))
    path = second.folder / "saved_labels.nrrd"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputRefused, match="Version 2 .* is damaged"):
        versions.load(second)
    (third.folder / "version.json").write_text(json.dumps({"number": 3})[:-3])
    assert [version.number for version in versions.list()] == [1, 2]
    assert versions.warnings() == ["1 saved version of 'chest.nii.gz' can't be read: check the disk."]
    assert same_voxels(versions.load(first), some_labels(0))
    assert save(versions, 4).number == 4
    shutil.rmtree(first.folder)
    with pytest.raises(InputRefused, match="Version 1 is gone"):
        versions.load(first)


def test_labels_of_another_version_are_not_taken_for_these(scan, data):
    versions = Versions(scan, data)
    one, other = save(versions, 1), save(versions, 2)
    shutil.copy(other.folder / "saved_labels.nrrd", one.folder / "saved_labels.nrrd")
    with pytest.raises(InputRefused, match="damaged"):
        versions.load(one)
