"""What the panel shows of a run: the button, the bar, the status line, the notice."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from .notice import Notice
from .runs import RunEnd


class RunView:
    """Shows that a run can begin, or why not; how far it is; how it ended."""

    def __init__(self, ui, *, segment_anyway: Callable[[], None]) -> None:
        """
        Args:
            ui: has `segmentButton`, `progressBar`, `statusLabel` and what `Notice` needs.
            segment_anyway: called when the user wants a volume segmented that isn't in Hounsfield units.
        """
        self._ui = ui
        self._message = ""
        self.notice = Notice(ui, segment_anyway)
        self.show_idle(None)

    def clear(self) -> None:
        """Forgets the last run."""
        self._message = ""
        self.notice.clear()

    def begin(self) -> None:
        """A run starts: the bar moves without a count until there is one."""
        self.clear()
        self._ui.segmentButton.text = _("Cancel")
        self._ui.segmentButton.toolTip = _("Stop the run; nothing is changed.")
        self._ui.segmentButton.enabled = True
        self._ui.progressBar.setRange(0, 0)
        self._ui.progressBar.visible = True

    def say(self, message: str) -> None:
        """Puts a sentence into the status line, where it stays until something else is to be said."""
        self._message = message
        self._show_status(message)

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        self._ui.progressBar.setRange(0, total)
        self._ui.progressBar.value = done

    def end(self, end: RunEnd, of: str = "") -> None:
        """A run ended: what matters goes into the notice, the status line stays short; `of` names a volume in both."""
        heading, status = {
            "done": (_("Please check"), end.message),
            "nothing_found": (_("Nothing found"), _("Nothing was found, the scene is as before.")),
            "refused": (_("Not segmented"), _("The volume was not segmented.")),
            "failed": (_("The run failed"), _("The run failed, the scene is as before.")),
            "cancelled": ("", end.message),
        }[end.kind]
        told = [end.message] if end.kind in ("nothing_found", "refused", "failed") else []
        if of:
            heading, status = heading and f"{heading}: '{of}'", f"'{of}': {status}"
        self.notice.show(told + end.warnings, heading=heading, log=end.log, forcible=end.forcible)
        self.say(status)

    def show_idle(self, reason: str | None) -> None:
        """No run: the button offers one, or says with the status line why there can be none."""
        self._ui.segmentButton.text = _("Segment")
        self._ui.segmentButton.enabled = reason is None
        self._ui.segmentButton.toolTip = reason or _("Segment the spine in the input volume.")
        self._ui.segmentAnywayButton.enabled = reason is None
        self._show_status(reason or self._message or _("Ready."))
        self._ui.progressBar.visible = False

    def _show_status(self, text: str) -> None:
        # The tip shows what is too long for the line, such as a path, which can't be wrapped.
        self._ui.statusLabel.text = self._ui.statusLabel.toolTip = text
