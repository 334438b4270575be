"""Wheels for computers without internet: `make offline-kit` writes them, the panel looks before it uses them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from SpineContextSegLib.panel import kits
from Testing.wheels import WINDOWS, FreshPython, clean_environment, write_index, write_kit, write_wheel

ROOT = Path(__file__).resolve().parents[1]
APPLE_SILICON = "cp312-cp312-macosx_11_0_arm64"
INTEL_MAC = "cp312-cp312-macosx_10_15_x86_64"


@pytest.fixture
def kit(tmp_path) -> Path:
    return write_kit(tmp_path / "Räder für OP 3")


def make_kit(folder: Path, wheels: list[Path], *arguments: str) -> Path:
    """Has real make and real pip write a kit from an index of wheels."""
    index, made = write_index(folder / "index", wheels), folder / "kit"
    make = ["make", "-C", ROOT, "offline-kit", f"KIT={made}", f"VENV={sys.prefix}", *arguments]
    subprocess.run(make, check=True, env=clean_environment(PIP_INDEX_URL=index), capture_output=True)
    kits.verify_kit(made)
    return made


def damage(kit: Path) -> None:
    with next(kit.glob("openvino-*")).open("ab") as wheel:
        wheel.write(b"x")


KIT_TROUBLE = {
    "is damaged: copy": damage,
    "has no SHA256SUMS": lambda kit: (kit / "SHA256SUMS").unlink(),
    "has no SHA256SUMS: choose": shutil.rmtree,
    "SHA256SUMS of the folder": lambda kit: (kit / "SHA256SUMS").write_text("nonsense\n", encoding="utf-8"),
    "isn't listed": lambda kit: write_wheel(kit, "numpy", "3.0"),
    "is missing: copy": lambda kit: next(kit.glob("openvino-*")).unlink(),
}


@pytest.mark.parametrize("words", KIT_TROUBLE)
def test_a_kit_that_is_not_whole(kit, words):
    KIT_TROUBLE[words](kit)
    with pytest.raises(kits.InstallFailed, match=words) as failure:
        kits.verify_kit(kit)
    assert str(kit) in str(failure.value) and str(failure.value).endswith(".")


def test_what_systems_leave_on_a_usb_stick_does_no_harm(kit):
    wheel = next(kit.glob("openvino-*"))
    wheel.with_name(f"._{wheel.name}").write_bytes(b"companion")
    (kit / "Thumbs.db").touch()
    kits.verify_kit(kit)


@pytest.mark.parametrize(
    "tag, words",
    [
        (WINDOWS, "openvino 2026.4.1 for Python 3.12 on Windows"),
        ("cp310-abi3-macosx_11_0_arm64", "openvino 2026.4.1 for Python 3.10 or later on macOS (Apple silicon)"),
        (INTEL_MAC, "openvino 2026.4.1 for Python 3.12 on macOS (Intel)"),
        ("cp312-cp312-manylinux_2_28_aarch64", "openvino 2026.4.1 for Python 3.12 on Linux (ARM)"),
        ("py3-none-any", "openvino 2026.4.1 for Python 3 on any system"),
        (None, "no openvino"),
    ],
)
def test_what_a_kit_holds_in_words(kit, tag, words):
    next(kit.glob("openvino-*")).unlink()
    if tag:
        write_wheel(kit, "openvino", "2026.4.1", tag=tag)
    here = f"Python 3.{sys.version_info[1]} on "
    sentence = kits.why_unfit(kit, "openvino>=2025.0")
    assert f"holds {words}, but this Slicer needs openvino>=2025.0 for {here}" in sentence


def test_a_kit_for_apple_silicon_in_a_slicer_that_runs_as_an_intel_program(kit, monkeypatch):
    """As Slicer's own builds do there: the computer's kind isn't what counts."""
    next(kit.glob("openvino-*")).unlink()
    write_wheel(kit, "openvino", "2026.4.1", tag=APPLE_SILICON)
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "macosx-13.0-x86_64")
    sentence = kits.why_unfit(kit, "openvino>=2025.0")
    assert "on macOS (Apple silicon), but this Slicer needs" in sentence and "on macOS (Intel): choose" in sentence


def test_make_a_kit_for_intel_programs_on_macos(kit, tmp_path):
    wheels = [*kit.glob("safetensors*"), *kit.glob("openvino_telemetry*")]
    wheels.append(write_wheel(tmp_path / "base", "numpy", "2.2.6"))
    wheels.append(write_wheel(tmp_path / "base", "openvino", "2026.4.1", ["numpy"], APPLE_SILICON))
    needed = ["numpy<2.3", "openvino-telemetry"]
    for version in ("2025.1.0", "2025.2.0"):
        wheels.append(write_wheel(tmp_path / "base", "openvino", version, needed, INTEL_MAC))
    made = make_kit(tmp_path, wheels, "PLATFORM=macosx_x86_64")
    assert {path.name for path in made.glob("openvino-*")} == {f"openvino-2025.1.0-{INTEL_MAC}.whl"}
    assert len(list(made.glob("*.whl"))) == 2


def test_make_offline_kit(kit, tmp_path):
    """It holds neither numpy nor what only PyTorch needs, and installs where it was made for."""
    wheels = [*kit.glob("*.whl"), write_wheel(tmp_path / "base", "numpy", "3.0")]
    wheels.append(write_wheel(tmp_path / "base", "openvino", "2026.4.2", ["numpy", "openvino-telemetry"], tag=WINDOWS))
    wheels.append(write_wheel(tmp_path / "base", "openvino", "2025.1.0", tag=INTEL_MAC))
    made = make_kit(tmp_path, wheels)
    names = sorted(path.name.split("-")[0] + "-" + path.name.split("-")[1] for path in made.glob("*.whl"))
    assert names == [*(f"openvino-{version}" for version in ("2025.1.0", "2026.4.1", "2026.4.2")),
                     "openvino_telemetry-2025.2.0"]  # fmt: skip

    python = FreshPython(tmp_path / "python")
    pip = [sys.executable, "-m", "pip", "--python", python.python, "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--find-links", made, "openvino"], check=True, env=clean_environment(), capture_output=True)
    assert (python.site_packages / "openvino-2026.4.1.dist-info").is_dir()
