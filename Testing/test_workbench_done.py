"""What is saved on a scan that is done reaches the dataset once the scan is done again, and the worklist says so."""


import numpy as np
import pytest

from Testing.one_scan import *  # noqa: F403
from Testing.store_use import *  # noqa: F403
from Testing.workbench_use import paint, play
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")


def listed(bench) -> str:
    [entry] = bench.state.entries
    return entry["state"]


def accepted(bench) -> np.ndarray:
    return bench.worklist.versions(1).load(bench.worklist.accepted(1)).array != 0


async def correct_what_is_done(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.worklist_actions.finish()
    assert listed(bench) == "done" and not accepted(bench)[9].any()

    await bench.open_entry(1)
    # Looking at versions changes nothing.
    bench.version_list.show()
    await bench.bring_back(bench.state.versions[0]["name"])
    assert listed(bench) == "done"
    painted = paint(bench, 9)
    await bench.save()
    assert listed(bench) == "in_correction"
    await bench.worklist_actions.finish()
    assert listed(bench) == "done"
    np.testing.assert_array_equal(accepted(bench), painted)

    # A look at an earlier version keeps the stroke before it as a correction.
    painted = paint(bench, 12)
    bench.version_list.show()
    await bench.bring_back(bench.state.versions[-1]["name"])
    assert listed(bench) == "in_correction"
    np.testing.assert_array_equal(bench.saving._versions.load(bench.saving.latest()).array != 0, painted)


def test_a_correction_of_what_is_done_is_to_be_accepted_again(scan, data):
    play(correct_what_is_done, data)


async def segment_what_is_done(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.worklist_actions.finish()
    await bench.segment(replace=True)
    assert listed(bench) == "segmented"


def test_so_is_another_result(scan, data, tiny_model):
    play(segment_what_is_done, data, tiny_model)
    assert Worklist.open(data, "tester").entry(1).state is State.SEGMENTED
