"""Numbers that are set on the page, whose fields only suggest their bounds: here they are held to them."""

from __future__ import annotations

import math
from typing import Any

from SpineContextSegLib.errors import InputRefused

BOUNDS: dict[str, tuple[float, float]] = {
    "brush_mm": (1, 60),
    "island_voxels": (2, 1_000_000),
    "smoothing_mm": (1, 20),
    "opacity": (0, 1),
}
"""Name in the page's state -> least and greatest; those of `limits` depend on the scan."""


def bounded(state: Any, name: str, bounds: tuple[float, float] | None = None) -> Any:
    """What the page's state says for a name, number or list of numbers, held to `bounds` or those of `BOUNDS`.

    What had to be changed is changed on the page, too.

    Raises:
        InputRefused: it is no number, as a field that was emptied.
    """
    least, greatest = bounds or BOUNDS[name]
    given = state[name]
    try:
        # A field sends what was typed, as text.
        numbers = [float(number) for number in (given if isinstance(given, list) else [given])]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise InputRefused(f"A number is missing: type one from {least} to {greatest}.")
    held = [min(max(number, least), greatest) for number in numbers]
    if held != numbers:
        state[name] = held if isinstance(given, list) else held[0]
    return held if isinstance(given, list) else held[0]
