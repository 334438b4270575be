"""What the page says after a run, well ended or not, and after a repair, and how long it does."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from Testing.dicom_series import SeriesWriter
from Testing.one_scan import *  # noqa: F403
from Testing.processes import kill_workers
from Testing.store_use import *  # noqa: F403
from Testing.store_use import NAMES
from Testing.workbench_use import paint, play
from Workbench.store.versions import Versions
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")


async def segment_over_ones_own(bench):
    await bench.open_entry(1)
    bench.segments.add()
    own = np.zeros(bench.scene.volume().array.shape, np.uint8)
    own[20:30, 20:40, 20:50] = 1
    bench.scene.editor.active_segment_modifier.set_segment_labelmap(bench.state.active_segment, own)
    await bench.segment(replace=True)
    saved = bench.saving._versions.load(bench.saving.latest()).array
    shown = {item["name"]: bench.scene.editor.get_segment_labelmap(item["id"], as_numpy_array=True) != 0
             for item in bench.state.segments}  # fmt: skip
    np.testing.assert_array_equal(saved == 300, own != 0)
    lost = int((shown["Vertebrae"] & (saved == 300)).sum())
    assert lost
    [remark] = bench.state.remarks
    assert remark.startswith(f"Segments overlap in {lost} voxels, of which the saved result has")


def test_what_is_shown_and_not_saved_is_told(scan, data, tiny_model):
    play(segment_over_ones_own, data, tiny_model)


async def segment_what_has_gaps(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.save()
    (bench.saving.latest().folder / "version.json").write_text("")
    await bench.open_entry(1)
    opened = list(bench.state.warnings)
    assert [sentence.split()[0] for sentence in opened] == ["Slices", "1"]
    await bench.segment(replace=True)
    assert bench.state.segments
    run = bench.saving.latest().report["warnings"]
    assert run and bench.state.warnings == [*opened, *run]


def test_warnings_of_reading_stay(data, sample_scan, tiny_model):
    slices = [k for k in range(60) if k != 20]
    SeriesWriter(data / "series").write(sample_scan.volume, slices)
    Worklist.open(data, "tester").add([data / "series"])
    play(segment_what_has_gaps, data, tiny_model)


async def crash_and_cancel(bench, temporary):
    tempfile.tempdir = temporary
    await bench.open_entry(1)
    show_progress = bench._on_progress
    for act, said, notice in (
        (lambda: kill_workers(Path(temporary)), "", "memory"),
        (bench.cancel, "Cancelled, nothing was changed.", ""),
    ):

        def interrupt(*counts, act=act):
            show_progress(*counts)
            assert bench.state.status.startswith("Window")
            act()

        bench._on_progress = interrupt
        bench.state.notice = ""
        await bench.clicks.guarded(bench.segment())
        assert bench.state.status == said and notice in bench.state.notice and not bench.state.running


def test_a_run_that_crashes_leaves_no_progress_behind(scan, data, slow_model, tmp_path):
    (tmp_path / "temporary").mkdir()
    play(crash_and_cancel, data, slow_model, tmp_path / "temporary")


async def swap_levels(bench):
    await bench.open_entry(1)
    bench.state.update({"which": 19, "level": 20})
    bench.levels.repair("swap")
    assert bench.state.remarks == ["L1 lies above T12: the levels are out of order."]
    bench.editing.undo()
    assert bench.state.remarks == []


def test_a_remark_on_a_repair_goes_with_it(scan, data, sample_scan):
    array = np.zeros(sample_scan.volume.array.shape, np.uint8)
    for n, value in enumerate((20, 19, 18)):
        array[12 * n : 12 * n + 9] = value * sample_scan.bone[12 * n : 12 * n + 9]
    Versions(scan, data).save(Volume(array, sample_scan.volume.affine), NAMES, kind="model", by="anna")
    play(swap_levels, data)
