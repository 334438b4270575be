"""The levels on the page: which vertebra is chosen, which level it can get, and what the buttons below do."""

from __future__ import annotations

from trame_server.state import State as PageState

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import level_name, structure
from SpineContextSegLib.mrml.levels import Levels
from SpineContextSegLib.repair import level_sequence

from .levels import LevelRepair


class LevelChoice:
    """Shows the vertebrae of the segmentation, and hands what was chosen to `LevelRepair`."""

    def __init__(self, repair: LevelRepair, state: PageState) -> None:
        self._repair, self._state = repair, state
        self._counted: Levels | None = None
        # The segments behind the values that the page offers, as levels go from one to another.
        self._segments: dict[int, str] = {}

    def show(self) -> None:
        """The vertebrae that are there now; the one that was chosen stays so, whatever it is called.

        So do the numbers of thoracic and lumbar vertebrae while the same segmentation is shown and has no more, as
        nothing in a column without T12 says that it has none.
        """
        state, refusal = self._state, self._repair.refusal
        segments = {vertebra.value: vertebra.segment_id for vertebra in self._repair.vertebrae()}
        items = [{"title": structure(value).abbreviation, "value": value} for value in segments]
        state.levels_refusal = refusal
        is_changed, is_another = self._segments != segments, bool(items) and self._counted is not self._repair.levels
        if is_another or (is_changed and not segments.keys() <= set(self._column())):
            state.thoracic, state.lumbar = self._repair.counts()
            self._counted = self._repair.levels
        if is_changed:
            state.level_names = items
            if items:
                state.which = _same_vertebra(state.which, self._segments, segments)
            self._segments = segments
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


def _same_vertebra(which: int | None, before: dict[int, str], after: dict[int, str]) -> int:
    """What the chosen vertebra is called now, from value -> segment ID `before` and `after` a repair."""
    called = {segment_id: value for value, segment_id in after.items()}
    return called.get(before.get(which), which if which in after else next(iter(after)))
