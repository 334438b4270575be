"""Ctrl-C, a closed terminal or a polite kill: stop at the next safe place and clean up once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruption:
    """While entered, the first signal raises KeyboardInterrupt and later ones do nothing, so clean-up runs to its end.

    A KeyboardInterrupt can get lost where Python runs a destructor or a callback from C; `requested` remembers it.
    """

    def __init__(self) -> None:
        self.requested = False
        self._held = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        for number in _SIGNALS:
            # What the parent process chose to ignore (nohup) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_requested(self) -> bool:
        """For a callback that is asked between steps."""
        return self.requested

    def check(self) -> None:
        """Raises KeyboardInterrupt when one was asked for."""
        if self.requested:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Signals wait while this runs: for steps that must happen together."""
        self.check()
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        if first and not self._held:
            raise KeyboardInterrupt
