"""Which runtimes Slicer's Python has, and how it gets one: after asking, without changing what Slicer came with.

Runtimes are looked up by their metadata and never imported: importing torch takes seconds and memory of the
application, and Windows lets nobody replace a library that is in use.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .kits import verify_kit
from .pip_runs import InstallFailed, Pip, pip_run, slicer_pip

if TYPE_CHECKING:
    from ..card import ModelCard

WORDS = {"openvino": "OpenVINO", "torch": "PyTorch"}
REQUIREMENTS_FILE = Path(__file__).parents[2] / "Resources" / "requirements.txt"
# Not in requirements.txt: which build of torch fits the graphics card is known to Slicer's PyTorch extension only.
TORCH_MINIMUM = "2.4"
# What one build of torch brings along, another one may have to replace. Slicer's PyTorch extension first installs
# light-the-torch, which may need an older pip than Slicer has.
TORCH_FAMILY = ("torch", "torchvision", "triton", "nvidia-*", "light-the-torch", "pip")
# From here to its last version for Intel Macs, OpenVINO takes hundreds of times as long on a processor without AVX2, as
# Rosetta shows one to Intel programs on Apple silicon: it has only reference code for 3D convolutions there.
INTEL_MAC_BELOW = "2025.2"

Ask = Callable[[str], bool]


class InstallDeclined(InstallFailed):
    """The user said no; nothing was changed."""


def requirements() -> dict[str, str]:
    """Package -> the least version of it that is needed.

    Raises:
        OSError: the file that lists them can't be read.
    """
    lines = map(str.strip, REQUIREMENTS_FILE.read_text(encoding="utf-8").splitlines())
    listed = dict(line.split(">=") for line in lines if line and not line.startswith("#"))
    return {**listed, "torch": TORCH_MINIMUM}


def usable(card: ModelCard) -> dict[str, str]:
    """The runtimes that can run a model here -> short words for them, such as "OpenVINO 2025.3 (CPU)"."""
    found = {}
    if _is_there("openvino") and card.has_openvino:
        found["openvino"] = f"OpenVINO {_version('openvino')} (CPU)"
    if _is_there("torch") and _is_there("safetensors"):
        found["torch"] = _torch_words(_version("torch"))
    return found


def missing(card: ModelCard) -> str | None:
    """One sentence on what has to be installed before a model can run here, None where nothing is missing."""
    if usable(card):
        return None
    if card.has_openvino:
        return "Nothing is installed yet that could run the network: install OpenVINO."
    if _is_there("torch"):
        return f"PyTorch can't read the model {card.name} without the package safetensors: install it."
    return f"The model {card.name} runs on PyTorch only: install PyTorch."


def install_openvino(ask: Ask, folder: Path | None = None, *, pip: Pip = slicer_pip) -> None:
    """Installs OpenVINO into Slicer's Python; does nothing where it is there.

    Args:
        ask: puts a question to the user, True = go ahead.
        folder: what `make offline-kit` wrote; None takes the package from the internet.
        pip: runs "pip install" with these arguments until it ends, and raises when it fails.

    Raises:
        InstallDeclined: the user said no.
        InstallFailed: it didn't work; one sentence, and pip's own words in `log`.
    """
    if _is_there("openvino"):
        return
    if folder:
        verify_kit(folder)
    source = f"from the folder '{folder}'" if folder else "from the internet (up to 90 MB)"
    _confirm(ask, f"OpenVINO runs the network on this computer's processor. Install it into Slicer {source}?")
    _install("openvino", folder, pip)


def install_torch(ask: Ask, *, pip: Pip = slicer_pip) -> None:
    """Installs PyTorch through Slicer's PyTorch extension, and safetensors, which reads the weights for it.

    Both come from the internet. Arguments and errors are those of `install_openvino`.
    """
    has_torch, has_safetensors = _is_there("torch"), _is_there("safetensors")
    if has_torch and has_safetensors:
        return
    logic = None if has_torch else _pytorch_extension()
    if logic:
        _confirm(
            ask,
            "PyTorch can use a graphics card. Install it into Slicer from the internet? Depending on the graphics card"
            " it is 0.2 to 3 GB large and takes some minutes.",
        )
    else:
        _confirm(ask, "PyTorch needs the small package safetensors to read the network's weights. Install it?")
    if not has_safetensors:
        _install("safetensors", None, pip)
    if logic:
        # The extension would ask once more, in words of its own.
        with pip_run("PyTorch", replaced=TORCH_FAMILY):
            logic.installTorch(askConfirmation=False, torchVersionRequirement=f">={TORCH_MINIMUM}")
        _expect("torch")


def _install(package: str, folder: Path | None, pip: Pip) -> None:
    # Wheels only: Slicer comes without the compilers that a source package may need.
    arguments = [*_wanted(package), "--only-binary", ":all:"]
    if folder:
        arguments += ["--no-index", "--find-links", str(folder)]
    with pip_run(WORDS.get(package, package), replaced=(package, f"{package}-*"), folder=folder):
        pip(arguments)
    _expect(package)


def _wanted(package: str) -> list[str]:
    """What pip is asked for."""
    wanted = f"{package}>={requirements()[package]}"
    if package == "openvino" and _runs_on_mac("x86_64"):
        # Made before the numpy of Slicer 5.12, it excludes it, but gives the same results with it: without its
        # dependencies' limits, then.
        return [f"{wanted},<{INTEL_MAC_BELOW}", "openvino-telemetry", "packaging", "--no-deps"]
    return [wanted]


def _runs_on_mac(machine: str) -> bool:
    """Whether this process is one of macOS for "arm64" or "x86_64", which Rosetta runs on Apple silicon too."""
    return sys.platform == "darwin" and platform.machine() == machine


def _confirm(ask: Ask, question: str) -> None:
    if not ask(question):
        raise InstallDeclined("Nothing was installed: without OpenVINO or PyTorch nothing can be segmented.")


def _expect(package: str) -> None:
    if not _is_there(package):
        words = WORDS.get(package, package)
        raise InstallFailed(f"{words} was installed but isn't found: restart Slicer and look again.")


def _pytorch_extension() -> Any:
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError as error:
        raise InstallFailed(
            "PyTorch is installed through Slicer's PyTorch extension, which isn't there (or is broken): install it in"
            " the Extensions Manager, restart Slicer and try again.",
            str(error),
        ) from error
    return PyTorchUtilsLogic()


def _version(package: str) -> str | None:
    # What pip has just installed is seen only once the cached contents of folders are given up.
    importlib.invalidate_caches()
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_there(package: str) -> bool:
    """Whether a package is installed in a version that suffices."""
    version = _version(package)
    return version is not None and _numbers(version) >= _numbers(requirements()[package])


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]


def _torch_words(version: str) -> str:
    public, _, build = version.partition("+")
    if build == "cpu":
        return f"PyTorch {public} (CPU)"
    if build.startswith("cu"):
        return f"PyTorch {public} (CUDA)"
    return f"PyTorch {public} (Apple GPU)" if _runs_on_mac("arm64") else f"PyTorch {public}"
