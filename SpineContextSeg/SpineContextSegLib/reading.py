"""From a file or DICOM folder to a `Volume`, with its geometry checked before and after SimpleITK reads it."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .checks import MINIMUM_SLICES, check_geometry, check_path
from .dicom import find_stack, list_series, read_dicom_files, read_dicom_folder
from .dicom_folder import dicom_files, is_dicom_file
from .errors import InputRefused
from .faults import lacks_memory
from .integrity import check_complete, check_size, check_voxels
from .labels import FIRST_OWN_VALUE, SEGMENT_ID_PREFIX, STRUCTURES, TERMINOLOGY_TAG, VALUE_TAG, Segment
from .nifti import NiftiHeader, non_finite_voxels, read_nifti_header
from .stated_geometry import UNSTATED_ORIENTATION, check_stated_geometry
from .volume import Grid, Volume, from_sitk, lps_affine

READABLE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_META_IMAGE = (".mha", ".mhd")
_NIFTI_NOT_LOADED = "nifti_image_load failed"
# The quaternion of a qform is stored as float32 and may misplace the far corner of a large scan by this much.
HEADER_AGREEMENT_MM = 0.1
NOTEWORTHY_SHIFT_MM = 1.0
# Slicer's color of a segment that has none.
_GRAY = (0.5, 0.5, 0.5)
# Code -> the one structure that has it: not that of the discs, nor that of T13 and L6.
_CODES = Counter(item.snomed_code for item in STRUCTURES.values())
_STRUCTURE_OF_CODE = {item.snomed_code: value for value, item in STRUCTURES.items() if _CODES[item.snomed_code] == 1}


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
            return _read_image_file(path)
        if is_dicom_file(path):
            return read_dicom_files([path], modality=modality)
    raise InputRefused(f"'{path.name}' is of no known kind: give NIfTI (.nii.gz), .nrrd, .mha or a DICOM folder.")


def read_volume_on(grid: Grid, path: str | Path) -> tuple[Volume, list[str]]:
    """As `read_volume`; of several DICOM series in a folder one on this grid, as labels have it, where there is one."""
    path = Path(path)
    if path.is_dir():
        check_path(path)
        with quiet_itk():
            files = dicom_files(path)
            series = [[item.path for item in slices] for slices in list_series(files).values()]
            # All together at first: of several on one grid, such as two kernels, the largest is what was segmented.
            for some in (files, *series):
                if _is_on(grid, some, str(path)):
                    return read_dicom_files(some, str(path))
    return read_volume(path)


def read_labels(path: str | Path) -> Volume:
    """Reads a segmentation with one label value per voxel: NIfTI-1, NRRD, MHA, or `.seg.nrrd` with one layer.

    Returns:
        Integers (k, j, i), affine IJK -> RAS in mm; a person's own segments as `read_segments` has them.

    Raises:
        InputRefused: as `read_volume`; where values are no whole numbers; or where a segment has the name, ID or code
            of one structure and the value of another.
    """
    path = Path(path)
    volume, _ = read_volume(path)
    if path.name.lower().endswith(".seg.nrrd"):
        stated = _stated_segments(path)
        _check_values(path, stated)
        volume = Volume(_with_own_apart(volume.array, stated), volume.affine)
    if np.issubdtype(volume.array.dtype, np.integer):
        return volume
    rounded = np.rint(volume.array)
    if not np.array_equal(rounded, volume.array) or np.abs(rounded).max() > np.iinfo(np.int32).max:
        raise InputRefused(f"'{path.name}' holds fractions, not label values: give a segmentation.")
    return Volume(rounded.astype(np.int32), volume.affine)


def read_segments(path: Path) -> list[Segment]:
    """The segments of a `.seg.nrrd`, in the order of its list; a person's own beside ours have values from 300 on."""
    return _own_apart(_stated_segments(path))


def _stated_segments(path: Path) -> list[Segment]:
    reader = image_reader(path)
    reader.ReadImageInformation()
    found: dict[int, dict[str, str]] = {}
    for key in reader.GetMetaDataKeys():
        field = re.fullmatch(r"Segment(\d+)_(\w+)", key)
        if field:
            found.setdefault(int(field[1]), {})[field[2]] = _as_text(reader.GetMetaData(key))
    return [_segment(found[number]) for number in sorted(found)]


def image_reader(path: Path) -> sitk.ImageFileReader:
    """ITK's reader of one file, whether its ending is in small letters or in capitals."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    # By itself, ITK doesn't know these in capitals, though it writes them.
    if path.suffix.lower() in _META_IMAGE and path.suffix not in _META_IMAGE:
        reader.SetImageIO("MetaImageIO")
    return reader


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keeps ITK's warnings off the terminal; what matters in them is checked here and said in words."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _is_on(grid: Grid, files: list[Path], source: str) -> bool:
    try:
        return find_stack(files, source).grid.same_as(grid, HEADER_AGREEMENT_MM)
    except InputRefused:
        return False


def _read_image_file(path: Path) -> tuple[Volume, list[str]]:
    is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    header = read_nifti_header(path) if is_nifti else None
    if header is not None:
        _refuse_sheared_or_absurd(header, path)
    reader = image_reader(path)
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
    lost = non_finite_voxels(path, header, grid.shape) if header is not None and not exact else None
    if lost is not None:
        volume = Volume(np.where(lost, np.nan, volume.array), volume.affine)
    return volume, notes


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
        if grid.is_sheared:
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


def _as_text(stored: str) -> str:
    """A text of a header, whose bytes SimpleITK keeps where they aren't UTF-8, but doesn't take back. Programs that
    write other bytes mostly write those of Windows in the West."""
    content = stored.encode("utf-8", "surrogateescape")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _segment(fields: dict[str, str]) -> Segment:
    tags = (tag.partition(":") for tag in fields.get("Tags", "").split("|"))
    return Segment(
        _whole_number(fields.get("LabelValue", "")),
        fields.get("ID", ""),
        fields.get("Name", ""),
        _color(fields.get("Color", "")),
        {name.strip(): text for name, _, text in tags if name.strip()},
    )


def _color(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, text.split())
    except ValueError:
        return _GRAY
    return red, green, blue


def _own_apart(segments: list[Segment]) -> list[Segment]:
    """Gives what a person drew beside segments of ours values of its own: Slicer gave it the smallest that were free,
    which stand for C1, C2..."""
    if not any(segment.segment_id.startswith(SEGMENT_ID_PREFIX) or VALUE_TAG in segment.tags for segment in segments):
        return segments
    taken = {segment.value for segment in segments}
    free = (value for value in count(FIRST_OWN_VALUE) if value not in taken)
    return [
        replace(segment, value=next(free))
        if segment.value and segment.value < FIRST_OWN_VALUE and _stands_for(segment) is None
        else segment
        for segment in segments
    ]


def _with_own_apart(array: np.ndarray, stated: list[Segment]) -> np.ndarray:
    """The voxels of segments with the values of `_own_apart`."""
    values = {old.value: new.value for old, new in zip(stated, _own_apart(stated), strict=True)}
    # A segment without voxels may bear the number of one of ours.
    values |= {segment.value: segment.value for segment in stated if _stands_for(segment) is not None}
    moved = {old: new for old, new in values.items() if old != new}
    if not moved:
        return array
    result = array.astype(np.result_type(array.dtype, np.uint16))
    for old, new in moved.items():
        result[array == old] = new
    return result


def _check_values(path: Path, segments: list[Segment]) -> None:
    """Slicer numbers segments anew when it collapses layers; who goes by the values would take a sacrum for C3."""
    for segment in segments:
        expected = _stands_for(segment)
        # A copy of one of ours, which a person made, still says what it was.
        own = segment.value is not None and segment.value >= FIRST_OWN_VALUE
        if expected not in (None, segment.value) and not own:
            written = STRUCTURES[expected].name
            called = f"'{written}'" if segment.name == written else f"'{segment.name}' ({written})"
            raise InputRefused(
                f"'{path.name}' has the value {segment.value} for {called}, which is {expected} in VerSe's numbering: "
                "export it with the Slicer module, which writes VerSe's values."
            )


def _stands_for(segment: Segment) -> int | None:
    """The value of the structure that a segment is, whatever value the file gives it; None where nothing says so.

    A repair of levels leaves the ID as it is and may leave a code that a person chose: the tag, then the ID say more.
    """
    named = next((value for value, item in STRUCTURES.items() if item.name == segment.name), None)
    if named is not None:
        return named
    id_of_ours = segment.segment_id.startswith(SEGMENT_ID_PREFIX)
    own_id = segment.segment_id.removeprefix(SEGMENT_ID_PREFIX) if id_of_ours else ""
    for text in (segment.tags.get(VALUE_TAG, ""), own_id):
        value = _whole_number(text)
        if value in STRUCTURES:
            return value
    code_of_type = re.match(r"[^~]*~[^~]*~SCT\^(\d+)\^", segment.tags.get(TERMINOLOGY_TAG, ""))
    if not code_of_type:
        return None
    # Of several structures that have the code, only the value says which.
    its_own = segment.value in STRUCTURES and STRUCTURES[segment.value].snomed_code == code_of_type[1]
    return segment.value if its_own else _STRUCTURE_OF_CODE.get(code_of_type[1])


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
