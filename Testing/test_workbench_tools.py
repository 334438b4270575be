"""The tool that is lit on the page is the one in use, on the segment that is chosen there."""

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.store_use import *  # noqa: F403
from Testing.store_use import SMALL, write_scan
from Testing.workbench_use import paint, play
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")


@pytest.fixture
def scan(data):
    """The only one in the worklist."""
    Worklist.open(data, "tester").add([write_scan(data / "scan.nii.gz", 1)])


async def open_with_segments(bench) -> list[str]:
    """Three, the last one chosen; returns their IDs."""
    await bench.open_entry(1)
    for _ in range(3):
        bench.segments.add()
    return [item["id"] for item in bench.state.segments]


def in_use(bench) -> str:
    from Workbench.editing import EFFECTS

    return next(tool.value for tool, effect in EFFECTS.items() if type(bench.scene.editor.active_effect) is effect)


async def bring_back(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.save()
    bench.tools.choose("paint")
    bench.version_list.show()
    await bench.bring_back(bench.state.versions[0]["name"])
    assert bench.state.tool == in_use(bench) == "none"
    # So one click is enough.
    bench.tools.choose("paint")
    assert bench.state.tool == in_use(bench) == "paint"
    await bench.open_entry(1)
    assert bench.state.tool == in_use(bench) == "none"


def test_no_tool_is_lit_after_a_version_is_brought_back(scan, data):
    play(bring_back, data)


async def add_segments(bench):
    await open_with_segments(bench)
    for _ in range(9):
        bench.segments.add()
    bench.segments.remove(bench.state.segments[4]["id"])
    bench.segments.add()
    colors = [bytes.fromhex(segment["color"][1:]) for segment in bench.state.segments]
    assert len(set(colors)) == len(colors) == 12
    assert all(max(color) > 200 and max(color) - min(color) > 100 for color in colors)


def test_new_segments_have_bright_colors_of_their_own(scan, data):
    play(add_segments, data)


async def remove_segments(bench):
    first, second, third = await open_with_segments(bench)
    bench.segments.choose(third)
    bench.tools.choose("paint")
    # Another row, above the chosen one and at the top of the list.
    for segment_id in (second, first):
        bench.segments.remove(segment_id)
        assert bench.state.active_segment == bench.scene.editor.active_segment_id == third
        assert bench.state.tool == in_use(bench) == "paint"
    bench.segments.remove(third)
    assert bench.state.segments == [] and bench.state.active_segment == ""
    assert bench.state.tool == in_use(bench) == "none"
    for _ in range(3):
        bench.editing.undo()
    # The chosen row, from the top.
    for segment_id, then in ((first, second), (third, second)):
        bench.segments.choose(segment_id)
        bench.segments.remove(segment_id)
        assert bench.state.active_segment == then


def test_rows_that_are_removed_leave_the_chosen_one(scan, data):
    play(remove_segments, data)


async def undo(bench):
    *_, third = await open_with_segments(bench)
    bench.tools.choose("erase")
    paint(bench, 3)
    bench.editing.undo()
    assert bench.state.active_segment == third and bench.state.tool == in_use(bench) == "erase"
    # Its own addition is taken back.
    bench.editing.undo()
    assert bench.state.active_segment == "" and bench.state.tool == in_use(bench) == "none"


def test_a_tool_without_a_segment_is_put_down(scan, data):
    play(undo, data)


async def work_on_whole_segments(bench):
    await open_with_segments(bench)
    bench.tools.choose("paint")
    paint(bench, 3)
    bench.editing.keep_largest_island()
    assert bench.state.tool == in_use(bench) == "paint"


def test_a_tool_comes_back_after_what_works_at_once(scan, data):
    play(work_on_whole_segments, data)


async def limit_to_the_dark(bench):
    await open_with_segments(bench)
    least, greatest = bench.state.limits_bounds
    assert least == -60 and 900 < greatest < 5000
    bench.state.update({"limits": [-60, 40], "limited": True})
    bench.tools.choose("paint")
    assert bench.state.limits == [-60, 40]
    node = bench.scene.editor.editor_node
    assert node.GetSourceVolumeIntensityMask() and node.GetSourceVolumeIntensityMaskRange() == (-60, 40)


def test_signal_below_zero_can_be_painted_within_limits(data):
    """A spline has left an MR such voxels."""
    signal = np.random.default_rng(3).gamma(2.0, 300.0, SMALL.shape).astype(np.float32)
    signal[0, 0, :3] = -60, -5, np.nan
    write_volume(Volume(signal, SMALL.affine), data / "mr.nii.gz")
    Worklist.open(data, "tester").add([data / "mr.nii.gz"])
    play(limit_to_the_dark, data)


async def limit_to_bone_and_metal(bench, densest):
    await open_with_segments(bench)
    assert bench.state.limits_unit == "HU" and bench.state.limits_bounds == [-200, int(densest)]
    bench.state.limited = True
    bench.tools.choose("paint")
    assert bench.scene.editor.editor_node.GetSourceVolumeIntensityMaskRange() == (200, int(densest))


@pytest.mark.parametrize(("metal", "densest"), [(2999, 3000), (3071, 3100), (24000, 24000)])
def test_metal_can_be_painted_within_limits(metal, densest, data, sample_scan):
    """Saturated in 12 bits, or on an extended scale of HU."""
    array = sample_scan.volume.array.astype(np.int16)
    array[20, 10:12, 10:12] = metal
    write_volume(Volume(array, sample_scan.volume.affine), data / "metal.nii.gz")
    Worklist.open(data, "tester").add([data / "metal.nii.gz"])
    play(limit_to_bone_and_metal, data, "", densest)
