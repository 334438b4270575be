"""Many scans on this computer: some processes side by side, each with a model of its own.

A plain pool of child processes, and not a Dask cluster on this computer: it needs no package, no port and no supervisor
processes (which take 200 MB each and end a process whose memory they judge too large), and what Dask would add, doing a
scan again when its process was killed, is a loop of a few lines in `Station`. Python's own pools give up altogether
when one of their processes dies. Dask's workers run scans in the same child processes (`on_worker`), so that there is
one way in which a scan is done.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence

from ..control_groups import core_limit
from ..errors import Cancelled
from ..memory import free_memory_bytes
from .job import Job
from .station import Station

MEMORY_PER_SCAN = 3_000_000_000
_LOOK_EVERY_S = 0.2


def usable_cores() -> int:
    """CPU threads that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, core_limit() or cores)


def choose_jobs(scans: int, threads: int | None) -> int:
    """How many scans at a time fit into cores and free memory, at least one.

    Args:
        scans: more would be of no use.
        threads: of each scan; None for one, which is nearly as fast as two.
    """
    free = free_memory_bytes()
    by_memory = scans if free is None else free // MEMORY_PER_SCAN
    return max(1, min(scans, usable_cores() // (threads or 1), by_memory))


def run_here(jobs: Sequence[Job], at_once: int, threads: int) -> Iterator[tuple[Job, dict]]:
    """Jobs with their records, in the order in which they end. Closing the iterator stops all that run.

    Raises:
        OSError: processes can't be started.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[Job, dict | BaseException]] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    stations = [Station(threads) for _ in range(at_once)]
    workers = [threading.Thread(target=_work, args=(station, waiting, ended)) for station in stations]
    try:
        for worker in workers:
            worker.start()
        for _ in jobs:
            job, record = _next(ended)
            if isinstance(record, BaseException):
                raise record
            yield job, record
    finally:
        for station in stations:
            station.stop()
        for worker in workers:
            if worker.ident is not None:
                worker.join()


def _work(station: Station, waiting: queue.SimpleQueue, ended: queue.SimpleQueue) -> None:
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            ended.put((job, station.run(job)))
        except Cancelled:
            return
        except BaseException as error:  # noqa: BLE001, raised again by the one who waits
            ended.put((job, error))
            return


def _next(ended: queue.SimpleQueue) -> tuple[Job, dict | BaseException]:
    # On Windows, a wait without an end can't be interrupted.
    while True:
        try:
            return ended.get(timeout=_LOOK_EVERY_S)
        except queue.Empty:
            continue
