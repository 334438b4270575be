"""The worklist's file: of an older or a newer version, of another program, or damaged and put aside."""

import os
import signal
import sqlite3

import pytest

from SpineContextSegLib.errors import InputRefused
from Testing.store_use import needs_posix, start
from Testing.worklist_use import *  # noqa: F403
from Testing.worklist_use import save
from Workbench.store import database
from Workbench.store.worklist import DATABASE, Worklist

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
Worklist.open(sys.argv[1], "tester")
"""


@needs_posix
def test_a_process_killed_while_it_migrates_leaves_the_version_before(worklist, folder, monkeypatch):
    worklist.set_notes(1, "kept")
    before = worklist.entries()
    process = start(DIE_WHILE_MIGRATING, folder)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    assert (folder / f"{DATABASE}-wal").stat().st_size > 2_000_000
    assert Worklist.open(folder, "tester").entries() == before
    newer = (*database.MIGRATIONS, ("ALTER TABLE entry ADD COLUMN extra TEXT",))
    monkeypatch.setattr(database, "MIGRATIONS", newer)
    assert Worklist.open(folder, "tester").entries() == before
    with sqlite3.connect(folder / DATABASE) as connection:
        assert connection.execute("SELECT extra FROM entry").fetchall() == [(None,)] * 3
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)


def test_a_migration_that_fails_changes_nothing(worklist, folder, monkeypatch):
    before = worklist.entries()
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, ("DROP TABLE change", "nonsense")))
        with pytest.raises(OSError):
            Worklist.open(folder, "tester")
    assert Worklist.open(folder, "tester").entries() == before
    worklist.set_notes(1, "still there")
    assert len(worklist.history(1)) == 1


def check_refused_and_left_alone(folder, statement: str, said: str) -> None:
    """A worklist in whose file another program did `statement`."""
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute(statement)
    connection.close()
    before = (folder / DATABASE).read_bytes()
    with pytest.raises(InputRefused, match=said):
        Worklist.open(folder, "tester")
    assert (folder / DATABASE).read_bytes() == before


def test_a_worklist_of_a_newer_version_is_refused_and_stays_as_it_is(worklist, folder):
    check_refused_and_left_alone(folder, "PRAGMA user_version = 99", "newer version")


def test_the_file_of_another_program_is_left_alone(folder):
    check_refused_and_left_alone(folder, "CREATE TABLE bookmarks (address TEXT)", "belongs to another program")


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
            Worklist.open(folder, "tester")
        assert (folder / f"{DATABASE}.damaged-{n + 1}").read_bytes() == damaged
        new = Worklist.open(folder, "tester")
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
        Worklist.open(folder, "tester")
    reader.close()
    assert sorted(path.name for path in folder.glob(f"{DATABASE}*"))[0] == f"{DATABASE}.damaged-1"
    assert Worklist.open(folder, "tester").entries() == []


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
        Worklist.open(folder, "tester")
    reader.close()
    with pytest.raises(InputRefused, match="damaged-2"):
        Worklist.open(folder, "tester")
    assert Worklist.open(folder, "tester").entries() == []
    assert (folder / f"{DATABASE}.damaged-1-wal").stat().st_size > 0
