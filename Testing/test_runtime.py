"""Runtimes: the choice between them, equal results, what happens when a GPU fails, and what isn't imported."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from model_cards import ROI_SIZE, card_content, random_network, sigmoid_content

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.model import FOLDER_VARIABLE, Model, load_model, register_model
from SpineContextSegLib.network import SpineContextResUNet, fold_batch_norm
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.runtime.openvino_runtime import SIZES_KEPT
from SpineContextSegLib.runtime.torch_runtime import TorchRuntime
from Training.export import export

HAS_CUDA = torch.cuda.is_available()


def windows(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 1, *ROI_SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A name that isn't ASCII: OpenVINO's file functions fail on it on some systems."""
    folder = tmp_path_factory.mktemp("Modelle") / "größe"
    return export(random_network().state_dict(), card_content(), folder)


@pytest.fixture(scope="module")
def torch_only(tmp_path_factory):
    """A registered checkpoint: safetensors, no OpenVINO IR."""
    folder = tmp_path_factory.mktemp("registered")
    torch.save(random_network(1, 16).state_dict(), folder / "best.pth")
    (folder / "card.json").write_text(json.dumps(sigmoid_content(name="published")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(folder))
        return register_model(folder / "best.pth", folder / "card.json")


class OutOfMemoryNetwork(SpineContextResUNet):
    """Raises CUDA's own error for more windows than `fits`, on `broken` devices for any number."""

    fits = 100
    broken = ()

    def forward(self, x):
        if len(x) > self.fits or x.device.type in self.broken:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB.")
        return super().forward(x)


def out_of_memory_network(**attributes):
    network = OutOfMemoryNetwork(out_channels=8, base_filters=4)
    network.load_state_dict(random_network().state_dict())
    for name, value in attributes.items():
        setattr(network, name, value)
    return network.eval()


def expected(batch):
    with torch.inference_mode():
        return torch.softmax(random_network()(torch.from_numpy(batch)), 1).numpy()


def test_torch_runs_every_window_in_order():
    batch = windows(5)
    runtime = TorchRuntime(fold_batch_norm(random_network()), torch.nn.Softmax(1))
    result = runtime(batch)
    assert result.dtype == np.float32 and result.flags.c_contiguous
    np.testing.assert_allclose(result, expected(batch), atol=1e-5)
    np.testing.assert_allclose(result.sum(1), 1, atol=1e-5)
    assert not runtime.warnings


def test_openvino_runs_every_window_in_order(model):
    batch = windows(3)
    result = choose_runtime(model, "openvino", threads=1)(batch)
    np.testing.assert_allclose(result, choose_runtime(model, "torch", "cpu", 1)(batch), atol=1e-4)
    assert abs(result[0] - result[1]).max() > 0.05


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_windows_of_any_size_that_is_a_multiple_of_8(model, runtime):
    """In any order; a size that was seen before gives the same again."""
    run = choose_runtime(model, runtime, "cpu", 1)
    batches = [np.random.default_rng(0).uniform(-1, 1, (2, 1, *size)).astype(np.float32)
               for size in (ROI_SIZE, (8, 16, 24), (40, 24, 16), ROI_SIZE)]  # fmt: skip
    results = [run(batch) for batch in batches]
    for batch, result in zip(batches, results):
        np.testing.assert_allclose(result, expected(batch), atol=5e-3)
    np.testing.assert_array_equal(results[0], results[-1])


def test_results_of_openvino_do_not_change_with_the_next_window(model):
    runtime = choose_runtime(model, "openvino", threads=1)
    first = runtime(windows(1, seed=1))
    kept = first.copy()
    runtime(windows(1, seed=2))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell how much memory is held")
def test_at_rest_memory_is_given_back_and_nothing_is_lost():
    def held_mb() -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    locator = load_model("spinecontext-ct").locator
    runtime = choose_runtime(locator, "openvino", threads=1, precision="fp32")
    window = np.random.default_rng(1).uniform(-1, 1, (1, 1, 96, 96, 96)).astype(np.float32)
    first, running = runtime(window), held_mb()
    runtime.rest()
    assert held_mb() < running - 100
    assert np.array_equal(runtime(window), first)


def test_a_cohort_of_many_sizes_does_not_fill_the_memory(model):
    runtime = choose_runtime(model, "openvino", threads=1)
    window = np.ones((1, 1, 8, 8, 8), np.float32)
    first = runtime(window)
    for size in range(16, 16 + 8 * SIZES_KEPT, 8):
        runtime(np.ones((1, 1, 8, 8, size), np.float32))
    assert len(runtime._requests) == SIZES_KEPT
    assert np.array_equal(runtime(window), first)


def test_a_size_that_comes_up_again_and_again_is_compiled_once(model, monkeypatch):
    runtime = choose_runtime(model, "openvino", threads=1)
    compiled, compile_size = [], runtime._compiled
    monkeypatch.setattr(runtime, "_compiled", lambda size: compiled.append(size) or compile_size(size))
    for size in range(16, 16 + 8 * SIZES_KEPT, 8):
        runtime(np.ones((1, 1, 8, 8, 8), np.float32))
        runtime(np.ones((1, 1, 8, 8, size), np.float32))
    runtime(np.ones((1, 1, 8, 8, 8), np.float32))
    assert compiled.count((8, 8, 8)) == 1 and len(compiled) == SIZES_KEPT + 1


def test_the_cpu_takes_over_when_the_gpu_memory_does_not_suffice():
    """The meta device stands for a GPU: not the CPU, and there without one."""
    runtime = TorchRuntime(out_of_memory_network(broken=("meta",)), torch.nn.Softmax(1), "meta")
    assert (runtime.device, runtime.preferred_batch) == ("meta", 4)
    batch = windows(4)
    np.testing.assert_allclose(runtime(batch), expected(batch), atol=1e-5)
    assert (runtime.device, runtime.preferred_batch) == ("cpu", 1)
    assert [warning.split(";")[-1].strip() for warning in runtime.warnings[:2]] == [
        "windows now run 2 at a time.", "windows now run 1 at a time.",
    ]  # fmt: skip
    assert "the CPU took over: CUDA out of memory" in runtime.warnings[2]
    assert len(runtime.warnings) == 3
    np.testing.assert_allclose(runtime(batch), expected(batch), atol=1e-5)
    assert len(runtime.warnings) == 3


def test_the_cpu_takes_over_when_the_gpu_cannot_run_the_network():
    """Without data, the meta device can't hand a result back: an error that has nothing to do with memory."""
    runtime = TorchRuntime(fold_batch_norm(random_network()), torch.nn.Softmax(1), "meta")
    batch = windows(2)
    np.testing.assert_allclose(runtime(batch), expected(batch), atol=1e-5)
    assert runtime.device == "cpu"
    assert len(runtime.warnings) == 1 and "the CPU took over" in runtime.warnings[0]


def test_too_little_memory_on_the_cpu_is_an_error():
    runtime = TorchRuntime(out_of_memory_network(broken=("cpu",)), torch.nn.Softmax(1))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        runtime(windows(1))


@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA GPU on this computer")
def test_cuda_halves_the_batch_and_agrees_with_the_cpu():
    batch = windows(7)
    runtime = TorchRuntime(out_of_memory_network(fits=1), torch.nn.Softmax(1), "cuda")
    np.testing.assert_allclose(runtime(batch), expected(batch), atol=2e-2)
    assert (runtime.device, runtime.preferred_batch) == ("cuda", 1)


def test_automatic_choice(model, torch_only, monkeypatch):
    gpu = "cuda" if HAS_CUDA else "mps" if torch.backends.mps.is_available() else None
    chosen = choose_runtime(model)
    assert (chosen.name, chosen.device) == (("torch", gpu) if gpu else ("openvino", "cpu"))
    assert choose_runtime(model, device="cpu").name == "openvino"
    assert choose_runtime(torch_only, device="cpu").name == "torch"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choose_runtime(model, device="cpu").name == "torch"


def test_without_torch_openvino_runs(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert choose_runtime(model).name == "openvino"


def test_without_safetensors_openvino_runs(model, torch_only, monkeypatch):
    """On a computer with a GPU, whose torch would be chosen."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    monkeypatch.delitem(sys.modules, TorchRuntime.__module__)
    chosen = choose_runtime(model)
    assert chosen.name == "openvino" and len(chosen.warnings) == 1 and "safetensors" in chosen.warnings[0]
    helpers = choose_helpers(SimpleNamespace(locator=model, namer=None))
    assert helpers["locator"].warnings == [], "said once"
    for refused in ((model, "torch"), (model, "auto", "cuda"), (torch_only,)):
        with pytest.raises(InputRefused, match="Torch can't be used here .*safetensors"):
            choose_runtime(*refused)


LIBRARY_MISSING = "raise OSError('[WinError 126] The specified module could not be found.')"


@pytest.mark.parametrize(
    ("content", "version"),
    [("", "raise metadata.PackageNotFoundError(name)"), (LIBRARY_MISSING, "return '2.9.0'")],
    ids=["a folder left behind", "libraries missing"],
)
def test_a_broken_torch_is_as_good_as_none(model, content, version, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(content)
    code = f"""
import sys
from importlib import metadata
def version(name):
    {version}
metadata.version = version
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.model import load_model
from SpineContextSegLib.runtime import choose_runtime
sys.path.insert(0, {str(tmp_path)!r})
model = load_model({str(model.folder)!r})
chosen = choose_runtime(model)
assert chosen.name == "openvino" and len(chosen.warnings) == 1, chosen.warnings
for refused in (("torch",), ("auto", "cuda")):
    try:
        choose_runtime(model, *refused)
    except InputRefused as error:
        assert "Torch can't be used here" in str(error)
    else:
        sys.exit("not refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("missing", "runtime", "device", "message"),
    [
        (("torch",), "torch", "auto", "Torch isn't installed; install it"),
        (("torch",), "auto", "cuda", "The device cuda needs torch"),
        (("openvino",), "openvino", "auto", "OpenVINO isn't installed; install it"),
        (("torch", "openvino"), "auto", "auto", "Nothing is installed that could run"),
        ((), "openvino", "cuda", "OpenVINO runs on the CPU only"),
        ((), "onnx", "auto", "no runtime named onnx"),
        ((), "auto", "tpu", "no device named tpu"),
    ],
)
def test_what_is_asked_for_and_not_there_is_refused(model, monkeypatch, missing, runtime, device, message):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputRefused, match=message):
        choose_runtime(model, runtime, device)


def test_threads_below_one_are_refused(model):
    with pytest.raises(InputRefused, match="threads"):
        choose_runtime(model, threads=0)


@pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA GPU")
def test_a_gpu_that_is_not_there_is_refused(model):
    with pytest.raises(InputRefused, match="finds no cuda device"):
        choose_runtime(model, device="cuda")


def test_a_model_without_ir_is_refused_for_openvino(torch_only, monkeypatch):
    with pytest.raises(InputRefused, match="published has no weights for OpenVINO"):
        choose_runtime(torch_only, "openvino")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputRefused, match="install torch"):
        choose_runtime(torch_only)


def test_openvino_runs_without_torch_telemetry_or_network(model, tmp_path):
    """In a process of its own, where opening a socket ends it."""
    np.save(tmp_path / "windows.npy", windows(1))
    code = f"""
import socket, sys
def refuse(*arguments, **options):
    raise SystemExit("a socket was opened")
socket.socket.__init__ = refuse
import numpy as np
from SpineContextSegLib.model import load_model
from SpineContextSegLib.runtime import choose_runtime
runtime = choose_runtime(load_model({str(model.folder)!r}), "openvino", "cpu", 1)
np.save({str(tmp_path / "result.npy")!r}, runtime(np.load({str(tmp_path / "windows.npy")!r})))
unwanted = [name for name in sys.modules if name.startswith(("torch", "openvino_telemetry", "openvino.tools"))]
sys.exit(repr(unwanted) if unwanted else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), expected(windows(1)), atol=5e-3)


def test_loaded_from_the_folder_it_is_the_same_model(model):
    assert load_model(model.folder).card == model.card


def test_openvino_with_other_outputs_than_the_card_is_refused(model):
    fewer = replace(model.card, classes=model.card.classes[:-1])
    with pytest.raises(InputRefused, match="8 outputs, but its card names 7 classes"):
        choose_runtime(Model(fewer, model.folder), "openvino")
