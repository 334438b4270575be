"""The application: what the page shows (its state) and what a click does. Slow work waits in threads and processes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

from aiohttp import web as http
from trame.app import get_server
from trame_slicer import module as trame_slicer_module

from SpineContextSegLib.checks import NO_SPINE
from SpineContextSegLib.dicom_seg import is_dicom
from SpineContextSegLib.errors import Cancelled, InputRefused, UnlikelyValues
from SpineContextSegLib.faults import describe
from SpineContextSegLib.labels import structure
from SpineContextSegLib.model import list_models
from SpineContextSegLib.mrml.edits import is_edited
from SpineContextSegLib.panel.words import TimeLeft, done_text, progress_text, stage_text
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.repair import level_sequence
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import Request

from . import web
from .editing import SMOOTHINGS, Editing, Tool
from .exports import DICOM_SEG, EXPORTS, Exports
from .guard import guard
from .levels import LevelRepair
from .numbers import BOUNDS, bounded
from .page import build
from .saving import AUTOSAVE_SECONDS, Saving
from .scene import Scene
from .segment_run import SegmentRun
from .store.dataset import export_dataset
from .store.worklist import State, Worklist
from .uploads import Uploads
from .views import make_layout

BONE_HU = [200, 3000]
# What a page shows before anything was done; the names that the page's parts use.
STATE = {
    "trame__title": "SpineContextSeg workbench",
    "scan_name": "", "entry": None, "is_dicom": False, "opening": False, "sending": False,
    "status": "", "notice": "", "warnings": [],
    "models": [], "model": "", "structures_all": False,
    "running": False, "progress": None, "can_force": False, "ask_replace": False,
    "segments": [], "active_segment": "", "unsaved": False, "can_undo": False, "can_redo": False,
    "tool": Tool.NONE.value, "brush_mm": 8, "sphere": False, "limited": False, "limits": BONE_HU,
    "smoothing": SMOOTHINGS[0], "smoothing_mm": 4, "island_voxels": 100,
    "show_3d": True, "opacity": 0.5, "renaming": False, "new_name": "", "new_color": "#ffffff",
    "levels_refusal": "", "level_names": [], "which": None, "level": None, "thoracic": 12, "lumbar": 5,
    "all_levels": [], "recovery": None, "entries": [], "cohort": "", "cohort_share": {}, "notes": "", "reason": "",
    "rejecting": False, "exporting": False, "tab": "segments", "show_shortcuts": False,
}  # fmt: skip


class Workbench:
    """One server with one scene, for one person; several tabs show the same."""

    def __init__(
        self, data_folder: Path, *, by: str, token: str | None, upload_bytes: int, model: str, threads: int | None
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
        self.server.enable_module(trame_slicer_module)
        self.server.enable_module(web)
        self._models, self._threads = list(dict.fromkeys((str(model), *list_models()))), threads
        self.state.update({"models": self._models, "model": self._models[0]})
        self.scene = Scene()
        self.editing = Editing(self.scene)
        self.repair = LevelRepair(self.scene)
        self.worklist = Worklist.open(data_folder, by)
        self.saving = Saving(self.scene, by)
        self.exports = Exports()
        self._uploads = Uploads(data_folder, upload_bytes)
        self._token = token
        self._run: SegmentRun | None = None
        self._tasks: set[asyncio.Task] = set()
        layout = make_layout(self.server, self.scene.app)
        self.page = build(self, layout)
        self._observe()
        self.server.controller.on_server_bind.add(self._bind)
        self.server.controller.on_server_ready.add(lambda **_: self._start(self._keep_autosaving()))

    def _observe(self) -> None:
        for signal in self.scene.editor.signals():
            signal.connect(self._list_segments)
        self.scene.undo_stack.index_changed.connect(self._show_undo)
        self.scene.undo_stack.clean_changed.connect(self._show_undo)
        state = self.state
        state.change("brush_mm", "sphere", "limited", "limits")(lambda **_: self._set_tools())
        state.change("show_3d")(lambda **_: self.scene.show_surfaces(bool(state.show_3d)))
        state.change("opacity")(lambda **_: self._set_opacity())
        state.change("which", "thoracic", "lumbar")(lambda **_: self._list_levels())
        self.server.controller.trigger("workbench_key")(self.press)

    # What the server does around the page

    def _bind(self, wslink_server) -> None:
        app = wslink_server.app
        app.middlewares.append(guard(self._token))
        app.middlewares.append(self._watch_connections)
        app.router.add_post("/upload", self._receive_upload)
        app.router.add_get("/export/{key}", self._send_export)

    @property
    def _watch_connections(self):
        @http.middleware
        async def watch(request, handler):
            try:
                return await handler(request)
            finally:
                if request.path == "/ws":
                    # A tab was closed or has crashed.
                    self._start(self._autosave())

        return watch

    async def _receive_upload(self, request: http.Request) -> http.Response:
        path = None
        try:
            path = await self._uploads.receive(request)
            read = await asyncio.to_thread(read_volume, path)
            entry = (await asyncio.to_thread(self.worklist.add, [path]))[0]
        except Exception as error:  # noqa: BLE001, whatever was sent
            if path is not None:
                self._uploads.discard(path)
            text = str(error) if isinstance(error, InputRefused) else describe(error)
            return http.Response(status=400, text=text)
        if entry.scan != path:
            # It is listed already, from another place.
            self._uploads.discard(path)
        self._start(self.open_entry(entry.number, read))
        return http.Response(text="")

    async def _send_export(self, request: http.Request) -> http.StreamResponse:
        path = self.exports.file(request.match_info["key"])
        if path is None:
            raise http.HTTPNotFound(text="This export is gone: export again.")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}"}
        return http.FileResponse(path, headers=headers)

    def _start(self, work: Awaitable) -> None:
        """Lets work run beside the page; its faults become words there."""
        task = asyncio.get_event_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Awaitable) -> None:
        with self.state, self._in_words():
            await work

    @contextmanager
    def _in_words(self):
        """Turns faults into one sentence on the page."""
        try:
            yield
        except InputRefused as refusal:
            self.state.notice = str(refusal)
        except Cancelled:
            self.state.status = "Cancelled, nothing was changed."
        except Exception as error:  # noqa: BLE001, a click must get an answer
            logging.exception("A click failed")
            self.state.notice = describe(error)

    def attempt(self, act: Callable[[], None]) -> Callable[[], None]:
        """`act` as what a click does."""

        def click(*arguments) -> None:
            self.state.notice = ""
            with self._in_words():
                act(*arguments)

        return click

    def begin(self, act: Callable[..., Awaitable]) -> Callable[[], None]:
        """`act`, which waits for something, as what a click does."""

        def click(*arguments) -> None:
            self.state.notice = ""
            self._start(act(*arguments))

        return click

    def close(self) -> None:
        """After the server has ended; what is unsaved is kept."""
        with self._in_words():
            asyncio.run(self.saving.autosave())
        self.exports.remove()

    # Opening

    def open_path(self, path: Path) -> None:
        """Lists a scan of this computer and opens it; of a folder of scans, lists all and opens the first open one.

        Raises:
            InputRefused: there is none. What else can't be read is told on the page.
        """
        problems: list[str] = []
        entries = self.worklist.add([path], problems.append)
        if not entries:
            raise InputRefused(problems[0])
        self._list_entries()
        first = next((entry for entry in entries if entry.state not in (State.DONE, State.REJECTED)), entries[0])

        async def open_first() -> None:
            await self.open_entry(first.number)
            self.state.warnings = [*self.state.warnings, *problems]

        self.server.controller.on_server_ready.add(lambda **_: self._start(open_first()))

    async def open_entry(self, number: int, read: tuple[Volume, list[str]] | None = None) -> None:
        """Opens a scan of the worklist with its newest version, after what is open was saved in passing.

        Args:
            number: of the entry.
            read: what `read_volume` returned for it, where it was read already.
        """
        if self.state.opening or self.state.running:
            raise InputRefused("Wait until the work on this scan has ended, or cancel it.")
        await self.saving.autosave()
        self.state.opening = True
        self.state.flush()
        try:
            entry = self.worklist.entry(int(number))
            path = await asyncio.to_thread(self.worklist.locate, entry.number)
            versions = await asyncio.to_thread(self.worklist.versions, entry.number)
            volume, notes = read or await asyncio.to_thread(read_volume, path)
            self.scene.show(volume, entry.name.split(".")[0])
            self.saving.begin(versions)
            self.state.update({
                "scan_name": entry.name, "entry": entry.number, "notes": entry.notes, "can_force": False,
                "is_dicom": is_dicom(path), "status": f"Opened '{entry.name}'.", "tool": Tool.NONE.value,
                "recovery": None,
            })  # fmt: skip
            self.worklist.note_versions([entry.number])
            latest, lost = self.saving.latest(), self.saving.recoverable()
            if latest is not None:
                await self.saving.show(latest)
                self.scene.go_to_spine()
            self.state.warnings = [*notes, *self.saving.warnings()]
            if lost is not None:
                self.state.recovery = f"{lost.saved.astimezone():%d %b %Y, %H:%M} by {lost.by}"
        finally:
            self.state.opening = False
            self._refresh()

    async def recover(self) -> None:
        """Brings back work that was only saved in passing."""
        self.state.recovery = None
        version = self.saving.recoverable()
        if version is not None:
            await self.saving.show(version)
            self.scene.go_to_spine()
            self.state.status = "The unsaved work is back: look at it, then save it."
        self._refresh()

    def forget(self) -> None:
        """That work isn't wanted."""
        self.state.recovery = None
        version = self.saving.recoverable()
        if version is not None:
            self.saving.set_aside(version)

    # Segmenting

    async def segment(self, replace: bool = False, force: bool = False) -> None:
        """Runs the network on the scan in a process of its own."""
        if self.scene.volume_node is None or self._run is not None:
            return
        if not replace and self.scene.editor.n_segments and self._holds_corrections():
            self.state.ask_replace = True
            return
        await self.saving.autosave()
        self.choose_tool(Tool.NONE.value)
        self._run = SegmentRun(self._on_stage, self._on_progress)
        self._time_left, loop = TimeLeft(), asyncio.get_running_loop()
        started = loop.time()
        self.state.update({"running": True, "progress": None, "can_force": False, "status": stage_text("read")})
        self.state.flush()
        try:
            structures = "all" if self.state.structures_all else "spine"
            # A page may send anything, and a model may be a path, too.
            if self.state.model not in self._models:
                raise InputRefused("There is no such model: choose one of the list.")
            request = Request(self.state.model, "auto", "auto", self._threads, structures, force)
            result = await self._run.segment(self.scene.volume(), request)
            if not result.report["structures"]:
                self.state.warnings = result.report["warnings"] or [NO_SPINE]
                self.state.status = "Nothing was found, nothing was changed."
                return
            self.scene.write_result(result.labels, result.report)
            self.scene.go_to_spine()
            self.state.warnings = result.report["warnings"]
            names = self.scene.editor.get_segment_names()
            self.state.status = done_text(self.state.scan_name, names[:6], loop.time() - started)
            await self.saving.save("model", result.report)
            if self.worklist.entry(self.state.entry).state is State.NEW:
                self.worklist.set_state(self.state.entry, State.SEGMENTED)
        except UnlikelyValues as refusal:
            self.state.update({"notice": str(refusal), "can_force": True, "status": ""})
        except InputRefused:
            self.state.status = ""
            raise
        finally:
            self._run = None
            self.state.update({"running": False, "progress": None})
            self._refresh()

    def _holds_corrections(self) -> bool:
        latest = self.saving.latest()
        is_corrected = latest is not None and latest.kind == "correction"
        return is_corrected or self.saving.is_unsaved or is_edited(self.scene.segmentation_node)

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

    # Segments

    def _list_segments(self, *_: object) -> None:
        editor = self.scene.editor
        self.state.segments = [
            {"id": segment_id, "name": item.name, "color": item.color_hex,
             "visible": bool(editor.get_segment_visibility(segment_id))}
            for segment_id, item in editor.get_all_segment_properties().items()
        ]  # fmt: skip
        self.state.active_segment = editor.active_segment_id

    def _show_undo(self, *_: object) -> None:
        stack = self.scene.undo_stack
        self.state.update({
            "can_undo": stack.can_undo(), "can_redo": stack.can_redo(), "unsaved": self.saving.is_unsaved,
        })  # fmt: skip
        self._list_segments()
        self._show_levels()

    def _refresh(self) -> None:
        self._show_undo()
        self._list_entries()

    def choose_segment(self, segment_id: str) -> None:
        """Tools work on it from now on."""
        self.scene.editor.set_active_segment_id(segment_id)
        self._list_segments()

    def toggle_segment(self, segment_id: str) -> None:
        """Hides or shows a segment."""
        editor = self.scene.editor
        editor.set_segment_visibility(segment_id, not editor.get_segment_visibility(segment_id))
        self._list_segments()

    def add_segment(self) -> None:
        """A new one without voxels, chosen."""
        if self.scene.segmentation_node is None:
            raise InputRefused("Open a scan first.")
        self.scene.editor.add_empty_segment()
        self._list_segments()

    def remove_segment(self, segment_id: str) -> None:
        """Can be undone."""
        self.scene.editor.remove_segment(segment_id)

    def edit_segment(self, segment_id: str) -> None:
        """Shows its name and color to be changed."""
        self.choose_segment(segment_id)
        item = self.scene.editor.get_segment_properties(segment_id)
        self.state.update({"renaming": True, "new_name": item.name, "new_color": item.color_hex})

    def apply_name(self) -> None:
        """Gives the chosen segment the name and color that were typed."""
        self.state.renaming = False
        segment_id = self.scene.editor.active_segment_id
        item = self.scene.editor.get_segment_properties(segment_id)
        if item is not None and str(self.state.new_name).strip():
            item.name, item.color_hex = str(self.state.new_name).strip()[:100], self.state.new_color
            self.scene.editor.set_segment_properties(segment_id, item)

    def _set_opacity(self) -> None:
        display = self.scene.editor.active_segmentation_display
        if display is not None:
            display.set_opacity_2d(bounded(self.state, "opacity"))

    # Tools

    def choose_tool(self, name: str) -> None:
        """A `Tool`; the one that is in use is put down."""
        tool = Tool(name)
        if self.state.running and tool is not Tool.NONE:
            raise InputRefused("Wait until the run has ended, or cancel it: its result replaces the segments.")
        tool = Tool.NONE if self.state.tool == tool.value else tool
        self._set_tools()
        self.editing.choose(tool)
        self.state.tool = tool.value

    def _set_tools(self) -> None:
        """A scene that was emptied has forgotten the sizes."""
        state = self.state
        self.editing.set_brush(bounded(state, "brush_mm"), bool(state.sphere))
        self.editing.limit_to(*bounded(state, "limits"), bool(state.limited))

    def press(self, name: str) -> None:
        """A key, by the name of what it does (`web/workbench.js`)."""
        least, greatest = BOUNDS["brush_mm"]
        resize = lambda factor: min(max(round(bounded(self.state, "brush_mm") * factor, 1), least), greatest)
        active = self.scene.editor.active_segment_id
        if name in ("save", "next", "previous"):
            return self.begin({"save": self.save, "next": self.open_next, "previous": self.open_previous}[name])()
        keys: dict[str, Callable[[], object]] = {
            **{tool.value: lambda tool=tool: self.choose_tool(tool.value) for tool in Tool},
            "larger": lambda: self.state.update({"brush_mm": resize(1.25)}),
            "smaller": lambda: self.state.update({"brush_mm": resize(0.8)}),
            "go_to": lambda: active and self.scene.go_to(active),
            "hide": lambda: active and self.toggle_segment(active),
            "undo": self.editing.undo,
            "redo": self.editing.redo,
            "shortcuts": lambda: self.state.update({"show_shortcuts": not self.state.show_shortcuts}),
        }
        if name in keys and not (self.state.running and name in ("undo", "redo")):
            self.attempt(keys[name])()

    def smooth(self) -> None:
        """The chosen segment, in the way and by the size that are set."""
        self.editing.smooth(self.state.smoothing, bounded(self.state, "smoothing_mm"))

    def remove_small_islands(self) -> None:
        """Of the chosen segment, those below the size that is set."""
        self.editing.remove_small_islands(int(bounded(self.state, "island_voxels")))

    # Levels

    def _show_levels(self) -> None:
        refusal = self.repair.refusal
        names = [] if refusal else self.repair.names()
        self.state.levels_refusal = refusal
        if self.state.level_names != [{"title": name, "value": value} for value, name in names]:
            before = [item["value"] for item in self.state.level_names]
            self.state.level_names = [{"title": name, "value": value} for value, name in names]
            if names:
                self.state.thoracic, self.state.lumbar = self.repair.counts()
                self.state.which = _same_vertebra(self.state.which, before, [value for value, _ in names])
            self._list_levels()

    def _list_levels(self) -> None:
        sequence = level_sequence(int(self.state.thoracic), int(self.state.lumbar))
        self.state.all_levels = [{"title": structure(value).abbreviation, "value": value} for value in sequence]
        self.state.level = self.state.which if self.state.which in sequence else sequence[0]

    def repair_levels(self, repair: str) -> None:
        """See `LevelRepair.do`."""
        state = self.state
        if state.running or self.repair.refusal:
            raise InputRefused(self.repair.refusal or "Wait until the run has ended, or cancel it.")
        remarks = self.repair.do(repair, int(state.which), int(state.level), int(state.thoracic), int(state.lumbar))
        state.warnings = remarks
        self._show_undo()

    # Saving

    async def save(self) -> None:
        """Saves the corrections as a version of their own."""
        if self.scene.volume_node is None:
            return
        version = await self.saving.save("correction")
        if self.worklist.entry(self.state.entry).state in (State.NEW, State.SEGMENTED):
            self.worklist.set_state(self.state.entry, State.IN_CORRECTION)
        self.state.status = f"Saved as version {version.number}."
        self._refresh()

    async def _autosave(self) -> None:
        version = await self.saving.autosave()
        if version is not None:
            self.state.status = f"Saved in passing at {version.saved.astimezone():%H:%M:%S}."

    async def _keep_autosaving(self) -> None:
        while True:
            await asyncio.sleep(AUTOSAVE_SECONDS)
            await self._guarded(self._autosave())

    async def export(self, form: str) -> None:
        """Hands the segmentation to the browser as a file."""
        if self.scene.volume_node is None:
            raise InputRefused("Open a scan first.")
        if form == DICOM_SEG:
            locate = partial(self.worklist.locate, self.state.entry)
            key, remarks = await self.exports.make_dicom_seg(
                self.scene, locate, self.saving.model(), self._holds_corrections()
            )
        else:
            key, remarks = self.exports.make(self.scene, form)
        self.state.warnings = remarks
        self.state.status = f"Exported: {EXPORTS[form]}."
        self.page.download.exec(f"export/{key}")

    # Worklist

    def _list_entries(self) -> None:
        entries = self.worklist.entries()
        self.state.entries = [
            {"number": entry.number, "name": entry.name, "state": entry.state.value, "reason": entry.reason or "",
             "notes": entry.notes, "by": entry.by, "changed": f"{entry.changed.astimezone():%d %b, %H:%M}"}
            for entry in entries
        ]  # fmt: skip
        progress = self.worklist.progress()
        self.state.cohort_share = {
            state.value: round(100 * count / max(len(entries), 1), 2) for state, count in progress.items()
        }
        finished = progress[State.DONE] + progress[State.REJECTED]
        self.state.cohort = f"{finished} of {len(entries)} finished"

    async def add_folder(self) -> None:
        """Lists what has been put into the data folder since."""
        problems: list[str] = []
        await asyncio.to_thread(self.worklist.add, [self.worklist.folder], problems.append)
        self.state.warnings = problems
        self._list_entries()

    async def open_next(self) -> None:
        """The next one that is neither done nor rejected, from the first on after the last."""
        entry = self.worklist.next_open(self.state.entry) or self.worklist.next_open()
        if entry is None or entry.number == self.state.entry:
            raise InputRefused("No other scan is open: all are done or rejected.")
        await self.open_entry(entry.number)

    async def open_previous(self) -> None:
        """The one before in the list."""
        entry = self.worklist.previous(self.state.entry or 0)
        if entry is None:
            raise InputRefused("This is the first scan of the list.")
        await self.open_entry(entry.number)

    async def finish(self) -> None:
        """Saves what is unsaved, marks the scan as done and opens the next one."""
        if self.state.entry is None:
            raise InputRefused("Open a scan first.")
        # What was saved in passing may have been undone since.
        if self.saving.is_unsaved or self.saving.recoverable() is not None:
            await self.saving.save("correction")
        self.worklist.set_state(self.state.entry, State.DONE)
        self._refresh()
        if self.worklist.next_open() is not None:
            await self.open_next()

    async def export_set(self) -> None:
        """Writes all scans that are done as a dataset beside the data folder, see `store.dataset`."""
        folder, loop = self.worklist.folder, asyncio.get_running_loop()

        def count(done: int, total: int) -> None:
            with self.state:
                self.state.status = f"Exporting the finished set, {done} of {total}..."

        self.state.update({"exporting": True, "status": "Exporting the finished set..."})
        self.state.flush()
        try:
            report = await asyncio.to_thread(
                export_dataset, self.worklist, folder.parent / f"{folder.name}-dataset-{datetime.now():%Y%m%d-%H%M%S}",
                on_entry=lambda *counts: loop.call_soon_threadsafe(count, *counts),
            )  # fmt: skip
            finished = len(report.exported) + len(report.left_out)
            self.state.status = f"Exported {len(report.exported)} of {finished} finished scans to '{report.dataset}'."
            left_out = [f"Number {number} was left out: {why}" for number, why in report.left_out.items()]
            self.state.warnings = [*left_out, *report.notes]
        finally:
            self.state.exporting = False

    def reject(self) -> None:
        """Marks the scan as rejected for the reason that was typed."""
        self.worklist.set_state(self.state.entry, State.REJECTED, str(self.state.reason))
        self.state.update({"rejecting": False, "reason": ""})
        self._list_entries()

    def reopen(self, number: int) -> None:
        """Takes a scan out of "done" or "rejected"."""
        self.worklist.set_state(int(number), State.IN_CORRECTION)
        self._list_entries()

    def keep_notes(self, number: int, text: str) -> None:
        """Saves the notes that were typed; another scan may be opened by now."""
        self.worklist.set_notes(int(number), str(text)[:10_000])
        self._list_entries()


def _same_vertebra(which: int | None, before: list[int], after: list[int]) -> int:
    """What the chosen vertebra is called now, from all values top to bottom `before` and `after` a repair."""
    if which in before and len(before) == len(after):
        return after[before.index(which)]
    return which if which in after else after[0]


def default_folder() -> Path:
    """Where worklist and uploads are kept unless another folder is named."""
    return Path(os.path.expanduser("~")) / "SpineContextSeg"
