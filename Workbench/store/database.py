"""The SQLite file of the worklist: made, brought up to date, checked; its faults in words.

Every access opens the file anew: nothing is held on a disk that may be pulled out, and any thread may ask. A
transaction is on the disk when it ends, or it never was. The write-ahead log lets several workbenches of one computer
share the file; over a network share SQLite can't promise that (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from SpineContextSegLib.errors import InputRefused

# "SCSW", by which a file of ours is told from another program's.
APPLICATION = 0x53435357
_WAIT_SECONDS = 10.0
# In this order they are renamed: SQLite would take a log that is left alone for that of the next file.
_PARTS = ("-shm", "-wal", "")
DATABASE = "spinecontextseg.sqlite"

# Version n of the file is the result of the first n; one that was published is never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE entry (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            scan TEXT NOT NULL,
            fingerprint TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            reason TEXT,
            notes TEXT NOT NULL DEFAULT '',
            accepted TEXT,
            changed TEXT NOT NULL,
            by TEXT NOT NULL,
            CHECK ((state = 'rejected') = (reason IS NOT NULL)),
            CHECK ((state = 'done') = (accepted IS NOT NULL))
        )""",
        """CREATE TABLE change (
            id INTEGER PRIMARY KEY,
            number INTEGER NOT NULL REFERENCES entry (number),
            what TEXT NOT NULL,
            before TEXT,
            after TEXT,
            changed TEXT NOT NULL,
            by TEXT NOT NULL
        )""",
        "CREATE INDEX change_of_entry ON change (number)",
    ),
    ("ALTER TABLE entry ADD COLUMN problem TEXT",),
)


def prepare(path: Path) -> None:
    """Makes the file or brings it up to date.

    Raises:
        InputRefused: of another program, of a newer version, or damaged: then it is kept under another name.
        OSError: not writable, disk full or locked by another program for ten seconds.
    """
    try:
        with _connection(path, "rwc") as connection:
            # All in one transaction: between two questions another workbench could make the tables.
            with _transaction(connection):
                _refuse_others(connection, path)
                if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("malformed")
                _migrate(connection)
            _keep_a_log(connection)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise _in_words(error, path) from error
        kept = _put_aside(path)
        raise InputRefused(
            f"The worklist '{path}' is damaged and was kept as '{kept.name}': put a copy of it back if you have one, "
            "or open the folder again to start a new worklist; saved corrections are not touched."
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to ask with. Raises as `changing`."""
    try:
        with _connection(path, "rw") as connection:
            yield connection
    except sqlite3.Error as error:
        raise _in_words(error, path) from error


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in a transaction, during which nobody else changes anything; an exception undoes all.

    Raises:
        InputRefused: the file is damaged.
        OSError: gone, not writable, disk full or locked by another program for ten seconds.
    """
    with reading(path) as connection, _transaction(connection):
        yield connection


@contextmanager
def _connection(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, timeout=_WAIT_SECONDS, isolation_level=None
    )
    with closing(connection):
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Turns to the write-ahead log; for this SQLite doesn't wait for others of itself."""
    latest = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > latest:
                raise
            time.sleep(0.01)


def _refuse_others(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and tables:
        raise InputRefused(f"'{path}' belongs to another program: rename it, or choose another data folder.")
    if version > len(MIGRATIONS):
        raise InputRefused(f"The worklist '{path}' was made by a newer version: install that one, nothing was changed.")


def _migrate(connection: sqlite3.Connection) -> None:
    """In one transaction with the version's number, so that a file is of one version or the next, never between."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        return
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _is_damage(error: sqlite3.Error) -> bool:
    # Told by its words: Python 3.10 doesn't pass on SQLite's number.
    return any(words in str(error) for words in ("malformed", "not a database"))


def _in_words(error: sqlite3.Error, path: Path) -> Exception:
    text = str(error)
    if _is_damage(error):
        return InputRefused(f"The worklist '{path}' is damaged: close the workbench and open the folder again.")
    if "full" in text:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if "locked" in text or "busy" in text:
        return OSError(f"Another program keeps the worklist '{path}' locked: close it and try again.")
    return OSError(
        f"The worklist '{path}' can't be read or written ({text}): check that its disk is connected, has room and is "
        "not protected."
    )


def _put_aside(path: Path) -> Path:
    """Renames the file with its log, which belongs to it, to the first free name."""
    number = 1
    while any(os.path.lexists(f"{path}.damaged-{number}{part}") for part in _PARTS):
        number += 1
    kept = path.with_name(f"{path.name}.damaged-{number}")
    for part in _PARTS:
        try:
            os.rename(f"{path}{part}", f"{kept}{part}")
        except FileNotFoundError:
            pass
    return kept
