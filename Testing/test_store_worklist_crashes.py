"""The worklist through killed processes, two workbenches at once, and disks that are full, protected or gone."""

import random
import sqlite3
import subprocess

import pytest

from Testing.mounts import needs_mounts, run_with_mounts
from Testing.store_use import finished, let_go, needs_posix, start
from Testing.worklist_use import *  # noqa: F403
from Workbench.store import database
from Workbench.store.worklist import DATABASE, Worklist

CHANGE_FOREVER = """
import sys
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist
worklist = Worklist.open(sys.argv[1], "ben")
for n in range(10**6):
    worklist.set_notes(1, str(n))
    worklist.set_state(2, State.REJECTED, str(n))
    print(n, flush=True)
"""


@needs_posix
def test_a_killed_process_leaves_what_it_had_finished(worklist, folder):
    for _ in range(3):
        process = start(CHANGE_FOREVER, folder)
        told = [process.stdout.readline() for _ in range(random.Random().randint(1, 20))]
        process.kill()
        told += process.stdout.readlines()
        process.communicate()
        again = Worklist.open(folder, "tester")
        notes, reason = int(again.entry(1).notes), int(again.entry(2).reason)
        assert notes - reason in (0, 1) and reason >= int(told[-1])
        assert [int(change.after) for change in again.history(1)][-notes - 1 :] == list(range(notes + 1))


BOTH = """
import sys
from Workbench.store.worklist import Worklist
folder, name = sys.argv[1:]
sys.stdin.read()
worklist = Worklist.open(folder, name)
worklist.add([folder])
for n in range(10):
    worklist.set_notes(1 + n % 3, f"{name} {n}")
"""


def test_two_processes_make_and_change_one_worklist_at_once(folder):
    both = [start(BOTH, folder, name, stdin=subprocess.PIPE) for name in ("anna", "ben")]
    let_go(both)
    worklist = Worklist.open(folder, "tester")
    assert [entry.number for entry in worklist.entries()] == [1, 2, 3]
    written = sorted(change.after for number in (1, 2, 3) for change in worklist.history(number))
    assert written == sorted(f"{name} {n}" for name in ("anna", "ben") for n in range(10))


OPEN_MANY = """
import sys
from pathlib import Path
from Workbench.store.database import prepare
sys.stdin.read()
for n in range(150):
    prepare(Path(sys.argv[1]) / f"{n}.sqlite")
"""


def test_processes_that_make_the_same_worklists_at_once_wait_for_each_other(tmp_path):
    """Before, one in a hundred told of another program that the file belonged to, or that kept it locked."""
    three = [start(OPEN_MANY, tmp_path, stdin=subprocess.PIPE) for _ in range(3)]
    let_go(three)
    assert len(list(tmp_path.glob("*.sqlite"))) == 150


FULL = """
import resource, sys
from pathlib import Path
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist
worklist = Worklist.open(sys.argv[1], "tester")
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    for n in range(100):
        worklist.set_notes(1, str(n) * 20_000)
        print(n)
except OSError as error:
    print(error)
"""


@needs_posix
def test_a_file_that_can_not_grow_is_an_error_and_changes_nothing(worklist, folder):
    *done, error = finished(start(FULL, folder)).splitlines()
    assert "worklist" in error or "No space left" in error
    again = Worklist.open(folder, "tester")
    assert again.entry(1).notes == (str(done[-1]) * 20_000 if done else "") and len(again.entries()) == 3
    again.set_notes(1, "room again")
    assert again.entry(1).notes == "room again"


SMALL_DISK = """
import shutil, subprocess, sys
from pathlib import Path
from Testing.store_use import write_scan
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=True)
write_scan(disk / "scan.nii.gz", 1)
worklist = Worklist.open(disk, "tester")
worklist.add([disk])
worklist.set_notes(1, "before")
(disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free))
try:
    worklist.set_notes(1, "x" * 100_000)
    raise SystemExit("a full disk took notes")
except OSError as error:
    pass
try:
    print(worklist.entry(1))
except OSError as error:
    assert "has room" in str(error), error  # SQLite needs some to read, too
(disk / "filler").unlink()
assert Worklist.open(disk, "tester").entry(1).notes == "before"
worklist.set_state(1, State.REJECTED, "now there is room")
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
for act in (lambda: worklist.set_notes(1, ""), lambda: Worklist.open(disk, "tester")):
    try:
        act()
        raise SystemExit("a protected disk took a change")
    except (OSError, ValueError) as error:
        assert "protected" in str(error) or "Nothing can be written" in str(error), error
subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
assert worklist.entry(1).reason == "now there is room"
subprocess.run(["umount", "--lazy", disk], check=True)
try:
    worklist.entries()
    raise SystemExit("read from nowhere")
except OSError as error:
    assert "disk is connected" in str(error), error
assert list(disk.iterdir()) == []
"""


@needs_mounts
def test_a_disk_that_is_full_protected_or_gone(tmp_path):
    (tmp_path / "disk").mkdir()
    run_with_mounts(SMALL_DISK, tmp_path / "disk")


def test_a_file_locked_by_another_program_is_waited_for_and_then_said(worklist, folder, monkeypatch):
    monkeypatch.setattr(database, "_WAIT_SECONDS", 0.2)
    other = sqlite3.connect(folder / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(OSError, match="keeps the worklist .* locked"):
            worklist.set_notes(1, "x")
        assert worklist.entry(1).notes == ""  # reading goes on
    finally:
        other.close()
    worklist.set_notes(1, "x")
