"""Folders of wheels for computers without internet, as `make offline-kit` writes them: are they whole, do they fit?"""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from pathlib import Path

from ..checksums import file_digest

SUMS_FILE = "SHA256SUMS"
_WHEEL_NAME = re.compile(
    r"(?P<project>\w[\w.]*)-(?P<version>[^-]+)(-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)


class InstallFailed(RuntimeError):
    """A package could not be installed: one sentence on why and what to do; `log` holds the installer's own words."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


def verify_kit(folder: Path) -> None:
    """Compares every wheel of a kit with its checksum.

    Raises:
        InstallFailed: the folder is no kit, or a wheel is missing, damaged or not listed.
    """
    try:
        sums = _listed_sums(folder)
        for name, digest in sums.items():
            if file_digest(folder / name) != digest:
                raise InstallFailed(f"The file {name} of the folder '{folder}' is damaged: copy the folder again.")
        # Not those that begin with a dot: macOS puts such a companion beside each file on a USB stick.
        wheels = {path.name for path in folder.iterdir() if _WHEEL_NAME.fullmatch(path.name)}
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        if missing != SUMS_FILE:
            raise InstallFailed(f"The file {missing} of the folder '{folder}' is missing: copy it again.") from error
        raise InstallFailed(
            f"The folder '{folder}' has no {SUMS_FILE}: choose the folder that make offline-kit has written."
        ) from error
    except OSError as error:
        raise InstallFailed(f"The folder '{folder}' can't be read ({error.strerror}): copy it again.") from error
    if unlisted := sorted(wheels - set(sums)):
        raise InstallFailed(
            f"The file {unlisted[0]} of the folder '{folder}' isn't listed in {SUMS_FILE}, so nothing vouches for it:"
            " remove it, or have make offline-kit write the folder again."
        )


def why_unfit(folder: Path, requirement: str) -> str:
    """One sentence on why no wheel of a kit serves a requirement such as "openvino>=2025.0" on this computer."""
    package = re.match(r"[\w.-]*\w", requirement).group()
    wheels = [found for path in folder.iterdir() if (found := _WHEEL_NAME.fullmatch(path.name))]
    offers = sorted({_described(wheel) for wheel in wheels if wheel["project"].replace("_", "-").lower() == package})
    holds = f"{package} {', '.join(offers)}" if offers else f"no {package}"
    python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    needs = f"{requirement} for {python} on {_system(_this_platform())}"
    return f"The folder '{folder}' holds {holds}, but this Slicer needs {needs}: choose a folder made for it."


def _listed_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 in hexadecimal."""
    sums = {}
    for line in (folder / SUMS_FILE).read_text(encoding="utf-8", errors="replace").splitlines():
        parts = re.fullmatch(r"([0-9a-fA-F]{64}) [ *]([^/\\]+)", line.strip())
        if not parts:
            raise InstallFailed(f"The file {SUMS_FILE} of the folder '{folder}' is damaged: copy the folder again.")
        sums[parts.group(2)] = parts.group(1).lower()
    return sums


def _described(wheel: re.Match) -> str:
    """What the name of a wheel tells, such as "2026.4 for Python 3.12 on Windows"."""
    exact = re.fullmatch(r"cp(\d)(\d+)", wheel["python"])
    python = f"Python {exact[1]}.{exact[2]}" if exact else "Python 3"
    if wheel["abi"] == "abi3":
        python += " or later"
    return f"{wheel['version']} for {python} on {_system(wheel['platform'])}"


def _this_platform() -> str:
    tag = sysconfig.get_platform()
    # A Python built for both kinds of Mac runs as one of them.
    return tag.replace("universal2", platform.machine())


def _system(tag: str) -> str:
    """A wheel's platform tag, or Python's name of a platform, in words."""
    names = {"win": "Windows", "macosx": "macOS", "manylinux": "Linux", "musllinux": "Linux (musl)", "linux": "Linux"}
    system = next((name for start, name in names.items() if tag.startswith(start)), "any system")
    on_arm = tag.endswith(("arm64", "aarch64"))
    if system == "macOS":
        return "macOS (Apple silicon)" if on_arm else "macOS (Intel)"
    return f"{system} (ARM)" if on_arm else system
