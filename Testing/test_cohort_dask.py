"""A cohort over Dask: a real scheduler and real worker processes on this machine, some of which are killed."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from cohorts import *  # noqa: F403
from cohorts import (
    DEADLINE_S,
    batch,
    children_of,
    files,
    fill,
    finish,
    is_running,
    kill,
    staged,
    start,
    states,
    table,
    wait_for,
    wait_for_the_second,
    wait_until_working,
)

from SpineContextSegLib.cohort import spread
from SpineContextSegLib.reading import read_labels

SETTINGS = {"OMP_NUM_THREADS": "1"}


class Cluster:
    """Processes as `dask scheduler` and `dask worker` start them."""

    def __init__(self, folder):
        self._folder = folder
        self.processes = []
        scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        self.address = self._said(scheduler, r"Scheduler at:\s+(tcp://\S+)")

    def add_worker(self, *options, **environment):
        """A worker for one scan at a time; returns its process once it has registered."""
        local = ("--local-directory", self._folder / f"w{len(self.processes)}")
        worker = self._start("worker", self.address, "--nthreads", "1", *local, *options, **environment)
        self._said(worker, r"(Registered to)")
        return worker

    def _start(self, kind, *options, **environment):
        log = open(self._folder / f"{len(self.processes)}.log", "wb")
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *map(str, options)],
            stdout=log, stderr=log, env=os.environ | SETTINGS | environment,
        )  # fmt: skip
        log.close()
        process.log = self._folder / f"{len(self.processes)}.log"
        self.processes.append(process)
        return process

    def _said(self, process, pattern):
        wait_for(lambda: re.search(pattern, process.log.read_text()) or process.poll() is not None, pattern)
        return re.search(pattern, process.log.read_text())[1]


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "dask").mkdir()
    with running(Cluster(tmp_path / "dask")) as cluster:
        yield cluster


@contextmanager
def running(cluster):
    try:
        yield cluster
    finally:
        for process in cluster.processes[::-1]:
            process.terminate()  # a nanny takes its worker along
            try:
                process.wait(DEADLINE_S)
            finally:
                process.kill()


@pytest.fixture
def cohort(tmp_path, sample_scan):
    return fill(tmp_path / "in", sample_scan.path, *(f"{n} ä.nii.gz" for n in range(3))), tmp_path / "out"


def test_a_worker_that_is_killed_loses_nothing(cohort, cluster, unhurried_model, sample_scan, tmp_path):
    source, output = cohort
    victim, survivor = (cluster.add_worker("--no-nanny") for _ in range(2))
    process = start(source, output, unhurried_model, "--scheduler", cluster.address)
    wait_until_working(output, 2)
    (child,) = children_of(victim.pid)
    begun = set(staged(output))
    kill(victim.pid)
    wait_for(lambda: not is_running(child), "the killed worker's scan went on")
    wait_for(lambda: len(begun & set(staged(output))) < 2, "what wasn't whole stayed")
    code, _, errors = finish(process)
    assert code == 0, errors
    assert set(states(output).values()) == {"done"} and len(states(output)) == 3
    assert len(files(output)) == 3 * 3 + 2 and not (output / ".running").exists()
    assert batch(sample_scan.path, tmp_path / "here", unhurried_model, "--no-preview") == 0
    expected = read_labels(tmp_path / "here" / "scan.seg.nrrd").array
    for result in output.glob("*.seg.nrrd"):
        assert np.array_equal(read_labels(result).array, expected)
    # A worker keeps no process of a batch that has ended.
    wait_for(lambda: not children_of(survivor.pid), "a process stayed")


def test_an_interruption_reaches_the_workers(cohort, cluster, unhurried_model):
    source, output = cohort
    workers = [cluster.add_worker("--no-nanny") for _ in range(2)]
    process = start(source, output, unhurried_model, "--scheduler", cluster.address, "--no-preview")
    wait_until_working(output, 2)
    children = [child for worker in workers for child in children_of(worker.pid)]
    process.send_signal(signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130 and len(errors.splitlines()) == 1 and "not begun" in errors
    assert len(children) == 2 and not any(map(is_running, children))
    assert not (output / ".running").exists() and "open" in states(output).values()
    assert all(worker.poll() is None for worker in workers)


def test_workers_may_come_late_and_a_lost_scheduler_is_said(cohort, cluster, unhurried_model):
    source, output = cohort
    process = start(source, output, unhurried_model, "--scheduler", cluster.address, "--no-preview")
    wait_for(lambda: (output / ".running").exists(), "nothing was begun")
    cluster.add_worker("--no-nanny")
    wait_for_the_second(output)
    kill(cluster.processes[0].pid)
    code, out, errors = finish(process)
    assert code == 1 and "waiting for some" in out
    assert "The Dask scheduler has gone" in errors.splitlines()[-1]
    assert states(output)["0 ä.nii.gz"] == "done" and "open" in states(output).values()


def test_another_version_on_a_worker_is_named(cohort, cluster, tiny_model, monkeypatch):
    source, output = cohort
    cluster.add_worker("--no-nanny")
    monkeypatch.setattr(spread, "__version__", "99.9")
    assert batch(source, output, tiny_model, "--scheduler", cluster.address) == 1
    assert all("install the same on all machines" in row["message"] for row in table(output).values())


def test_no_scheduler_is_said_before_any_work(cohort, tiny_model, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(spread, "CONNECT_S", 1)
    source, output = cohort
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1:port"):
        assert batch(source, output, tiny_model, "--scheduler", address) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and f"No Dask scheduler answers at '{address}'" in lines[0]
    assert not output.exists()
