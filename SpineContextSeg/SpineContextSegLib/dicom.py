"""A folder of DICOM files to one volume of a CT or MR, with geometry taken from the position of every slice.

Positions: DICOM PS3.3 C.7.6.2, Image Position and Image Orientation (Patient). A tilted gantry shows as positions that
don't run along the slice normal; the affine keeps that shear.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .checks import MINIMUM_SLICES, check_geometry
from .dicom_choice import choose_stack
from .dicom_folder import dicom_files, left_out
from .dicom_frames import images_in
from .dicom_pixels import onto_even_slices, read_pixels
from .dicom_slice import Slice, read_slice
from .errors import InputRefused
from .stated_geometry import UNSTATED_ORIENTATION
from .volume import Grid, Volume, lps_affine

# A slice may lie this share of the slice distance off an even lattice before the series is resampled.
UNEVEN_SHARE = 0.1
SIDEWAYS_LIMIT_MM = 2.0
# A stack that drifts sideways by less from its first to its last slice lies along its normal: headers round positions
# to a tenth of a mm and directions to a thousandth. A gantry tilted by one degree drifts as much within 9 mm.
ROUNDING_MM = 0.15


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
    """Reads the largest series of a modality among the files; where none is there, of the other one of CT and MR, and
    of any other only where there is neither.

    Files that hold many frames each are joined. Color images, localizers and duplicates are dropped, and so is what
    shares only the series UID: of another patient, study, frame of reference, kernel, series number, size or
    orientation, or of an acquisition whose slices lie between those of a larger one. Where slices are missing or
    unevenly spaced, the series is interpolated onto even slices of the usual distance, between the same first and last
    slice; of what wide gaps part, the longest run of slices is taken.

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
        InputRefused: no images, none but in color, none that states its place and the size of its voxels, fewer than 3
            slices, or slices that do not form a straight stack.
    """
    slices = _of_shared_origin([image for item in filter(None, map(read_slice, paths)) for image in images_in(item)])
    lost = left_out(set(paths) - {s.path for s in slices})
    if not slices:
        refusal = (
            f"No DICOM images with a position in space were found in '{source or paths[0].name}': give the folder of "
            f"the {modality} series."
        )
        raise InputRefused(" ".join([refusal, *lost]))
    stack, notes = choose_stack(slices, modality)
    notes += lost
    unstated = [UNSTATED_ORIENTATION] * any(s.axes is None for s in stack)
    if any(s.assumed for s in stack):
        notes.append(
            "The file does not say where each of its images lies: they were taken as they come, evenly spaced and "
            "without tilt, so look at the result with care."
        )
    if len(stack) < MINIMUM_SLICES:
        refusal = (
            f"Only {len(stack)} slice{'s' * (len(stack) != 1)} of the series could be found: give the folder that "
            f"holds the whole {modality} series."
        )
        raise InputRefused(" ".join([refusal, *notes, *unstated]))
    first, positions = stack[0], np.array([s.position for s in stack])
    along = (positions - positions[0]) @ first.normal
    step = float(np.median(np.diff(along)))
    count = int(round(along[-1] / step)) + 1
    line = _line(positions[-1] - positions[0], first.normal)
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


def _line(way: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """(3,) how far a stack goes for each mm along its normal; the way leads from its first to its last slice."""
    along = way @ normal
    return normal if np.linalg.norm(way - along * normal) < ROUNDING_MM else way / along


def _of_shared_origin(slices: list[Slice]) -> list[Slice]:
    """With origins that keep apart only what doesn't belong together."""
    series = defaultdict(list)
    for item in slices:
        series[item.series_uid].append(item)
    return [
        replace(item, origin=origin)
        for images in series.values()
        for item, origin in zip(images, _shared_origins([image.origin for image in images]))
    ]


def _shared_origins(origins: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Those of one series, without the patient, study and whatever else every image has for itself, as after an
    anonymization file by file, and with the only kernel and series number also where an image lacks them."""
    patient, study, space, *reconstruction = zip(*origins)
    shared = [patient, study, space, *map(_completed, reconstruction)]
    return zip(*([""] * len(values) if len(set(values)) == len(values) else values for values in shared))


def _completed(values: tuple[str, ...]) -> list[str]:
    known = set(filter(None, values))
    return [value or next(iter(known)) for value in values] if len(known) == 1 else list(values)
