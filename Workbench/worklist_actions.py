"""What clicks on the worklist do: from scan to scan, how far each one is, and the finished set as a dataset."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from trame_server.state import State as PageState

from SpineContextSegLib.errors import InputRefused

from . import history
from .saving import Saving
from .store.dataset import export_dataset
from .store.entries import Entry, State
from .store.worklist import Worklist

TYPING_SECONDS = 1.0
# Of what is typed; so many that nobody meets it by writing.
NOTES_CHARACTERS = 100_000


class WorklistActions:
    """Leads through a worklist; `state.entry` is the number of the scan that is open."""

    def __init__(
        self, worklist: Worklist, saving: Saving, state: PageState, open_entry: Callable[[int], Awaitable[None]]
    ) -> None:
        """
        Args:
            saving: of the scan that is open.
            open_entry: opens a scan by its number, after what is open was saved in passing.
        """
        self._worklist, self._saving, self._state, self._open_entry = worklist, saving, state, open_entry
        # Scans, and folders of scans, that were named when the workbench was started.
        self.sources: list[Path] = []
        # Number of the entry -> its notes as they were last read or written here.
        self._known_notes: dict[int, str] = {}

    def show(self) -> None:
        """Lists all scans, and the share of each state."""
        entries = self._worklist.entries()
        self._state.entries = [
            {"number": entry.number, "name": entry.name, "state": entry.state.value,
             # Whatever state comes after "new", the run that came to nothing is history.
             "reason": entry.reason or (entry.problem if entry.state is State.NEW else None) or "",
             "notes": entry.notes, "by": entry.by, "changed": f"{entry.changed.astimezone():%d %b, %H:%M}"}
            for entry in entries
        ]  # fmt: skip
        progress = self._worklist.progress()
        self._state.cohort_counts = {state.value: count for state, count in progress.items()}
        self._state.cohort_share = {
            state.value: round(100 * count / max(len(entries), 1), 2) for state, count in progress.items()
        }
        finished = progress[State.DONE] + progress[State.REJECTED]
        self._state.cohort = f"{finished} of {len(entries)} finished"

    async def add_folder(self) -> None:
        """Lists what has been put into the data folder, or where the scans come from, since."""
        problems: list[str] = []
        places = [self._worklist.folder, *self.sources]
        await asyncio.to_thread(self._worklist.add, places, problems.append)
        self._state.remarks = problems
        self.show()

    async def open_other(self, number: int) -> None:
        """The one that was clicked; one that is open already stays as it is, with its way back, unless there is more of
        it that others have saved."""
        if number != self._state.entry or self._saving.is_behind():
            await self._open_entry(number)

    async def open_next(self) -> None:
        """The next one that is neither done nor rejected, from the first on after the last."""
        entry = self._worklist.next_open(self._state.entry) or self._worklist.next_open()
        if entry is None or entry.number == self._state.entry:
            raise InputRefused("No other scan is open: all are done or rejected.")
        await self._open_entry(entry.number)

    async def open_previous(self) -> None:
        """The one before in the list."""
        entry = self._worklist.previous(self._state.entry or 0)
        if entry is None:
            raise InputRefused("This is the first scan of the list.")
        await self._open_entry(entry.number)

    async def finish(self) -> None:
        """Saves what is unsaved, marks the scan as done and opens the next one."""
        if self._state.entry is None:
            raise InputRefused("Open a scan first.")
        number = self._state.entry
        if self._saving.is_unsaved:
            await self._saving.save("correction")
        else:
            # What was kept in passing and undone since is nothing to be recovered.
            await self._saving.autosave()
        self._worklist.set_state(number, State.DONE, seen=self._saving.shown_number())
        self.show()
        if self._worklist.next_open() is not None:
            await self.open_next()

    def note_correction(self, number: int) -> None:
        """A correction of a scan was saved; what is done holds the version before it, so it is no longer done."""
        self._worklist.set_problem(number, None)
        if self._worklist.entry(number).state in (State.NEW, State.SEGMENTED, State.DONE):
            self._worklist.set_state(number, State.IN_CORRECTION)

    def note_result(self, number: int) -> None:
        """A run on a scan came to something; what is done doesn't hold it, as with a correction."""
        self._worklist.set_problem(number, None)
        if self._worklist.entry(number).state in (State.NEW, State.DONE):
            self._worklist.set_state(number, State.SEGMENTED)

    def reject(self, number: int, reason: str) -> None:
        """Marks a scan as rejected. The page sends what it shows with the click: its state may come a moment later."""
        self._worklist.set_state(int(number), State.REJECTED, str(reason))
        self._state.rejecting = None
        self.show()

    def reopen(self, number: int) -> None:
        """Takes a scan out of "done" or "rejected"."""
        self._worklist.reopen(int(number))
        self.show()

    def show_history(self) -> None:
        """Lists who changed what in the scan that is open, and when."""
        self._state.update({"history": history.lines(self._worklist.history(self._state.entry)), "history_shown": True})

    def note_shown(self, entry: Entry) -> None:
        """These notes are on the page from now on, to be written on."""
        self._known_notes[entry.number] = entry.notes

    def keep_notes(self, number: int, text: str) -> None:
        """Saves the notes that were typed, below what somebody else has written since; another scan may be opened by
        now.

        Raises:
            InputRefused: they are too long; nothing is cut.
        """
        number, text = int(number), str(text)
        theirs = self._worklist.entry(number).notes
        known = self._known_notes.get(number, theirs)
        if text == known:
            return
        if len(text) > NOTES_CHARACTERS:
            raise InputRefused(f"Notes can have {NOTES_CHARACTERS:,} characters, not {len(text):,}: shorten them.")
        if theirs not in (known, text):
            text = f"{theirs}\n{text}"
            if number == self._state.entry:
                self._state.notes = text
        self._worklist.set_notes(number, text)
        self._known_notes[number] = text
        self.show()

    async def keep_typed_notes(self) -> None:
        """Saves the notes if no key is hit for a moment; a field that is left saves them at once."""
        number, text = self._state.entry, self._state.notes
        await asyncio.sleep(TYPING_SECONDS)
        if number is not None and (number, text) == (self._state.entry, self._state.notes):
            self.keep_notes(number, text)

    async def export_set(self) -> None:
        """Writes all scans that are done as a dataset beside the data folder, see `store.dataset`."""
        folder, loop = self._worklist.folder, asyncio.get_running_loop()
        if folder.parent in self.sources:
            # The data folder lies in the folder of the scans, where a batch would take the dataset for more of them.
            folder = folder.parent

        def count(done: int, total: int) -> None:
            with self._state:
                self._state.status = f"Exporting the finished set, {done} of {total}..."

        self._state.update({"exporting": True, "status": "Exporting the finished set..."})
        self._state.flush()
        try:
            report = await asyncio.to_thread(
                export_dataset, self._worklist, folder.parent / f"{folder.name}-dataset-{datetime.now():%Y%m%d-%H%M%S}",
                on_entry=lambda *counts: loop.call_soon_threadsafe(count, *counts),
            )  # fmt: skip
            finished = len(report.exported) + len(report.left_out)
            self._state.status = f"Exported {len(report.exported)} of {finished} finished scans to '{report.dataset}'."
            left_out = [f"Number {number} was left out: {why}" for number, why in report.left_out.items()]
            self._state.remarks = [*left_out, *report.notes]
        finally:
            self._state.exporting = False
