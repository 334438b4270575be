"""8-bit weights: on which processor they are taken, what is refused, and how near they come to float32."""

from __future__ import annotations

import importlib.resources
import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from model_cards import ROI_SIZE, card_content, random_network
from safetensors.torch import load_file

from SpineContextSegLib import runtime
from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.metrics import agreement, binary_spine
from SpineContextSegLib.model import list_models, load_model
from SpineContextSegLib.network import fold_batch_norm
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.runtime.eight_bit import has_dot_products
from SpineContextSegLib.runtime.torch_runtime import TorchRuntime
from SpineContextSegLib.volume import Volume
from Training.export import export
from Training.quantize import quantize, with_int8

on_x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="no x86 processor")
SHIPPED = "spinecontext-ct"
needs_dot_products = pytest.mark.skipif(not has_dot_products(), reason="the processor has no 8-bit dot products")


def windows(count=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 1, *ROI_SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def fp32_model(tmp_path_factory):
    return export(random_network().state_dict(), card_content(), tmp_path_factory.mktemp("models") / "fp32")


@pytest.fixture(scope="module")
def model(fp32_model, tmp_path_factory):
    """With weights of both precisions."""
    xml, binary = quantize(fp32_model, [windows(1, seed) for seed in range(4)])
    return with_int8(fp32_model, xml, binary, tmp_path_factory.mktemp("größer") / "both")


@pytest.fixture
def processor(monkeypatch):
    """Say what processor this is."""

    def set_dot_products(there: bool) -> None:
        monkeypatch.setattr(runtime, "_has_dot_products", lambda: there)

    return set_dot_products


# ---------------------------------------------------------------------------------------------- the processor


def asked_in_new_process(isa: str) -> bool:
    """`has_dot_products` on a processor of which OpenVINO sees less."""
    code = "from SpineContextSegLib.runtime.eight_bit import has_dot_products\nprint(has_dot_products())"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "True"


@on_x86
@pytest.mark.parametrize("isa", ["SSE41", "AVX2", "AVX512_CORE"])
def test_products_that_saturate_are_noticed(isa):
    assert not asked_in_new_process(isa)


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="Linux tells what the processor has")
def test_dot_products_are_found_where_linux_finds_them():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = set(file.read().split())
    assert has_dot_products() == bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8"})


# ------------------------------------------------------------------------------------------------- the choice


@pytest.mark.parametrize(("there", "precision"), [(True, "int8"), (False, "fp32")])
def test_the_processor_decides(model, processor, there, precision):
    processor(there)
    assert choose_runtime(model, device="cpu").precision == precision
    assert choose_runtime(model, "openvino").precision == precision
    assert choose_runtime(model, "openvino", precision="fp32").precision == "fp32"


def test_a_model_without_8_bits_runs_in_32(fp32_model, processor):
    processor(True)
    assert choose_runtime(fp32_model, device="cpu").precision == "fp32"


def test_8_bits_leave_the_gpu_aside(model, processor, monkeypatch):
    processor(True)
    monkeypatch.setattr(runtime, "_gpu", lambda device: "cuda")
    chosen = choose_runtime(model, precision="int8")
    assert (chosen.name, chosen.device, chosen.precision) == ("openvino", "cpu", "int8")


def test_torch_runs_in_32_bits_on_the_cpu():
    assert TorchRuntime(fold_batch_norm(random_network()), torch.nn.Softmax(1)).precision == "fp32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this computer")
def test_cuda_runs_in_16_bits_unless_told_not_to(model):
    batch = windows()
    half, full = (choose_runtime(model, "torch", "cuda", precision=precision) for precision in ("auto", "fp32"))
    assert (half.precision, full.precision) == ("fp16", "fp32")
    np.testing.assert_allclose(half(batch), full(batch), atol=2e-2)


@pytest.mark.parametrize(
    ("asked", "missing", "there", "message"),
    [
        (("auto", "cpu", 1, "int4"), (), True, "no precision named int4"),
        (("torch", "auto", 1, "int8"), (), True, "run with OpenVINO on the CPU only"),
        (("auto", "cuda", 1, "int8"), (), True, "run with OpenVINO on the CPU only"),
        (("auto", "auto", 1, "int8"), ("openvino",), True, "OpenVINO, which isn't installed"),
        (("auto", "auto", 1, "int8"), (), False, "has no 8-bit dot products"),
    ],
)
def test_what_cannot_run_in_8_bits_is_refused(model, processor, monkeypatch, asked, missing, there, message):
    processor(there)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputRefused, match=message) as refused:
        choose_runtime(model, *asked)
    assert "choose" in str(refused.value) and "\n" not in str(refused.value)


def test_8_bits_that_the_model_lacks_are_refused(fp32_model, tmp_path, sample_scan, capfd):
    options = ["-o", tmp_path / "spine.nii.gz", "--model", fp32_model.folder, "--precision", "int8"]
    assert main(["segment", *map(str, [sample_scan.path, *options])]) == 2
    assert "The model tiny has no 8-bit weights; choose the precision auto or fp32." in capfd.readouterr().err
    assert not (tmp_path / "spine.nii.gz").exists()


# ------------------------------------------------------------------------------------------------ the weights


@needs_dot_products
def test_8_bits_come_near_32(model):
    batch = windows(4, seed=9)
    by_int8, by_fp32 = (choose_runtime(model, "openvino", "cpu", 1, p)(batch) for p in ("int8", "fp32"))
    assert by_int8.shape == by_fp32.shape and by_fp32.std() > 0.05
    assert 0 < abs(by_int8 - by_fp32).mean() < 0.02


@needs_dot_products
def test_windows_of_another_size(model):
    batch = np.random.default_rng(0).uniform(-1, 1, (1, 1, 40, 32, 24)).astype(np.float32)
    by_int8, by_fp32 = (choose_runtime(model, "openvino", "cpu", 1, p)(batch) for p in ("int8", "fp32"))
    assert 0 < abs(by_int8 - by_fp32).mean() < 0.02


def test_the_weights_in_32_bits_stay_as_they_were(model, fp32_model):
    for kind, weight in fp32_model.card.weights.items():
        assert model.card.weights[kind] == weight and model.read(kind) == fp32_model.read(kind)
    assert set(json.loads((model.folder / "card.json").read_text())["weights"]["openvino_int8"]) == {"xml", "bin"}
    assert load_model(model.folder).card == model.card


@pytest.mark.parametrize("kind", ["openvino_int8.xml", "openvino_int8.bin"])
def test_changed_weights_are_refused_before_the_first_window(model, processor, tmp_path, kind):
    processor(True)
    for file in model.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    victim = tmp_path / model.card.weights[kind].file
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(InputRefused, match=rf"{victim.name} of the model tiny isn't the one .* SHA-256"):
        choose_runtime(load_model(tmp_path), device="cpu")
    assert choose_runtime(load_model(tmp_path), device="cpu", precision="fp32").precision == "fp32"
    victim.unlink()
    with pytest.raises(InputRefused, match=rf"{victim.name} of the model tiny can't be read"):
        choose_runtime(load_model(tmp_path), device="cpu", precision="int8")


# ------------------------------------------------------------------------------------------ the shipped weights


@needs_dot_products
def test_the_shipped_weights_find_the_same_spine():
    """Through the whole pipeline, in the middle of the shipped phantom."""
    model = load_model(SHIPPED)
    if not model.card.has_openvino_int8:
        pytest.skip("the shipped model has no 8-bit weights yet")
    sample = importlib.resources.files("SpineContextSegLib") / "sample" / "phantom_ct.nii.gz"
    ct, _ = read_volume(sample)
    part = tuple(slice(size // 2 - 40, size // 2 + 40) for size in ct.array.shape)
    volume = Volume(ct.array[part], ct.grid.crop(part).affine)
    results = [segment(volume, model, choose_runtime(model, "openvino", "cpu", 1, p)) for p in ("int8", "fp32")]
    assert [result.precision for result in results] == ["int8", "fp32"]
    found = agreement(*(binary_spine(result.labels.array) for result in results), volume.grid)
    assert found.reference_ml > 50 and found.dice > 0.98


def test_the_shipped_models_stay_small():
    """The network, its locator and its namer: half precision for torch and for OpenVINO, and 8 bits, of each."""
    folder = list_models()[SHIPPED]
    parameters = sum(tensor.numel() for file in folder.rglob("*.safetensors") for tensor in load_file(file).values())
    assert parameters < 4.8e6
    assert sum(file.stat().st_size for file in folder.rglob("*")) < parameters * (2 + 2 + 1) * 1.1
