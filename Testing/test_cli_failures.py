"""What real processes leave behind when the disk is full, the folder is protected or somebody presses Ctrl-C."""

import fcntl
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from SpineContextSegLib.faults import describe
from SpineContextSegLib.interruption import Interruption
from SpineContextSegLib.outputs import Outputs
from Testing.cli_use import contents

COMMAND = [sys.executable, "-m", "SpineContextSegLib.cli", "segment"]
DEADLINE_S = 120


@pytest.fixture
def folders(tmp_path):
    """Where results go, and where logs go."""
    for name in ("out", "logs"):
        (tmp_path / name).mkdir()
    return tmp_path / "out", tmp_path / "logs"


@pytest.mark.parametrize("written", [["spine.nii"], ["spine.seg.nrrd", "--preview", "preview.png"]])
def test_a_full_disk_leaves_no_file_and_a_log(written, sample_scan, tiny_model, folders):
    out, logs = folders
    limit = 60_000  # the log fits, an unpacked segmentation and a preview don't
    process = subprocess.run(
        [*COMMAND, sample_scan.path, "--model", tiny_model, "--threads", "1", "-o", *written],
        cwd=out, env=os.environ | {"TMPDIR": str(logs)}, capture_output=True, text=True, timeout=DEADLINE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert process.returncode == 1, process.stderr
    assert contents(out) == []
    line = process.stderr.splitlines()[-1]  # ITK's NIfTI library may have said something of its own before
    assert line.startswith("spinecontextseg: ") and "disk" in line
    (log,) = logs.iterdir()
    assert str(log) in line
    assert "Traceback" in log.read_text() and "OSError" in log.read_text()


def test_a_protected_folder_is_refused_before_any_work(sample_scan, tiny_model, tmp_path):
    folder = "/proc" if os.getuid() == 0 else tmp_path / "protected"  # root may write to any folder of a disk
    if os.getuid() != 0:
        folder.mkdir(mode=0o555)
    process = subprocess.run(
        [*COMMAND, sample_scan.path, "--model", tiny_model, "-o", f"{folder}/spine.nrrd"],
        capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1 and "write somewhere else" in process.stderr


def read_until(terminal, pattern, deadline):
    """Output of a process on a terminal up to the first match."""
    text = ""
    while not re.search(pattern, text):
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 1.0)[0]:
            text += os.read(terminal, 4096).decode(errors="replace")
    return text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_shows_progress_and_leaves_nothing(number, sample_scan, slow_model, folders):
    out, logs = folders
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 25, 100, 0, 0))  # else it has no columns, and shows no bar
    process = subprocess.Popen(
        [*COMMAND, sample_scan.path, "--model", slow_model, "--threads", "1", "-o", "spine.seg.nrrd",
         "--preview", "preview.png", "--report", "report.json"],
        cwd=out, env=os.environ | {"TMPDIR": str(logs)}, stdout=subprocess.PIPE, stderr=end, text=True,
    )  # fmt: skip
    os.close(end)
    try:
        # Only some windows are done, so the run is in the middle of its work.
        shown = read_until(terminal, r"\b[1-9]\d*/\d+ \[", time.monotonic() + DEADLINE_S)
        done, total = map(int, re.search(r"\b([1-9]\d*)/(\d+) \[", shown).groups())
        assert done < total / 2
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 130
        assert "interrupted" in read_until(terminal, "interrupted[^\n]*\n", time.monotonic() + 10)
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(terminal)
    assert contents(out) == [] and contents(logs) == []


def test_an_interruption_while_writing_leaves_nothing(tmp_path):
    (tmp_path / "first.txt").write_text("old")
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):
        with Outputs(interruption) as outputs:
            outputs.stage(tmp_path / "first.txt").write_text("new")
            signal.raise_signal(signal.SIGINT)
            outputs.stage(tmp_path / "second.txt").write_text("new")
    assert contents(tmp_path) == ["first.txt"]
    assert (tmp_path / "first.txt").read_text() == "old"


def test_an_interruption_that_got_lost_still_counts(tmp_path):
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):
        with Outputs(interruption) as outputs:
            outputs.stage(tmp_path / "file.txt").write_text("new")
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                pass  # as Python does in a destructor
            signal.raise_signal(signal.SIGTERM)  # a second one doesn't disturb
    assert contents(tmp_path) == []


def test_an_interruption_waits_while_files_are_put_in_place():
    with Interruption() as interruption:
        with interruption.held():
            signal.raise_signal(signal.SIGINT)
        assert interruption.is_requested()


def test_what_the_parent_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
        assert not interruption.is_requested()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_too_little_memory_is_named_whoever_says_it():
    for text in ("itk: Failed to allocate memory for image.", "std::bad_alloc", "Exception from src: can't alloc"):
        assert "not enough memory" in describe(RuntimeError(text))
    assert "not enough memory" in describe(MemoryError())
    assert "KeyError" in describe(KeyError("x"))
