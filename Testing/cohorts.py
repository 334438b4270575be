"""Cohorts for tests: trees of scans, batches run as a user runs them, and what came of each scan."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from SpineContextSegLib.cli import main

# The fixture, for `from cohorts import *`.
__all__ = ["no_batch_is_left"]

COMMAND = [sys.executable, "-m", "SpineContextSegLib.cli", "batch"]
DEADLINE_S = 180

_started: list[subprocess.Popen] = []

_ON_OPENING = """
import os, signal, sys
def watch(event, arguments):
    if event == "open" and "deadly" in os.path.basename(str(arguments[0])):
        {statement}
if any("cohort.child" in word for word in sys.orig_argv):
    sys.addaudithook(watch)
"""


def fill(folder: Path, scan: Path, *names: str) -> Path:
    """Copies a scan (or links it, which is one file as well) to several names below a folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, folder / name)
    return folder


def change(scan: Path) -> None:
    """Another file of the same voxels, as after an export anew."""
    scan.write_bytes(gzip.compress(gzip.decompress(scan.read_bytes()), 1))


def batch(source: Path, output: Path, model: Path, *options: object) -> int:
    """Exit code of a batch in this process; its scans have one of their own, unless options ask for more."""
    jobs = () if {"--jobs", "--scheduler"} & set(options) else ("--jobs", "1")
    return main(["batch", str(source), str(output), "--model", str(model), "--threads", "1", *map(str, options), *jobs])


def start(source: Path, output: Path, model: Path, *options: object, **environment: str) -> subprocess.Popen:
    """A batch in a process of its own; see `no_batch_is_left`."""
    process = subprocess.Popen(
        [*COMMAND, source, output, "--model", model, "--threads", "1", *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
        # A shell that starts the tests in the background has Ctrl-C ignored, here and below.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    _started.append(process)
    return process


@pytest.fixture(autouse=True)
def no_batch_is_left():
    """A test may fail before its batch has ended."""
    yield
    while _started:
        _started.pop().kill()


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    try:
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    return process.returncode, out, errors


def on_opening_a_deadly_scan(folder: Path, statement: str) -> dict[str, str]:
    """Environment of a batch in which the process of a scan runs a statement when it opens a file that is
    called deadly."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_ON_OPENING.format(statement=statement), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def table(output: Path) -> dict[str, dict[str, str]]:
    """The rows of the report by scan."""
    with open(output / "report.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["scan"] for row in rows}) == len(rows)
    return {row["scan"]: row for row in rows}


def states(output: Path) -> dict[str, str]:
    return {scan: row["state"] for scan, row in table(output).items()}


def record(path: Path) -> dict:
    return json.loads(path.read_text(encoding="ascii"))


def files(folder: Path) -> set[str]:
    """What is there, without the folders themselves."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def stamps(folder: Path) -> dict[str, int]:
    """When each result was written; the reports are written anew by every run."""
    return {name: (folder / name).stat().st_mtime_ns for name in files(folder) if not name.startswith("report.")}


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def staged(output: Path) -> list[Path]:
    """The folders of scans that are being segmented."""
    return [path for path in (output / ".running").glob("*/*") if path.is_dir()]


def wait_until_working(output: Path, count: int = 1) -> None:
    wait_for(lambda: len(staged(output)) >= count, "no scan was begun")


def wait_for_the_second(output: Path) -> None:
    """Until the first scan of a batch that does one at a time is done, and known to be."""
    wait_until_working(output)
    begun = set(staged(output))
    wait_for(lambda: set(staged(output)) - begun, "the second scan wasn't begun")


def children_of(process: int) -> list[int]:
    """The processes of scans that a process has started, in whichever of its threads."""
    tasks = Path(f"/proc/{process}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def is_running(process: int) -> bool:
    """False also for one that has ended and that nobody has asked about yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(process: int) -> None:
    """As the system does when memory runs out."""
    os.kill(process, signal.SIGKILL)
