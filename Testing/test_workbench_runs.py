"""A run in a child process: it answers, it can be cancelled, and it leaves nothing behind."""

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.errors import Cancelled, InputRefused, UnlikelyValues
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import Request
from Testing.processes import kill_workers, working_on
from Workbench.segment_run import SegmentRun


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where runs exchange their files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    assert working_on(folder) == []


def request(model: Path) -> Request:
    return Request(str(model), "auto", "cpu", 1, "spine", False)


def test_labels_stages_and_progress_arrive(tiny_model, sample_scan):
    stages, progress = [], []
    run = SegmentRun(stages.append, lambda *counts: progress.append(counts))
    result = asyncio.run(run.segment(sample_scan.volume, request(tiny_model)))
    assert stages == ["read", "load model", "segment"]
    assert progress and progress[-1][0] == progress[-1][1] and sorted(progress) == progress
    assert result.labels.grid.same_as(sample_scan.volume.grid)
    np.testing.assert_array_equal(result.labels.array, sample_scan.bone)
    assert "warnings" in result.report


def test_refusals_arrive_in_their_words(tiny_model, sample_scan):
    run = SegmentRun(lambda name: None, lambda *counts: None)
    strange = Volume(sample_scan.volume.array.clip(0) * 40, sample_scan.volume.affine)
    with pytest.raises(UnlikelyValues, match="Hounsfield"):
        asyncio.run(run.segment(strange, request(tiny_model)))
    run = SegmentRun(lambda name: None, lambda *counts: None)
    with pytest.raises(InputRefused):
        asyncio.run(run.segment(sample_scan.volume, request(tiny_model.parent / "missing")))


def test_cancel_ends_it_within_moments(slow_model, sample_scan):
    async def cancelled() -> float:
        begun = asyncio.Event()
        run = SegmentRun(lambda name: name == "segment" and begun.set(), lambda *counts: None)
        task = asyncio.create_task(run.segment(sample_scan.volume, request(slow_model)))
        await begun.wait()
        run.cancel()
        asked = time.monotonic()
        with pytest.raises(Cancelled):
            await task
        return time.monotonic() - asked

    assert asyncio.run(cancelled()) < 10


@pytest.mark.parametrize("line", ["hello", "1", "null", '"event"', "{}", '["event"]'])
def test_lines_that_are_no_events_are_passed_over(line, sample_scan, tiny_model, monkeypatch):
    event = '{"event": "refused", "message": "No spine.", "forcible": false}'
    program = "\n".join(f"print({text!r})" for text in (line, event, line))
    monkeypatch.setattr("Workbench.segment_run.worker_arguments", lambda folder: ["-c", program])
    with pytest.raises(InputRefused, match="No spine."):
        asyncio.run(SegmentRun(print, print).segment(sample_scan.volume, request(tiny_model)))


def test_a_process_that_is_killed_is_told(slow_model, sample_scan, temporary):
    run = SegmentRun(lambda name: name == "segment" and kill_workers(temporary), lambda *counts: None)
    with pytest.raises(RuntimeError, match="memory"):
        asyncio.run(run.segment(sample_scan.volume, request(slow_model)))


def test_the_server_answers_meanwhile(tiny_model, sample_scan):
    """The loop is never held for long, whatever the process does."""

    async def longest_wait() -> float:
        run = SegmentRun(lambda name: None, lambda *counts: None)
        task = asyncio.create_task(run.segment(sample_scan.volume, request(tiny_model)))
        waits = []
        while not task.done():
            asked = time.monotonic()
            await asyncio.sleep(0.01)
            waits.append(time.monotonic() - asked)
        await task
        return float(np.max(waits))

    assert asyncio.run(longest_wait()) < 2.0
