"""The application: its parts, the server around them; a scan opened, segmented, saved, while slow work waits beside."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from trame.app import get_server
from trame_slicer import module as trame_slicer_module

from SpineContextSegLib.checks import NO_SPINE
from SpineContextSegLib.dicom_folder import is_dicom
from SpineContextSegLib.errors import Cancelled, InputRefused, UnlikelyValues
from SpineContextSegLib.faults import describe
from SpineContextSegLib.model import list_models
from SpineContextSegLib.mrml.segment_voxels import overlap_remarks
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.run_words import TimeLeft, done_text, progress_text, stage_text
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import Request

from . import web
from .bearings import Bearings
from .clicks import Clicks
from .editing import Editing, Tool
from .exports import DICOM_SEG, EXPORTS, Exports
from .level_choice import LevelChoice
from .levels import LevelRepair
from .page import build
from .page_state import NOTHING_ASKED, STATE
from .routes import Routes
from .saving import Saving
from .scene import Scene
from .segment_all import SegmentAll
from .segment_list import SegmentList
from .segment_run import SegmentRun
from .shortcuts import press
from .store.batch_results import take_over
from .store.entries import State
from .store.scan_names import without_ending
from .store.versions import Version
from .store.worklist import Worklist
from .tool_choice import ToolChoice
from .uploads import Uploads
from .version_list import VersionList
from .views import make_layout
from .worklist_actions import WorklistActions


class Workbench:
    """One server with one scene, for one person; several tabs show the same."""

    def __init__(
        self, data_folder: Path, *, by: str, token: str, upload_bytes: int, model: str, threads: int | None
    ) -> None:
        """
        Args:
            data_folder: holds the worklist and what was uploaded.
            by: the name that saved versions and changes of the worklist carry.
            token: see `guard`.
            upload_bytes: see `uploads.Uploads`.
            model: the one that is chosen at first, see `worker.Request`; the page lists the others that are known.
            threads: of the runs.
        """
        self.server = get_server("SpineContextSegWorkbench", client_type="vue3")
        self.state = self.server.state
        self.state.update(STATE)
        # Each tab's own: one that is loaded again while it sends never says that it has ended.
        self.state.client_only("sending")
        self.server.enable_module(trame_slicer_module)
        self.server.enable_module(web)
        self._models, self._threads = list(dict.fromkeys((str(model), *list_models()))), threads
        self.state.update({"models": self._models, "model": self._models[0]})
        self.clicks = Clicks(self.state)
        self.scene = Scene()
        self.editing = Editing(self.scene)
        self.segments = SegmentList(self.scene, self.state)
        self.tools = ToolChoice(self.editing, self.state)
        self.levels = LevelChoice(LevelRepair(self.scene), self.state)
        self.worklist = Worklist.open(data_folder, by)
        self.saving = Saving(self.scene, by)
        self.version_list = VersionList(self.saving, self.state)
        self.worklist_actions = WorklistActions(self.worklist, self.saving, self.state, self.open_entry)
        self.all_new = SegmentAll(
            self.worklist, by, self.state, lambda number: self.clicks.guarded(self._show_result_of(number))
        )
        self.exports = Exports()
        self._run: SegmentRun | None = None
        self._reading_notes: list[str] = []
        layout = make_layout(self.server, self.scene.app)
        self.bearings = Bearings(self.scene, self.state)
        self._download = build(self, layout)
        self._observe()
        self._begin_with_list()
        uploads = Uploads(data_folder, upload_bytes)
        routes = Routes(
            uploads, self.exports, self.worklist, self.clicks, token, self._open_upload, self._autosave
        )  # fmt: skip
        self.server.controller.on_server_bind.add(routes.bind)
        self.server.controller.on_server_ready.add(lambda **_: self.clicks.start(self._keep_autosaving()))

    def _begin_with_list(self) -> None:
        self.worklist_actions.show()
        if self.state.entries:
            self.state.tab = "worklist"

    def _observe(self) -> None:
        for changed in self.scene.editor.signals():
            changed.connect(self.segments.show)
        self.scene.editor.active_effect_name_changed.connect(self.tools.follow)
        self.scene.undo_stack.index_changed.connect(self._show_changes)
        self.scene.undo_stack.index_changed.connect(self._end_status)
        self.scene.undo_stack.clean_changed.connect(self._show_changes)
        state = self.state
        state.change("brush_mm", "sphere", "limited", "limits", "keep_inside")(lambda **_: self.tools.apply_sizes())
        state.change("show_3d")(lambda **_: self.scene.show_surfaces(bool(state.show_3d)))
        state.change("opacity")(lambda **_: self.segments.set_opacity())
        state.change("notes")(lambda **_: self.clicks.start(self.worklist_actions.keep_typed_notes()))
        state.change("which", "thoracic", "lumbar")(lambda **_: self.levels.show_sequence())
        self.server.controller.trigger("workbench_key")(partial(press, self))

    def _show_changes(self, *_: object) -> None:
        """What there is now, and whether a step back, a step forth and saving make sense."""
        stack = self.scene.undo_stack
        self.state.update({
            "can_undo": stack.can_undo(), "can_redo": stack.can_redo(), "unsaved": self.saving.is_unsaved,
        })  # fmt: skip
        self.segments.let_go()
        self.segments.show()
        self.levels.show()

    def _end_status(self, *_: object) -> None:
        """What was said last is no longer so after a change; a repair says what it has to say after its own."""
        stack = self.scene.undo_stack
        if stack.can_undo() or stack.can_redo():
            self.state.update({"status": "", "remarks": []})

    def _refresh(self) -> None:
        self._show_changes()
        self.worklist_actions.show()

    def close(self) -> None:
        """After the server has ended; what is unsaved is kept."""
        for number in (signal.SIGINT, signal.SIGTERM):
            # Whoever asks twice, as a terminal that is closed does, shall not lose it.
            signal.signal(number, signal.SIG_IGN)
        with self.clicks.in_words():
            # On the server's own loop: a save that it was in the middle of comes to its end there, and lets others in.
            asyncio.get_event_loop().run_until_complete(self.saving.autosave())
        self.saving.end()
        self.exports.remove()

    # Opening

    def take_over(self, folder: Path, on_problem: Callable[[str], None]) -> None:
        """Lists the results of a batch, see `store.batch_results`."""
        take_over(self.worklist, folder, on_problem)
        self._begin_with_list()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Lists scans of this computer, and those in folders, and opens the first one that isn't finished.

        Raises:
            InputRefused: there is none. What else can't be read is told on the page.
        """
        problems: list[str] = []
        self.worklist_actions.sources = [Path(os.path.abspath(path)) for path in paths]
        entries = self.worklist.add(paths, problems.append)
        if not entries:
            raise InputRefused(problems[0])
        self.worklist_actions.show()
        self.state.tab = "segments"
        first = next((entry for entry in entries if entry.state not in (State.DONE, State.REJECTED)), entries[0])

        async def open_first() -> None:
            await self.open_entry(first.number)
            self.state.remarks = problems

        self.server.controller.on_server_ready.add(lambda **_: self.clicks.start(open_first()))

    @contextmanager
    def _taking_the_scene(self):
        """Nothing else may be put into the scene meanwhile; entered before anything is waited for."""
        if self.state.opening or self.state.running:
            raise InputRefused("Wait until the work on this scan has ended, or cancel it.")
        self.state.opening = True
        self.state.flush()
        try:
            yield
        finally:
            self.state.opening = False
            self._refresh()

    async def open_entry(self, number: int, read: tuple[Volume, list[str]] | None = None) -> None:
        """Opens a scan of the worklist with its newest version, after what is open was saved in passing.

        Args:
            number: of the entry.
            read: what `read_volume` returned for it, where it was read already.
        """
        with self._taking_the_scene():
            await self.saving.autosave()
            entry = self.worklist.entry(int(number))
            path = await asyncio.to_thread(self.worklist.locate, entry.number)
            versions = await asyncio.to_thread(self.worklist.versions, entry.number)
            volume, notes = read or await asyncio.to_thread(read_volume, path)
            latest, problem = await asyncio.to_thread(versions.latest), ""
            try:
                labels = latest and await asyncio.to_thread(versions.load, latest)
            except InputRefused as refusal:
                labels, problem = None, str(refusal)
            # What was done meanwhile, too; from here on nothing is waited for until all is shown.
            while await self.saving.autosave():
                pass
            if self.state.entry is not None:
                self.worklist_actions.keep_notes(self.state.entry, self.state.notes)
            # Its own may be among them.
            entry = self.worklist.entry(entry.number)
            self.scene.show(volume, without_ending(entry.name))
            self.tools.fit(volume.array)
            self.saving.begin(versions)
            self.state.update({
                "scan_name": entry.name, "entry": entry.number, "notes": entry.notes, "can_force": False,
                "is_dicom": is_dicom(path), "status": f"Opened '{entry.name}'.",
                "under_mouse": "", **NOTHING_ASKED,
            })  # fmt: skip
            self.worklist_actions.note_shown(entry)
            self.worklist.note_versions([entry.number])
            if labels is not None:
                try:
                    self.saving.show(latest, labels)
                    self.scene.go_to_spine()
                except InputRefused as refusal:
                    problem = str(refusal)
            self._reading_notes = notes
            self._warn()
            self.state.remarks = []
            if problem:
                self.state.notice = problem
            self.version_list.offer_found()
            # The scene has forgotten what is set. Last, as a page may have set what is refused.
            self.tools.apply_sizes()
            self.segments.set_opacity()

    async def _open_upload(self, number: int, read: tuple[Volume, list[str]] | None) -> None:
        """Lists a scan that came in, and opens it where the scene is free."""
        self.worklist_actions.show()
        if self.state.opening or self.state.running:
            raise InputRefused(f"Listed as number {number}: open it when the work on this scan has ended.")
        await self.open_entry(number, read)

    def _warn(self, report: dict | None = None) -> None:
        """What to look at in this scan: shown at first, and again by the button with their number."""
        # A result from outside may tell of reading, too.
        sentences = list(dict.fromkeys([*self._reading_notes, *self.saving.warnings(report)]))
        self.state.update({"warnings": sentences, "warnings_shown": True})

    async def recover(self) -> None:
        """Brings back work that was only saved in passing."""
        version = self.saving.found
        if version is not None:
            await self._bring_back(version)
            self.state.status = "The unsaved work is back: look at it, then save it."
        self.state.recovery = None

    async def bring_back(self, name: str) -> None:
        """Shows another version of this scan, see `VersionList`."""
        self.state.versions_shown = False
        version = self.version_list.find(name)
        await self._bring_back(version)
        self.state.status = f"Version {version.number} is back; saved, it is the newest one."

    async def _bring_back(self, version: Version) -> None:
        with self._taking_the_scene():
            if await self.saving.bring_back(version) is not None:
                self.worklist_actions.note_correction(self.state.entry)
            self.scene.go_to_spine()

    def forget(self) -> None:
        """That work isn't wanted."""
        self.state.recovery = None
        self.saving.set_aside_found()

    # Segmenting

    async def segment(self, replace: bool = False, force: bool = False) -> None:
        """Runs the network on the scan in a process of its own."""
        if self.scene.volume_node is None or self._run is not None:
            return
        if self.state.all_running:
            raise InputRefused("All new scans are being segmented: wait for that, or cancel it in the tab Worklist.")
        if self.state.opening:
            raise InputRefused("Wait until the scan is open.")
        if not replace and self.scene.editor.n_segments and self.saving.holds_corrections():
            self.state.update({"ask_replace": True, "replace_forced": force})
            return
        # Before anything is waited for, so that no other scan is opened meanwhile.
        self._run = SegmentRun(self._on_stage, self._on_progress)
        self._time_left, loop = TimeLeft(), asyncio.get_running_loop()
        started = loop.time()
        self.tools.choose(Tool.NONE.value)
        self.state.update({"running": True, "progress": None, "can_force": False, "status": stage_text("read")})
        self.state.flush()
        try:
            await self.saving.autosave()
            result = await self._run.segment(self.scene.volume(), self._request(force))
            if not result.report["structures"]:
                self.state.remarks = result.report["warnings"] or [NO_SPINE]
                self.state.status = "Nothing was found, nothing was changed."
                return
            await self.saving.keep()
            self.scene.write_result(result.labels, result.report)
            self.saving.mark_unsaved()
            self.scene.go_to_spine()
            self._warn(result.report)
            self.state.remarks = overlap_remarks(self.scene.labels()[-1], "the saved result")
            names = self.scene.editor.get_segment_names()
            self.state.status = done_text(self.state.scan_name, names, loop.time() - started)
            await self._save_result(result.report)
            self.worklist_actions.note_result(self.state.entry)
        except UnlikelyValues as refusal:
            self.state.update({"notice": str(refusal), "can_force": True, "status": ""})
        except Cancelled:
            raise
        except Exception:
            self.state.status = ""
            raise
        finally:
            self._run = None
            self.state.update({"running": False, "progress": None})
            self._refresh()

    async def _save_result(self, report: dict) -> None:
        try:
            await self.saving.save("model", report)
        except OSError as error:
            raise OSError(f"The result is shown but not saved: {describe(error)} Then press Save.") from error

    def _request(self, force: bool) -> Request:
        # A page may send anything, and a model may be a path, too.
        if self.state.model not in self._models:
            raise InputRefused("There is no such model: choose one of the list.")
        structures = "all" if self.state.structures_all else "spine"
        return Request(self.state.model, "auto", "auto", self._threads, structures, force)

    async def segment_all(self) -> None:
        """Runs the network on every new scan of the worklist; meanwhile others can be corrected."""
        if self.state.all_running or self.state.running:
            raise InputRefused("Wait until the run has ended, or cancel it.")
        try:
            await self.all_new.start(self._request(force=False))
        finally:
            # What came of the last scan, too, where its own moment failed.
            self.worklist_actions.show()

    async def _show_result_of(self, number: int) -> None:
        """Lists what came of a scan, and shows the result where the scan is open and nothing was done on it."""
        self.worklist_actions.show()
        untouched = not self.scene.editor.n_segments and not self.saving.is_unsaved and not self.state.opening
        if self.state.entry == number and untouched and self.worklist.entry(number).problem is None:
            await self.open_entry(number)

    def cancel(self) -> None:
        """Ends the run."""
        if self._run is not None:
            self.state.status = "Cancelling..."
            self._run.cancel()

    def _on_stage(self, name: str) -> None:
        with self.state:
            self.state.status = stage_text(name)

    def _on_progress(self, done: int, total: int) -> None:
        with self.state:
            self.state.progress = round(100 * done / max(total, 1))
            self.state.status = progress_text(done, total, self._time_left.update(done, total))

    # Saving

    async def save(self) -> None:
        """Saves the corrections as a version of their own."""
        if self.scene.volume_node is None:
            return
        # Another scan may be open when it is saved.
        number = self.state.entry
        version = await self.saving.save("correction")
        self.worklist_actions.note_correction(number)
        self.state.status = f"Saved as version {version.number}."
        self._refresh()

    async def _autosave(self) -> None:
        version = await self.saving.autosave()
        if version is not None:
            self.state.status = f"Saved in passing at {version.saved.astimezone():%H:%M:%S}."

    async def _keep_autosaving(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.saving.is_due:
                await self.clicks.guarded(self._autosave())

    async def export(self, form: str) -> None:
        """Hands the segmentation to the browser as a file."""
        if self.scene.volume_node is None:
            raise InputRefused("Open a scan first.")
        if form == DICOM_SEG:
            locate = partial(self.worklist.locate, self.state.entry)
            key, remarks = await self.exports.make_dicom_seg(
                self.scene, locate, self.saving.model(), self.saving.holds_corrections()
            )
        else:
            key, remarks = self.exports.make(self.scene, form)
        self.state.remarks = remarks
        self.state.status = f"Exported: {EXPORTS[form]}."
        self._download.exec(f"export/{key}")
