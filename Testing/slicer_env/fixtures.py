"""Fixtures for tests on the real Slicer core; `Testing/conftest.py` imports them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from Testing import slicer_env

__all__ = [
    "application",
    "extension",
    "panel",
    "qt_application",
    "scene",
    "screenshot",
    "slicer_core",
    "vtk_errors",
    "wait_until",
]

MODULE = Path(__file__).resolve().parents[2] / "SpineContextSeg" / "SpineContextSeg.py"

slicer_env.install()


@pytest.fixture(scope="session")
def slicer_core():
    """The real core, booted once."""
    from Testing.slicer_env import boot

    return boot.boot()


@pytest.fixture(scope="session")
def vtk_errors():
    """Collector of VTK's errors. A test that provokes one takes it: `assert "..." in vtk_errors.take()[0]`."""
    from Testing.slicer_env import boot

    return boot.VTKErrors()


@pytest.fixture
def scene(slicer_core, vtk_errors):
    """`slicer.mrmlScene`, empty before and after; an error that VTK reported and nobody took fails the test."""
    slicer_core.scene.Clear(False)
    vtk_errors.take()
    yield slicer_core.scene
    slicer_core.scene.Clear(False)
    left = vtk_errors.take()
    assert not left, "VTK reported errors:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def qt_application(slicer_core):
    """`slicer.app` and a main window, started once."""
    from Testing.slicer_env import application

    return application.start(slicer_core)


@pytest.fixture
def application(qt_application, monkeypatch):
    """`slicer.app`. What is only printed fails the test: exceptions in slots and observers, and warnings of Qt."""
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda *exception: raised.append(exception[1]))
    qt_application.warnings().messages.clear()
    yield qt_application
    qt_application.processEvents()
    qt_application.setTestingEnabled(True)
    qt_application.settings().clear()
    if raised:
        raise raised[0]
    assert not qt_application.warnings().messages


@pytest.fixture
def wait_until(application) -> Callable[[Callable[[], bool], float], None]:
    """`wait_until(condition, seconds)` runs the event loop until the condition holds; after that time it fails."""

    def wait(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s"
            application.processEvents()
            time.sleep(0.002)

    return wait


@pytest.fixture
def extension(scene, application):
    """The Python module SpineContextSeg, loaded as Slicer loads it, unloaded at the end."""
    from Testing.slicer_env.application import load_module

    python_module = load_module(MODULE)
    yield python_module
    unload_extension(application)


def unload_extension(application) -> None:
    """Takes the module away, as closing the application does, and its panel."""
    import qt
    import slicer

    slicer.modules.spinecontextseg.unload()
    # `processEvents` leaves this to an event loop that ends; panels that stay would follow every later test's scene.
    application.sendPostedEvents(None, qt.QEvent.DeferredDelete)
    application.processEvents()


@pytest.fixture
def panel(extension, application):
    """The module's Python widget, in the main window and entered, as after choosing it in the module selector."""
    import slicer

    window = slicer.util.mainWindow()
    window.resize(480, 900)
    window.show()
    slicer.util.selectModule("SpineContextSeg")
    application.processEvents()
    yield slicer.modules.SpineContextSegWidget
    window.moduleSelector().selectModule("")
    window.hide()


@pytest.fixture
def screenshot(tmp_path) -> Callable[[object, str], Path]:
    """`screenshot(widget, name)` writes a PNG into $SPINECONTEXTSEG_SCREENSHOTS, or a temporary folder."""
    folder = Path(os.environ.get("SPINECONTEXTSEG_SCREENSHOTS") or tmp_path)

    def shoot(widget, name: str) -> Path:
        import qt

        qt.QApplication.processEvents()
        path = folder / f"{name}.png"
        assert widget.grab().save(str(path)), path
        return path

    return shoot
