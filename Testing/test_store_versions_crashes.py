"""Versions are never lost: killed processes, two at once, disks that are full, protected or pulled out."""

import os
import signal
import subprocess

import pytest

from Testing.mounts import needs_mounts, run_with_mounts
from Testing.store_use import *  # noqa: F403
from Testing.store_use import finished, let_go, needs_posix, same_voxels, some_labels, start
from Testing.versions_use import *  # noqa: F403
from Testing.versions_use import hidden, save
from Workbench.store.versions import Versions

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
where, name = {"labels written": (versions, "file_digest"), "all written": (whole_folders.os, "rename")}[sys.argv[3]]
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
    left = hidden(scan.parent)
    (found,) = versions.list()
    assert same_voxels(versions.load(found), some_labels(1)) and versions.warnings() == []
    # What it left, its number too, could belong to a process that is still at work.
    assert save(versions, 3).number == 3
    assert left and hidden(scan.parent) == left
    for path in left:
        os.utime(path, (0, 0))
    save(versions, 4)
    assert hidden(scan.parent) == [] and len(versions.list()) == 3


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
    assert [version.number for version in found] == list(range(1, 17))
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
Worklist.open(stick, "tester")
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
