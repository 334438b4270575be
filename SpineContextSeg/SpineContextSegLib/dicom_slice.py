"""One image of a DICOM series, and what the header of a file says of those in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .faults import lacks_memory

# Cosine between the rows and columns of an image; headers round.
_RIGHT_ANGLE = 0.01


@dataclass(frozen=True, eq=False)
class Slice:
    """One image, or as yet all those of a multi-frame file, whose places `dicom_frames.images_in` tells.

    Attributes:
        path: of the file.
        sop_class, sop_uid, series_uid, description, modality: as the header has them; "" where it hasn't.
        origin: patient, study, frame of reference, kernel and series number; images that differ in one don't share a
            space, or are two reconstructions of it.
        localizer: whether it says that it only shows where other images lie; see `dicom_choice.is_unmarked_localizer`.
        color: whether it has several values per pixel, as what was drawn on scans.
        inverted: whether low values are to be shown bright (MONOCHROME1).
        frames: images in the file; 1 in a stack of several files, as none of them stands for all.
        size: rows, columns.
        spacing: distance of columns, of rows, in mm; None where it isn't stated.
        thickness: mm; 0 where it isn't stated.
        position: (3,) middle of the first pixel, LPS, mm; None where it isn't stated.
        axes: (2, 3) direction of rows, of columns; None where they aren't stated.
        phase: what tells images at one position apart and sorts them by time, and the folder last.
        order: instance number, and which frame of its file it is, from 0.
        rescale: slope and intercept that turn what SimpleITK reads into values of this frame.
        assumed: whether the position was only counted, for want of better.
        refusal: why the image can't be taken, as a sentence; "" where it can.
    """

    path: Path
    sop_class: str
    sop_uid: str
    series_uid: str
    description: str
    modality: str
    origin: tuple[str, str, str, str, str]
    localizer: bool
    color: bool
    inverted: bool
    frames: int
    size: tuple[int, int]
    spacing: tuple[float, float] | None
    thickness: float
    position: np.ndarray | None
    axes: np.ndarray | None
    phase: tuple[int, int, str, str]
    order: tuple[int, int]
    rescale: tuple[float, float] = (1.0, 0.0)
    assumed: bool = False
    refusal: str = ""

    @property
    def row(self) -> np.ndarray:
        return np.array([1.0, 0.0, 0.0]) if self.axes is None else self.axes[0]

    @property
    def column(self) -> np.ndarray:
        return np.array([0.0, 1.0, 0.0]) if self.axes is None else self.axes[1]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)

    @property
    def stack_key(self) -> tuple:
        """Slices that can lie in one volume share this, and nearly the `frame`."""
        return (self.series_uid, self.modality, self.size, self.origin)

    @property
    def frame(self) -> np.ndarray:
        """(8,) both directions, and the distance of pixels in mm."""
        return np.concatenate([self.row, self.column, self.spacing])


def read_slice(path: Path) -> Slice | None:
    """What the header of one file says, without what lies in sequences, or None where it holds no image."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if lacks_memory(error):
            raise
        return None

    def text(tag: str) -> str:
        # Free text may come in the bytes of its own character set, which Python passes on as surrogates.
        value = reader.GetMetaData(tag) if reader.HasMetaDataKey(tag) else ""
        return value.encode("utf-8", "replace").decode("utf-8").replace("\x00", "").strip()

    def number(tag: str) -> int:
        value = text(tag)
        return int(value) if value.lstrip("+-").isdigit() else 0

    size = reader.GetSize()
    if len(size) != 3:
        return None
    time = text("0008|002a") or text("0008|0022") + text("0008|0032")
    return Slice(
        path=path,
        sop_class=text("0008|0016"),
        sop_uid=text("0008|0018"),
        series_uid=text("0020|000e"),
        description=text("0008|103e"),
        modality=text("0008|0060"),
        origin=tuple(map(text, ("0010|0020", "0020|000d", "0020|0052", "0018|1210", "0020|0011"))),
        localizer="LOCALIZER" in text("0008|0008").upper(),
        color=reader.GetNumberOfComponents() > 1,
        inverted=text("0028|0004") == "MONOCHROME1",
        frames=size[2],
        size=(size[1], size[0]),
        spacing=spacing_of(text("0028|0030")),
        thickness=max(0.0, *(numbers_in(text("0018|0050"), 1) or [0.0])),
        position=position_of(text("0020|0032")),
        axes=axes_of(text("0020|0037")),
        phase=(number("0020|0012"), number("0020|0100"), time, str(path.parent)),
        order=(number("0020|0013"), 0),
    )


def spacing_of(text: str) -> tuple[float, float] | None:
    """Pixel Spacing: distance of columns, of rows, in mm. DICOM writes them the other way round."""
    numbers = numbers_in(text, 2)
    return None if numbers is None or min(numbers) <= 0 else (numbers[1], numbers[0])


def position_of(text: str) -> np.ndarray | None:
    """(3,) Image Position (Patient), LPS, mm."""
    numbers = numbers_in(text, 3)
    return None if numbers is None else np.array(numbers)


def axes_of(text: str) -> np.ndarray | None:
    """(2, 3) Image Orientation (Patient): unit vectors of rows, of columns, at right angles, which headers round."""
    numbers = numbers_in(text, 6)
    if numbers is None:
        return None
    axes = np.reshape(numbers, (2, 3))
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if lengths.min() == 0:
        return None
    row, column = axes / lengths
    if abs(row @ column) > _RIGHT_ANGLE:
        return None
    column = column - (row @ column) * row
    return np.stack([row, column / np.linalg.norm(column)])


def numbers_in(text: str, count: int) -> list[float] | None:
    """The numbers of a value, None where there aren't as many or they aren't finite."""
    try:
        numbers = [float(part) for part in text.split("\\")]
    except ValueError:
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
