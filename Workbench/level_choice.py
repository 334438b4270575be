"""The levels on the page: which vertebra is chosen, which level it can get, and what the buttons below do."""

from __future__ import annotations

from trame_server.state import State as PageState

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import level_name
from SpineContextSegLib.mrml.levels import Levels
from SpineContextSegLib.repair import level_sequence

from .levels import LevelRepair


class LevelChoice:
    """Shows the vertebrae of the segmentation, and hands what was chosen to `LevelRepair`."""

    def __init__(self, repair: LevelRepair, state: PageState) -> None:
        self._repair, self._state = repair, state
        self._counted: Levels | None = None

    def show(self) -> None:
        """The vertebrae that are there now; the one that was chosen stays so, whatever it is called.

        So do the numbers of thoracic and lumbar vertebrae while the same segmentation is shown and has no more, as
        nothing in a column without T12 says that it has none.
        """
        state, refusal = self._state, self._repair.refusal
        names = [] if refusal else self._repair.names()
        values, items = [value for value, _ in names], [{"title": name, "value": value} for value, name in names]
        state.levels_refusal = refusal
        is_changed, is_another = state.level_names != items, bool(names) and self._counted is not self._repair.levels
        if is_another or (is_changed and not set(values) <= set(self._column())):
            state.thoracic, state.lumbar = self._repair.counts()
            self._counted = self._repair.levels
        if is_changed:
            before = [item["value"] for item in state.level_names]
            state.level_names = items
            if names:
                state.which = _same_vertebra(state.which, before, values)
            self.show_sequence()

    def show_sequence(self) -> None:
        """All levels of a column with as many vertebrae as are set."""
        state = self._state
        sequence = self._column()
        state.all_levels = [{"title": level_name(value), "value": value} for value in sequence]
        state.level = state.which if state.which in sequence else sequence[0]

    def _column(self) -> tuple[int, ...]:
        return level_sequence(int(self._state.thoracic), int(self._state.lumbar))

    def repair(self, repair: str) -> None:
        """See `LevelRepair.do`; the stack of undos tells of the change."""
        state = self._state
        if state.running or self._repair.refusal:
            raise InputRefused(self._repair.refusal or "Wait until the run has ended, or cancel it.")
        chosen = (int(number) for number in (state.which, state.level, state.thoracic, state.lumbar))
        state.remarks = self._repair.do(repair, *chosen)


def _same_vertebra(which: int | None, before: list[int], after: list[int]) -> int:
    """What the chosen vertebra is called now, from all values top to bottom `before` and `after` a repair."""
    if which in before and len(before) == len(after):
        return after[before.index(which)]
    return which if which in after else after[0]
