"""From a file or DICOM folder to a `Volume`, with its geometry checked before and after SimpleITK reads it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .checks import MINIMUM_SLICES, check_geometry, check_path
from .dicom import find_stack, list_series, read_dicom_files, read_dicom_folder
from .dicom_folder import dicom_files, is_dicom_file
from .dicom_seg import is_dicom_seg, read_dicom_seg, segments_of
from .errors import InputRefused
from .faults import lacks_memory
from .integrity import check_complete, check_data_file, check_size, check_voxels
from .itk_warnings import quiet_itk
from .labels import Segment
from .nifti import (
    HEADER_AGREEMENT_MM,
    NiftiHeader,
    is_overshadowed,
    is_read_as_stated,
    non_finite_voxels,
    read_nifti_header,
)
from .segment_list import in_verse, renumbered, stated_segments
from .stated_geometry import UNSTATED_ORIENTATION, check_stated_geometry
from .volume import Grid, Volume, from_sitk, lps_affine

READABLE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_META_IMAGE = (".mha", ".mhd")
_NIFTI_NOT_LOADED = "nifti_image_load failed"
NOTEWORTHY_SHIFT_MM = 1.0


def read_volume(path: str | Path, modality: str = "CT") -> tuple[Volume, list[str]]:
    """Reads one gray-value volume: NIfTI-1, NRRD, MHA, a DICOM folder (searched to the bottom) or one DICOM file.

    Args:
        modality: "CT" or "MR": what is taken from a DICOM folder that holds both, and what refusals ask for. The other
            one is taken where there is none of it.

    Returns:
        The volume, array (k, j, i) as stored (rescaled to HU for DICOM), affine IJK -> RAS in mm, shear kept; and
        notes, one sentence each, on what was chosen or noticed.

    Raises:
        InputRefused: missing, with a name that is no text, of unknown kind, unreadable, cut short, not 3D, color,
            sheared NIfTI, fewer than 3 slices, absurd voxel size or none stated.
        RuntimeError, MemoryError: memory ran out, see `faults.lacks_memory`.
    """
    path = Path(path)
    if not path.exists():
        raise InputRefused(f"'{path}' does not exist: check the path.")
    check_path(path)
    with quiet_itk():
        if path.is_dir():
            return read_dicom_folder(path, modality)
        if path.name.lower().endswith(READABLE_ENDINGS):
            with _alone(path) as file:
                return _read_image_file(path, file)
        if is_dicom_file(path):
            return read_dicom_files([path], modality=modality)
    raise InputRefused(f"'{path.name}' is of no known kind: give NIfTI (.nii.gz), .nrrd, .mha or a DICOM folder.")


def read_volume_on(grid: Grid, path: str | Path) -> tuple[Volume, list[str]]:
    """As `read_volume`; of several DICOM series in a folder one on this grid, as labels have it, or on a larger one
    around it, where there is one."""
    path = Path(path)
    if path.is_dir():
        check_path(path)
        with quiet_itk():
            files = dicom_files(path)
            series = [[item.path for item in slices] for slices in list_series(files).values()]
            # All together at first: of several on one grid, such as two kernels, the largest is what was segmented.
            stacks = [(some, _grid_of(some, str(path))) for some in (files, *series)]
            for fits in (grid.same_as, grid.is_part_of):
                for some, scan in stacks:
                    if scan is not None and fits(scan, HEADER_AGREEMENT_MM):
                        return read_dicom_files(some, str(path))
    return read_volume(path)


def read_labels(path: str | Path, *, verse: bool = True) -> Volume:
    """As `read_labels_with_notes`, for whoever has no one to tell."""
    return read_labels_with_notes(path, verse=verse)[0]


def read_labels_with_notes(path: str | Path, *, verse: bool = True) -> tuple[Volume, list[str]]:
    """Reads a segmentation with one label value per voxel: NIfTI-1, NRRD, MHA, `.seg.nrrd` with one layer, DICOM SEG.

    Args:
        verse: False leaves the values of a `.seg.nrrd` as they are, for whoever knows that they are not VerSe's.

    Returns:
        Integers (k, j, i), affine IJK -> RAS in mm; of a `.seg.nrrd` as `segment_list.in_verse` has them,
        of a DICOM SEG as `dicom_seg.read_dicom_seg`; and notes as `read_volume` has them.

    Raises:
        InputRefused: as `read_volume`, `segment_list.in_verse` and `dicom_seg.read_dicom_seg`; or where values are no
            whole numbers.
    """
    path = Path(path)
    if is_dicom_file(path):
        if is_dicom_seg(path):
            if not verse:
                raise InputRefused(
                    f"'{path.name}' is a DICOM SEG, whose labels are told by their names and not by a numbering: "
                    "leave the numbering out."
                )
            return read_dicom_seg(path), []
    volume, notes = read_volume(path)
    if verse and lists_segments(path):
        stated = _stated_segments(path)
        volume = Volume(renumbered(volume.array, stated, in_verse(path.name, stated)), volume.affine)
    if np.issubdtype(volume.array.dtype, np.integer):
        return volume, notes
    rounded = np.rint(volume.array)
    if not np.array_equal(rounded, volume.array) or np.abs(rounded).max() > np.iinfo(np.int32).max:
        raise InputRefused(f"'{path.name}' holds fractions, not label values: give a segmentation.")
    return Volume(rounded.astype(np.int32), volume.affine), notes


def lists_segments(path: Path) -> bool:
    """Whether a file says of its values what they are."""
    return path.name.lower().endswith(".seg.nrrd")


def read_segments(path: Path) -> list[Segment]:
    """The segments of a `.seg.nrrd` or a DICOM SEG, in the order of its list, with the values that `read_labels` gives
    them; of other files, none.

    Raises:
        InputRefused: as `segment_list.in_verse` and `numbered_by_names`.
    """
    if is_dicom_file(path):
        return segments_of(path) if is_dicom_seg(path) else []
    return in_verse(path.name, _stated_segments(path)) if lists_segments(path) else []


def _stated_segments(path: Path) -> list[Segment]:
    reader = image_reader(path)
    reader.ReadImageInformation()
    return stated_segments({key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()})


def image_reader(path: Path) -> sitk.ImageFileReader:
    """ITK's reader of one file, whether its ending is in small letters or in capitals."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    # By itself, ITK doesn't know these in capitals, though it writes them.
    if path.suffix.lower() in _META_IMAGE and path.suffix not in _META_IMAGE:
        reader.SetImageIO("MetaImageIO")
    return reader


def _grid_of(files: list[Path], source: str) -> Grid | None:
    try:
        return find_stack(files, source).grid
    except InputRefused:
        return None


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Where ITK can't but read this file: the path itself or, where another file would be read in its place, a link to
    it elsewhere. A copy only where there are no links, as on Windows: it would stay if the process were ended."""
    if not is_overshadowed(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="SpineContextSeg-") as folder:
        link = Path(folder, path.name)
        try:
            link.symlink_to(path.absolute())
        except OSError:
            shutil.copy(path, link)
        yield link


def _read_image_file(path: Path, file: Path) -> tuple[Volume, list[str]]:
    """Reads `path`, which ITK finds at `file`."""
    is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    header = read_nifti_header(path) if is_nifti else None
    if header is not None:
        _refuse_sheared_or_absurd(header, path)
    check_data_file(path)
    reader = image_reader(file)
    with _refusing_what_is_no_image(path):
        reader.ReadImageInformation()
    grid = _promised_grid(reader, path)
    notes = _agreement(header, grid, path) if header is not None else check_stated_geometry(path)
    check_geometry(grid)
    stored = header.bytes_per_voxel if header else sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    promised, offset = int(np.prod(grid.shape, dtype=np.int64)) * stored, header.voxel_offset if header else 0
    check_size(path, promised, offset)
    if reader.GetDimension() == 4:
        reader.SetExtractSize([*reader.GetSize()[:3], 0])
    with _refusing_what_is_no_image(path):
        volume = from_sitk(_execute(reader, path, promised, offset))
    exact = check_voxels(path, volume.array, promised, offset)
    if header is not None and header.void_intercept:
        volume = _without_intercept(volume, header)
    lost = non_finite_voxels(path, header, grid.shape) if header is not None and not exact else None
    if lost is not None:
        volume = Volume(np.where(lost, np.nan, volume.array), volume.affine)
    return volume, notes


def _without_intercept(volume: Volume, header: NiftiHeader) -> Volume:
    array = volume.array - header.void_intercept
    return Volume(np.rint(array) if header.number_type is None else array, volume.affine)


def _execute(reader: sitk.ImageFileReader, path: Path, promised_bytes: int, nifti_offset: int) -> sitk.Image:
    try:
        return reader.Execute()
    except RuntimeError as error:
        # Of a damaged file and of a lack of memory, ITK's NIfTI library says the same.
        if _NIFTI_NOT_LOADED in str(error):
            check_complete(path, promised_bytes, nifti_offset)
            raise MemoryError from error
        raise


@contextmanager
def _refusing_what_is_no_image(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if lacks_memory(error):
            raise
        raise InputRefused(f"'{path.name}' can't be read as an image: copy or export it again.") from error


def _promised_grid(reader: sitk.ImageFileReader, path: Path) -> Grid:
    """The grid that the header states, refused where it is no single gray-value volume."""
    size, dimension, pixel = reader.GetSize(), reader.GetDimension(), reader.GetPixelID()
    if reader.GetNumberOfComponents() != 1 or pixel in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputRefused(
            f"'{path.name}' holds {reader.GetNumberOfComponents()} values per voxel, as a color picture or "
            "overlapping segments do: give one gray-value volume."
        )
    if dimension == 4 and size[3] != 1:
        raise InputRefused(f"'{path.name}' holds {size[3]} volumes (4D): save the one to segment as its own file.")
    if dimension not in (3, 4):
        raise InputRefused(f"'{path.name}' has {dimension} dimensions: give one three-dimensional CT volume.")
    spacing = reader.GetSpacing()[:3]
    if min(spacing) < 0:
        # ITK mirrors the axis, other programs don't.
        raise InputRefused(f"'{path.name}' states a negative voxel size: export the scan again.")
    direction = np.reshape(reader.GetDirection(), (dimension, dimension))[:3, :3]
    return Grid(size[2::-1], lps_affine(reader.GetOrigin()[:3], spacing, direction))


def _refuse_sheared_or_absurd(header: NiftiHeader, path: Path) -> None:
    for matrix in (header.sform, header.qform):
        if matrix is None:
            continue
        grid = Grid((MINIMUM_SLICES,) * 3, matrix)
        check_geometry(grid)
        if grid.is_sheared or (header.qform is None and not is_read_as_stated(matrix)):
            raise InputRefused(
                f"'{path.name}' is sheared (tilted gantry), which programs read differently from NIfTI: "
                "give the DICOM folder, or save the scan as .nrrd."
            )


def _agreement(header: NiftiHeader, grid: Grid, path: Path) -> list[str]:
    """Compares ITK's geometry with both transforms of a NIfTI header (ITK mixes pixdim, sform and qform)."""
    matrices = {"sform": header.sform, "qform": header.qform}
    stated = {name: Grid(grid.shape, matrix) for name, matrix in matrices.items() if matrix is not None}
    if not stated:
        return [UNSTATED_ORIENTATION]
    shifts = {name: float(np.abs(other.corners() - grid.corners()).max()) for name, other in stated.items()}
    used = min(shifts, key=lambda name: shifts[name])
    if shifts[used] > HEADER_AGREEMENT_MM:
        raise InputRefused(
            f"The header of '{path.name}' contradicts itself about voxel size or position: export the scan again, "
            "best as .nrrd or DICOM."
        )
    if max(shifts.values()) > NOTEWORTHY_SHIFT_MM:
        apart = f"The file states two positions in space, {max(shifts.values()):.0f} mm apart"
        taken = f"that of its {used} was used"
        if len({bool(np.linalg.det(other.directions) > 0) for other in stated.values()}) > 1:
            return [f"{apart} and one the mirror image of the other; {taken}: check left and right."]
        return [f"{apart}; {taken}."]
    return []
