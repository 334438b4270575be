"""The module from Python: slicer.util.getModuleLogic("SpineContextSeg").segment(...), and Slicer's self-test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import qt
import slicer

from SpineContextSegLib.errors import Cancelled, InputRefused
from SpineContextSegLib.panel import runtimes
from SpineContextSegLib.panel.run_folder import FOLDER_PREFIX
from Testing.panel_use import labels_of
from Testing.processes import kill_workers, working_on
from Testing.run_use import SEGMENT, add_region, add_sequence, state_of
from Testing.scene_nodes import add_volume, draw, mask_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def logic(extension):
    logic = slicer.util.getModuleLogic("SpineContextSeg")
    yield logic
    folder = Path(slicer.app.temporaryPath)
    assert not working_on(folder) and not list(folder.glob(f"{FOLDER_PREFIX}*"))


@pytest.fixture
def ct(scene, sample_scan):
    return add_volume(sample_scan.volume.grid, "CT", sample_scan.volume.array)


@pytest.fixture
def quick(tiny_model) -> dict:
    return {"model": str(tiny_model), "threads": 1}


def soon(action, seconds: float = 0.0) -> None:
    """Does something while a blocking call waits."""
    qt.QTimer.singleShot(int(1000 * seconds), action)


def test_it_waits_and_the_application_stays_alive(logic, ct, quick):
    ticks, counts, ends = [], [], []
    timer = qt.QTimer()
    timer.setInterval(5)
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    node = logic.segment(ct, **quick, onProgress=lambda *count: counts.append(count), onEnd=ends.append)
    assert node.GetName() == "CT spine" and mask_of(node, SEGMENT, ct).any()
    assert len(ticks) > 20 and counts[-1][0] == counts[-1][1]
    assert len(ends) == 1 and ends[0].kind == "done" and ends[0].segmentation_node is node


def test_a_batch_over_the_volumes_of_a_scene(logic, ct, sample_scan, quick):
    add_volume(sample_scan.volume.grid, "Zweite Aufnahme", np.roll(sample_scan.volume.array, 2, axis=0))
    nodes = [logic.segment(volume, **quick) for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert [node.GetName() for node in nodes] == ["CT spine", "Zweite Aufnahme spine"]


def test_callbacks_instead_of_waiting(logic, ct, quick, wait_until):
    ends = []
    run = logic.segment(ct, **quick, onEnd=ends.append, blocking=False)
    assert run.is_running and not ends
    wait_until(lambda: ends, 60)
    assert ends[0].kind == "done" and not run.is_running


def test_two_at_once(logic, ct, sample_scan, quick, wait_until):
    other = add_volume(sample_scan.volume.grid, "other", sample_scan.volume.array)
    ends = []
    for volume in (ct, other):
        logic.segment(volume, **quick, onEnd=ends.append, blocking=False)
    wait_until(lambda: len(ends) == 2, 60)
    assert {end.segmentation_node.GetName() for end in ends} == {"CT spine", "other spine"}


def test_a_refusal_is_a_value_error_in_the_same_words(logic, scene, quick):
    before = state_of(scene)
    with pytest.raises(InputRefused, match="^No volume is selected: choose the scan to segment.$"):
        logic.segment(None, **quick)
    with pytest.raises(ValueError, match="runtime named abacus"):
        logic.segment(None, **quick | {"runtime": "abacus"})
    assert state_of(scene) == before


def test_a_fault_is_a_runtime_error(logic, ct, slow_model):
    soon(lambda: kill_workers(Path(slicer.app.temporaryPath)), 2.0)
    with pytest.raises(RuntimeError, match="ended"):
        logic.segment(ct, model=str(slow_model), threads=1)


def test_nothing_found_is_a_runtime_error(logic, sample_scan, quick):
    soft = add_volume(sample_scan.volume.grid, "soft", np.minimum(sample_scan.volume.array, 210))
    with pytest.raises(RuntimeError, match="No spine was found"):
        logic.segment(soft, **quick)


def test_closing_the_scene_ends_the_waiting(logic, ct, slow_model):
    soon(lambda: slicer.mrmlScene.Clear(False), 2.0)
    with pytest.raises(Cancelled, match="scene was closed"):
        logic.segment(ct, model=str(slow_model), threads=1)


def test_quitting_ends_the_waiting(logic, ct, slow_model, application):
    caught = []

    def script():
        with pytest.raises(Cancelled) as raised:
            logic.segment(ct, model=str(slow_model), threads=1)
        caught.append(raised.value)

    soon(script)
    soon(lambda: qt.QCoreApplication.exit(0), 2.0)
    application.exec()
    assert caught


def test_edits_are_kept_unless_told_otherwise(logic, ct, quick):
    node = logic.segment(ct, **quick)
    fresh = labels_of(node, ct)
    draw(node, SEGMENT, np.zeros(fresh.shape, bool), ct)
    other = logic.segment(ct, node, **quick)
    assert other is not node and not mask_of(node, SEGMENT, ct).any()
    assert logic.segment(ct, node, **quick, overwriteEdits=True) is node
    np.testing.assert_array_equal(labels_of(node, ct), fresh)


def test_region_structures_and_frames(logic, ct, sample_scan, quick):
    grid = sample_scan.volume.grid
    region = add_region(grid.world(np.array(grid.shape[::-1]) / 2), (400.0, 400.0, 30.0))
    node = logic.segment(ct, **quick, region=region, only={1}, structures="all")
    assert 0 < np.count_nonzero(labels_of(node, ct)) < np.count_nonzero(sample_scan.bone) / 2
    volume_node, _ = add_sequence(sample_scan, (0, 3))
    logic.segment(volume_node, **quick, allFrames=True)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 2


def test_the_module_tells_what_it_is(extension):
    module = slicer.modules.spinecontextseg
    assert module.title == "SpineContextSeg" and list(module.categories) == ["Segmentation"]
    assert list(module.contributors) == ["SpineContextSeg contributors"]
    assert "Research use only" in module.helpText


def test_the_self_test_of_slicer(extension):
    """Real weights, real inference, as `Reload and Test` does it."""
    slicer.selfTests["SpineContextSeg"](msec=0)
    node = slicer.util.getNode("phantom_ct spine")
    assert node.GetSegmentation().GetNumberOfSegments() >= 1


def test_the_self_test_without_a_runtime(extension, monkeypatch):
    """Slicer's dashboard runs it in a Slicer as it comes."""
    said = []
    monkeypatch.setattr(runtimes, "_is_there", lambda package: False)
    monkeypatch.setattr(extension.SpineContextSegTest, "delayDisplay", lambda self, message: said.append(message))
    slicer.selfTests["SpineContextSeg"](msec=0)
    assert said == ["Nothing is installed yet that could run the network: install OpenVINO."]


@pytest.mark.parametrize("part", ["SpineContextSegLogic", "LevelsSection"])
def test_a_panel_whose_setup_failed_can_be_reloaded(extension, monkeypatch, part):
    def fail(*_):
        raise RuntimeError("a mistake in the code")

    parent = slicer.qSlicerScriptedLoadableModuleWidget(slicer.modules.spinecontextseg)
    widget = extension.SpineContextSegWidget(parent)
    monkeypatch.setattr(extension, part, fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        widget.setup()
    widget.cleanup()


@pytest.fixture
def library():
    """The modules of the library as the tests know them, also after the test."""

    def loaded() -> dict:
        return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "SpineContextSegLib"}

    before = loaded()
    yield before
    for name in loaded():
        del sys.modules[name]
    sys.modules.update(before)


def test_reload_takes_the_library_along(panel, library):
    panel.onReload()
    again = slicer.modules.SpineContextSegWidget
    assert again is not panel and again.ui.segmentButton.text == "Segment"
    for name in ("SpineContextSegLib", "SpineContextSegLib.panel.run_view", "SpineContextSegLib.mrml.levels"):
        assert sys.modules[name] is not library[name]
    assert type(again._view) is sys.modules["SpineContextSegLib.panel.run_view"].RunView


def test_the_application_imports_no_runtime(tiny_model, tmp_path):
    """Panel, run and result without torch, OpenVINO, or what else Slicer's Python doesn't have.

    Slicer loads the module at every start, for everybody: SimpleITK alone would take 0.3 seconds of it.
    """
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'SpineContextSeg')!r}]\n"
        "import numpy as np\n"
        "from Testing.slicer_env import install\n"
        "install()\n"
        "from Testing.slicer_env import application, boot, fixtures\n"
        "app = application.start(boot.boot())\n"
        "application.load_module(fixtures.MODULE)\n"
        "assert 'SimpleITK' not in sys.modules\n"
        "import slicer\n"
        "from SpineContextSegLib.errors import InputRefused\n"
        "from SpineContextSegLib.volume import Grid\n"
        "from Testing.scene_nodes import add_volume\n"
        "slicer.util.selectModule('SpineContextSeg')\n"
        "logic = slicer.util.getModuleLogic('SpineContextSeg')\n"
        "volume = add_volume(Grid((40, 40, 40), np.diag([3.0, 3.0, 3.0, 1.0])))\n"
        "array = slicer.util.arrayFromVolume(volume)\n"
        "array[:] = np.where(np.arange(40) % 10 < 5, -90, 50)\n"
        "array[10:30, 15:25, 15:25] = 700\n"
        "array[:, 0] = -1000\n"
        f"node = logic.segment(volume, model={str(tiny_model)!r})\n"
        "assert node.GetSegmentation().GetNumberOfSegments() == 1\n"
        "for name in ('torch', 'openvino', 'slicerio', 'tqdm', 'safetensors', 'nibabel', 'pydicom'):\n"
        "    assert name not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
