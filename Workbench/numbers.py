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
"""Name in the page's state -> least and greatest. What depends on the scan has them in the page's state, in a list that
is named like it: `limits` in `limits_bounds`."""


def bounded(state: Any, name: str) -> Any:
    """What the page's state says for a name that has bounds, number or list of numbers, held to them.

    What had to be changed is changed on the page, too.

    Raises:
        InputRefused: it is no number, as a field that was emptied.
    """
    least, greatest = BOUNDS.get(name) or state[f"{name}_bounds"]
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
