"""The colored frame under the status line: what must not be missed after a run, and what can be done about it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from . import dialogs


class Notice:
    """Shows sentences, with a button for the log and one to segment anyway where they make sense."""

    def __init__(self, ui, segment_anyway: Callable[[], None]) -> None:
        """
        Args:
            ui: has `noticeFrame`, `noticeLabel`, `detailsButton` and `segmentAnywayButton`.
            segment_anyway: called when the user wants it.
        """
        self._ui = ui
        self._log = ""
        self._segment_anyway = segment_anyway
        ui.detailsButton.connect("clicked(bool)", self._show_log)
        ui.segmentAnywayButton.connect("clicked(bool)", self._on_segment_anyway)
        self.clear()

    def clear(self) -> None:
        self.show([])

    def withdraw(self, sentences: Sequence[str]) -> None:
        """Hides the frame if this is what it says."""
        if sentences and self._message == " ".join(sentences):
            self.clear()

    def show(self, sentences: Sequence[str], *, heading: str = "", log: str = "", forcible: bool = False) -> None:
        """Replaces what is shown; nothing to say hides the frame."""
        self._log = log
        self._message = " ".join(sentences)
        self._ui.noticeLabel.text = _as_html(heading, sentences) if sentences else ""
        self._ui.detailsButton.visible = bool(log)
        self._ui.segmentAnywayButton.visible = forcible
        self._ui.noticeFrame.visible = bool(sentences)

    def _show_log(self) -> None:
        self._dialog = dialogs.show_log(self._message, self._log)

    def _on_segment_anyway(self) -> None:
        self.clear()
        self._segment_anyway()


def _as_html(heading: str, sentences: Sequence[str]) -> str:
    # Names of volumes and files come from outside and may hold anything.
    lines = [html.escape(sentence) for sentence in sentences]
    body = lines[0] if len(lines) == 1 else "".join(f"<p style='margin:3px 0'>{line}</p>" for line in lines)
    return f"<html><b>{html.escape(heading)}</b><div>{body}</div></html>" if heading else f"<html>{body}</html>"
