"""Who changed what in an entry of the worklist, and when, in the words of the page."""

from __future__ import annotations

from collections.abc import Iterable

from .store.entries import Change, State
from .worklist_tab import LOOKS

# What else a change leaves behind: that a reason or a version no longer holds is said by the new state.
_WORDS = {
    "reason": "Rejected because: {}",
    "problem": "A run came to nothing: {}",
    "notes": "Notes: {}",
    "scan": "Lies now at {}",
}
# Of notes, of which each pause in typing left its own.
_MOST_CHARACTERS, _CUT = 300, " ..."


def lines(changes: Iterable[Change]) -> list[dict[str, str]]:
    """Title and subtitle of each change that says something, the newest first.

    Args:
        changes: the oldest first, see `Worklist.history`.
    """
    told = [
        {"title": _said(change), "subtitle": f"{change.changed.astimezone():%d %b %Y, %H:%M} by {change.by}"}
        for change in changes
        if change.after is not None
    ]
    return told[::-1]


def _said(change: Change) -> str:
    if change.what == "state":
        before, after = (LOOKS[State(value)][0] for value in (change.before, change.after))
        return f"From {before} to {after}"
    if change.what == "accepted":
        # The name of its folder begins with the number.
        return f"Version {int(change.after.partition('-')[0])} is the one that is done"
    # Not by whole words: Chinese and Japanese notes, and paths, may have no spaces.
    said = " ".join(_WORDS[change.what].format(change.after).split())
    return said if len(said) <= _MOST_CHARACTERS else said[: _MOST_CHARACTERS - len(_CUT)].rstrip() + _CUT
