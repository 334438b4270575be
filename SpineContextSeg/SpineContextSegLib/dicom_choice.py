"""Which images among those of a folder can lie in one volume, and the volume that is read."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from .dicom_folder import counted
from .dicom_order import in_order
from .dicom_slice import Slice
from .errors import InputRefused

SCANS = ("CT", "MR")
# At most, in each of its three planes; a series of the spine has more in the one that it shows.
LOCALIZER_SLICES = 10
MOST_LOCALIZER_IMAGES = 3 * LOCALIZER_SLICES
# Of direction cosines, and of the distance of pixels in mm.
SAME_FRAME = 1e-3
# What `Slice.origin` holds.
_ORIGINS = ("patient", "study", "frame of reference", "kernel", "series number")


def choose_stack(slices: list[Slice], modality: str) -> tuple[list[Slice], list[str]]:
    """The slices of the largest stack of a modality, or of what comes next to it, and notes on what was left out.

    Echoes, phases and whatever else lies at one position make a stack no larger.

    Returns:
        As `dicom_order.in_order`.

    Raises:
        InputRefused: all are in color, or no image of it says all that is needed.
    """
    gray = [s for s in slices if not s.color]
    if not gray:
        raise InputRefused(f"The series is in color: give the original {modality} series.")
    notes = [f"{counted(len(slices) - len(gray), 'color image')} left out."] * (len(gray) < len(slices))
    shown = _without_localizers(gray)
    if not shown:
        shown = gray
        notes.append("There are only localizer images, so look at the result with care.")
    elif len(shown) < len(gray):
        notes.append(f"{counted(len(gray) - len(shown), 'localizer image')} left out.")
    wanted = _nearest_to(modality, shown)
    placed = [s for s in wanted if not s.refusal]
    if not placed:
        raise InputRefused(wanted[0].refusal)
    candidates = [(images, *in_order(images)) for images in _stacks(placed)]
    images, stack, ordering = max(candidates, key=lambda c: len(c[1]) * c[1][0].size[0] * c[1][0].size[1])
    taken = stack[0].modality
    if taken not in SCANS:
        notes.append(f"The series is {taken or 'of unknown modality'}, neither CT nor MR.")
    # CT is also what is asked for where no model is chosen yet, and an MR is as good then.
    elif modality not in ("CT", taken):
        notes.append(f"No {modality} series was found: the series is a {taken}.")
    series = len({s.series_uid for s in shown})
    name = f" \"{stack[0].description}\"" if stack[0].description else ""
    if series > 1:
        kind = f"{taken} series" if taken in SCANS else "series"
        notes.append(f"The folder holds {series} series; the largest {kind}{name} with {len(stack)} slices was taken.")
    unplaced = len(wanted) - len(placed)
    if unplaced:
        notes.append(f"{counted(unplaced, 'image')} left out, whose place or voxel size can't be read.")
    ids = {id(s) for s in images}
    odd = [s for s in shown if s.series_uid == stack[0].series_uid and not s.refusal and id(s) not in ids]
    for difference, count in Counter(_difference(item, stack[0]) for item in odd).items():
        notes.append(f"{counted(count, 'image')} left out, of another {difference} than the series{name}.")
    return stack, notes + ordering


def is_unmarked_localizer(series: list[Slice]) -> bool:
    """Whether the images of a series only show where others lie, though they don't say so, as those of an MR seldom do:
    few sagittal ones, few coronal and few axial."""
    stacks = _stacks([s for s in series if not s.refusal])
    planes = {int(np.abs(stack[0].normal).argmax()) for stack in stacks}
    return len(planes) == 3 and all(len(in_order(stack)[0]) <= LOCALIZER_SLICES for stack in stacks)


def _without_localizers(slices: list[Slice]) -> list[Slice]:
    series = defaultdict(list)
    for item in slices:
        series[item.series_uid].append(item)
    left_out = {uid for uid, images in series.items() if is_unmarked_localizer(images)}
    return [s for s in slices if not s.localizer and s.series_uid not in left_out]


def _nearest_to(modality: str, slices: list[Slice]) -> list[Slice]:
    """The images of a modality; else scans of another; else what there is, such as what was drawn on scans."""

    def rank(item: Slice) -> tuple[bool, bool]:
        return item.modality != modality, item.modality not in SCANS

    nearest = min(map(rank, slices))
    return [item for item in slices if rank(item) == nearest]


def _difference(odd: Slice, item: Slice) -> str:
    """Why one image of a series doesn't lie in one volume with another."""
    names = (name for name, value, other in zip(_ORIGINS, odd.origin, item.origin) if value != other)
    return next(names, "size or orientation")


def _stacks(slices: list[Slice]) -> list[list[Slice]]:
    """Slices that can lie in one volume, together; each joins the first stack whose first slice lies like it."""
    stacks = defaultdict(list)
    for item in slices:
        alike = stacks[item.stack_key]
        for stack in alike:
            if np.abs(stack[0].frame - item.frame).max() <= SAME_FRAME:
                stack.append(item)
                break
        else:
            alike.append([item])
    return [stack for alike in stacks.values() for stack in alike]
