"""Exports that fail or are stopped: what can't be exported is said, and a dataset is never half there."""

import os
import signal
import subprocess

import pytest

from SpineContextSegLib.errors import InputRefused
from Testing.dataset_use import *  # noqa: F403
from Testing.dataset_use import finish, names
from Testing.geometry import GRIDS
from Testing.mounts import needs_mounts, run_with_mounts
from Testing.store_use import *  # noqa: F403
from Testing.store_use import NAMES, needs_posix, some_labels, start, write_scan
from Workbench.store.dataset import export_dataset
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist


def test_what_can_not_be_exported_is_left_out_and_said(data, target):
    for n in range(6):
        write_scan(data / f"scan{n}.nii.gz", n)
    worklist = finish(data, data)
    other = some_labels(1, GRIDS["lps"])
    worklist.versions(5).save(other, NAMES, kind="correction", by="x")
    worklist.set_state(5, State.DONE)
    (data / "scan0.nii.gz").unlink()
    write_scan(data / "scan1.nii.gz", 99)
    version = worklist.accepted(3)
    (version.folder / "saved_labels.nrrd").write_bytes(b"")
    worklist.accepted(4).folder.rename(data / "elsewhere")
    report = export_dataset(worklist, target)
    assert report.exported == {6: "sub-0006"}
    words = ("gone", "not the scan", "damaged", "missing", "same grid")
    assert all(word in report.left_out[n] for n, word in enumerate(words, 1)) and len(report.left_out) == 5
    assert [path.name for path in (target / "rawdata").glob("sub-*")] == ["sub-0006"]
    worklist.set_state(6, State.NEW)
    with pytest.raises(InputRefused, match="No scan could be exported. .*scan0.nii.gz' is gone"):
        export_dataset(worklist, target.with_name("other"))
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]


def test_a_destination_that_will_not_do(data, target, tmp_path):
    write_scan(data / "scan.nii.gz", 1)
    worklist = Worklist.open(data, "tester")
    with pytest.raises(InputRefused, match="No scan of the worklist is done"):
        export_dataset(worklist, target)
    worklist = finish(data, data)
    target.mkdir()
    (tmp_path / "link").symlink_to(data)
    for path, words in (
        (target, "exists already"), (data / "set", "lies in the data folder"), (data, "exists already"),
        (tmp_path / "none" / "set", "does not exist"), (tmp_path / "link" / "set", "lies in the data folder"),
    ):  # fmt: skip
        with pytest.raises(InputRefused, match=words):
            export_dataset(worklist, path)
    assert list(target.iterdir()) == []


def test_a_cancelled_export_leaves_nothing(data, target):
    for n in range(3):
        write_scan(data / f"scan{n}.nii.gz", n)
    worklist, before = finish(data, data), names(data)
    seen = []

    class Cancel(Exception):
        pass

    def cancel(done, total):
        seen.append((done, total))
        if done == 2:
            raise Cancel

    with pytest.raises(Cancel):
        export_dataset(worklist, target, on_entry=cancel)
    assert seen == [(1, 3), (2, 3)]
    assert list(target.parent.iterdir()) == [] and names(data) == before


def test_a_folder_that_appears_meanwhile_is_not_overwritten(data, target):
    write_scan(data / "scan.nii.gz", 1)
    worklist = finish(data, data)

    def interfere(*_):
        target.mkdir()
        (target / "mine.txt").write_text("kept")

    with pytest.raises(OSError):
        export_dataset(worklist, target, on_entry=interfere)
    assert names(target.parent) == ["finished set/mine.txt"] and not list(data.glob("*.csv"))


EXPORT = """
import os, signal, sys, time
from pathlib import Path
from Workbench.store.dataset import export_dataset
from Workbench.store.worklist import Worklist
def told(done, total):
    print(done, flush=True)
    if done == 2:
        time.sleep(60)
export_dataset(Worklist.open(sys.argv[1], "tester"), sys.argv[2], on_entry=told)
"""


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_export_is_not_there_and_the_next_one_is(number, data, target):
    for n in range(3):
        write_scan(data / f"scan{n}.nii.gz", n)
    worklist = finish(data, data)
    process = start(EXPORT, data, target, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    while process.stdout.readline() != "2\n":
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    process.communicate()
    assert not target.exists() and not list(data.glob("*.csv"))
    left = list(target.parent.iterdir())
    assert len(left) == (number == signal.SIGKILL) and all(path.name.startswith(".") for path in left)
    for path in left:
        os.utime(path, (0, 0))
    assert len(export_dataset(worklist, target).exported) == 3
    assert [path.name for path in target.parent.iterdir()] == [target.name]


TOGETHER = """
import sys
from Workbench.store.dataset import export_dataset
from Workbench.store.worklist import Worklist
sys.stdin.read()
try:
    export_dataset(Worklist.open(sys.argv[1], "tester"), sys.argv[2])
    print("exported")
except (OSError, ValueError):
    print("refused")
"""


def test_two_exports_to_one_place_make_one_whole_dataset(data, target):
    for n in range(3):
        write_scan(data / f"scan{n}.nii.gz", n)
    finish(data, data)
    both = [start(TOGETHER, data, target, stdin=subprocess.PIPE) for _ in range(2)]
    for process in both:
        process.stdin.close()
    said = sorted(process.stdout.read() for process in both)
    for process in both:
        process.wait()
    assert said == ["exported\n", "refused\n"]
    assert len(list(target.rglob("*_seg-vert_msk.nii.gz"))) == 3
    assert [path.name for path in target.parent.iterdir()] == [target.name] and len(list(data.glob("*.csv"))) == 1


SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from Testing.dataset_use import finish, names
from Testing.geometry import GRIDS
from Testing.store_use import write_scan
from Workbench.store.dataset import export_dataset
disk, data = map(Path, sys.argv[1:])
for n in range(3):
    write_scan(data / f"scan{n}.nii.gz", n, GRIDS["lps"])
worklist = finish(data, data)
size = sum(path.stat().st_size for path in data.glob("*.nii.gz"))
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 4}", "tmpfs", disk], check=True)
before = names(data)
try:
    export_dataset(worklist, disk / "set")
    raise SystemExit("a full disk took a dataset")
except OSError as error:
    print(error)
assert list(disk.iterdir()) == [] and names(data) == before
subprocess.run(["mount", "-o", f"remount,size={size * 3}", disk], check=True)
assert len(export_dataset(worklist, disk / "set").exported) == 3
"""


@needs_mounts
def test_a_full_disk_leaves_nothing(tmp_path, data):
    (tmp_path / "disk").mkdir()
    run_with_mounts(SMALL_DISK, tmp_path / "disk", data)
