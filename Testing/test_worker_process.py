"""The worker under Qt: real child processes behind a stand-in for Slicer's launcher, and everything that ends them."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import CALLER_GONE, LOG_BYTES, read_result, write_request
from Testing.processes import working_on
from Testing.workers import AWKWARD_NAME, Launcher, in_the_middle, is_one_sentence, request_for


class Run:
    """A worker process, and what it called."""

    def __init__(self, folder: Path, program: Path | str | None = None) -> None:
        from SpineContextSegLib.panel.worker_process import WorkerProcess

        self.folder = folder
        self.stages, self.progress, self.outcomes = [], [], []
        self.process = WorkerProcess(
            folder,
            on_stage=self.stages.append,
            on_progress=lambda done, total: self.progress.append((done, total)),
            on_end=self._on_end,
            python=program and str(program),
        )

    def _on_end(self, outcome) -> None:
        assert not self.process.is_running
        self.outcomes.append(outcome)
        self.left_at_end = working_on(self.folder)

    @property
    def outcome(self):
        assert len(self.outcomes) == 1
        return self.outcomes[0]


@pytest.fixture
def hand_over(application, sample_scan, tmp_path):
    """Makes a request folder for the sample scan, or for another volume."""
    folders = []

    def make(model: Path, volume: Volume | None = None, **options) -> Path:
        folder = tmp_path / AWKWARD_NAME / f"request {len(folders)}"
        folder.mkdir(parents=True)
        folders.append(folder)
        write_request(folder, volume or sample_scan.volume, request_for(model, **options))
        return folder

    yield make
    left = [pid for folder in folders for pid in working_on(folder)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@pytest.fixture
def run_of(wait_until):
    """Starts a process and, unless told otherwise, runs the event loop until its end."""

    def start(folder: Path, program: Path | str | None = None, wait: bool = True) -> Run:
        run = Run(folder, program)
        run.process.start()
        if wait:
            wait_until(lambda: run.outcomes, 60)
        return run

    return start


@pytest.fixture
def launcher(tmp_path) -> Launcher:
    return Launcher(tmp_path)


# --- the way through ------------------------------------------------------------------------------------------------


def test_a_run_behind_a_launcher_gives_the_labels_of_the_pipeline(sample_scan, tiny_model, hand_over, run_of, launcher):
    run = run_of(hand_over(tiny_model, structures="all"), launcher.program)
    assert (run.outcome.kind, run.outcome.message, run.outcome.log) == ("done", "", "")
    assert run.stages == ["read", "load model", "segment"]
    assert run.progress[-1][0] == run.progress[-1][1] > 1
    assert run.left_at_end == []
    model = load_model(tiny_model)
    expected = segment(sample_scan.volume, model, choose_runtime(model, "openvino", "cpu", 1), structures="all")
    result = read_result(run.folder)
    assert np.array_equal(result.labels.array, expected.labels.array) and result.labels.array.any()
    assert result.labels.affine.tobytes() == sample_scan.volume.affine.tobytes()


def test_slicers_launcher_is_taken_from_the_path(tiny_model, hand_over, run_of, launcher, monkeypatch):
    launcher.program.rename(launcher.program.with_name("PythonSlicer"))
    monkeypatch.setenv("PATH", f"{launcher.program.parent}{os.pathsep}{os.environ['PATH']}")
    assert run_of(hand_over(tiny_model)).outcome.kind == "done"
    assert launcher.child > 0


def test_without_slicers_launcher_the_running_python_is_taken(tiny_model, hand_over, run_of):
    assert shutil.which("PythonSlicer") is None
    assert run_of(hand_over(tiny_model)).outcome.kind == "done"


def test_runs_in_a_row_and_side_by_side(tiny_model, hand_over, run_of, launcher, wait_until):
    runs = [run_of(hand_over(tiny_model), launcher.program)]
    runs += [run_of(hand_over(tiny_model), launcher.program, wait=False) for _ in range(2)]
    wait_until(lambda: all(run.outcomes for run in runs), 60)
    assert [run.outcome.kind for run in runs] == ["done"] * 3


def test_the_event_loop_keeps_turning(slow_model, hand_over, run_of, wait_until):
    import qt

    ticks = []
    started = time.monotonic()
    timer = qt.QTimer()
    timer.setInterval(10)
    timer.connect("timeout()", lambda: ticks.append(time.monotonic()))
    timer.start()
    run = run_of(hand_over(slow_model), wait=False)
    wait_until(lambda: len(run.progress) >= 3 or run.outcomes, 60)
    timer.stop()
    seconds = time.monotonic() - started
    run.process.cancel(wait=True)
    assert run.outcome.kind == "cancelled"
    # One in four of the ticks that the time had room for, however fast the run and busy the computer: a loop that
    # waits for the process has next to none.
    assert len(ticks) > seconds / 0.01 / 4


def test_other_output_neither_blocks_nor_disturbs(tiny_model, hand_over, run_of, tmp_path):
    # Twenty times what a pipe holds on stderr; on stdout, half a line and lines that look like events but are none.
    talk = """
import os, sys
sys.stderr.write(("é" * 1000 + "\\n") * 700)
os.write(1, b'starting\\n[1, 2]\\n{"progress": 1}\\n\\xff\\xfe\\n')
"""
    run = run_of(hand_over(tiny_model), Launcher(tmp_path, inside=talk).program)
    assert run.outcome.kind == "done"
    assert run.progress


# --- refusals and faults --------------------------------------------------------------------------------------------


def test_refusals_say_whether_force_helps(sample_scan, tiny_model, hand_over, run_of):
    gray_values = np.clip((sample_scan.volume.array + 1000.0) / 8, 0, 255).astype(np.uint8)
    rescaled = Volume(gray_values, sample_scan.volume.affine)
    refused = run_of(hand_over(tiny_model, rescaled)).outcome
    assert (refused.kind, refused.forcible) == ("refused", True) and is_one_sentence(refused.message)
    constant = Volume(np.zeros_like(sample_scan.volume.array), sample_scan.volume.affine)
    refused = run_of(hand_over(tiny_model, constant, force=True)).outcome
    assert (refused.kind, refused.forcible) == ("refused", False) and is_one_sentence(refused.message)


def test_a_fault_comes_with_its_traceback(tiny_model, hand_over, run_of, launcher):
    folder = hand_over(tiny_model)
    (folder / "volume.npy").unlink()
    outcome = run_of(folder, launcher.program).outcome
    assert outcome.kind == "failed" and is_one_sentence(outcome.message) and "volume.npy" in outcome.message
    assert "Traceback" in outcome.log and "FileNotFoundError" in outcome.log


@pytest.mark.parametrize("behind_launcher", (True, False))
def test_being_killed_is_blamed_on_memory(slow_model, hand_over, run_of, wait_until, launcher, behind_launcher):
    folder = hand_over(slow_model)
    run = run_of(folder, launcher.program if behind_launcher else None, wait=False)
    wait_until(lambda: run.progress, 30)
    victim = launcher.child if behind_launcher else working_on(folder)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: run.outcomes, 2)
    assert run.outcome.kind == "failed" and is_one_sentence(run.outcome.message)
    assert "ended from outside" in run.outcome.message and "memory" in run.outcome.message
    assert f"Exit code {1 if behind_launcher else 9} of" in run.outcome.log
    assert run.left_at_end == []


def test_a_killed_launcher_takes_the_real_python_along(slow_model, hand_over, run_of, wait_until, launcher):
    folder = hand_over(slow_model)
    run = run_of(folder, launcher.program, wait=False)
    wait_until(lambda: run.progress, 30)
    (parent,) = [pid for pid in working_on(folder) if pid != launcher.child]
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: run.outcomes, 2)
    assert run.outcome.kind == "failed"
    wait_until(lambda: not working_on(folder), 1)
    assert not folder.exists()


@pytest.mark.parametrize("crash", ("faulthandler._sigsegv()", "os.abort()"))
def test_a_native_crash_is_one_sentence_and_its_place_in_the_log(slow_model, hand_over, run_of, tmp_path, crash):
    inside = in_the_middle(f"import faulthandler; {crash}")
    outcome = run_of(hand_over(slow_model), Launcher(tmp_path, inside=inside).program).outcome
    assert outcome.kind == "failed" and is_one_sentence(outcome.message)
    assert "crashed" in outcome.message
    assert "Fatal Python error" in outcome.log and "sliding_window.py" in outcome.log


@pytest.mark.parametrize("name", ("missing", "", "notes.txt"))
def test_a_python_that_cannot_be_started(tiny_model, hand_over, run_of, tmp_path, name):
    (tmp_path / "notes.txt").write_text("buy milk")
    program = str(tmp_path / name)
    outcome = run_of(hand_over(tiny_model), program).outcome
    assert outcome.kind == "failed" and is_one_sentence(outcome.message)
    assert program in outcome.message and program in outcome.log


def test_the_object_of_the_process_outlives_its_signals(tiny_model, hand_over, tmp_path, wait_until):
    """PythonQt deletes it with the last reference in Python, which within its own signal would end the application.

    PySide, here in its place, holds senders itself.
    """
    run = Run(hand_over(tiny_model), tmp_path / "missing")
    run.process.start()
    process, holders = weakref.ref(run.process._process), []
    process().connect("errorOccurred(QProcess::ProcessError)", lambda: holders.extend(gc.get_referrers(process())))
    wait_until(lambda: run.outcomes, 60)
    assert holders
    holders.clear()
    wait_until(lambda: process() is None)


def test_a_python_that_ends_at_once(tiny_model, hand_over, run_of, tmp_path):
    inside = "import os; os.write(2, b'no license\\n'); os._exit(4)"
    outcome = run_of(hand_over(tiny_model), Launcher(tmp_path, inside=inside).program).outcome
    assert outcome.kind == "failed" and is_one_sentence(outcome.message)
    assert "before it began" in outcome.message
    assert "no license" in outcome.log and "Exit code 4" in outcome.log


def test_the_log_is_the_end_of_what_was_said(slow_model, hand_over, run_of, tmp_path):
    inside = "import sys; sys.stderr.write('first words ' + 'chatter ' * 100_000)\n"
    inside += in_the_middle("os.write(2, b'last words'); os._exit(5)")
    outcome = run_of(hand_over(slow_model), Launcher(tmp_path, inside=inside).program).outcome
    assert "first words" not in outcome.log and outcome.log.endswith("last words")
    assert len(outcome.log) < LOG_BYTES + 1000


# --- cancel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocking", (False, True))
@pytest.mark.parametrize("moment", ("at once", "at the first stage", "in the middle"))
def test_cancel_ends_the_tree_and_removes_the_folder_within_a_second(
    slow_model, hand_over, run_of, wait_until, launcher, moment, blocking
):
    folder = hand_over(slow_model)
    run = run_of(folder, launcher.program, wait=False)
    if moment != "at once":
        wait_until(lambda: run.stages if moment == "at the first stage" else len(run.progress) > 1, 30)
        assert len(working_on(folder)) == 2
    started = time.monotonic()
    run.process.cancel(wait=blocking)
    if blocking:
        assert not run.process.is_running
    wait_until(lambda: run.outcomes and not working_on(folder), 1)
    assert time.monotonic() - started < 1.0
    assert (run.outcome.kind, run.outcome.log) == ("cancelled", "")
    if moment != "at once":  # there, the launcher may have been killed before there was anything else
        assert run.left_at_end == []
        assert launcher.child_code == CALLER_GONE
        assert not folder.exists()


def test_no_call_comes_after_cancel_but_the_end(slow_model, hand_over, run_of, wait_until, launcher):
    run = run_of(hand_over(slow_model), launcher.program, wait=False)
    wait_until(lambda: run.progress, 30)
    seen = len(run.progress)
    time.sleep(1)  # progress that nobody has read yet
    run.process.cancel()
    run.process.cancel()
    run.process.cancel(wait=True)
    run.process.cancel()
    assert run.outcome.kind == "cancelled" and len(run.progress) == seen


def test_cancel_before_the_start_and_after_the_end_does_nothing(tiny_model, hand_over, run_of, wait_until):
    run = Run(hand_over(tiny_model))
    run.process.cancel(wait=True)
    assert run.outcomes == []
    run.process.start()
    wait_until(lambda: run.outcomes, 30)
    run.process.cancel()
    run.process.cancel(wait=True)
    assert run.outcome.kind == "done"
    assert read_result(run.folder).labels.array.any()


def test_cancel_wins_over_a_result_whose_process_still_lives(tiny_model, hand_over, run_of, wait_until, tmp_path):
    launcher = Launcher(tmp_path, setup="import atexit, time; atexit.register(time.sleep, 2)")
    run = run_of(hand_over(tiny_model), launcher.program, wait=False)
    wait_until(lambda: run.progress, 30)
    wait_until(lambda: launcher.child not in working_on(run.folder), 30)
    assert (run.folder / "labels.npy").exists() and run.process.is_running
    wait_until(lambda: run.process._last_event, 1)
    run.process.cancel()
    wait_until(lambda: run.outcomes, 1)
    assert run.outcome.kind == "cancelled"


@pytest.mark.parametrize(("blocking", "heard"), [(False, True), (True, True), (True, False)])
def test_a_process_that_stands_still_is_killed(slow_model, hand_over, run_of, wait_until, tmp_path, blocking, heard):
    # As when the memory of both processes is swapped out.
    mark = tmp_path / "computing"
    launcher = Launcher(tmp_path, inside=in_the_middle(f"open({str(mark)!r}, 'w')"))
    run = run_of(hand_over(slow_model), launcher.program, wait=False)
    if heard:
        wait_until(lambda: run.progress, 30)
    while not mark.exists():  # without the event loop
        time.sleep(0.01)
    for pid in working_on(run.folder):
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    run.process.cancel(wait=blocking)
    if blocking:
        assert not run.process.is_running
    wait_until(lambda: run.outcomes, 1)
    assert 0.4 < time.monotonic() - started < 1.0
    assert run.outcome.kind == "cancelled"
    wait_until(lambda: not working_on(run.folder), 0.3)


def test_a_killed_application_leaves_no_process_and_no_folder(slow_model, hand_over, launcher):
    folder = hand_over(slow_model)
    application = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from Testing import slicer_env
slicer_env.install()
import qt
from SpineContextSegLib.panel.worker_process import WorkerProcess
loop = qt.QCoreApplication([])
print_progress = lambda *counts: print("progress", flush=True)
process = WorkerProcess(
    Path(sys.argv[3]), on_stage=print_progress, on_progress=print_progress, on_end=print, python=sys.argv[4]
)
process.start()
loop.exec_()
"""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", application, root, root / "SpineContextSeg", folder, launcher.program]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE) as process:
        for _ in range(5):
            assert process.stdout.readline() == b"progress\n"
        assert launcher.child in working_on(folder)
        process.kill()
    deadline = time.monotonic() + 1.0
    while working_on(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert working_on(folder) == []
    assert not folder.exists()
