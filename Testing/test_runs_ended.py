"""Runs that are cancelled, killed or never begin: nothing stays in the scene, on the disk and in the process table."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.panel.runs import RunOptions
from SpineContextSegLib.run_words import TimeLeft, done_text, duration, progress_text
from Testing.processes import kill_workers, working_on
from Testing.run_use import *  # noqa: F403
from Testing.run_use import add_sequence, state_of
from Testing.scene_nodes import add_segmentation, add_volume


def started(slow_runs, volume_node, segmentation_node=None, **options):
    """A run whose network has begun to work."""
    run = slow_runs.start(volume_node, segmentation_node, **options)
    slow_runs.wait_until(lambda: slow_runs.counts or slow_runs.ends, 60)
    assert run.is_running and working_on(slow_runs.root)
    return run


def test_cancel_ends_within_a_second(slow_runs, ct):
    before = state_of(slicer.mrmlScene)
    run = started(slow_runs, ct)
    clock = time.monotonic()
    run.cancel()
    assert time.monotonic() - clock < 0.1
    end = slow_runs.end()
    assert time.monotonic() - clock < 1.2
    assert end.kind == "cancelled" and state_of(slicer.mrmlScene) == before


def test_cancel_can_wait(slow_runs, ct):
    run = started(slow_runs, ct)
    clock = time.monotonic()
    run.cancel(wait=True)
    assert time.monotonic() - clock < 1.2
    slow_runs.assert_clean()
    assert slow_runs.ends[0].kind == "cancelled"


def test_cancel_at_once(slow_runs, ct):
    slow_runs.start(ct).cancel()
    assert slow_runs.end().kind == "cancelled"


@pytest.mark.parametrize("what", ["volume", "segmentation", "scene"])
def test_a_run_ends_with_what_it_needs(slow_runs, ct, what):
    node = add_segmentation(ct, np.zeros(slicer.util.arrayFromVolume(ct).shape, np.uint8))
    started(slow_runs, ct, node)
    if what == "scene":
        slicer.mrmlScene.Clear(False)
        slow_runs.assert_clean()
    else:
        slicer.mrmlScene.RemoveNode(ct if what == "volume" else node)
    end = slow_runs.end()
    assert end.kind == "cancelled"
    assert {"volume": "input volume was removed", "segmentation": "output segmentation was removed",
            "scene": "scene was closed"}[what] in end.message  # fmt: skip


def test_a_run_ends_with_the_application(slow_runs, ct, application):
    started(slow_runs, ct)
    application.aboutToQuit.emit()
    slow_runs.assert_clean()
    assert slow_runs.ends[0].kind == "cancelled"


def test_removing_another_node_changes_nothing(slow_runs, ct, sample_scan):
    other = add_volume(sample_scan.volume.grid, "other")
    run = started(slow_runs, ct)
    slicer.mrmlScene.RemoveNode(other)
    assert run.is_running
    run.cancel(wait=True)


def test_a_killed_process_becomes_one_sentence(slow_runs, ct):
    before = state_of(slicer.mrmlScene)
    started(slow_runs, ct)
    kill_workers(slow_runs.root)
    end = slow_runs.end()
    assert end.kind == "failed" and end.message.count(".") <= 2 and "memory" in end.message
    assert state_of(slicer.mrmlScene) == before


def test_cancel_between_frames_changes_nothing(slow_runs, sample_scan):
    volume_node, _ = add_sequence(sample_scan)
    before = state_of(slicer.mrmlScene)
    run = started(slow_runs, volume_node, all_frames=True)
    run.cancel()
    assert slow_runs.end().kind == "cancelled"
    assert state_of(slicer.mrmlScene) == before


def test_an_unknown_model_is_refused(runs, ct):
    end = runs.finish(ct, model="none-such")
    assert end.kind == "refused" and "none-such" in end.message


def test_no_room_for_the_request_becomes_one_sentence(runs, ct, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    runs.root = blocked / "folder"
    runs.start(ct)
    assert runs.ends[0].kind == "failed" and runs.ends[0].log


@pytest.mark.parametrize(
    "options, words",
    [
        ({"runtime": "abacus"}, "runtime named abacus"),
        ({"device": "tpu"}, "device named tpu"),
        ({"structures": "ribs"}, "structures named ribs"),
        ({"threads": 0}, "at least 1"),
        ({"only": frozenset()}, "at least one"),
        ({"only": frozenset({77})}, "label value 77"),
    ],
)
def test_impossible_options_are_refused(application, options, words):
    with pytest.raises(InputRefused, match=words):
        RunOptions(**options)


def test_words_count_windows_and_time():
    assert progress_text(7, 27, 12.3) == "Window 7 of 27, about 12 s left"
    assert progress_text(1, 27, None) == "Window 1 of 27"
    assert progress_text(3, 9, 130, frame=(2, 5)) == "Frame 2 of 5, window 3 of 9, about 2 min left"
    assert "grid" in progress_text(27, 27, 0.0)
    assert duration(0.2) == "1 s" and duration(89) == "89 s" and duration(3900) == "1 h 5 min"
    assert done_text("CT spine", ["Vertebrae", "Sacrum"], 8.0) == "Done in 8 s: Vertebrae, Sacrum in 'CT spine'."
    named = [f"L{n} vertebra" for n in range(1, 6)] + ["Sacrum"] + [f"Disc below L{n}" for n in range(1, 6)]
    text = done_text("CT spine", [*named, "Spinal canal"], 8.0)
    assert text == "Done in 8 s: 5 vertebrae from L1 to L5, Sacrum, Spinal canal, 5 discs in 'CT spine'."
    assert done_text("CT spine", named[:2], 8.0) == "Done in 8 s: L1 vertebra, L2 vertebra in 'CT spine'."
    inside = "Done in 8 s: L1 vertebra in 'CT spine', only inside 'R'."
    assert done_text("CT spine", named[:1], 8.0, region="R") == inside

    times = iter([0.0, 2.0, 6.0])
    time_left = TimeLeft(lambda: next(times))
    # Ten windows hold nothing and were counted at once.
    assert time_left.update(10, 30) is None
    assert time_left.update(12, 30) == pytest.approx(18.0)
    assert time_left.update(16, 30) == pytest.approx(14.0)
