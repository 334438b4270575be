"""The answer that every click gets: faults become words on the page, and what takes long runs beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import contextmanager

from trame_server.state import State as PageState

from SpineContextSegLib.errors import Cancelled, InputRefused
from SpineContextSegLib.faults import describe


class Clicks:
    """Makes functions into what the page may call."""

    def __init__(self, state: PageState) -> None:
        self._state = state
        # The event loop alone doesn't keep them from being collected.
        self._tasks: set[asyncio.Task] = set()

    def attempt(self, act: Callable[..., object]) -> Callable[..., None]:
        """`act` as what a click does."""

        def click(*arguments) -> None:
            self._say("")
            with self.in_words():
                act(*arguments)

        return click

    def begin(self, act: Callable[..., Awaitable]) -> Callable[..., None]:
        """`act`, which waits for something, as what a click does."""

        def click(*arguments) -> None:
            self._say("")
            self.start(act(*arguments))

        return click

    def start(self, work: Awaitable) -> None:
        """Lets work run beside the page; its faults become words there."""
        task = asyncio.get_event_loop().create_task(self.guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def guarded(self, work: Awaitable) -> None:
        """Waits for work whose faults become words on the page."""
        with self._state, self.in_words():
            await work

    @contextmanager
    def in_words(self):
        """Turns faults into one sentence on the page."""
        try:
            yield
        except InputRefused as refusal:
            self._say(str(refusal))
        except Cancelled:
            self._state.status = "Cancelled, nothing was changed."
        except Exception as error:  # noqa: BLE001, a click must get an answer
            logging.exception("A click failed")
            self._say(describe(error))

    def _say(self, notice: str) -> None:
        # To segment anyway is offered beside the refusal of a run alone, which says so itself.
        self._state.update({"notice": notice, "can_force": False})
