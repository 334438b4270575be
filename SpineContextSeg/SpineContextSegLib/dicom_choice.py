"""Which images among those of a folder can lie in one volume, and the volume that is read."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from .dicom_folder import counted
from .dicom_slice import Slice
from .errors import InputRefused

# Of direction cosines, and of the distance of pixels in mm.
SAME_FRAME = 1e-3
# What `Slice.origin` holds.
_ORIGINS = ("patient", "study", "frame of reference")


def choose_stack(slices: list[Slice], modality: str) -> tuple[list[Slice], list[str]]:
    """The largest stack of a modality, if there is one, and notes on what was left out.

    Raises:
        InputRefused: no image of it says all that is needed.
    """
    notes = []
    wanted = [s for s in slices if not s.localizer] or slices
    if len(wanted) < len(slices):
        notes.append(f"{counted(len(slices) - len(wanted), 'localizer image')} left out.")
    of_modality = [s for s in wanted if s.modality == modality]
    placed = [s for s in of_modality or wanted if not s.refusal]
    if not placed:
        raise InputRefused((of_modality or wanted)[0].refusal)
    stack = max(_stacks(placed), key=lambda s: len(s) * s[0].size[0] * s[0].size[1])
    if stack[0].modality not in ("CT", "MR"):
        notes.append(f"The series is {stack[0].modality or 'of unknown modality'}, neither CT nor MR.")
    series = len({s.series_uid for s in wanted})
    name = f" \"{stack[0].description}\"" if stack[0].description else ""
    if series > 1:
        kind = f"{modality} series" if of_modality else "series"
        notes.append(f"The folder holds {series} series; the largest {kind}{name} with {len(stack)} slices was taken.")
    unplaced = len(of_modality or wanted) - len(placed)
    if unplaced:
        notes.append(f"{counted(unplaced, 'image')} left out, whose place, voxel size or scale can't be read.")
    taken = {id(s) for s in stack}
    odd = [s for s in wanted if s.series_uid == stack[0].series_uid and not s.refusal and id(s) not in taken]
    for difference, count in Counter(_difference(item, stack[0]) for item in odd).items():
        notes.append(f"{counted(count, 'image')} left out, of another {difference} than the series{name}.")
    return stack, notes


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
