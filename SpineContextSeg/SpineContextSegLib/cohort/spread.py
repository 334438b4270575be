"""Many scans on many machines: Dask's scheduler hands them out, its workers run them in child processes of their own.

A worker that dies takes nothing along but its scan's time: its child ends with it and removes what isn't whole, and the
scheduler hands the scan to another worker.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from .. import __version__
from ..errors import InputRefused
from ..faults import describe
from .job import Job
from .on_worker import end_stations, segment_on_worker
from .records import leave_record

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 10
_LOOK_EVERY_S, _COUNT_EVERY_S = 0.1, 1.0

SCHEDULER_GONE = "The Dask scheduler has gone: start it again, and run the same command again to go on."


def connect(address: str) -> Client:
    """A connection to a running scheduler.

    Raises:
        InputRefused: Dask isn't installed, or no scheduler answers.
    """
    if importlib.util.find_spec("distributed") is None:
        raise InputRefused(
            "--scheduler needs Dask's package distributed, which isn't installed: pip install 'spinecontextseg[cohort]'"
            " here and on every machine that is to work."
        )
    from distributed import Client

    # What it would say there is said in sentences here.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:  # ImportError: a protocol that isn't there
        raise InputRefused(
            f"No Dask scheduler answers at '{address}': start one with 'dask scheduler' and workers with 'dask worker "
            "ADDRESS --nthreads 1', and give its address, as tcp://host:8786."
        ) from error


def run_spread(
    jobs: Sequence[Job], client: Client, threads: int | None, say: Callable[[str], None]
) -> Iterator[tuple[Job, dict]]:
    """Jobs with their records, in the order in which they end. Closing the iterator stops all that run.

    Args:
        jobs: of one batch.
        client: see `connect`.
        threads: for each scan; None leaves it to the workers.
        say: gets sentences for the user.

    Raises:
        OSError: the scheduler is gone.
    """
    waiting, running = [*jobs[::-1]], {}
    batch = jobs[0].batch if jobs else ""
    counted, places, told = 0.0, 0, False
    try:
        while waiting or running:
            if client.status != "running":
                raise OSError(SCHEDULER_GONE)
            if time.monotonic() > counted + _COUNT_EVERY_S:
                counted, places = time.monotonic(), _places(client)
                if not places and not told:
                    say("The scheduler has no workers: waiting for some.")
                told = not places
            # No more than can run: what only waits on a worker that dies would count as guilty, too.
            while waiting and len(running) < places:
                job = waiting.pop()
                name = f"{Path(job.segmentation).name}-{uuid4().hex}"
                future = client.submit(segment_on_worker, job.to_json(), __version__, threads, key=name, pure=False)
                running[future] = job
            for future in [future for future in running if future.done()]:
                job = running.pop(future)
                yield job, _record(future, job)
            time.sleep(_LOOK_EVERY_S)
    finally:
        with suppress(Exception):  # whoever has gone has nothing left to stop
            client.cancel(list(running))
            client.run(end_stations, batch, on_error="ignore")


def _places(client: Client) -> int:
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise OSError(SCHEDULER_GONE) from error


def _record(future: Future, job: Job) -> dict:
    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if error is not None:
        message = str(error) if isinstance(error, RuntimeError) else describe(error)
    else:
        message = "The Dask scheduler dropped this scan: run again."
    return leave_record(job, "failed", message)
