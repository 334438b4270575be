"""What a screen reader says: names of controls that show none, and what is told as soon as it appears."""

from __future__ import annotations


def named(name: str) -> dict[str, list[str]]:
    """For a control without a label or title."""
    return {"raw_attrs": [f'aria-label="{name}"']}


def announced(role: str) -> dict[str, list[str]]:
    """For what appears by itself: "alert" is said at once, "status" when the reader has come to an end."""
    return {"raw_attrs": [f'role="{role}"']}
