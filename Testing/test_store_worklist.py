"""The worklist through crashes, full disks, damage and two workbenches at once; and which scan an entry stands for."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.dicom_series import SeriesWriter
from Testing.mounts import needs_mounts, run_with_mounts
from Testing.store_use import NAMES, SMALL, finished, let_go, some_labels, start, write_scan
from Workbench.store import database
from Workbench.store.versions import Versions
from Workbench.store.worklist import DATABASE, Entry, State, Worklist

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither this signal nor this limit")


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
    return worklist.versions(number).save(some_labels(number), NAMES, kind=kind, by="anna")


def test_a_folder_becomes_a_worklist_that_is_there_again(folder):
    added = Worklist.open(folder, "anna").add([folder])
    again = Worklist.open(folder, "ben")
    assert again.entries() == added and again.folder == folder
    assert [(e.number, e.name, e.state, e.reason, e.notes, e.by) for e in added] == [
        (n + 1, f"scan{n}.nii.gz", State.NEW, None, "", "anna") for n in range(3)
    ]
    assert all(entry.scan == folder / entry.name and entry.changed.tzinfo for entry in added)
    again.set_notes(2, "Metall in L4 ✓")
    again.set_state(3, State.REJECTED, " moved ")
    first, second, third = Worklist.open(folder).entries()
    assert first == added[0]
    assert (second.notes, second.by) == ("Metall in L4 ✓", "ben") and (third.state, third.reason) == (
        State.REJECTED, "moved",
    )  # fmt: skip
    again.set_state(3, State.NEW)
    assert again.entry(3).reason is None


def test_results_and_corrections_from_outside_are_noticed(folder):
    """Of the program's other users, or of a data folder whose worklist is gone."""
    for n, kind in enumerate(("model", "correction", "autosave")):
        Versions(folder / f"scan{n}.nii.gz", folder).save(some_labels(n), NAMES, kind=kind, by="ben")
    worklist = Worklist.open(folder, "anna")
    states = [State.SEGMENTED, State.IN_CORRECTION, State.NEW]
    assert [entry.state for entry in worklist.add([folder])] == states
    Versions(folder / "scan2.nii.gz", folder).save(some_labels(2), NAMES, kind="model", by="ben")
    worklist.set_state(1, State.REJECTED, "moved")
    (folder / "scan1.nii.gz").unlink()
    worklist.note_versions([1, 2, 3])
    assert [entry.state for entry in worklist.entries()] == [State.REJECTED, State.IN_CORRECTION, State.SEGMENTED]


def test_next_previous_and_progress(worklist):
    assert worklist.progress() == {state: 3 * (state is State.NEW) for state in State}
    worklist.set_state(1, State.SEGMENTED)
    worklist.set_state(2, State.REJECTED, "no spine")
    worklist.set_state(3, State.IN_CORRECTION)
    assert [worklist.next_open(after).number for after in (None, 1, 2)] == [1, 3, 3]
    assert worklist.next_open(3) is None and worklist.previous(1) is None
    assert worklist.previous(3).number == 2 and worklist.previous(99).number == 3
    save(worklist, 3)
    worklist.set_state(3, State.DONE)
    assert worklist.next_open(1) is None
    assert list(worklist.progress().values()) == [0, 1, 0, 1, 1]


def test_nothing_that_anybody_wrote_is_gone(worklist, folder):
    worklist.set_notes(1, "first look")
    Worklist.open(folder, "ben").set_notes(1, "second look")
    worklist.set_state(1, State.REJECTED, "blurred")
    assert [(c.what, c.before, c.after, c.by) for c in worklist.history(1)] == [
        ("notes", "", "first look", "anna"), ("notes", "first look", "second look", "ben"),
        ("state", "new", "rejected", "anna"), ("reason", None, "blurred", "anna"),
    ]  # fmt: skip


def test_what_can_not_be_is_refused_and_changes_nothing(worklist, folder, tmp_path):
    before = worklist.entries()
    (tmp_path / "empty").mkdir()
    for act, words in (
        (lambda: worklist.set_state(1, State.REJECTED, "  "), "with a reason"),
        (lambda: worklist.set_state(1, State.DONE), "Nothing was saved"),
        (lambda: worklist.set_state(9, State.NEW), "no entry 9"),
        (lambda: worklist.set_notes(9, ""), "no entry 9"),
        (lambda: worklist.entry(0), "no entry 0"),
        (lambda: worklist.add([write_scan(tmp_path / "new.nii.gz", 7), tmp_path / "none.nii.gz"]), "does not exist"),
        (lambda: worklist.add([tmp_path / "empty"]), "no scan"),
        (lambda: Worklist.open(tmp_path / "none"), "does not exist"),
    ):
        with pytest.raises(InputRefused, match=words):
            act()
    assert worklist.entries() == before


def test_what_can_not_be_added_is_told_and_the_rest_is_added(worklist, tmp_path):
    told = []
    (added,) = worklist.add([tmp_path / "none", write_scan(tmp_path / "new.nii.gz", 7)], told.append)
    assert added.number == 4 and len(told) == 1 and "does not exist" in told[0]


def test_done_is_what_was_saved_last_and_stays_that(worklist):
    save(worklist, 1, "model")
    save(worklist, 1, "autosave")
    with pytest.raises(InputRefused, match="only saved in passing"):
        worklist.set_state(1, State.DONE)
    correction = save(worklist, 1)
    worklist.set_state(1, State.DONE)
    save(worklist, 1, "model")
    assert worklist.accepted(1) == correction
    worklist.set_state(1, State.DONE)
    assert worklist.accepted(1).number == 4
    worklist.set_state(1, State.IN_CORRECTION)
    assert worklist.accepted(1) is None


def test_a_version_that_was_done_and_is_missing_is_said(worklist):
    correction = save(worklist, 1)
    worklist.set_state(1, State.DONE)
    shutil.rmtree(correction.folder)
    with pytest.raises(InputRefused, match=f"{correction.folder.name}.*missing"):
        worklist.accepted(1)


def test_a_scan_is_listed_once_whatever_it_is_called(worklist, folder, tmp_path):
    copy = shutil.copy(folder / "scan0.nii.gz", tmp_path / "copy.nii.gz")
    (entry,) = worklist.add([copy])
    assert entry.number == 1 and entry.scan == folder / "scan0.nii.gz"  # it is still there
    moved = (folder / "scan1.nii.gz").rename(tmp_path / "moved.nii.gz")
    with pytest.raises(InputRefused, match="scan1.nii.gz' is gone"):
        worklist.locate(2)
    (entry,) = worklist.add([moved, moved])
    assert entry.number == 2 and worklist.locate(2) == moved and len(worklist.entries()) == 3
    assert [change.what for change in worklist.history(2)] == ["scan"]


def test_another_scan_in_its_place_is_not_taken_for_it(worklist, folder):
    save(worklist, 1)
    worklist.set_state(1, State.DONE)
    write_scan(folder / "scan0.nii.gz", 99)
    for act in (worklist.locate, worklist.versions, worklist.accepted, lambda n: worklist.set_state(n, State.DONE)):
        with pytest.raises(InputRefused, match="scan0.nii.gz' is not the scan that was added as number 1"):
            act(1)
    (entry,) = worklist.add([folder / "scan0.nii.gz"])
    assert entry.number == 4 and entry.state is State.NEW and worklist.versions(4).list() == []


def test_the_data_folder_can_be_moved_as_a_whole(worklist, folder, tmp_path):
    save(worklist, 2)
    worklist.set_state(2, State.DONE)
    moved = Worklist.open(folder.rename(tmp_path / "other disk"))
    assert moved.locate(2) == tmp_path / "other disk" / "scan1.nii.gz"
    assert moved.accepted(2).number == 1


def test_dicom_series_are_entries_and_what_the_workbench_saves_is_none(worklist, folder):
    array = np.random.default_rng(0).integers(-1000, 900, SMALL.shape).astype(np.int16)
    for name in ("anna", "ben"):
        SeriesWriter(folder / "dicom" / name).write(Volume(array, SMALL.affine))
    write_volume(some_labels(1), folder / "scan0_labels.nii.gz")
    save(worklist, 1)
    added = worklist.add([folder])
    assert [entry.name for entry in added] == ["scan0.nii.gz", "scan1.nii.gz", "scan2.nii.gz", "anna", "ben"]
    assert len(worklist.entries()) == 5 and worklist.locate(4) == folder / "dicom" / "anna"


CHANGE_FOREVER = """
import sys
from Workbench.store.worklist import State, Worklist
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
        again = Worklist.open(folder)
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
    worklist = Worklist.open(folder)
    assert [entry.number for entry in worklist.entries()] == [1, 2, 3]
    written = sorted(change.after for number in (1, 2, 3) for change in worklist.history(number))
    assert written == sorted(f"{name} {n}" for name in ("anna", "ben") for n in range(10))


DIE_WHILE_MIGRATING = """
import os, signal, sys
from Workbench.store import database
from Workbench.store.versions import Versions
from Workbench.store.worklist import Worklist
def dying():
    yield "ALTER TABLE entry ADD COLUMN extra TEXT"
    yield "UPDATE entry SET extra = hex(zeroblob(2000000))"  # more than SQLite keeps in memory, so it reaches the disk
    os.kill(os.getpid(), signal.SIGKILL)
database.MIGRATIONS = (*database.MIGRATIONS, dying())
Worklist.open(sys.argv[1])
"""


@needs_posix
def test_a_process_killed_while_it_migrates_leaves_the_version_before(worklist, folder, monkeypatch):
    worklist.set_notes(1, "kept")
    before = worklist.entries()
    process = start(DIE_WHILE_MIGRATING, folder)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    assert (folder / f"{DATABASE}-wal").stat().st_size > 2_000_000
    assert Worklist.open(folder).entries() == before
    newer = (*database.MIGRATIONS, ("ALTER TABLE entry ADD COLUMN extra TEXT",))
    monkeypatch.setattr(database, "MIGRATIONS", newer)
    assert Worklist.open(folder).entries() == before
    with sqlite3.connect(folder / DATABASE) as connection:
        assert connection.execute("SELECT extra FROM entry").fetchall() == [(None,)] * 3
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)


def test_a_migration_that_fails_changes_nothing(worklist, folder, monkeypatch):
    before = worklist.entries()
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, ("DROP TABLE change", "nonsense")))
        with pytest.raises(OSError):
            Worklist.open(folder)
    assert Worklist.open(folder).entries() == before
    worklist.set_notes(1, "still there")
    assert len(worklist.history(1)) == 1


def test_a_worklist_of_a_newer_version_is_refused_and_stays_as_it_is(worklist, folder):
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (folder / DATABASE).read_bytes()
    with pytest.raises(InputRefused, match="newer version"):
        Worklist.open(folder)
    assert (folder / DATABASE).read_bytes() == before


def test_the_file_of_another_program_is_left_alone(folder):
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("CREATE TABLE bookmarks (address TEXT)")
    connection.close()
    before = (folder / DATABASE).read_bytes()
    with pytest.raises(InputRefused, match="belongs to another program"):
        Worklist.open(folder)
    assert (folder / DATABASE).read_bytes() == before


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def scribbled(path):
    content = bytearray(path.read_bytes())
    content[4096 : 3 * 4096] = os.urandom(2 * 4096)
    path.write_bytes(content)


def no_database(path):
    path.write_bytes(os.urandom(5000))


@pytest.mark.parametrize("damage", [truncated, scribbled, no_database])
def test_a_damaged_worklist_is_kept_aside_and_a_new_one_finds_the_corrections(damage, worklist, folder):
    save(worklist, 2)
    for n in range(2):
        damage(folder / DATABASE)
        damaged = (folder / DATABASE).read_bytes()
        with pytest.raises(InputRefused, match=rf"is damaged and was kept as '{DATABASE}.damaged-{n + 1}'"):
            Worklist.open(folder)
        assert (folder / f"{DATABASE}.damaged-{n + 1}").read_bytes() == damaged
        new = Worklist.open(folder)
        assert new.entries() == []
        new.add([folder])
        assert new.versions(2).latest().number == 1


def test_damage_that_shows_later_is_said_too(worklist, folder):
    scribbled(folder / DATABASE)
    with pytest.raises(InputRefused, match="close the workbench and open the folder again"):
        worklist.entries()
    assert sorted(path.name for path in folder.glob("*.sqlite*")) == [DATABASE]


def test_a_log_goes_with_the_damaged_file_that_it_belongs_to(worklist, folder):
    """It holds what was written last; and SQLite would take it for the log of the next file."""
    reader = sqlite3.connect(folder / DATABASE)
    reader.execute("SELECT * FROM entry").fetchall()  # keeps the log from being written back
    worklist.set_notes(1, "in the log")
    log = (folder / f"{DATABASE}-wal").read_bytes()
    assert log
    no_database(folder / DATABASE)
    with pytest.raises(InputRefused, match="damaged-1"):
        Worklist.open(folder)
    reader.close()
    assert sorted(path.name for path in folder.glob(f"{DATABASE}*"))[0] == f"{DATABASE}.damaged-1"
    assert Worklist.open(folder).entries() == []


def test_a_log_that_was_put_aside_alone_is_not_taken_for_that_of_the_next_file(worklist, folder, monkeypatch):
    reader = sqlite3.connect(folder / DATABASE)
    reader.execute("SELECT * FROM entry").fetchall()
    worklist.set_notes(1, "in the log")
    no_database(folder / DATABASE)
    rename = os.rename

    def die_after(source, target):
        rename(source, target)
        if str(source).endswith("-wal"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "rename", die_after)
        Worklist.open(folder)
    reader.close()
    with pytest.raises(InputRefused, match="damaged-2"):
        Worklist.open(folder)
    assert Worklist.open(folder).entries() == []
    assert (folder / f"{DATABASE}.damaged-1-wal").stat().st_size > 0


FULL = """
import resource, sys
from pathlib import Path
from Workbench.store.worklist import State, Worklist
worklist = Worklist.open(sys.argv[1])
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
    again = Worklist.open(folder)
    assert again.entry(1).notes == (str(done[-1]) * 20_000 if done else "") and len(again.entries()) == 3
    again.set_notes(1, "room again")
    assert again.entry(1).notes == "room again"


SMALL_DISK = """
import shutil, subprocess, sys
from pathlib import Path
from Testing.store_use import write_scan
from Workbench.store.worklist import State, Worklist
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=True)
write_scan(disk / "scan.nii.gz", 1)
worklist = Worklist.open(disk)
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
assert Worklist.open(disk).entry(1).notes == "before"
worklist.set_state(1, State.REJECTED, "now there is room")
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
for act in (lambda: worklist.set_notes(1, ""), lambda: Worklist.open(disk)):
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


def test_a_worklist_in_a_folder_with_an_odd_name(tmp_path):
    folder = tmp_path / "Müller #1 50%20?& 脊柱"
    write_scan(folder / "a'b;--.nii.gz", 1)
    (entry,) = Worklist.open(folder).add([folder])
    assert isinstance(entry, Entry) and Worklist.open(folder).locate(1) == folder / "a'b;--.nii.gz"


@needs_posix
def test_a_name_that_is_no_text_is_refused(worklist, folder):
    os.rename(folder / "scan0.nii.gz", os.fsencode(folder / "x\udcff.nii.gz"))
    with pytest.raises(InputRefused, match="rename it"):
        worklist.add([folder / "x\udcff.nii.gz"])
