"""Every new scan of the worklist is segmented, one after the other, while others are looked at and corrected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from trame_server.state import State as PageState

from SpineContextSegLib.checks import NO_SPINE
from SpineContextSegLib.errors import Cancelled, InputRefused
from SpineContextSegLib.faults import in_words
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.worker import Request, WorkerResult

from .segment_run import SegmentRun
from .store.entries import Entry, State
from .store.worklist import Worklist


class SegmentAll:
    """Scans that fail are marked with the reason, and the rest go on."""

    def __init__(
        self, worklist: Worklist, by: str, state: PageState, on_scan: Callable[[int], Awaitable[None]]
    ) -> None:
        """
        Args:
            by: whose results these are.
            on_scan: gets the number of each scan, once its result or the reason why there is none is in the worklist.
        """
        self._worklist, self._by, self._state, self._on_scan = worklist, by, state, on_scan
        self._run: SegmentRun | None = None
        self._cancelled = False

    async def start(self, request: Request) -> None:
        """Goes through all that are new now.

        Raises:
            InputRefused: there are none.
        """
        waiting = [entry.number for entry in self._worklist.entries() if entry.state is State.NEW]
        if not waiting:
            raise InputRefused("No scan is new: there is nothing left to be segmented.")
        self._cancelled, done, failed, unnoted = False, 0, 0, []
        self._state.update({"all_running": True, "all_share": 0})
        try:
            for place, number in enumerate(waiting):
                try:
                    is_done = await self._work_on(number, request, place, len(waiting))
                except Cancelled:
                    break
                except Exception as error:  # noqa: BLE001, one moment of trouble must not end the night
                    logging.exception("What came of number %d could not be noted", number)
                    unnoted.append(str(number))
                    is_done, trouble = False, in_words(error)
                done, failed = done + (is_done is True), failed + (is_done is False)
        finally:
            self._state.update({"all_running": False, "all_text": ""})
        words = f"{done} of {len(waiting)} new scans were segmented"
        self._state.status = f"{words}, {failed} could not be: the list says why." if failed else f"{words}."
        if unnoted:
            self._state.remarks = [f"The list can't say what came of number {', '.join(unnoted)}: {trouble}"]

    def cancel(self) -> None:
        """Ends it within a second; the results so far stay."""
        self._cancelled = True
        if self._run is not None:
            self._run.cancel()

    async def _work_on(self, number: int, request: Request, place: int, count: int) -> bool | None:
        """Whether there is a result; None where somebody has worked on the scan meanwhile. Raises Cancelled."""
        if self._cancelled:
            raise Cancelled
        entry = self._worklist.entry(number)
        if entry.state is not State.NEW:
            return None
        self._state.all_text = f"Scan {place + 1} of {count}: {entry.name}"
        self._state.flush()
        problem = await self._segment(entry, request, partial(self._show_share, place, count))
        self._worklist.set_problem(number, problem)
        await self._on_scan(number)
        return problem is None

    async def _segment(
        self, entry: Entry, request: Request, on_progress: Callable[[int, int], None]
    ) -> str | None:
        """Why there is no result, in a sentence; None where there is one. Raises Cancelled."""
        try:
            path = await asyncio.to_thread(self._worklist.locate, entry.number)
            versions = await asyncio.to_thread(self._worklist.versions, entry.number)
            begun_after = await asyncio.to_thread(versions.newest_number)
            volume, _ = await asyncio.to_thread(read_volume, path)
            self._run = SegmentRun(lambda name: None, on_progress)
            if self._cancelled:
                raise Cancelled
            result = await self._run.segment(volume, request)
            if not result.report["structures"]:
                return " ".join(result.report["warnings"] or [NO_SPINE])
            await asyncio.to_thread(self._keep, entry, result, begun_after)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001, the rest must go on
            return in_words(error)
        finally:
            self._run = None

    def _keep(self, entry: Entry, result: WorkerResult, begun_after: int) -> None:
        """A correction that was made meanwhile stays the latest version, see `Versions.latest`."""
        names = {item["value"]: item["name"] for item in result.report["structures"]}
        self._worklist.versions(entry.number).save(
            result.labels, names, kind="model", by=self._by, report=result.report, begun_after=begun_after
        )
        if self._worklist.entry(entry.number).state is State.NEW:
            self._worklist.set_state(entry.number, State.SEGMENTED)

    def _show_share(self, place: int, count: int, done: int, total: int) -> None:
        with self._state:
            self._state.all_share = round(100 * (place + done / max(total, 1)) / count)
