"""The section "Levels": which vertebra is which, put right with a click, and what is measured of each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import partial

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputRefused
from ..faults import describe
from ..labels import structure
from ..mrml.belonging import volume_of
from ..mrml.contradictions import contradictions
from ..mrml.levels import Levels, Vertebra
from ..mrml.measurements import is_behind, is_measured, show_measurements, update_measurements
from ..mrml.planes import name_of, plane_at, pointers
from ..mrml.run_warnings import warnings_of
from ..repair import counts_of, level_sequence
from . import editor
from .notice import Notice
from .table_view import show_table

DOUBLE_CLICK_SECONDS = 0.4
# Measuring takes seconds: not between two strokes of a brush, nor two frames of a sequence that plays.
PAUSE_MS = 1000
_EVENTS = (
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkMRMLSegmentationNode.SegmentationChangedEvent,
)
# Of the voxels, and of their place in the world.
_MOVED_EVENTS = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
)


class LevelsSection:
    """Repairs the levels of the segmentation that is shown."""

    def __init__(self, ui, notice: Notice, say: Callable[[str], None]) -> None:
        """
        Args:
            ui: has `levelsCollapsibleButton` and what is in it.
            notice: for refusals and remarks.
            say: for the good end.
        """
        self._ui, self._notice, self._say = ui, notice, say
        self._node = None
        self._levels: Levels | None = None
        # Of all that was shown, the numbers of thoracic and lumbar vertebrae that were chosen there.
        self._counts: dict[Levels, tuple[int, int]] = {}
        self._observations: list[int] = []
        self._remarks: list[str] = []
        # Segment Editor's undo brings segments back one by one: what is said and measured follows when all are there.
        self._follow = qt.QTimer()
        self._follow.setSingleShot(True)
        self._follow.setInterval(0)
        self._follow.connect("timeout()", self._follow_outside_change)
        self._pause = qt.QTimer()
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.connect("timeout()", self._measure_after_pause)
        self._is_late = False
        # What the rows of the boxes stand for.
        self._vertebrae: list[Vertebra] = []
        self._sequence: tuple[int, ...] = ()
        self._pointers: list = []
        self._connect(ui.renameButton, lambda: self._levels.rename(self._which.value, self._level, self._sequence))
        self._connect(ui.swapButton, lambda: self._levels.swap(self._which.value, self._level, self._sequence))
        self._connect(ui.shiftUpButton, lambda: self._levels.shift(-1, self._sequence))
        self._connect(ui.shiftDownButton, lambda: self._levels.shift(1, self._sequence))
        self._connect(ui.mergeButton, lambda: self._levels.merge(self._which.value, self._sequence), once=True)
        self._connect(ui.splitButton, self._split, once=True)
        ui.undoButton.connect("clicked(bool)", self._undo)
        ui.measureButton.connect("clicked(bool)", self._measure)
        ui.vertebraComboBox.connect("currentIndexChanged(int)", self._choose_own_level)
        ui.thoracicComboBox.connect("currentIndexChanged(int)", self._list_levels)
        ui.lumbarComboBox.connect("currentIndexChanged(int)", self._list_levels)
        # Views come and go; whoever opens the section wants those that are there.
        ui.levelsCollapsibleButton.connect("contentsCollapsed(bool)", self._list_pointers)
        self.show(None)

    def show(self, segmentation_node) -> None:
        """Takes the segmentation that is shown, None for none, and follows what happens to it."""
        if segmentation_node is not self._node:
            for tag in self._observations:
                self._node.RemoveObserver(tag)
            self._stop_following()
            self._node, self._levels, self._observations = segmentation_node, None, []
            self.forget()
            if segmentation_node is not None:
                self._observations = [segmentation_node.AddObserver(event, self._refresh) for event in _EVENTS]
                self._observations += [segmentation_node.AddObserver(event, self._wait) for event in _MOVED_EVENTS]
                if is_behind(segmentation_node):
                    self._pause.start()
        self._list_pointers()
        self._refresh()

    def forget(self) -> None:
        """Lets go of what can't be shown again."""
        self._counts = {levels: counts for levels, counts in self._counts.items() if not levels.is_over}

    @property
    def _which(self) -> Vertebra:
        if not self._vertebrae:
            raise InputRefused(self._levels.refusal)
        return self._vertebrae[self._ui.vertebraComboBox.currentIndex]

    @property
    def _level(self) -> int:
        return self._sequence[self._ui.levelComboBox.currentIndex]

    def _connect(self, button, repair: Callable[[], list[str]], *, once: bool = False) -> None:
        """Does a repair at every click; with `once`, the second click of a double click is none."""
        done_at = -DOUBLE_CLICK_SECONDS

        def on_click() -> None:
            nonlocal done_at
            if not once or time.monotonic() - done_at > DOUBLE_CLICK_SECONDS:
                self._do(repair)
                done_at = time.monotonic()

        button.connect("clicked(bool)", on_click)

    def _split(self) -> list[str]:
        point, normal = plane_at(self._pointers[self._ui.splitAtComboBox.currentIndex])
        return self._levels.split(self._which.value, point, normal, self._sequence)

    def _do(self, repair: Callable[[], list[str]]) -> None:
        def act() -> None:
            self._remark(repair())
            self._say(_("Done: {repair}.").format(repair=self._levels.undo_title) + " " + self._levels_now())

        self._change(act)

    def _undo(self) -> None:
        def act() -> None:
            title = self._levels.undo_title
            self._remark(self._levels.undo())
            self._say(_("Undone: {repair}.").format(repair=title) + " " + self._levels_now())

        self._change(act)

    def _remark(self, remarks: list[str]) -> None:
        self._remarks = remarks
        self._notice.show(remarks, heading=_("About the levels"))

    def _change(self, act: Callable[[], None]) -> None:
        self._notice.clear()
        is_done = self._try(act, _("Levels not changed"))
        self._refresh()
        if is_done:
            # The repair has measured already.
            self._stop_following()
        else:
            self._say(_("Nothing was changed."))

    def _measure(self) -> None:
        def act() -> None:
            points, table, remarks = show_measurements(self._node)
            self._notice.show(remarks, heading=_("About the measurements"))
            volume_node = volume_of(self._node)
            done = _("Measured in '{volume}'").format(volume=volume_node.GetName()) if volume_node else _("Measured")
            said = f"{done}: '{points.GetName()}', '{table.GetName()}'."
            if not show_table(table):
                said += " " + _("The eye beside the table's name in the Data module shows it.")
            self._say(said)

        self._notice.clear()
        self._stop_following()
        self._try(act, _("Not measured"))

    def _follow_outside_change(self) -> None:
        """Segment Editor's undo, say: what was remarked on the last repair is no longer so."""
        self._notice.withdraw(self._remarks)
        self._measure_again()

    def _wait(self, *_event: object) -> None:
        if is_measured(self._node):
            self._pause.start()

    def _measure_after_pause(self) -> None:
        # Whoever paints doesn't want to wait after each pause.
        if slicer.util.selectedModule() == "SegmentEditor":
            if not self._is_late:
                told = _("Points and table of '{segmentation}' are of before; they follow once Segment Editor is left.")
                slicer.util.showStatusMessage(told.format(segmentation=self._node.GetName()), 5 * PAUSE_MS)
            self._is_late = True
            self._pause.start()
        else:
            self._measure_again()

    def _measure_again(self) -> None:
        self._stop_following()
        self._try(lambda: update_measurements(self._node), _("Points and table are still those of before"))

    def _stop_following(self) -> None:
        self._follow.stop()
        self._pause.stop()
        self._is_late = False

    def _try(self, act: Callable[[], None], heading: str) -> bool:
        """Whether it could be done; what speaks against it, or goes wrong, goes into the notice."""
        try:
            with slicer.util.tryWithErrorDisplay(show=False, waitCursor=True):
                act()
        except InputRefused as error:
            self._notice.show([str(error)], heading=heading)
            return False
        except Exception as error:  # noqa: BLE001, the user's click must get an answer
            log = "".join(traceback.format_exception(error))
            self._notice.show([describe(error)], heading=heading, log=log)
            return False
        return True

    def _refresh(self, *_event: object) -> None:
        """Shows the levels as they are; often called, so it must be quick."""
        ui = self._ui
        is_same = self._levels is not None and self._levels.is_of(self._node)
        if self._node is not None and not is_same:
            if self._levels is not None:
                # A run has written into it, or it shows another frame.
                self._wait()
            self._choose_levels()
        self._notice.keep(warnings_of(self._node))
        refusal = self._levels.refusal if self._levels else None
        ui.levelsCollapsibleButton.visible = self._levels is not None
        told = refusal or (" ".join(contradictions(self._node.GetSegmentation())) if self._node else "")
        ui.levelsLabel.text = told
        ui.levelsLabel.visible = bool(told)
        if self._list_vertebrae() and is_same:
            self._follow.start()
        title = self._levels.undo_title if self._levels else None
        # A repair that leaves no vertebra can be taken back.
        ui.levelsFrame.enabled = self._levels is not None and (refusal is None or title is not None)
        ui.undoButton.enabled = title is not None
        ui.undoButton.toolTip = (
            _("Take back: {repair}. What was painted since stays.").format(repair=title)
            if title
            else _("There is no repair of levels to take back.")
        )

    def _levels_now(self) -> str:
        levels = [structure(vertebra.value).abbreviation for vertebra in self._levels.vertebrae]
        if not levels:
            return _("No vertebra is left.")
        several = _("{first} to {last}").format(first=levels[0], last=levels[-1])
        return _("The levels are {levels} now.").format(levels=several if len(levels) > 1 else levels[0])

    def _choose_levels(self) -> None:
        """Those of what is shown now, with the repairs and the counts of the last time, if there was one."""
        before = self._levels
        self.forget()
        known = next((levels for levels in self._counts if levels.is_of(self._node)), None)
        self._levels = known or Levels(self._node, partial(editor.save_state, self._node))
        values = [vertebra.value for vertebra in self._levels.vertebrae]
        if known:
            counts = self._counts[known]
        elif before in self._counts and set(values) <= set(self._sequence):
            # Another frame shows the same column.
            counts = self._counts[before]
        else:
            counts = counts_of(values)
        for box, count in zip((self._ui.thoracicComboBox, self._ui.lumbarComboBox), counts):
            box.setCurrentText(str(count))
        self._counts[self._levels] = counts

    def _list_vertebrae(self) -> bool:
        """Keeps the chosen one, whatever level it has now; whether the list has changed."""
        vertebrae = self._levels.vertebrae if self._levels else []
        if vertebrae == self._vertebrae:
            return False
        row = self._ui.vertebraComboBox.currentIndex
        chosen = self._vertebrae[row].segment_id if 0 <= row < len(self._vertebrae) else None
        self._vertebrae = vertebrae
        rows = [row for row, vertebra in enumerate(vertebrae) if vertebra.segment_id == chosen]
        _fill(self._ui.vertebraComboBox, list(map(_text, vertebrae)), rows[0] if rows else 0)
        self._list_levels()
        self._choose_own_level()
        return True

    def _list_levels(self) -> None:
        """All levels of a column with the chosen numbers of vertebrae."""
        ui, chosen = self._ui, self._ui.levelComboBox.currentText
        counts = int(ui.thoracicComboBox.currentText), int(ui.lumbarComboBox.currentText)
        self._sequence = level_sequence(*counts)
        if self._levels is not None:
            self._counts[self._levels] = counts
        names = [structure(value).abbreviation for value in self._sequence]
        _fill(ui.levelComboBox, names, names.index(chosen) if chosen in names else 0)

    def _choose_own_level(self) -> None:
        """The level of the chosen vertebra, to be changed from there."""
        if self._vertebrae and self._which.value in self._sequence:
            self._ui.levelComboBox.setCurrentIndex(self._sequence.index(self._which.value))

    def _list_pointers(self) -> None:
        row = self._ui.splitAtComboBox.currentIndex
        chosen = self._pointers[row] if 0 <= row < len(self._pointers) else None
        self._pointers = pointers(slicer.mrmlScene)
        names = [name_of(pointer) for pointer in self._pointers]
        _fill(self._ui.splitAtComboBox, names, self._pointers.index(chosen) if chosen in self._pointers else 0)
        self._ui.splitButton.enabled = bool(self._pointers)


def _text(vertebra: Vertebra) -> str:
    """The name, with the level where a person has given it one that says something else."""
    level = structure(vertebra.value)
    return vertebra.name if vertebra.name == level.name else f"{level.abbreviation} ({vertebra.name})"


def _fill(box, texts: list[str], row: int) -> None:
    was_blocked = box.blockSignals(True)
    box.clear()
    box.addItems(texts)
    box.setCurrentIndex(row if texts else -1)
    box.blockSignals(was_blocked)
