"""Tiny packages for pip: wheels written by hand, an index of packages, and Pythons to install into."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MODULE_FOLDER = Path(__file__).resolve().parents[1] / "SpineContextSeg"
WINDOWS = "cp312-cp312-win_amd64"


def write_wheel(
    folder: Path, project: str, version: str, requires: Iterable[str] = (), tag: str = "py3-none-any", code: str = ""
) -> Path:
    """A wheel with one empty package; `code` becomes its `__init__.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    name = project.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel


def write_sums(kit: Path) -> None:
    """What `make offline-kit` writes beside the wheels."""
    lines = [f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" for wheel in sorted(kit.glob("*.whl"))]
    (kit / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def write_kit(folder: Path) -> Path:
    """A kit for every Python: what the panel installs, and what that needs besides numpy."""
    write_wheel(folder, "openvino", "2026.4.1", ["numpy>=1.16.6", "openvino-telemetry>=2023.2.1"])
    write_wheel(folder, "openvino-telemetry", "2025.2.0")
    write_wheel(folder, "safetensors", "0.8.0")
    write_sums(folder)
    return folder


def write_index(folder: Path, wheels: Iterable[Path]) -> str:
    """An index of packages as pip expects it, in files; its address."""
    for wheel in wheels:
        project = folder / wheel.name.split("-")[0].replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        with (project / "index.html").open("a", encoding="utf-8") as page:
            page.write(f'<a href="{wheel.as_uri()}">{wheel.name}</a><br>\n')
    return folder.as_uri()


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without settings of pip, so that it finds nothing but what a test gives it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0", **changes}


class FreshPython:
    """A Python with nothing installed; pip is the test environment's, told to work on this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.python = folder / "bin" / "python"
        self.site_packages = next(folder.rglob("site-packages"))

    def add(self, wheel: Path) -> None:
        """As if it had always been there; unpacking is all that such a wheel needs."""
        zipfile.ZipFile(wheel).extractall(self.site_packages)

    def run(self, code: str, *arguments: object, **environment: str) -> Any:
        """What `code` prints as JSON in its last line; it sees the library, and `pip` runs the real pip."""
        head = f"""
import json, subprocess, sys
sys.path.insert(0, {str(MODULE_FOLDER)!r})
def pip(arguments):
    command = [{sys.executable!r}, "-m", "pip", "--python", sys.executable, "install", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
        command = [self.python, "-c", head + code, *arguments]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=120, env=clean_environment(**environment)
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
