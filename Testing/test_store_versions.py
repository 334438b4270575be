"""Corrections are never lost, nor given to another scan: crashes, full, protected and vanished disks, two at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import SeriesWriter
from Testing.geometry import GRIDS
from Testing.mounts import needs_mounts, run_with_mounts
from Testing.store_use import NAMES, SMALL, finished, let_go, same_voxels, some_labels, start, write_scan
from Workbench.store import versions as versions_module
from Workbench.store.fingerprint import fingerprint
from Workbench.store.versions import KEPT_AUTOSAVES, VERSIONS_FOLDER, Versions

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither this signal nor this limit")


@pytest.fixture
def scan(tmp_path):
    return write_scan(tmp_path / "scans" / "chest.nii.gz", 1)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def save(versions, seed, kind="correction"):
    return versions.save(some_labels(seed), NAMES, kind=kind, by="anna")


def hidden(folder):
    return [path for path in folder.rglob(".*")]


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
    for value in (77, -1, 70000):
        with pytest.raises(ValueError):
            versions.save(Volume(np.full(SMALL.shape, value), SMALL.affine), NAMES, kind="model", by="a")
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


SAVE_FOREVER = """
import sys
from Testing.store_use import NAMES, some_labels
from Workbench.store.versions import Versions
versions = Versions(sys.argv[1], sys.argv[2])
for seed in range(10**6):
    kind = ("autosave", "correction", "model")[seed % 3]
    print(versions.save(some_labels(seed), NAMES, kind=kind, by=str(seed)).number, seed, flush=True)
"""


@needs_posix
@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_killed_process_leaves_every_version_that_it_saved(after, scan, data):
    process = start(SAVE_FOREVER, scan, data)
    told = [process.stdout.readline() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.communicate()
    versions = Versions(scan, data)
    found = {version.number: version for version in versions.list()}
    for number, seed in (map(int, line.split()) for line in told):
        # Of its autosaves only what is older than a correction may be gone.
        if number in found or seed % 3:
            assert same_voxels(versions.load(found[number]), some_labels(int(found[number].by)))
            assert found[number].by == str(seed)
    assert versions.warnings() == []
    assert save(versions, 3).number > max(found)


DIE = """
import os, signal, sys
from Testing.store_use import NAMES, some_labels
from Workbench.store import versions, whole_folders
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
where, name = {"labels written": (versions, "_digest"), "all written": (whole_folders.os, "rename")}[sys.argv[3]]
session = versions.Versions(sys.argv[1], sys.argv[2])
session.save(some_labels(1), NAMES, kind="correction", by="anna")
setattr(where, name, die)
session.save(some_labels(2), NAMES, kind="correction", by="anna")
"""


@needs_posix
@pytest.mark.parametrize("moment", ["labels written", "all written"])
def test_a_process_killed_before_the_rename_leaves_the_version_before(moment, scan, data):
    process = start(DIE, scan, data, moment)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    versions = Versions(scan, data)
    (left,) = hidden(scan.parent)
    (found,) = versions.list()
    assert same_voxels(versions.load(found), some_labels(1)) and versions.warnings() == []
    assert save(versions, 3).number == 2
    assert left.exists()  # it could belong to a process that is still at work
    os.utime(left, (0, 0))
    save(versions, 4)
    assert not left.exists() and len(versions.list()) == 3


SAVE_SOME = """
import sys
from Testing.store_use import NAMES, some_labels
from Workbench.store.versions import Versions
versions = Versions(sys.argv[1], sys.argv[2])
sys.stdin.read()
for seed in range(8):
    versions.save(some_labels(seed), NAMES, kind="correction", by=f"{sys.argv[3]} {seed}")
"""


def test_two_processes_save_at_once_and_nothing_is_lost(scan, data):
    both = [start(SAVE_SOME, scan, data, name, stdin=subprocess.PIPE) for name in ("anna", "ben")]
    let_go(both)
    versions = Versions(scan, data)
    found = versions.list()
    assert sorted(version.by for version in found) == sorted(f"{n} {s}" for n in ("anna", "ben") for s in range(8))
    for version in found:
        assert same_voxels(versions.load(version), some_labels(int(version.by.split()[1])))
    assert versions.latest() == found[-1]


FULL = """
import errno, resource, sys
from Testing.store_use import NAMES, some_labels
from Workbench.store.versions import Versions
versions = Versions(sys.argv[1], sys.argv[2])
versions.save(some_labels(1), NAMES, kind="correction", by="anna")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    versions.save(some_labels(2), NAMES, kind="correction", by="anna")
except OSError:
    print("full")
"""


@needs_posix
def test_a_file_that_can_not_grow_is_an_error_and_leaves_nothing(scan, data):
    assert finished(start(FULL, scan, data)) == "full\n"
    versions = Versions(scan, data)
    (found,) = versions.list()
    assert same_voxels(versions.load(found), some_labels(1))
    assert hidden(scan.parent) == hidden(data) == []


SMALL_DISK = """
import errno, shutil, subprocess, sys
from pathlib import Path
from Testing.store_use import NAMES, same_voxels, some_labels, write_scan
from Workbench.store.versions import Versions
disk, data = map(Path, sys.argv[1:])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=True)
scan = write_scan(disk / "chest.nii.gz", 1)
versions = Versions(scan, data)
assert versions.save(some_labels(1), NAMES, kind="correction", by="a").folder.is_relative_to(disk)
(disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free))
alone = Versions(scan, disk)
try:
    alone.save(some_labels(2), NAMES, kind="correction", by="a")
    raise SystemExit("a full disk took a version")
except OSError as error:
    assert error.errno == errno.ENOSPC or "disk full" in str(error), error
assert not list(disk.rglob(".*"))
assert versions.save(some_labels(3), NAMES, kind="correction", by="a").folder.is_relative_to(data)
first, second = versions.list()
assert same_voxels(versions.load(first), some_labels(1)) and same_voxels(versions.load(second), some_labels(3))
(disk / "filler").unlink()
assert versions.save(some_labels(4), NAMES, kind="correction", by="a").folder.is_relative_to(disk)
assert [v.number for v in Versions(scan, data).list()] == [1, 2, 3]
"""


@needs_mounts
def test_on_a_full_disk_versions_go_to_the_data_folder(tmp_path, data):
    (tmp_path / "disk").mkdir()
    run_with_mounts(SMALL_DISK, tmp_path / "disk", data)


PROTECTED = """
import subprocess, sys
from pathlib import Path
from Testing.store_use import NAMES, some_labels, write_scan
from Workbench.store.versions import Versions
disk, data = map(Path, sys.argv[1:])
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
scan = write_scan(disk / "chest.nii.gz", 1)
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
versions = Versions(scan, data)
assert versions.save(some_labels(1), NAMES, kind="correction", by="a").folder.is_relative_to(data)
assert versions.latest().number == 1
subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
assert versions.save(some_labels(2), NAMES, kind="correction", by="a").folder.is_relative_to(disk)
assert [v.number for v in Versions(scan, data).list()] == [1, 2]
"""


@needs_mounts
def test_versions_of_a_protected_scan_go_to_the_data_folder(tmp_path, data):
    (tmp_path / "disk").mkdir()
    run_with_mounts(PROTECTED, tmp_path / "disk", data)


STICK = """
import subprocess, sys
from pathlib import Path
from Testing.store_use import NAMES, some_labels, write_scan
from Workbench.store.versions import Versions
from Workbench.store.worklist import Worklist
content, stick, data = map(Path, sys.argv[1:])
def plug(): subprocess.run(["mount", "--bind", content, stick], check=True)
def pull(): subprocess.run(["umount", "--lazy", stick], check=True)
plug()
scan = write_scan(stick / "chest.nii.gz", 1)
versions = Versions(scan, data)
versions.save(some_labels(1), NAMES, kind="correction", by="a")
Worklist.open(stick)
all_on_stick = Versions(scan, stick)
pull()
assert versions.save(some_labels(2), NAMES, kind="correction", by="a").folder.is_relative_to(data)
try:
    all_on_stick.save(some_labels(3), NAMES, kind="correction", by="a")
    raise SystemExit("saved to nowhere")
except FileNotFoundError as error:
    assert "connect it again" in str(error)
assert list(stick.iterdir()) == [], "written where the next stick hides it"
plug()
assert versions.save(some_labels(4), NAMES, kind="correction", by="a").folder.is_relative_to(stick)
assert all_on_stick.save(some_labels(5), NAMES, kind="correction", by="a").number == 4
assert [v.number for v in Versions(scan, data).list()] == [1, 2, 3, 4]
"""


@needs_mounts
def test_a_stick_that_is_pulled_out_and_comes_back(tmp_path, data):
    for name in ("content", "stick"):
        (tmp_path / name).mkdir()
    run_with_mounts(STICK, tmp_path / "content", tmp_path / "stick", data)


def test_a_renamed_or_moved_scan_keeps_its_versions(scan, data, tmp_path):
    save(Versions(scan, data), 1)
    renamed = scan.rename(scan.with_name("Müller 脊柱.nii.gz"))
    assert save(Versions(renamed, data), 2).number == 2
    moved = scan.parent.rename(tmp_path / "elsewhere") / renamed.name
    versions = Versions(moved, data)
    assert [version.number for version in versions.list()] == [1, 2] and versions.warnings() == []
    assert same_voxels(versions.load(versions.latest()), some_labels(2))


def test_another_scan_of_the_same_name_does_not_get_them(scan, data):
    save(Versions(scan, data), 1)
    save(Versions(scan, data), 2)
    kept = scan.read_bytes()
    write_scan(scan, seed=99)
    other = Versions(scan, data)
    assert other.list() == [] and other.latest() is None
    (sentence,) = other.warnings()
    assert "'chest.nii.gz' is not the scan that 2 saved versions" in sentence
    save(other, 3)
    scan.write_bytes(kept)
    assert [version.number for version in Versions(scan, data).list()] == [1, 2]


def test_scans_with_like_names_in_one_folder_are_not_mixed(scan, data):
    like = [write_scan(scan.with_name(name), n) for n, name in enumerate(("chest-2.nii.gz", "chest.nrrd"), 2)]
    for n, path in enumerate((scan, *like)):
        save(Versions(path, data), n)
    for n, path in enumerate((scan, *like)):
        versions = Versions(path, data)
        assert same_voxels(versions.load(versions.latest()), some_labels(n))
        assert len(versions.list()) == 1 and versions.warnings() == []


def test_a_scan_replaced_while_it_is_open_keeps_what_is_saved_then(scan, data):
    versions = Versions(scan, data)
    kept = scan.read_bytes()
    write_scan(scan, seed=99)
    save(versions, 1)
    assert Versions(scan, data).list() == []
    scan.write_bytes(kept)
    assert len(Versions(scan, data).list()) == 1


def test_scans_of_one_header_and_size_are_told_apart(tmp_path):
    """Not packed, so that they differ in nothing but voxels; and far from both ends of the file."""
    array = np.zeros((40, 200, 200), np.int16)
    paths = [tmp_path / "one.nii", tmp_path / "other.nii"]
    for path, value in zip(paths, (0, 1), strict=True):
        array[10:30] = value
        write_volume(Volume(array, np.eye(4)), path)
    assert paths[0].stat().st_size == paths[1].stat().st_size
    assert fingerprint(paths[0]) != fingerprint(paths[1])


def test_a_detached_header_stands_for_its_voxels_too(tmp_path):
    header = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = a b.raw\n"
    (tmp_path / "a b.mhd").write_text(header)
    (tmp_path / "a b.raw").write_bytes(bytes(64))
    before = fingerprint(tmp_path / "a b.mhd")
    (tmp_path / "a b.raw").write_bytes(bytes(63) + b"\1")
    assert fingerprint(tmp_path / "a b.mhd") != before


def test_a_dicom_series_is_the_same_under_other_file_names_and_has_its_versions_beside_it(tmp_path, data):
    volume = Volume(np.zeros(SMALL.shape, np.int16), SMALL.affine)
    folder = tmp_path / "study" / "series"
    SeriesWriter(folder).write(volume)
    SeriesWriter(tmp_path / "study" / "next").write(volume)  # the same voxels, another patient's perhaps
    before = fingerprint(folder)
    assert before != fingerprint(tmp_path / "study" / "next")
    save(Versions(folder, data), 1)
    assert (tmp_path / "study" / VERSIONS_FOLDER).is_dir()
    copy = tmp_path / "copy"
    copy.mkdir()
    for n, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        shutil.copy(path, copy / f"{n}.dcm")
    (copy / "notes.txt").write_text("not a part of it")
    assert fingerprint(copy) == before == fingerprint(folder)


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


@pytest.mark.parametrize("name", ["x" * 240 + ".nii.gz", "脊" * 70 + ".nrrd", ".nii.gz", "a b#c%20?.nii.gz"])
def test_odd_names_of_scans(name, tmp_path, data):
    scan = write_scan(tmp_path / "scan.nrrd", 1).rename(tmp_path / name)
    save(Versions(scan, data), 1)
    assert len(Versions(scan, data).list()) == 1


def test_a_missing_scan_is_refused(tmp_path, data):
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "none.nii.gz", "does not exist"), (tmp_path / "empty", "no DICOM files")):
        with pytest.raises(InputRefused, match=words):
            Versions(path, data)
