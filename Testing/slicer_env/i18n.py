"""`slicer.i18n` in English: texts come back as they are."""

from __future__ import annotations


def tr(text: str) -> str:
    """The text itself; no f-string hides here, as the tests of the module's texts look at the source."""
    return text


def translate(context: str, text: str) -> str:
    """The text itself."""
    return text
