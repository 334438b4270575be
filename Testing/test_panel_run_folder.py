"""The folders of runs: each is its run's alone, and one whose application crashed goes with the next session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer")

from SpineContextSegLib.panel.run_folder import RunFolder, remove_abandoned  # noqa: E402
from SpineContextSegLib.panel.run_pool import RunPool  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
_APPLICATION = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1:2]
from SpineContextSegLib.panel.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[2]))
(folder.path / "0").mkdir()
(folder.path / "0" / "volume.npy.partial").write_bytes(b"of a person")
print(folder.path, flush=True)
time.sleep(60)
"""


@pytest.fixture
def application_with_a_run(tmp_path):
    """The process and the folder of its run."""
    command = [sys.executable, "-c", _APPLICATION, str(ROOT / "SpineContextSeg"), str(tmp_path / "temporary")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_the_next_session_removes_what_a_crash_has_left(application, application_with_a_run):
    process, folder = application_with_a_run
    RunPool(folder.parent)
    assert (folder / "0" / "volume.npy.partial").exists(), "its run goes on"
    process.kill()
    process.wait()
    RunPool(folder.parent)
    assert folder.parent.is_dir() and not folder.exists()


def test_a_run_of_this_session_goes_on(tmp_path):
    """The module's logic is made more than once."""
    folder = RunFolder(tmp_path)
    remove_abandoned(tmp_path)
    assert folder.path.is_dir()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_left_alone(tmp_path):
    for name in ("SpineContextSeg-thesis", "Slicer-a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.docx").write_bytes(b"years of work")
    (tmp_path / "Slicer-a" / "lock").write_bytes(b"locked")
    # Made a moment ago, and not locked yet.
    (tmp_path / "SpineContextSeg-new").mkdir()
    (tmp_path / "SpineContextSeg-new" / "lock").touch()
    remove_abandoned(tmp_path)
    remove_abandoned(tmp_path / "none")
    assert len(list(tmp_path.iterdir())) == 3
