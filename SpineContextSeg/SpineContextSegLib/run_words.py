"""What is said on the page or panel while a run works: short sentences, counted windows, seconds left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

STAGES = {
    "read": "Handing over the volume...",
    "load model": "Loading the model...",
    "segment": "Preparing the volume...",
}
MAPPING_BACK = "Putting the labels on the volume's grid..."


def stage_text(name: str) -> str:
    """The status line for a stage of the worker."""
    return STAGES.get(name, f"{name[:1].upper()}{name[1:]}...")


def duration(seconds: float) -> str:
    """A rough length of time: "8 s", "2 min", "1 h 5 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def progress_text(done: int, total: int, seconds_left: float | None, frame: tuple[int, int] | None = None) -> str:
    """The status line while windows are counted; `frame` is (number from 1 on, how many) of a sequence."""
    if done >= total and (frame is None or frame[0] == frame[1]):
        return MAPPING_BACK
    parts = [f"Frame {frame[0]} of {frame[1]}, window" if frame else "Window", f"{done} of {total}"]
    if seconds_left is not None:
        parts.append(f"about {duration(seconds_left)} left")
    return f"{parts[0]} {', '.join(parts[1:])}"


def done_text(
    name: str, structures: Iterable[str], seconds: float, kept: Iterable[str] = (), region: str | None = None
) -> str:
    """The status line of a run that found something.

    Args:
        kept: were looked for in vain and stay as they were.
        region: name of what the run was limited to, None for the whole volume.
    """
    found, not_found = ", ".join(_counted(list(structures))), ", ".join(kept)
    where = f"'{name}'" if region is None else f"'{name}', only inside '{region}'"
    done = f"Done in {duration(seconds)}: {f'{found} in ' if found else ''}{where}."
    return f"{done} Not found, so left as before: {not_found}." if not_found else done


def _counted(names: list[str]) -> list[str]:
    """Names of structures as in `labels`, from top to bottom, with several vertebrae and several discs as one item."""
    vertebrae = [name.removesuffix(" vertebra") for name in names if name.endswith(" vertebra")]
    discs = [name for name in names if name.startswith("Disc below ")]
    items = [name for name in names if not (name.endswith(" vertebra") and len(vertebrae) > 2)]
    if len(vertebrae) > 2:
        items.insert(0, f"{len(vertebrae)} vertebrae from {vertebrae[0]} to {vertebrae[-1]}")
    if len(discs) > 2:
        items = [name for name in items if name not in discs] + [f"{len(discs)} discs"]
    return items


def in_frames(sentence: str, numbers: list[int], count: int) -> str:
    """A sentence with the frames, numbered from 1 on, that it is about; as it is where it is about all of them."""
    if len(numbers) == count:
        return sentence
    return f"Frame{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}: {sentence}"


class TimeLeft:
    """Estimates how long the rest takes from what was done since the first report.

    Windows that hold no tissue are counted at once when a run begins; they say nothing about the speed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def update(self, done: int, total: int) -> float | None:
        """Seconds left, None as long as nothing can be said."""
        now = self._clock()
        if self._first is None:
            self._first = (now, done)
            return None
        started, skipped = self._first
        if done <= skipped:
            return None
        return (now - started) / (done - skipped) * (total - done)
