"""The worker as its caller sees it: real processes, real inference, no Qt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import (
    CALLER_GONE,
    DONE,
    FAILED,
    REFUSED,
    HandoverError,
    Request,
    read_result,
    remove_request,
    worker_arguments,
    write_request,
)
from Testing.conftest import CLASSES, bone_threshold_state, model_card
from Testing.launchers import Launcher, in_the_middle
from Testing.processes import working_on
from Training.export import export

# As on a user's disk: spaces, a quote, letters outside the code page.
AWKWARD_NAME = "Größe 'L' 脊柱"
LABELS_BYTES = 60 * 60 * 70


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / AWKWARD_NAME / "request"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def request_for():
    def make(model: Path, **options) -> Request:
        usual = dict(runtime="openvino", device="cpu", threads=1, structures="spine", force=False)
        return Request(model=str(model), **(usual | options))

    return make


class Worker:
    """A worker that was started, and what it says."""

    def __init__(self, folder: Path, program: Path | str = sys.executable, **options) -> None:
        command = [str(program), *worker_arguments(folder)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(command, **pipes, **options)

    def event(self) -> dict:
        """The next event; fails where the line is no event."""
        return json.loads(self.process.stdout.readline())

    def wait_for(self, name: str) -> None:
        while self.event()["event"] != name:
            pass

    def end(self) -> tuple[list[dict], str, int]:
        """All events to the end, stderr and the exit code; stdin stays open until then, as a caller keeps it."""
        events = [json.loads(line) for line in self.process.stdout]
        errors = self.process.stderr.read().decode()
        code = self.process.wait()
        self.process.stdin.close()
        return events, errors, code

    def hang_up(self) -> float:
        """Closes stdin; seconds until the process has ended."""
        started = time.monotonic()
        self.process.stdin.close()
        self.process.wait(timeout=10)
        return time.monotonic() - started


def run(folder: Path, volume: Volume, request: Request, **options) -> tuple[list[dict], str, int]:
    write_request(folder, volume, request)
    return Worker(folder, **options).end()


def is_one_sentence(text: str) -> bool:
    return text.endswith(".") and "\n" not in text and text.count(". ") == 0 and "Something went wrong" not in text


# --- the way through ------------------------------------------------------------------------------------------------


@pytest.fixture
def sheared(sample_scan) -> Volume:
    """The sample with a tilted gantry, in numbers that no short decimal fraction holds."""
    affine = sample_scan.volume.affine.copy()
    affine[1, 2] = np.tan(np.radians(11)) * 2.5
    affine[:3, 3] = np.array([np.pi * 20, 1 / 3, -1e-17])
    return Volume(sample_scan.volume.array, affine)


def test_labels_are_those_of_the_pipeline(sheared, tiny_model, folder, request_for):
    events, _, code = run(folder, sheared, request_for(tiny_model))
    assert code == DONE
    result = read_result(folder)
    model = load_model(tiny_model)
    expected = segment(sheared, model, choose_runtime(model, "openvino", "cpu", 1))
    assert np.count_nonzero(expected.labels.array) > 5000
    assert result.labels.array.dtype == np.uint8
    assert np.array_equal(result.labels.array, expected.labels.array)
    assert result.labels.affine.tobytes() == sheared.affine.tobytes()
    assert result.report["structures"] == expected.report()["structures"]
    assert result.report["warnings"] == expected.warnings

    assert events[0]["event"] == "started"
    stages = [event["name"] for event in events if event["event"] == "stage"]
    assert stages == ["read", "load model", "segment"]
    counts = [(event["done"], event["total"]) for event in events if event["event"] == "progress"]
    assert counts == sorted(counts) and counts[-1] == (expected.windows, expected.windows)
    assert events[-1] == {"event": "done"}
    assert sorted(os.listdir(folder)) == ["labels.npy", "report.json", "request.json", "volume.npy"]


@pytest.mark.parametrize(("structures", "found"), [("spine", [1]), ("all", [1, 200])])
def test_structures_are_those_asked_for(sample_scan, folder, request_for, tmp_path, structures, found):
    state = bone_threshold_state(2)
    # Between 100 and 400 HU, as where bone and muscle share a voxel, it now says "disc".
    disc = CLASSES.index("disc")
    state["final.weight"][disc, 0], state["final.bias"][disc] = 200.0, -20.0
    export(state, model_card("discs", 2, (32, 32, 32), 2.0), tmp_path / "discs")
    run(folder, sample_scan.volume, request_for(tmp_path / "discs", structures=structures))
    result = read_result(folder)
    assert list(np.unique(result.labels.array)) == [0, *found]
    assert [structure["value"] for structure in result.report["structures"]] == found


def test_torch_answers_the_same_to_rounding(sample_scan, tiny_model, folder, request_for):
    _, _, code = run(folder, sample_scan.volume, request_for(tiny_model, runtime="torch"))
    assert code == DONE
    result = read_result(folder)
    assert result.report["runtime"] == "torch"
    assert np.mean((result.labels.array > 0) != sample_scan.bone) < 0.01


def test_a_part_of_an_array_is_handed_over_without_its_rest(sample_scan, tiny_model, folder, request_for):
    part = (slice(8, 40), slice(None), slice(5, 66))
    volume = Volume(sample_scan.volume.array[part], sample_scan.volume.grid.crop(part).affine)
    run(folder, volume, request_for(tiny_model))
    assert (folder / "volume.npy").stat().st_size < volume.array.nbytes + 1000
    assert read_result(folder).labels.grid.shape == (32, 60, 61)


def test_what_slicers_python_lacks_is_not_imported(sample_scan, tiny_model, folder, request_for, tmp_path):
    lacking = ("slicerio", "tqdm", "matplotlib", "safetensors", "torch", "slicer", "vtk", "qt", "PySide6", "nibabel")
    launcher = Launcher(tmp_path, inside=f"import sys; sys.modules.update(dict.fromkeys({lacking}))")
    request = request_for(tiny_model, runtime="auto", device="auto")
    _, errors, code = run(folder, sample_scan.volume, request, program=launcher.program)
    assert (code, read_result(folder).report["runtime"]) == (DONE, "openvino"), errors


def test_the_current_folder_is_not_imported_from(sample_scan, tiny_model, folder, request_for, tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    _, errors, code = run(folder, sample_scan.volume, request_for(tiny_model), cwd=tmp_path)
    assert code == DONE, errors


def test_the_callers_side_imports_nothing_heavy():
    heavy = "{'numpy', 'SimpleITK', 'openvino', 'torch', 'SpineContextSegLib.pipeline'}"
    code = f"import sys, SpineContextSegLib.worker; print({heavy} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"


def test_native_code_that_prints_does_not_disturb_the_events(sample_scan, tiny_model, folder, request_for, tmp_path):
    chatter = """
import ctypes, sys, threading, time
def chatter():
    while "numpy" not in sys.modules:
        time.sleep(0.001)
    libc = ctypes.CDLL(None)
    while True:
        libc.write(1, b"half a line of junk", 19)
        time.sleep(0.001)
threading.Thread(target=chatter, daemon=True).start()
"""
    launcher = Launcher(tmp_path, inside=chatter)
    events, errors, code = run(folder, sample_scan.volume, request_for(tiny_model), program=launcher.program)
    assert (code, events[-1]) == (DONE, {"event": "done"})
    assert errors.count("half a line of junk") > 10


# --- refusals -------------------------------------------------------------------------------------------------------


def test_values_that_are_no_hounsfield_units_can_be_forced(sample_scan, tiny_model, folder, request_for):
    gray_values = np.clip((sample_scan.volume.array + 1000.0) / 8, 0, 255).astype(np.uint8)
    rescaled = Volume(gray_values, sample_scan.volume.affine)
    events, _, code = run(folder, rescaled, request_for(tiny_model))
    assert code == REFUSED
    refused = events[-1]
    assert refused["event"] == "refused" and refused["forcible"] is True
    assert "Hounsfield" in refused["message"] and "--force" not in refused["message"]
    assert not (folder / "labels.npy").exists()

    events, _, code = run(folder, rescaled, request_for(tiny_model, force=True))
    assert (code, events[-1]) == (DONE, {"event": "done"})
    assert "against this check" in " ".join(read_result(folder).report["warnings"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda volume: Volume(np.zeros_like(volume.array), volume.affine), "empty"),
        (lambda volume: Volume(volume.array[:2], volume.affine), "too few slices"),
        (lambda volume: Volume(volume.array, np.diag([2.0, 2.0, np.nan, 1.0])), "voxel size"),
    ],
)
def test_a_broken_volume_cannot_be_forced(sample_scan, tiny_model, folder, request_for, change, says):
    events, _, code = run(folder, change(sample_scan.volume), request_for(tiny_model, force=True))
    assert code == REFUSED
    assert events[-1]["forcible"] is False and says in events[-1]["message"]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"threads": 0}, "threads"), ({"runtime": "abacus"}, "abacus"), ({"device": "abacus"}, "abacus")],
)
def test_an_impossible_request_is_refused(sample_scan, tiny_model, folder, request_for, options, says):
    events, _, code = run(folder, sample_scan.volume, request_for(tiny_model, **options))
    assert code == REFUSED
    assert events[-1]["forcible"] is False and says in events[-1]["message"]


def test_a_model_that_is_not_there_is_refused(sample_scan, folder, request_for, tmp_path):
    events, _, code = run(folder, sample_scan.volume, request_for(tmp_path / "nothing"))
    assert code == REFUSED and "no model" in events[-1]["message"]


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
def test_a_damaged_request_fails_with_one_sentence(sample_scan, tiny_model, folder, request_for, damage, file):
    write_request(folder, sample_scan.volume, request_for(tiny_model))
    damage(folder)
    events, _, code = Worker(folder).end()
    assert code == FAILED
    assert events[-1]["event"] == "failed"
    assert file in events[-1]["message"] and is_one_sentence(events[-1]["message"])
    assert "Traceback" in events[-1]["log"]


def test_too_little_memory_fails_with_one_sentence(sample_scan, tiny_model, folder, request_for, tmp_path):
    # A small file that becomes 4 GB of float32 at the model's spacing.
    wide = Volume(np.pad(sample_scan.volume.array, 20, constant_values=-1000), np.diag([-20.0, -20.0, 20.0, 1.0]))
    launcher = Launcher(tmp_path, setup="import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))")
    events, _, code = run(folder, wide, request_for(tiny_model), program=launcher.program)
    assert code == FAILED
    assert "not enough memory" in events[-1]["message"] and is_one_sentence(events[-1]["message"])


def test_a_full_disk_fails_with_one_sentence_and_leaves_no_half_file(
    sample_scan, tiny_model, folder, request_for, tmp_path
):
    limit = LABELS_BYTES // 2
    launcher = Launcher(tmp_path, setup=f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2)")
    events, _, code = run(folder, sample_scan.volume, request_for(tiny_model), program=launcher.program)
    assert code == FAILED
    assert "disk is full" in events[-1]["message"] and is_one_sentence(events[-1]["message"])
    assert sorted(os.listdir(folder)) == ["request.json", "volume.npy"]


def test_a_native_crash_leaves_its_place_and_no_last_event(sample_scan, slow_model, folder, request_for, tmp_path):
    launcher = Launcher(tmp_path, inside=in_the_middle("os.abort()"))
    events, errors, code = run(folder, sample_scan.volume, request_for(slow_model), program=launcher.program)
    assert code == FAILED
    assert events[-1]["event"] in ("stage", "progress")
    assert "Fatal Python error" in errors and "sliding_window.py" in errors


def test_a_result_that_does_not_fit_its_request_is_not_read(sample_scan, tiny_model, folder, request_for):
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


def test_hanging_up_in_the_middle_ends_the_process_and_removes_the_folder(sample_scan, slow_model, folder, request_for):
    write_request(folder, sample_scan.volume, request_for(slow_model))
    worker = Worker(folder)
    worker.wait_for("progress")
    assert worker.hang_up() < 1.0
    assert worker.process.returncode == CALLER_GONE
    assert not folder.exists()


@pytest.mark.parametrize("delay", (0.0, 0.1, 0.3))
def test_hanging_up_at_the_start_ends_the_process_too(sample_scan, slow_model, folder, request_for, delay):
    write_request(folder, sample_scan.volume, request_for(slow_model))
    worker = Worker(folder)
    time.sleep(delay)
    assert worker.hang_up() < 1.0
    assert not folder.exists()


def test_a_killed_caller_leaves_no_process_and_no_folder(sample_scan, slow_model, folder, request_for, tmp_path):
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
    command = [sys.executable, "-c", caller, str(launcher.program), *worker_arguments(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"computing\n"
    assert launcher.child in working_on(folder)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 1.0
    while working_on(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert working_on(folder) == []
    assert not folder.exists()
    process.stdout.close()


def test_only_what_was_exchanged_is_removed(sample_scan, tiny_model, folder, request_for):
    write_request(folder, sample_scan.volume, request_for(tiny_model))
    (folder / "labels.npy.partial").write_bytes(b"half")
    (folder / "thesis.docx").write_bytes(b"years of work")
    remove_request(folder)
    assert os.listdir(folder) == ["thesis.docx"]
    (folder / "thesis.docx").unlink()
    remove_request(folder)
    assert not folder.exists()
