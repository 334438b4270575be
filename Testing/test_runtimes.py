"""Which runtimes are there, and how one is installed: real pip, real Pythons, wheels of a few bytes, no network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from SpineContextSegLib.panel import kits, pip_runs
from Testing.model_cards import card_content
from Testing.wheels import WINDOWS, FreshPython, write_index, write_kit, write_sums, write_wheel

ANSWERS = {"yes": "lambda question: asked.append(question) or True", "no": "lambda question: asked.append(question)"}
INSTALL = """
import os
from pathlib import Path
from SpineContextSegLib.panel import runtimes
install = getattr(runtimes, sys.argv[1])
asked, error, before = [], None, dict(os.environ)
try:
    install({answer}, *map(Path, sys.argv[2:]), pip=pip)
except runtimes.InstallFailed as failure:
    error = [type(failure).__name__, str(failure), failure.log]
versions = {{name: runtimes._version(name) for name in ("numpy", "openvino", "torch", "safetensors", "sympy")}}
imported = sorted({{"numpy", "openvino", "torch", "slicer", "qt"}} & set(sys.modules))
print(json.dumps({{"asked": asked, "error": error, "versions": versions, "imported": imported,
                  "kept": before == dict(os.environ)}}))
"""
# As in Slicer's own builds for macOS, on Apple silicon too.
ON_INTEL_MAC = """
import platform, sysconfig
sys.platform, platform.machine, sysconfig.get_platform = "darwin", lambda: "x86_64", lambda: "macosx-13.0-x86_64"
"""


@pytest.fixture
def python(tmp_path) -> FreshPython:
    """As Slicer's: numpy is there, in a version that must stay."""
    fresh = FreshPython(tmp_path / "python")
    fresh.add(write_wheel(tmp_path / "base", "numpy", "2.4.6"))
    return fresh


@pytest.fixture
def kit(tmp_path) -> Path:
    """A whole kit for this Python, in a folder whose name pip could stumble over."""
    return write_kit(tmp_path / "Räder für OP 3")


def install(python: FreshPython, *arguments, answer="yes", what="install_openvino", where="", **environment) -> dict:
    return python.run(where + INSTALL.format(answer=ANSWERS[answer]), what, *arguments, **environment)


def refusal(outcome: dict) -> str:
    """The sentence of a failed installation that has changed nothing."""
    assert outcome["error"] and outcome["versions"]["openvino"] is None and outcome["versions"]["numpy"] == "2.4.6"
    kind, sentence, _ = outcome["error"]
    assert kind == "InstallFailed" and sentence.endswith(".") and "\n" not in sentence
    return sentence


# ------------------------------------------------------------------------------------------- what is there


@pytest.mark.parametrize(
    "packages, words, lacking",
    [
        ([], [], "Nothing is installed yet"),
        (["openvino==2024.6.0"], [], "Nothing is installed yet"),
        (["openvino==2025.0.0"], ["OpenVINO 2025.0.0 (CPU)"], "runs on PyTorch only"),
        (["torch==2.9.0"], [], "without the package safetensors"),
        (["torch==2.3.1", "safetensors==0.8.0"], [], "runs on PyTorch only"),
        (["torch==2.9.0", "safetensors==0.8.0"], ["PyTorch 2.9.0"], None),
        (["torch==2.9.0+cpu", "safetensors==0.8.0"], ["PyTorch 2.9.0 (CPU)"], None),
        (["torch==2.9.0+cu128", "safetensors==0.8.0", "openvino==2026.4.1"],
         ["OpenVINO 2026.4.1 (CPU)", "PyTorch 2.9.0 (CUDA)"], None),
    ],
)  # fmt: skip
def test_usable_runtimes_in_words(python, tmp_path, packages, words, lacking):
    """For a model with weights for both runtimes, and for one with none for OpenVINO; without importing them."""
    for package in packages:
        python.add(write_wheel(tmp_path / "wheels", *package.split("==")))
    file = {"file": "f", "sha256": "0" * 64}
    both = card_content(weights={"safetensors": file, "openvino": {"xml": file, "bin": file}})
    torch_only = card_content(weights={"safetensors": file})
    code = """
from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.panel.runtimes import missing, usable
cards = [ModelCard.from_dict(content) for content in json.loads(sys.argv[1])]
print(json.dumps([[list(usable(card).values()), missing(card)] for card in cards] + [list(sys.modules)]))
"""
    told, told_torch_only, modules = python.run(code, json.dumps([both, torch_only]))
    (usable, missing), (usable_torch_only, missing_torch_only) = told, told_torch_only
    assert not {"openvino", "torch"} & set(modules)
    assert usable == words and usable_torch_only == [word for word in words if "OpenVINO" not in word]
    assert (missing is None) == bool(words) and (missing_torch_only is None) == (lacking is None)
    for sentence in {missing, missing_torch_only} - {None}:
        assert sentence.endswith(".") and "install" in sentence
    assert lacking is None or lacking in (missing or "") + missing_torch_only


# ------------------------------------------------------------------------------------------- installing it


def test_from_a_folder(python, kit, tmp_path):
    temporary = tmp_path / "Dateien für zwischendurch"
    temporary.mkdir()
    done = install(python, kit, TMPDIR=str(temporary), PIP_LOG=str(tmp_path / "own.log"))
    assert done["error"] is None and len(done["asked"]) == 1 and str(kit) in done["asked"][0]
    assert (done["versions"]["openvino"], done["versions"]["numpy"]) == ("2026.4.1", "2.4.6")
    assert done["imported"] == [] and done["kept"] and list(temporary.iterdir()) == []
    again = install(python, kit, answer="no")
    assert again["error"] is None and again["asked"] == []


def test_from_an_index_without_a_change_to_numpy(python, kit, tmp_path):
    """The newest numpy is on the index too, and a newer OpenVINO that insists on it: an older one is taken."""
    wheels = [*kit.glob("*.whl"), write_wheel(tmp_path / "new", "numpy", "3.0")]
    wheels.append(write_wheel(tmp_path / "new", "openvino", "2027.0", ["numpy>=3.0"]))
    done = install(python, PIP_INDEX_URL=write_index(tmp_path / "index", wheels))
    assert done["error"] is None and "internet" in done["asked"][0]
    assert (done["versions"]["openvino"], done["versions"]["numpy"]) == ("2026.4.1", "2.4.6")


def test_an_old_one_is_replaced(python, kit, tmp_path):
    python.add(write_wheel(tmp_path / "old", "openvino", "2024.6.0"))
    done = install(python, kit)
    assert done["error"] is None and done["versions"]["openvino"] == "2026.4.1"


def test_nothing_goes_with_slicers_numpy(python, tmp_path):
    wheel = write_wheel(tmp_path / "wheels", "openvino", "2026.4.1", ["numpy>=3.0"])
    newer = write_wheel(tmp_path / "wheels", "numpy", "3.0")
    done = install(python, PIP_INDEX_URL=write_index(tmp_path / "index", [wheel, newer]))
    assert "(openvino 2026.4.1 depends on numpy>=3.0)" in refusal(done)
    assert "constraint" in done["error"][2]


def test_on_an_intel_mac_one_that_is_older_than_slicers_numpy(python, kit, tmp_path):
    """Its limit on numpy is left out, numpy stays, and what it needs besides is installed."""
    old, packaging = tmp_path / "old", write_wheel(tmp_path / "old", "packaging", "26.4")
    wheels = [next(kit.glob("openvino_telemetry*")), packaging, write_wheel(old, "numpy", "2.2.6")]
    needed = ["numpy<2.3", "openvino-telemetry", "packaging"]
    wheels += [write_wheel(old, "openvino", version, needed) for version in ("2024.6.0", "2025.1.0", "2025.2.0")]
    done = install(python, where=ON_INTEL_MAC, PIP_INDEX_URL=write_index(tmp_path / "index", wheels))
    assert done["error"] is None and done["imported"] == []
    assert (done["versions"]["openvino"], done["versions"]["numpy"]) == ("2025.1.0", "2.4.6")
    installed = {path.name for path in python.site_packages.glob("*.dist-info")}
    assert {"openvino_telemetry-2025.2.0.dist-info", "packaging-26.4.dist-info"} <= installed


@pytest.mark.parametrize(
    "logged, words",
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied: 'c:\\\\x'", "be changed"),
        ("confirming the ssl certificate: (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_F"
         "AILED] certificate verify failed: self-signed certificate", "PIP_CERT"),
        ("Could not fetch URL https://x/: There was a problem confirming the ssl certificate: [SSL] - skipping\n"
         "ERROR: No matching distribution found for openvino", "PIP_CERT"),
        ("Max retries exceeded (Caused by ProxyError('Cannot connect to proxy.', OSError('407", "HTTPS_PROXY to"),
        ("Could not fetch URL https://x/: connection error: [Errno -2] Name or service not known - skipping\n"
         "ERROR: No matching distribution found for openvino", "the internet can't be reached"),
        ("(Caused by NewConnectionError(': [Errno 11001] getaddrinfo failed'))", "the internet can't be reached"),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", "the internet can't be reached"),
        ("ERROR: Killed", "the details tell"),
    ],
)  # fmt: skip
def test_what_else_pip_may_have_logged(logged, words):
    """In the words of pip 23 or 26, on Linux or Windows."""
    with pytest.raises(kits.InstallFailed, match=words) as failure:
        with pip_runs.pip_run("OpenVINO", replaced=()):
            Path(os.environ["PIP_LOG"]).write_text(f"2026-11-21T10:02:33,616 {logged}\n", encoding="utf-8")
            raise subprocess.CalledProcessError(1, "pip install")
    assert logged in failure.value.log and str(failure.value).startswith("OpenVINO could not be ")


def test_no_room_for_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    with pytest.raises(kits.InstallFailed, match="no temporary file can be written"):
        with pip_runs.pip_run("OpenVINO", replaced=()):
            raise AssertionError("pip must not run")


def test_the_user_says_no(python, kit):
    done = install(python, kit, answer="no")
    assert done["error"][0] == "InstallDeclined" and done["versions"]["openvino"] is None


def test_no_internet(python):
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/simple"
        done = install(python, PIP_INDEX_URL=address)
    assert "the internet can't be reached" in refusal(done) and "Connection refused" in done["error"][2]


def test_a_proxy_that_is_not_there(python):
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"
        done = install(python, PIP_INDEX_URL="https://index.invalid/simple", HTTPS_PROXY=proxy, https_proxy=proxy)
    assert "HTTPS_PROXY" in refusal(done)


def test_no_wheel_for_this_system(python, tmp_path):
    """There is a package of sources, but Slicer has no compiler."""
    wheel = write_wheel(tmp_path / "wheels", "openvino", "2026.4.1", tag=WINDOWS)
    sources = wheel.with_name("openvino-2027.0.tar.gz")
    sources.touch()
    done = install(python, PIP_INDEX_URL=write_index(tmp_path / "index", [wheel, sources]))
    assert "no version of it for this system" in refusal(done) and done["kept"]


def test_a_broken_package(python, kit):
    """A wheel that pip can't open, under a checksum that is right."""
    next(kit.glob("openvino-*")).write_bytes(b"no archive")
    write_sums(kit)
    done = install(python, kit)
    assert refusal(done) == "OpenVINO could not be installed: the details tell what pip said."
    assert "openvino-2026.4.1" in done["error"][2]


def test_nobody_is_asked_about_a_damaged_kit(python, kit):
    next(kit.glob("safetensors*")).write_bytes(b"cut off")
    done = install(python, kit)
    assert "is damaged" in refusal(done) and done["asked"] == []


def test_a_kit_for_another_computer(python, kit):
    next(kit.glob("openvino-*")).unlink()
    write_wheel(kit, "openvino", "2026.4.1", tag=WINDOWS)
    write_sums(kit)
    assert "on Windows, but this Slicer needs openvino>=2025.0" in refusal(install(python, kit))

    write_wheel(kit, "openvino", "2026.4.1", tag="cp312-cp312-macosx_11_0_arm64")
    write_sums(kit)
    sentence = refusal(install(python, kit, where=ON_INTEL_MAC))
    assert "this Slicer needs openvino<2025.2,>=2025.0 for Python" in sentence and "on macOS (Intel): " in sentence


# -------------------------------------------------------------------------------------------------- torch

EXTENSION = """
import subprocess, sys
class PyTorchUtilsLogic:
    def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None,
                     torchvisionVersionRequirement=None):
        assert not askConfirmation
        for package in ("light-the-torch>=0.5", "torch" + torchVersionRequirement):
            command = [{host!r}, "-m", "pip", "--python", sys.executable, "install", package]
            subprocess.run(command, check=True, capture_output=True)
"""


@pytest.fixture
def extension(tmp_path) -> str:
    """A folder for PYTHONPATH with Slicer's PyTorch extension, which runs pip as the real one does."""
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / "PyTorchUtils.py").write_text(EXTENSION.format(host=sys.executable), encoding="utf-8")
    return str(folder)


@pytest.fixture
def index(kit, tmp_path) -> str:
    base = tmp_path / "torch"
    wheels = [*kit.glob("safetensors*"), write_wheel(base, "torch", "2.9.0", ["numpy", "sympy>=1.13"])]
    wheels += [write_wheel(base, *other) for other in (("numpy", "3.0"), ("sympy", "1.14"), ("torch", "2.3.0"))]
    # The extension's helper, and a pip that it can do with.
    wheels += [write_wheel(base, "light-the-torch", "0.8.1", ["pip>=22.3,<26.1"]), write_wheel(base, "pip", "26.0.1")]
    return write_index(tmp_path / "index", wheels)


def test_torch_without_the_extension(python, index):
    sentence = refusal(install(python, what="install_torch", PIP_INDEX_URL=index))
    assert "Extensions Manager" in sentence


def test_torch_through_the_extension(python, index, extension):
    done = install(python, what="install_torch", PIP_INDEX_URL=index, PYTHONPATH=extension)
    assert done["error"] is None and len(done["asked"]) == 1
    expected = {"torch": "2.9.0", "safetensors": "0.8.0", "numpy": "2.4.6", "sympy": "1.14", "openvino": None}
    assert done["versions"] == expected


def test_the_helper_of_the_extension_may_need_an_older_pip(python, index, extension, tmp_path):
    """That of Slicer 5.12 is too new for it; and who has an old helper may get a newer one."""
    for package in (("pip", "26.1.1"), ("light-the-torch", "0.4")):
        python.add(write_wheel(tmp_path / "base", *package))
    done = install(python, what="install_torch", PIP_INDEX_URL=index, PYTHONPATH=extension)
    assert done["error"] is None and done["versions"]["torch"] == "2.9.0"
    assert (python.site_packages / "pip-26.0.1.dist-info").is_dir()


def test_torch_that_does_not_go_with_what_is_there(python, index, extension, tmp_path):
    python.add(write_wheel(tmp_path / "old", "sympy", "1.12"))
    done = install(python, what="install_torch", PIP_INDEX_URL=index, PYTHONPATH=extension)
    assert "depends on sympy>=1.13" in refusal(done) and done["versions"]["sympy"] == "1.12"


def test_torch_lacks_only_safetensors(python, index, tmp_path):
    python.add(write_wheel(tmp_path / "base", "torch", "2.9.0"))
    done = install(python, what="install_torch", PIP_INDEX_URL=index)
    assert done["error"] is None and done["versions"]["safetensors"] == "0.8.0"


# --------------------------------------------------------------------------------------------- Slicer's pip


@pytest.fixture
def python_slicer(python, tmp_path, monkeypatch):
    """Slicer's launcher of Python in the PATH, here of the fresh one; and the application, which Slicer looks for."""
    import slicer

    launcher = tmp_path / "bin" / "PythonSlicer"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -m pip --python {python.python} "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{launcher.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(slicer, "app", SimpleNamespace(processEvents=lambda: None), raising=False)


def test_slicers_own_way_to_pip(python, kit, python_slicer):
    """Through the real `slicer.util.pip_install`, whose errors say nothing but that it failed."""
    arguments = ["--no-index", "--find-links", str(kit)]
    with pip_runs.pip_run("safetensors", replaced=("safetensors",)):
        pip_runs.slicer_pip(["safetensors>=0.5", *arguments])
    assert (python.site_packages / "safetensors").is_dir()
    with pytest.raises(kits.InstallFailed, match="no version of it for this system") as failure:
        with pip_runs.pip_run("safetensors", replaced=("safetensors",)):
            pip_runs.slicer_pip(["safetensors>=9", *arguments])
    assert "from versions: 0.8.0" in failure.value.log


def test_slicers_windows_for_pip_stay_closed(monkeypatch):
    """Theirs tells a failure, too, and waits for a click before the panel's own sentence can come."""
    told, asked = [], []

    def pip_install(requirements, *, show_progress=True, **_):
        asked.append(requirements)
        if show_progress:
            told.append("Package installation failed.")
        raise subprocess.CalledProcessError(1, "pip install")

    monkeypatch.setitem(sys.modules, "slicer.packaging", SimpleNamespace(pip_install=pip_install))
    with pytest.raises(subprocess.CalledProcessError):
        pip_runs.slicer_pip(["safetensors>=9"])
    assert asked == [["safetensors>=9"]] and not told


# ---------------------------------------------------------------------------------------------- constraints


def test_constraints_hold_what_is_installed(python, tmp_path):
    """A package whose version pip can't read would spoil the file, so it is left out."""
    for project, version in (("vtk", "9.6.0"), ("Odd_Name", "1.0.post1"), ("torch", "2.9.0+cpu"), ("nvidia-x", "1")):
        python.add(write_wheel(tmp_path / "base", project, version))
    for broken in ("Name: slicer-like\nVersion: 5.11-dev-x\n", "Version: 1\n"):
        folder = python.site_packages / f"broken{len(broken)}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\n{broken}", encoding="utf-8")
    code = """
from SpineContextSegLib.panel import pip_runs, runtimes
print(json.dumps([pip_runs.constraints(("openvino",)), pip_runs.constraints(runtimes.TORCH_FAMILY)]))
"""
    for_openvino, for_torch = (set(text.split()) for text in python.run(code))
    everything = {"numpy==2.4.6", "vtk==9.6.0", "odd-name==1.0.post1", "torch==2.9.0+cpu", "nvidia-x==1"}
    assert for_openvino - {f"spinecontextseg=={metadata.version('spinecontextseg')}"} == everything
    assert everything - for_torch == {"torch==2.9.0+cpu", "nvidia-x==1"}


@pytest.mark.parametrize("version", ["1", "1.0", "2026.4.1", "1!2.0", "1.0rc1", "1.0.post2", "1.0.dev3", "2.9.0+cu128"])
def test_versions_that_pip_reads(version):
    assert pip_runs._is_version(version)


@pytest.mark.parametrize("version", ["", "None", "5.11-dev-x", "1.0 ", "1.0;x", "1..0", "unknown"])
def test_versions_that_pip_does_not_read(version):
    assert not pip_runs._is_version(version)
