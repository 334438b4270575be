"""A lasso cuts where one was drawn to its end, and nowhere else."""

import shutil

import numpy as np
import pytest

from Testing.store_use import *  # noqa: F403
from Testing.workbench_use import play
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")

# In shares of a view, around its middle.
LASSO = ((0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6))


@pytest.fixture
def scan(data, sample_scan):
    """The only one in the worklist."""
    shutil.copy(sample_scan.path, data / "scan.nii.gz")
    Worklist.open(data, "tester").add([data / "scan.nii.gz"])


def drawn(bench) -> int:
    return int(np.count_nonzero(bench.scene.labels()[0].array))


def draw(bench, *points) -> None:
    """With the button still down at the end."""
    window = bench.scene.app.view_manager.get_view("Red").interactor()
    width, height = window.GetSize()
    for n, (x, y) in enumerate(points):
        window.SetEventInformation(round(x * width), round(y * height))
        window.InvokeEvent("MouseMoveEvent")
        if n == 0:
            window.InvokeEvent("LeftButtonPressEvent")


def let_go(bench) -> None:
    bench.scene.app.view_manager.get_view("Red").interactor().InvokeEvent("LeftButtonReleaseEvent")


async def cut(bench):
    await bench.open_entry(1)
    bench.segments.add()
    every = np.ones(bench.scene.volume().array.shape, np.uint8)
    bench.scene.editor.active_segment_modifier.set_segment_labelmap(bench.state.active_segment, every)
    stack, steps = bench.scene.undo_stack, bench.scene.undo_stack.index()
    for keep_inside in (False, True):
        bench.state.keep_inside = keep_inside
        bench.tools.choose("scissors")
        # A click, a click of a hand that isn't quite still, a lasso that is given up, and a stroke there and back.
        for points in (LASSO[:1], (LASSO[0],) * 4, LASSO[:2], (*LASSO[:2], (0.5, 0.4), LASSO[0])):
            draw(bench, *points)
            let_go(bench)
        draw(bench, *LASSO)
        bench.tools.choose("none")
        let_go(bench)
        assert drawn(bench) == every.size and stack.index() == steps
    for keep_inside in (False, True):
        bench.state.keep_inside = keep_inside
        bench.tools.choose("scissors")
        draw(bench, *LASSO)
        let_go(bench)
        assert 0 < drawn(bench) < every.size and stack.index() == steps + 1
        stack.undo()
        bench.tools.choose("none")


def test_only_a_whole_lasso_cuts(scan, data):
    play(cut, data)
