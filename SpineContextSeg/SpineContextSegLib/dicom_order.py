"""Images that can lie in one volume as its slices: one per position, of one acquisition wherever several overlap, and
without gaps that nothing can fill."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial

import numpy as np

from .checks import MINIMUM_SLICES, THICKEST_MM
from .dicom_folder import counted
from .dicom_slice import Slice

SAME_POSITION_MM = 0.01
# Slices of an acquisition that lie this many thicknesses apart leave room for another, as of an MR taken in two turns.
ROOM_BETWEEN = 1.5
# Of the slice distance: an acquisition that goes on beyond a larger one by no more shows nothing else.
REACH_BEYOND = 0.75
# Share of the images where two acquisitions overlap that lie at a position of one alone: below, a few of two phases are
# missing. It is about a third where one has every second position of the other.
SHARE_BETWEEN = 0.2
# In slice distances: what lies between slices farther apart isn't a mean of both. Two lost in a row are bridged; blocks
# that look at one lumbar disc each lie six and more apart. Closer than what a scan may have as its slice distance, they
# may be anyway.
WIDEST_GAP = 3.5


def in_order(stack: list[Slice]) -> tuple[list[Slice], list[str]]:
    """One slice per position, in order along the normal, and notes on what was left out.

    Args:
        stack: images of one size, orientation and distance of pixels.
    """
    notes: list[str] = []
    return _without_gaps(_sorted_without_duplicates(_without_overlap(stack, notes), notes), notes), notes


def _without_overlap(stack: list[Slice], notes: list[str]) -> list[Slice]:
    """Without what of an acquisition, or phase, lies between the slices of a larger one; all of it where it reaches
    nowhere else. Acquisitions that follow one another stay, and so do those that are no volume by themselves: many
    scanners give each slice, or each turn of the tube, a number of its own."""
    heights = {id(item): float(item.position @ stack[0].normal) for item in stack}
    usual = _usual_step(np.array(list(heights.values())))
    acquisitions = defaultdict(list)
    for item in stack:
        acquisitions[item.phase[:2]].append(item)
    kept: list[Slice] = []
    volumes: list[np.ndarray] = []
    for _, items in sorted(acquisitions.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        along = np.array([heights[id(item)] for item in items])
        inside, near = np.zeros((2, len(items)), bool)
        for larger in filter(partial(_overlaps, along), volumes):
            inside |= (larger.min() <= along) & (along <= larger.max())
            reach = REACH_BEYOND * _usual_step(larger)
            near |= (larger.min() - reach <= along) & (along <= larger.max() + reach)
        if near.all():
            continue
        kept += [item for item, lost in zip(items, inside) if not lost]
        if _is_volume(along[~inside], items[0].thickness or usual):
            volumes.append(along[~inside])
    if len(kept) < len(stack):
        lost = counted(len(stack) - len(kept), "image")
        notes.append(f"Acquisitions in the series overlap: the largest was taken there, and {lost} left out.")
    return kept


def _usual_step(along: np.ndarray) -> float:
    """The distance (mm) of neighbors among slices at these heights; 0 where all lie at one."""
    steps = np.diff(np.sort(along))
    steps = steps[steps >= SAME_POSITION_MM]
    return float(np.median(steps)) if len(steps) else 0.0


def _is_volume(along: np.ndarray, thickness: float) -> bool:
    """Whether slices at these heights (mm), of this thickness, leave no room for others."""
    places = 1 + np.count_nonzero(np.diff(np.sort(along)) >= SAME_POSITION_MM)
    return places >= MINIMUM_SLICES and _usual_step(along) < ROOM_BETWEEN * thickness


def _overlaps(along: np.ndarray, larger: np.ndarray) -> bool:
    """Whether slices of an acquisition lie between those of a larger one, by the heights (mm) of both, and not just at
    the same positions."""
    low, high = max(along.min(), larger.min()), min(along.max(), larger.max())
    inside, around = (low <= along) & (along <= high), (low <= larger) & (larger <= high)
    apart = np.concatenate([_distances(along[inside], larger), _distances(larger[around], along)]) >= SAME_POSITION_MM
    return np.count_nonzero(apart) > SHARE_BETWEEN * len(apart)


def _distances(along: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.abs(along[:, None] - others).min(axis=1)


def _sorted_without_duplicates(stack: list[Slice], notes: list[str]) -> list[Slice]:
    """One slice per position, in order along the slice normal; of several, the earliest acquired."""
    normal = stack[0].normal
    ordered = sorted(stack, key=lambda s: (float(s.position @ normal), _time(s)))
    groups: list[list[Slice]] = []
    for item in ordered:
        if groups and abs(float((item.position - groups[-1][0].position) @ normal)) < SAME_POSITION_MM:
            groups[-1].append(item)
        else:
            groups.append([item])
    kept = [min(group, key=_time) for group in groups]
    if len(kept) < len(stack):
        times = Counter(map(len, groups)).most_common(1)[0][0]
        if times > 1:
            notes.append(f"The series holds {times} images per position (phases or copies); the earliest were taken.")
        else:
            notes.append(f"{counted(len(stack) - len(kept), 'duplicate slice')} left out.")
        if _may_be_mixed(groups, kept):
            notes.append("Nothing says which images are of one phase, so phases may be mixed: give one phase alone.")
    return kept


def _time(item: Slice) -> tuple:
    """Sorts images at one position, so that the same phase comes first everywhere."""
    return (item.phase, item.order[0], _file(item), item.order[1])


def _file(item: Slice) -> str:
    """Which file an image is in, if it isn't the only one there: the images in one file go together."""
    return str(item.path) if item.frames > 1 else ""


def _may_be_mixed(groups: Iterable[list[Slice]], kept: Iterable[Slice]) -> bool:
    """Whether among images at one position only a number tells which is earlier, and it isn't one that counts on
    through all phases. Copies of an image aren't counted."""
    rivals = {
        (item.sop_uid or item.path, item.order[1]): _time(item)
        for group, best in zip(groups, kept)
        for item in group
        if len(group) > 1 and item.phase == best.phase
    }
    return len(set(rivals.values())) < len(rivals)


def _without_gaps(ordered: list[Slice], notes: list[str]) -> list[Slice]:
    """The longest run of slices that are no farther apart than can be interpolated: not the blocks of a protocol that
    looks at one disc, then at the next."""
    steps = np.diff([float(item.position @ ordered[0].normal) for item in ordered])
    if not len(steps):
        return ordered
    limit = max(WIDEST_GAP * np.median(steps), THICKEST_MM)
    bounds = [0, *(np.flatnonzero(steps > limit) + 1), len(ordered)]
    start, end = max(zip(bounds, bounds[1:]), key=lambda run: run[1] - run[0])
    if end - start < len(ordered):
        lost = counted(len(ordered) - (end - start), "image")
        notes.append(
            f"The series has gaps of up to {steps.max():.0f} mm, too wide to be filled: only its longest run of "
            f"{end - start} slices was taken, and {lost} left out."
        )
    return ordered[start:end]
