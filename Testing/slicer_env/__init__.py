"""Runs the Slicer module outside desktop Slicer: the real Slicer core from PyPI, and stand-ins for what it lacks.

Real: the scene and its nodes, every module logic, `slicer.util`, child processes, Qt itself. Stand-ins, in files of the
same names: PythonQt's ways (`qt`), the widgets of CTK and Slicer, the application and its modules, the parameter node.

`install` adds a finder at the end of Python's, so that a stand-in is used only where the real thing can't be imported
(`qt`, `ctk`, `slicer.ScriptedLoadableModule`, ...). With SLICER_SOURCE set to a checkout of Slicer, Slicer's own files
are taken instead where they are in Python.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
STAND_INS = {
    "qt": "qt.py",
    "ctk": "ctk.py",
    "slicer.ScriptedLoadableModule": "ScriptedLoadableModule.py",
    "slicer.parameterNodeWrapper": "parameterNodeWrapper.py",
    "slicer.i18n": "i18n.py",
    "SampleData": "sample_data.py",
}
FROM_SLICER_SOURCE = {
    "slicer.ScriptedLoadableModule": "Base/Python/slicer/ScriptedLoadableModule.py",
    "slicer.parameterNodeWrapper": "Base/Python/slicer/parameterNodeWrapper/__init__.py",
    "slicer.i18n": "Base/Python/slicer/i18n.py",
    "SampleData": "Modules/Scripted/SampleData/SampleData.py",
}


def slicer_source() -> Path | None:
    """The checkout of Slicer that SLICER_SOURCE names."""
    return Path(os.environ["SLICER_SOURCE"]) if os.environ.get("SLICER_SOURCE") else None


class StandInFinder:
    """Finds the stand-ins; asked last, so only for what nothing else has found."""

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name == "slicer":
            missing("Slicer's core is not installed: pip install '.[dev]'")
        source = slicer_source()
        if source and name in FROM_SLICER_SOURCE:
            file = source / FROM_SLICER_SOURCE[name]
        elif name in STAND_INS:
            file = FOLDER / STAND_INS[name]
        else:
            return None
        self._prepare(name)
        folder = [str(file.parent)] if file.name == "__init__.py" else None
        return spec_from_file_location(name, file, submodule_search_locations=folder)

    def _prepare(self, name: str) -> None:
        if name == "qt":
            try:
                importlib.import_module("PySide6.QtWidgets")
            except ImportError as error:  # PySide6 itself, or libEGL, libGL and the like
                missing(f"Qt can't be loaded: {error}; see pip install '.[dev]' and make system")
        if name == "slicer.parameterNodeWrapper":  # takes its widget classes from `slicer`
            importlib.import_module("Testing.slicer_env.segment_widgets")


def missing(what: str) -> None:
    """Skips the test file that is being read, in one line; where CI is set, its import fails instead."""
    if not os.environ.get("CI"):
        pytest.skip(what, allow_module_level=True)


def install() -> None:
    """Makes the stand-ins importable."""
    if not any(isinstance(finder, StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(StandInFinder())
