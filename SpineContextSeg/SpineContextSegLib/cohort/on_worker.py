"""What a Dask worker does with a scan: it hands it to a child process, as `here` does.

So a scan that crashes or takes all memory ends its child and not the worker, the worker answers its scheduler while a
network computes, and the model stays loaded between scans.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .. import __version__
from ..errors import Cancelled
from .here import MEMORY_PER_SCAN
from .job import Job
from .station import Station


@dataclass
class _Batch:
    """The stations of one batch in this process; more of them run at once only where there is memory for them."""

    places: threading.Semaphore
    threads: int
    idle: list[Station] = field(default_factory=list)
    all: list[Station] = field(default_factory=list)
    ended: bool = False


_lock = threading.Lock()
_batches: dict[str, _Batch] = {}


def segment_on_worker(job_text: str, version: str, threads: int | None) -> dict:
    """The record of a job.

    As many run at once as the worker has threads, and 3 GB of memory for each.

    Args:
        job_text: `Job.to_json`.
        version: of the program that sent it.
        threads: for each scan; None shares out those of the worker.

    Raises:
        RuntimeError: this machine isn't set up like the other; the message is one sentence.
        Cancelled: `end_stations` was called.
    """
    job = Job.from_json(job_text)
    with _station(job, version, threads) as station:
        return station.run(job)


async def end_stations(batch: str) -> None:
    """Ends all processes of a batch on this worker, and what it may still start; a worker outlives many batches, so
    only the mark that this one has ended stays."""
    with _lock:
        known = _batches.setdefault(batch, _Batch(threading.Semaphore(), 1))
        known.ended = True
        stations = [*known.all]
        known.all.clear()
        known.idle.clear()
    await asyncio.gather(*(asyncio.to_thread(station.stop) for station in stations))


@contextmanager
def _station(job: Job, version: str, threads: int | None) -> Iterator[Station]:
    with _lock:
        batch = _batches.get(job.batch) or _batches.setdefault(job.batch, _begin(job, version, threads))
    with batch.places:
        with _lock:
            if batch.ended:
                raise Cancelled
            station = batch.idle.pop() if batch.idle else Station(batch.threads)
            if station not in batch.all:
                batch.all.append(station)
        yield station
        with _lock:
            if not batch.ended:
                batch.idle.append(station)


def _begin(job: Job, version: str, threads: int | None) -> _Batch:
    from distributed import get_worker

    worker = get_worker()
    if version != __version__:
        raise RuntimeError(
            f"The Dask worker {worker.address} has SpineContextSeg {__version__}, the batch was started with "
            f"{version}: install the same on all machines."
        )
    if not Path(job.staging).is_dir():
        raise RuntimeError(
            f"The Dask worker {worker.address} doesn't see '{Path(job.staging).parent}': all machines must share the "
            "file system."
        )
    cores, memory = worker.state.nthreads, worker.memory_manager.memory_limit
    at_once = max(1, min(cores, memory // MEMORY_PER_SCAN if memory else cores))
    return _Batch(threading.Semaphore(at_once), threads or max(1, cores // at_once))
