"""The colored frame under the status line: what came of the last click, and what a run has warned of."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from slicer.i18n import tr as _

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
        self._warnings: list[str] = []
        self._segment_anyway = segment_anyway
        ui.detailsButton.connect("clicked(bool)", self._show_log)
        ui.segmentAnywayButton.connect("clicked(bool)", self._on_segment_anyway)
        self.clear()

    def clear(self) -> None:
        """Takes back all but what is kept."""
        self.show([])

    def withdraw(self, sentences: Sequence[str]) -> None:
        """Takes this back if it is what was shown last."""
        if sentences and self._sentences == list(sentences):
            self.clear()

    def show(self, sentences: Sequence[str], *, heading: str = "", log: str = "", forcible: bool = False) -> None:
        """Replaces what was shown before, but not what is kept; nothing to say hides the frame."""
        self._sentences, self._heading, self._log = list(sentences), heading, log
        self._ui.detailsButton.visible = bool(log)
        self._ui.segmentAnywayButton.visible = forcible
        self._show_all()

    def keep(self, warnings: Sequence[str]) -> None:
        """What is to be said of the chosen segmentation, whatever is clicked; in place of what was kept before."""
        if self._warnings != list(warnings):
            self._warnings = list(warnings)
            self._show_all()

    def _show_all(self) -> None:
        self._sentences = [sentence for sentence in self._sentences if sentence not in self._warnings]
        parts = {self._heading: list(self._sentences)}
        parts.setdefault(_("Please check"), []).extend(self._warnings)
        told = [_as_html(heading, sentences) for heading, sentences in parts.items() if sentences]
        self._ui.noticeLabel.text = f"<html>{''.join(told)}</html>" if told else ""
        self._ui.noticeFrame.visible = bool(told)

    def _show_log(self) -> None:
        self._dialog = dialogs.show_log(" ".join(self._sentences), self._log)

    def _on_segment_anyway(self) -> None:
        self.clear()
        self._segment_anyway()


def _as_html(heading: str, sentences: Sequence[str]) -> str:
    # Names of volumes and files come from outside and may hold anything.
    lines = [html.escape(sentence) for sentence in sentences]
    body = lines[0] if len(lines) == 1 else "".join(f"<p style='margin:3px 0'>{line}</p>" for line in lines)
    return f"<b>{html.escape(heading)}</b><div>{body}</div>" if heading else f"<div>{body}</div>"
