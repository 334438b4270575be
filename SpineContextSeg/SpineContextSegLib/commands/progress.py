"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys

from ..outputs import print_if_possible


class Bar:
    """Counts `unit`s done of a total that is known only once the work reports, and may grow."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar = None

    def update(self, done: int, total: int) -> None:
        """A progress callback."""
        if self._bar is None:
            from tqdm import tqdm

            # disable=None: off where stderr is no terminal.
            self._bar = tqdm(total=total, unit=f" {self._unit}", file=sys.stderr, disable=None, leave=False)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def say(self, text: str) -> None:
        """A line above the bar, on stdout."""
        if self._bar is None:
            print_if_possible(text)
            return
        with self._bar.external_write_mode(file=sys.stdout):
            print_if_possible(text)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
