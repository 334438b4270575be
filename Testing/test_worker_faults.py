"""What can go wrong in the worker, and the end of its caller: real processes, no Qt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import (
    CALLER_GONE,
    FAILED,
    HandoverError,
    read_result,
    remove_request,
    worker_arguments,
    write_request,
)
from Testing.processes import working_on
from Testing.workers import AWKWARD_NAME, Launcher, Worker, in_the_middle, is_one_sentence, request_for, run_worker


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / AWKWARD_NAME / "request"
    folder.mkdir(parents=True)
    return folder


# --- faults ---------------------------------------------------------------------------------------------------------


def _rewrite(change):
    def damage(folder: Path) -> None:
        path = folder / "request.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def _truncate(folder: Path) -> None:
    os.truncate(folder / "volume.npy", 5000)


def _pickle(folder: Path) -> None:
    np.save(folder / "volume.npy", np.load(folder / "volume.npy").astype(object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (lambda folder: (folder / "request.json").unlink(), "request.json"),
        (lambda folder: (folder / "request.json").write_bytes(b'{"model": "\xff'), "request.json"),
        (lambda folder: (folder / "request.json").write_text("[]"), "request.json"),
        (_rewrite(lambda content: content.pop("affine")), "request.json"),
        (_rewrite(lambda content: content["request"].update(colour="blue")), "request.json"),
        (lambda folder: (folder / "volume.npy").unlink(), "volume.npy"),
        (lambda folder: (folder / "volume.npy").write_bytes(b""), "volume.npy"),
        (_truncate, "volume.npy"),
        (_rewrite(lambda content: content.update(shape=[60, 70, 60])), "volume.npy"),
        (_pickle, "volume.npy"),
    ],
)
def test_a_damaged_request_fails_with_one_sentence(sample_scan, tiny_model, folder, damage, file):
    write_request(folder, sample_scan.volume, request_for(tiny_model))
    damage(folder)
    events, _, code = Worker(folder).end()
    assert code == FAILED
    assert events[-1]["event"] == "failed"
    assert file in events[-1]["message"] and is_one_sentence(events[-1]["message"])
    assert "Traceback" in events[-1]["log"]


def test_too_little_memory_fails_with_one_sentence(sample_scan, tiny_model, folder, tmp_path):
    # A small file that becomes 4 GB of float32 at the model's spacing.
    wide = Volume(np.pad(sample_scan.volume.array, 20, constant_values=-1000), np.diag([-20.0, -20.0, 20.0, 1.0]))
    launcher = Launcher(tmp_path, setup="import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))")
    events, _, code = run_worker(folder, wide, request_for(tiny_model), program=launcher.program)
    assert code == FAILED
    assert "not enough memory" in events[-1]["message"] and is_one_sentence(events[-1]["message"])


def test_a_full_disk_fails_with_one_sentence_and_leaves_no_half_file(sample_scan, tiny_model, folder, tmp_path):
    limit = sample_scan.volume.array.size // 2
    launcher = Launcher(tmp_path, setup=f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)")
    events, _, code = run_worker(folder, sample_scan.volume, request_for(tiny_model), program=launcher.program)
    assert code == FAILED
    assert "disk is full" in events[-1]["message"] and is_one_sentence(events[-1]["message"])
    assert sorted(os.listdir(folder)) == ["request.json", "volume.npy"]


def test_a_native_crash_leaves_its_place_and_no_last_event(sample_scan, slow_model, folder, tmp_path):
    launcher = Launcher(tmp_path, inside=in_the_middle("os.abort()"))
    events, errors, code = run_worker(folder, sample_scan.volume, request_for(slow_model), program=launcher.program)
    assert code == FAILED
    assert events[-1]["event"] in ("stage", "progress")
    assert "Fatal Python error" in errors and "sliding_window.py" in errors


def test_a_result_that_does_not_fit_its_request_is_not_read(sample_scan, tiny_model, folder):
    write_request(folder, sample_scan.volume, request_for(tiny_model))
    with pytest.raises(HandoverError, match="labels.npy"):
        read_result(folder)
    np.save(folder / "labels.npy", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(HandoverError, match="labels.npy"):
        read_result(folder)
    np.save(folder / "labels.npy", np.zeros(sample_scan.volume.array.shape, np.uint8))
    with pytest.raises(HandoverError, match="report.json"):
        read_result(folder)


# --- the caller goes away -------------------------------------------------------------------------------------------


def test_hanging_up_in_the_middle_ends_the_process_and_removes_the_folder(sample_scan, slow_model, folder):
    write_request(folder, sample_scan.volume, request_for(slow_model))
    worker = Worker(folder)
    worker.wait_for("progress")
    assert worker.hang_up() < 1.0
    assert worker.process.returncode == CALLER_GONE
    assert not folder.exists()


@pytest.mark.parametrize("delay", (0.0, 0.1, 0.3))
def test_hanging_up_at_the_start_ends_the_process_too(sample_scan, slow_model, folder, delay):
    write_request(folder, sample_scan.volume, request_for(slow_model))
    worker = Worker(folder)
    time.sleep(delay)
    assert worker.hang_up() < 1.0
    assert not folder.exists()


@pytest.mark.parametrize("of_a_run", [False, True])
def test_a_killed_caller_leaves_no_process_and_no_folder(sample_scan, slow_model, folder, tmp_path, of_a_run):
    """Of a run, neither what it has kept of earlier frames."""
    whole = None
    if of_a_run:
        whole = folder
        (whole / "0").mkdir()
        (whole / "0" / "labels.npy").write_bytes(b"of a person")
        folder = whole / "1"
        folder.mkdir()
    write_request(folder, sample_scan.volume, request_for(slow_model))
    caller = """
import subprocess, sys
worker = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in worker.stdout:
    if b"progress" in line:
        print("computing", flush=True)
        break
worker.wait()
"""
    launcher = Launcher(tmp_path)
    command = [sys.executable, "-c", caller, str(launcher.program), *worker_arguments(folder, whole)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"computing\n"
    assert launcher.child in working_on(folder)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 1.0
    while working_on(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert working_on(folder) == []
    assert not (whole or folder).exists()
    process.stdout.close()


def test_only_what_was_exchanged_is_removed(sample_scan, tiny_model, folder):
    write_request(folder, sample_scan.volume, request_for(tiny_model))
    (folder / "labels.npy.partial").write_bytes(b"half")
    (folder / "thesis.docx").write_bytes(b"years of work")
    remove_request(folder)
    assert os.listdir(folder) == ["thesis.docx"]
    (folder / "thesis.docx").unlink()
    remove_request(folder)
    assert not folder.exists()
