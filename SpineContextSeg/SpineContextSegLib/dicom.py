"""A folder of DICOM files to one volume of a CT or MR, with geometry taken from the position of every slice.

Positions: DICOM PS3.3 C.7.6.2, Image Position and Image Orientation (Patient). A tilted gantry shows as positions that
don't run along the slice normal; the affine keeps that shear.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from .checks import MINIMUM_SLICES, check_geometry
from .dicom_folder import counted, dicom_files, left_out
from .dicom_frames import images_in
from .dicom_pixels import onto_even_slices, read_pixels
from .dicom_slice import Slice, read_slice
from .errors import InputRefused
from .stated_geometry import UNSTATED_ORIENTATION
from .volume import Grid, Volume, lps_affine

SAME_POSITION_MM = 0.01
# A slice may lie this share of the slice distance off an even lattice before the series is resampled.
UNEVEN_SHARE = 0.1
SIDEWAYS_LIMIT_MM = 2.0
# Slices of an acquisition that lie this many thicknesses apart leave room for another, as of an MR taken in two turns.
ROOM_BETWEEN = 1.5
# Of the slice distance: an acquisition that goes on beyond a larger one by no more shows nothing else.
REACH_BEYOND = 0.75
# Share of the images where two acquisitions overlap that lie at a position of one alone: below, a few of two phases are
# missing. It is about a third where one has every second position of the other.
SHARE_BETWEEN = 0.2
# Of direction cosines, and of the distance of pixels in mm.
SAME_FRAME = 1e-3
# What `Slice.origin` holds.
_ORIGINS = ("patient", "study", "frame of reference")


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one volume.

    Attributes:
        slices: in order along their normal, one per position.
        along: (slices,) where they lie on that normal, mm from the first one, increasing.
        even: (k,) where the slices of the volume lie, mm.
        grid: of the volume.
        notes: one sentence each on what was left out.
    """

    slices: list[Slice]
    along: np.ndarray
    even: np.ndarray
    grid: Grid
    notes: list[str]

    @property
    def is_even(self) -> bool:
        """Whether every slice of the volume is one of the series, none interpolated."""
        return len(self.even) == len(self.along) and bool(
            np.abs(self.along - self.even).max() <= UNEVEN_SHARE * np.median(np.diff(self.along))
        )


def read_dicom_folder(folder: Path, modality: str = "CT") -> tuple[Volume, list[str]]:
    """Reads the largest series of a modality below `folder`; see `read_dicom_files`.

    Raises:
        InputRefused: the folder can't be read, no DICOM images below it, or as `read_dicom_files`.
    """
    return read_dicom_files(dicom_files(folder), str(folder), modality)


def list_series(paths: list[Path]) -> dict[str, list[Slice]]:
    """The files of every series among DICOM files, by series UID, each as one slice that says how many frames it holds;
    files without an image in space are left out."""
    series = defaultdict(list)
    for item in filter(None, map(read_slice, paths)):
        # The frames of a file with many of them are looked for once the series is read.
        for image in [item] if item.frames > 1 else images_in(item):
            series[image.series_uid].append(image)
    return dict(series)


def read_dicom_files(paths: list[Path], source: str = "", modality: str = "CT") -> tuple[Volume, list[str]]:
    """Reads the largest series of a modality among the files (of another one where none of it is there).

    Files that hold many frames each are joined. Localizers and duplicates are dropped, and so is what shares only the
    series UID: of another patient, study, frame of reference, size or orientation, or of an acquisition whose slices
    lie between those of a larger one. Where slices are missing or unevenly spaced, the series is interpolated onto even
    slices of the usual distance, between the same first and last slice.

    Args:
        paths: DICOM files in any order, also enhanced multi-frame ones.
        source: what the files came from, for messages.
        modality: as DICOM calls it, "CT" or "MR".

    Returns:
        The volume in HU (rescale applied), affine with shear kept, and notes, one sentence each.

    Raises:
        InputRefused: as `find_stack`, or unreadable pixels.
    """
    stack = find_stack(paths, source, modality)
    array, notes = read_pixels(stack.slices), stack.notes
    if not stack.is_even:
        array = onto_even_slices(array, stack.along, stack.even)
        notes.append(
            f"Slices are missing or unevenly spaced ({len(stack.slices)} slices, gaps up to "
            f"{np.diff(stack.along).max():.3g} mm): the series was interpolated to {len(stack.even)} slices every "
            f"{stack.even[1]:.3g} mm, so look at the result there with care."
        )
    return Volume(array, stack.grid.affine), notes


def find_stack(paths: list[Path], source: str = "", modality: str = "CT") -> Stack:
    """The slices that `read_dicom_files` takes, without their pixels; arguments as there.

    Raises:
        InputRefused: no images, none that states its place and the size of its voxels, fewer than 3 slices, or slices
            that do not form a straight stack.
    """
    slices = _of_shared_origin([image for item in filter(None, map(read_slice, paths)) for image in images_in(item)])
    lost = left_out(set(paths) - {s.path for s in slices})
    if not slices:
        refusal = (
            f"No DICOM images with a position in space were found in '{source or paths[0].name}': give the folder of "
            f"the {modality} series."
        )
        raise InputRefused(" ".join([refusal, *lost]))
    stack, notes = _choose_stack(slices, modality)
    notes += lost
    unstated = [UNSTATED_ORIENTATION] * any(s.axes is None for s in stack)
    if any(s.assumed for s in stack):
        notes.append(
            "The file does not say where each of its images lies: they were taken as they come, evenly spaced and "
            "without tilt, so look at the result with care."
        )
    stack = _sorted_without_duplicates(_without_overlap(stack, notes), notes)
    if len(stack) < MINIMUM_SLICES:
        refusal = (
            f"Only {len(stack)} slice{'s' * (len(stack) != 1)} of the series could be found: give the folder that "
            f"holds the whole {modality} series."
        )
        raise InputRefused(" ".join([refusal, *unstated]))
    first, positions = stack[0], np.array([s.position for s in stack])
    along = (positions - positions[0]) @ first.normal
    step = float(np.median(np.diff(along)))
    count = int(round(along[-1] / step)) + 1
    line = (positions[-1] - positions[0]) / along[-1]
    sideways = np.linalg.norm(positions - positions[0] - along[:, None] * line, axis=1).max()
    if sideways > SIDEWAYS_LIMIT_MM:
        refusal = (
            f"The slices are shifted against each other by up to {sideways:.0f} mm and form no straight stack: give "
            f"one {modality} series, as the scanner stored it."
        )
        raise InputRefused(" ".join([refusal, *unstated]))
    even = np.linspace(0.0, along[-1], count)
    affine = lps_affine(
        positions[0], (*first.spacing, even[1]), np.column_stack([first.row, first.column, line])
    )
    grid = Grid((count, *first.size), affine)
    check_geometry(grid)
    if len({s.path for s in stack}) > 1:
        stack = [replace(s, frames=1) for s in stack]
    return Stack(stack, along, even, grid, notes + unstated)


def _of_shared_origin(slices: list[Slice]) -> list[Slice]:
    """Without the patient, study or frame of reference that every image of a series has for itself, as after an
    anonymization file by file: it keeps nothing together."""
    series = defaultdict(list)
    for item in slices:
        series[item.series_uid].append(item.origin)
    own = {uid: [len(set(values)) == len(values) for values in zip(*origins)] for uid, origins in series.items()}
    return [
        replace(item, origin=tuple("" if alone else value for value, alone in zip(item.origin, own[item.series_uid])))
        for item in slices
    ]


def _choose_stack(slices: list[Slice], modality: str) -> tuple[list[Slice], list[str]]:
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
