"""What a place for scans keeps on a computer that works on one batch after the other."""

import asyncio
import gc
import os
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

from SpineContextSegLib.cohort import on_worker, spread, station
from SpineContextSegLib.cohort.job import Job
from SpineContextSegLib.cohort.station import Station

DONE = 'print(\'{"state": "done"}\', flush=True)'


@pytest.fixture
def job(tmp_path):
    return Job("batch", "a", "", "", (), "a", str(tmp_path / "a.nii.gz"), (str(tmp_path / "a.nii.gz"),), False, (),
               str(tmp_path / "a.seg.nrrd"), str(tmp_path / "a.png"), False, str(tmp_path / "a.json"), ".seg.nrrd",
               "segment", "model", "", "spine", False, str(tmp_path))  # fmt: skip


@pytest.fixture
def child(monkeypatch):
    """Lets a line of Python stand for the process of a scan."""

    def answer(code: str):
        program = f"import sys\nfor line in sys.stdin:\n    {code}"
        monkeypatch.setattr(station, "process_arguments", lambda *_: ["-c", program])

    return answer


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to tell which files are open")
def test_a_station_that_was_stopped_keeps_no_file_open(child, job):
    child(DONE)
    gc.collect()
    before = os.listdir("/proc/self/fd")
    stopped = Station(1)
    assert stopped.run(job) == {"state": "done"}
    stopped.stop()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_the_last_words_of_a_process_are_in_the_record(child, job):
    child('print("a library broke", file=sys.stderr); sys.exit(1)')
    alone = Station(1)
    try:
        assert alone.run(job)["log"] == ["a library broke"]
    finally:
        alone.stop()


def test_a_worker_keeps_no_station_of_a_batch_that_has_ended(job, child, monkeypatch):
    child(DONE)
    monkeypatch.setattr(on_worker, "_batches", {})
    monkeypatch.setattr(on_worker, "_begin", lambda *_: on_worker._Batch(threading.Semaphore(1), 1))
    assert on_worker.segment_on_worker(job.to_json(), "", None) == {"state": "done"}
    (batch,) = on_worker._batches.values()
    assert len(batch.idle) == len(batch.all) == 1
    asyncio.run(on_worker.end_stations(job.batch))
    assert batch.ended and batch.idle == batch.all == []


def test_that_there_are_no_workers_is_said_once_each_time(job, monkeypatch):
    monkeypatch.setattr(spread, "_COUNT_EVERY_S", 0.0)
    monkeypatch.setattr(spread, "_LOOK_EVERY_S", 0.0)
    counts = iter([{}, {}, {}, {"a": 1}, {"a": 1}, {}, {}])
    client = Mock(status="running")
    client.submit.return_value.done.return_value = False

    def nthreads():
        try:
            return next(counts)
        except StopIteration:
            raise OSError from None

    client.nthreads = nthreads
    said = []
    with pytest.raises(OSError, match="scheduler has gone"):
        list(spread.run_spread([job], client, 1, said.append))
    assert said == ["The scheduler has no workers: waiting for some."] * 2
