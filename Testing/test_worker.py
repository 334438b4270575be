"""The worker as its caller sees it: real processes, real inference, no Qt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import DONE, REFUSED, read_result
from Testing.conftest import CLASSES, bone_threshold_state, model_card
from Testing.workers import AWKWARD_NAME, Launcher, in_the_middle, request_for, run_worker
from Training.export import export


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / AWKWARD_NAME / "request"
    folder.mkdir(parents=True)
    return folder


# --- the way through ------------------------------------------------------------------------------------------------


@pytest.fixture
def sheared(sample_scan) -> Volume:
    """The sample with a tilted gantry, in numbers that no short decimal fraction holds."""
    affine = sample_scan.volume.affine.copy()
    affine[1, 2] = np.tan(np.radians(11)) * 2.5
    affine[:3, 3] = np.array([np.pi * 20, 1 / 3, -1e-17])
    return Volume(sample_scan.volume.array, affine)


def test_labels_are_those_of_the_pipeline(sheared, tiny_model, folder):
    events, _, code = run_worker(folder, sheared, request_for(tiny_model))
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
def test_structures_are_those_asked_for(sample_scan, folder, tmp_path, structures, found):
    state = bone_threshold_state(2)
    # Between 100 and 400 HU, as where bone and muscle share a voxel, it now says "disc".
    disc = CLASSES.index("disc")
    state["final.weight"][disc, 0], state["final.bias"][disc] = 200.0, -20.0
    export(state, model_card("discs", 2, (32, 32, 32), 2.0), tmp_path / "discs")
    run_worker(folder, sample_scan.volume, request_for(tmp_path / "discs", structures=structures))
    result = read_result(folder)
    assert list(np.unique(result.labels.array)) == [0, *found]
    assert [structure["value"] for structure in result.report["structures"]] == found


def test_torch_answers_the_same_to_rounding(sample_scan, tiny_model, folder):
    _, _, code = run_worker(folder, sample_scan.volume, request_for(tiny_model, runtime="torch"))
    assert code == DONE
    result = read_result(folder)
    assert result.report["runtime"] == "torch"
    assert np.mean((result.labels.array > 0) != sample_scan.bone) < 0.01


def test_a_part_of_an_array_is_handed_over_without_its_rest(sample_scan, tiny_model, folder):
    part = (slice(8, 40), slice(None), slice(5, 66))
    volume = Volume(sample_scan.volume.array[part], sample_scan.volume.grid.crop(part).affine)
    run_worker(folder, volume, request_for(tiny_model))
    assert (folder / "volume.npy").stat().st_size < volume.array.nbytes + 1000
    assert read_result(folder).labels.grid.shape == (32, 60, 61)


def test_what_slicers_python_lacks_is_not_imported(sample_scan, tiny_model, folder, tmp_path):
    lacking = ("slicerio", "tqdm", "matplotlib", "safetensors", "torch", "slicer", "vtk", "qt", "PySide6", "nibabel")
    launcher = Launcher(tmp_path, inside=f"import sys; sys.modules.update(dict.fromkeys({lacking}))")
    request = request_for(tiny_model, runtime="auto", device="auto")
    _, errors, code = run_worker(folder, sample_scan.volume, request, program=launcher.program)
    assert (code, read_result(folder).report["runtime"]) == (DONE, "openvino"), errors


def test_the_current_folder_is_not_imported_from(sample_scan, tiny_model, folder, tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    _, errors, code = run_worker(folder, sample_scan.volume, request_for(tiny_model), cwd=tmp_path)
    assert code == DONE, errors


def test_the_callers_side_imports_nothing_heavy():
    heavy = "{'numpy', 'SimpleITK', 'openvino', 'torch', 'SpineContextSegLib.pipeline'}"
    code = f"import sys, SpineContextSegLib.worker; print({heavy} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"


def test_native_code_that_prints_does_not_disturb_the_events(sample_scan, tiny_model, folder, tmp_path):
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
    events, errors, code = run_worker(folder, sample_scan.volume, request_for(tiny_model), program=launcher.program)
    assert (code, events[-1]) == (DONE, {"event": "done"})
    assert errors.count("half a line of junk") > 10


def test_threads_limit_everything(sample_scan, tiny_model, folder, tmp_path):
    report = """
    import SimpleITK
    numbers = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads(), os.environ["OPENBLAS_NUM_THREADS"]
    os.write(2, repr(numbers).encode())"""
    launcher = Launcher(tmp_path, inside=in_the_middle(report))
    _, errors, _ = run_worker(folder, sample_scan.volume, request_for(tiny_model, threads=3), program=launcher.program)
    assert "(3, '3')" in errors


# --- refusals -------------------------------------------------------------------------------------------------------


def test_values_that_are_no_hounsfield_units_can_be_forced(sample_scan, tiny_model, folder):
    gray_values = np.clip((sample_scan.volume.array + 1000.0) / 8, 0, 255).astype(np.uint8)
    rescaled = Volume(gray_values, sample_scan.volume.affine)
    events, _, code = run_worker(folder, rescaled, request_for(tiny_model))
    assert code == REFUSED
    refused = events[-1]
    assert refused["event"] == "refused" and refused["forcible"] is True
    assert "Hounsfield" in refused["message"] and "--force" not in refused["message"]
    assert not (folder / "labels.npy").exists()

    events, _, code = run_worker(folder, rescaled, request_for(tiny_model, force=True))
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
def test_a_broken_volume_cannot_be_forced(sample_scan, tiny_model, folder, change, says):
    events, _, code = run_worker(folder, change(sample_scan.volume), request_for(tiny_model, force=True))
    assert code == REFUSED
    assert events[-1]["forcible"] is False and says in events[-1]["message"]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"threads": 0}, "threads"), ({"runtime": "abacus"}, "abacus"), ({"device": "abacus"}, "abacus")],
)
def test_an_impossible_request_is_refused(sample_scan, tiny_model, folder, options, says):
    events, _, code = run_worker(folder, sample_scan.volume, request_for(tiny_model, **options))
    assert code == REFUSED
    assert events[-1]["forcible"] is False and says in events[-1]["message"]


def test_a_model_that_is_not_there_is_refused(sample_scan, folder, tmp_path):
    events, _, code = run_worker(folder, sample_scan.volume, request_for(tmp_path / "nothing"))
    assert code == REFUSED and "no model" in events[-1]["message"]
