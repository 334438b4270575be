"""A folder of DICOM files to one volume of a CT or MR, with geometry taken from the position of every slice.

Positions: DICOM PS3.3 C.7.6.2, Image Position and Image Orientation (Patient). A tilted gantry shows as positions that
don't run along the slice normal; the affine keeps that shear.
"""

import mmap
import re
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .checks import MINIMUM_SLICES, check_geometry
from .dicom_folder import counted, dicom_files, left_out
from .errors import InputRefused
from .volume import Grid, Volume, array_of, lps_affine

SAME_POSITION_MM = 0.01
# A slice may lie this share of the slice distance off an even lattice before the series is resampled.
UNEVEN_SHARE = 0.1
SIDEWAYS_LIMIT_MM = 2.0
POSITION_TAG = b"\x20\x00\x32\x00"
# Of direction cosines, and of the distance of pixels in mm.
SAME_FRAME = 1e-3
PIXELS_TAG = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True)
class Slice:
    """What one DICOM file says about itself; positions in LPS, mm."""

    path: Path
    series_uid: str
    description: str
    modality: str
    localizer: bool
    frames: int
    size: tuple[int, int]
    spacing: tuple[float, float]
    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    order: tuple[int, int]
    frame_step: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)

    @property
    def stack_key(self) -> tuple:
        """Slices that can lie in one volume share this, and nearly the `frame`."""
        alone = str(self.path) if self.frames > 1 else ""
        return (self.series_uid, self.modality, self.size, alone)

    @property
    def frame(self) -> np.ndarray:
        """(8,) both directions, and the distance of pixels in mm."""
        return np.concatenate([self.row, self.column, self.spacing])


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
    """The slices of every series among DICOM files, by series UID; files without an image in space are left out."""
    series = defaultdict(list)
    for item in filter(None, map(_read_slice, paths)):
        series[item.series_uid].append(item)
    return dict(series)


def read_dicom_files(paths: list[Path], source: str = "", modality: str = "CT") -> tuple[Volume, list[str]]:
    """Reads the largest series of a modality among the files (of another one where none of it is there).

    Localizers and duplicates are dropped. Where slices are missing or unevenly spaced, the series is interpolated onto
    even slices of the usual distance, between the same first and last slice.

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
    array, notes = _read_pixels(stack.slices), stack.notes
    if not stack.is_even:
        array = _onto_even_slices(array, stack.along, stack.even)
        notes.append(
            f"Slices are missing or unevenly spaced ({len(stack.slices)} slices, gaps up to "
            f"{np.diff(stack.along).max():.3g} mm): the series was interpolated to {len(stack.even)} slices every "
            f"{stack.even[1]:.3g} mm, so look at the result there with care."
        )
    return Volume(array, stack.grid.affine), notes


def find_stack(paths: list[Path], source: str = "", modality: str = "CT") -> Stack:
    """The slices that `read_dicom_files` takes, without their pixels; arguments as there.

    Raises:
        InputRefused: no images, fewer than 3 slices, or slices that do not form a straight stack.
    """
    slices = [s for s in map(_read_slice, paths) if s is not None]
    lost = left_out(set(paths) - {s.path for s in slices})
    if not slices:
        refusal = (
            f"No DICOM images with a position in space were found in '{source or paths[0].name}': give the folder of "
            f"the {modality} series."
        )
        raise InputRefused(" ".join([refusal, *lost]))
    stack, notes = _choose_stack(slices, modality)
    notes += lost
    if stack[0].frames > 1:
        stack = _frames(stack[0], notes)
    stack = _sorted_without_duplicates(stack, notes)
    if len(stack) < MINIMUM_SLICES:
        raise InputRefused(
            f"Only {len(stack)} slice{'s' * (len(stack) != 1)} of the series could be found: give the folder that "
            f"holds the whole {modality} series."
        )
    first, positions = stack[0], np.array([s.position for s in stack])
    along = (positions - positions[0]) @ first.normal
    step = float(np.median(np.diff(along)))
    count = int(round(along[-1] / step)) + 1
    line = (positions[-1] - positions[0]) / along[-1]
    sideways = np.linalg.norm(positions - positions[0] - along[:, None] * line, axis=1).max()
    if sideways > SIDEWAYS_LIMIT_MM:
        raise InputRefused(
            f"The slices are shifted against each other by up to {sideways:.0f} mm and form no straight stack: give "
            f"one {modality} series, as the scanner stored it."
        )
    even = np.linspace(0.0, along[-1], count)
    affine = lps_affine(
        positions[0], (*first.spacing, even[1]), np.column_stack([first.row, first.column, line])
    )
    grid = Grid((count, *first.size), affine)
    check_geometry(grid)
    return Stack(stack, along, even, grid, notes)


def _read_slice(path: Path) -> Slice | None:
    """What the header of one file says, or None where it holds no image or one without a place in space."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None

    def text(tag: str) -> str:
        # Free text may come in the bytes of its own character set, which Python passes on as surrogates.
        value = reader.GetMetaData(tag) if reader.HasMetaDataKey(tag) else ""
        return value.encode("utf-8", "replace").decode("utf-8").replace("\x00", "").strip()

    def number(tag: str) -> int:
        value = text(tag)
        return int(value) if value.lstrip("+-").isdigit() else 0

    size, spacing = reader.GetSize(), reader.GetSpacing()
    if len(size) != 3 or (size[2] == 1 and not text("0020|0032")):
        return None
    direction = np.reshape(reader.GetDirection(), (3, 3))
    return Slice(
        path=path,
        series_uid=text("0020|000e"),
        description=text("0008|103e"),
        modality=text("0008|0060"),
        localizer="LOCALIZER" in text("0008|0008").upper(),
        frames=size[2],
        size=(size[1], size[0]),
        spacing=(spacing[0], spacing[1]),
        position=np.array(reader.GetOrigin()),
        row=direction[:, 0],
        column=direction[:, 1],
        order=(number("0020|0012"), number("0020|0013")),
        frame_step=direction[:, 2] * spacing[2],
    )


def _choose_stack(slices: list[Slice], modality: str) -> tuple[list[Slice], list[str]]:
    """The largest stack of a modality, if there is one, and notes on what was left out."""
    notes = []
    wanted = [s for s in slices if not s.localizer] or slices
    if len(wanted) < len(slices):
        notes.append(f"{counted(len(slices) - len(wanted), 'localizer image')} left out.")
    of_modality = [s for s in wanted if s.modality == modality]
    stack = max(_stacks(of_modality or wanted), key=lambda s: sum(i.frames * i.size[0] * i.size[1] for i in s))
    if stack[0].modality not in ("CT", "MR"):
        notes.append(f"The series is {stack[0].modality or 'of unknown modality'}, neither CT nor MR.")
    series = len({s.series_uid for s in wanted})
    name = f" \"{stack[0].description}\"" if stack[0].description else ""
    if series > 1:
        kind = f"{modality} series" if of_modality else "series"
        count = sum(s.frames for s in stack)
        notes.append(f"The folder holds {series} series; the largest {kind}{name} with {count} slices was taken.")
    odd = sum(1 for s in wanted if s.series_uid == stack[0].series_uid) - len(stack)
    if odd:
        notes.append(f"{counted(odd, 'image')} left out, of another size or orientation than the series{name}.")
    return stack, notes


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


def _sorted_without_duplicates(stack: list[Slice], notes: list[str]) -> list[Slice]:
    """One slice per position, in order along the slice normal; of several, the earliest acquired."""
    normal = stack[0].normal
    ordered = sorted(stack, key=lambda s: (float(s.position @ normal), s.order))
    groups: list[list[Slice]] = []
    for item in ordered:
        if groups and abs(float((item.position - groups[-1][0].position) @ normal)) < SAME_POSITION_MM:
            groups[-1].append(item)
        else:
            groups.append([item])
    kept = [min(group, key=lambda s: s.order) for group in groups]
    if len(kept) < len(stack):
        times = Counter(map(len, groups)).most_common(1)[0][0]
        if times > 1:
            notes.append(f"The series holds {times} images per position (phases or copies); the earliest were taken.")
        else:
            notes.append(f"{counted(len(stack) - len(kept), 'duplicate slice')} left out.")
    return kept


def _onto_even_slices(array: np.ndarray, along: np.ndarray, even: np.ndarray) -> np.ndarray:
    """Linear interpolation of slices at `along` (mm, increasing) to those at `even`; keeps the type."""
    above = np.clip(np.searchsorted(along, even), 1, len(along) - 1)
    weight = (even - along[above - 1]) / (along[above] - along[above - 1])
    out = np.empty((len(even), *array.shape[1:]), dtype=array.dtype)
    for k, (upper, w) in enumerate(zip(above, weight)):
        blend = (1.0 - w) * array[upper - 1] + w * array[upper]
        out[k] = np.rint(blend) if np.issubdtype(array.dtype, np.integer) else blend
    return out


def _frames(item: Slice, notes: list[str]) -> list[Slice]:
    """One slice per frame of a multi-frame file.

    GDCM tells one position and one distance only, which loses tilt and order, so the positions are read from the file.
    """
    positions = _frame_positions(item.path)
    if len(positions) != item.frames:
        notes.append("The positions of single frames could not be read: even slices without tilt were assumed.")
        positions = [item.position + n * item.frame_step for n in range(item.frames)]
    return [replace(item, position=p, order=(0, n)) for n, p in enumerate(positions)]


def _frame_positions(path: Path) -> list[np.ndarray]:
    """Every Image Position (Patient) before the pixels, in order, of a little-endian file."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header = data[: max(0, data.find(PIXELS_TAG))]
    positions = []
    for match in re.finditer(re.escape(POSITION_TAG), header):
        start = match.end()
        if header[start : start + 2] == b"DS":
            length = struct.unpack_from("<H", header, start + 2)[0]
        else:
            length = struct.unpack_from("<I", header, start)[0] if start + 4 <= len(header) else 0
        text = header[start + 4 : start + 4 + min(length, 64)].decode("ascii", "replace").strip("\x00 ")
        try:
            position = np.array([float(part) for part in text.split("\\")])
        except ValueError:
            continue
        if position.shape == (3,):
            positions.append(position)
    return positions


def _read_pixels(stack: list[Slice]) -> np.ndarray:
    """Rescaled voxels (k, j, i) in the order of the stack; int16 where they fit, else float32 or int32."""
    if stack[0].frames > 1:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(stack[0].path))
    else:
        reader = sitk.ImageSeriesReader()
        reader.ForceOrthogonalDirectionOff()
        reader.SetFileNames([str(item.path) for item in stack])
    reader.SetImageIO("GDCMImageIO")
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputRefused(
            f"The pixels of '{stack[0].path.parent.name}' can't be decoded: export the series again, uncompressed."
        ) from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputRefused("The series is in color: give the original CT series.")
    array = array_of(image)
    if stack[0].frames > 1:
        array = array[[item.order[1] for item in stack]]
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32, copy=False)
    limits = np.iinfo(np.int16)
    if limits.min <= array.min() and array.max() <= limits.max:
        return array.astype(np.int16, copy=False)
    return array
