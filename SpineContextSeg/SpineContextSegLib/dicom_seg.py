"""Labels as a DICOM SEG that refers to the series they were made on: every plane on the image that it was drawn on; and
such a file read as labels.

Segmentation IOD: DICOM PS3.3 A.51, binary, without empty frames. highdicom writes and reads it; Slicer's Python
hasn't got it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from . import __version__
from .dicom import Stack, find_stack
from .dicom_folder import dicom_files, is_dicom, is_dicom_file
from .errors import InputRefused
from .faults import lacks_memory
from .itk_warnings import quiet_itk
from .labels import TERMINOLOGY_TAG, algorithm_name, structures_of
from .labels import Segment as StatedSegment
from .segment_list import numbered_by_names, renumbered
from .volume import LPS_FROM_RAS, Grid, Volume, count_labels

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

ENDING = ".dcm"
NAME = "SpineContextSeg"
SERIES_DESCRIPTION = f"{NAME}, research use only"
# Series of a scanner rarely get this far.
SERIES_NUMBER = 1000
# Of the SOP class of a DICOM SEG, binary or fractional, and of one with a label map.
_SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
# Header values lose this much on their way through text.
_SAME_GRID_MM = 0.01
_LONGEST_NAME = 64  # of a value of the kind LO
# What the standard wants to be there, be it empty; files without a patient's name often leave them out.
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
_SEXES = ("M", "F", "O", "")
# What Slicer, too, says of a segment that has no code.
_TISSUE = "SCT^85756007^Tissue"
_CATEGORY, _TYPE = 1, 2
_GRAY = (0.5, 0.5, 0.5)

MadeBy = Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]


@dataclass(frozen=True)
class Segment:
    """What a DICOM SEG says about one label value.

    Attributes:
        value: in the label map.
        name: for people.
        color: red, green, blue in 0..1.
        terminology_entry: as `labels.Structure.terminology_entry`; "" for a segment without a code.
        made_by: a network, a network and then a hand, or a hand.
    """

    value: int
    name: str
    color: tuple[float, float, float]
    terminology_entry: str
    made_by: MadeBy


def network_segments(labels: np.ndarray) -> list[Segment]:
    """The structures in a network's label map (k, j, i), top to bottom."""
    return [
        Segment(item.value, item.name, item.color, item.terminology_entry, "AUTOMATIC")
        for item in structures_of(count_labels(labels))
    ]


def find_images(scan: Path, grid: Grid, modality: str = "CT") -> Stack:
    """The images of a series that labels on `grid` belong to, plane k on image k.

    Args:
        scan, modality: what `reading.read_volume` read.
        grid: of the volume that it returned.

    Raises:
        InputRefused: highdicom is missing, the scan is no DICOM, slices are missing or unevenly spaced, the gantry was
            tilted, frames are spread over several files, or it is another scan by now.
    """
    _highdicom()
    if not is_dicom(scan):
        raise InputRefused(
            f"DICOM SEG refers to the DICOM images that were segmented, and '{scan.name}' is none: write .seg.nrrd "
            "instead, or segment the DICOM folder."
        )
    with quiet_itk():
        stack = find_stack(dicom_files(scan), str(scan), modality)
    if not stack.is_even:
        raise InputRefused(
            "Slices of the series are missing or unevenly spaced, so that the labels are not on its images, as DICOM "
            "SEG wants them: write .seg.nrrd instead."
        )
    if stack.grid.is_sheared:
        raise InputRefused(
            "The series was taken with a tilted gantry, which viewers of DICOM SEG don't expect: write .seg.nrrd "
            "instead."
        )
    if len({item.path for item in stack.slices}) > 1 and "ImageOrientationPatient" not in _header(stack.slices[0].path):
        raise InputRefused(
            "The series is spread over several multi-frame files, or doesn't state how the patient lies, so that DICOM "
            "SEG can't refer to its images: write .seg.nrrd instead."
        )
    if not stack.grid.same_as(grid, _SAME_GRID_MM):
        raise InputRefused(f"'{scan.name}' is not the series that the labels were made on: open or segment it again.")
    return stack


def check_headers(images: Stack) -> None:
    """Tells before any work whether the headers of a series hold what `write_dicom_seg` must repeat: it is tried with
    images of one voxel.

    Args:
        images: what `find_images` returned.

    Raises:
        InputRefused: they don't.
    """
    voxels = np.ones((len(images.slices), 1, 1), np.uint8)
    sources, planes = _on_images(images, np.arange(2, dtype=np.uint8), voxels)
    for header in sources:
        header.Rows = header.Columns = 1
    _segmentation(sources, planes, [_described(Segment(1, NAME, _GRAY, "", "MANUAL"), 1, None)])


def write_dicom_seg(
    labels: Volume, images: Stack, segments: Sequence[Segment], model: str | None, path: str | Path
) -> None:
    """Writes a binary DICOM SEG; an unfinished file is left to the caller to remove.

    Args:
        labels: values (k, j, i) from 0 to 65535, on the grid for which `find_images` returned `images`.
        segments: one for each value in `labels`, numbered from 1 on in this order; such as have no voxels are left out.
        model: name and version ("spinecontext-ct 0.4.0") of the network that made the segments; None where none did.
        path: of the file.

    Raises:
        InputRefused: there are no voxels, or the headers of the images lack what a segmentation must repeat.
        KeyError: a value in `labels` that isn't among `segments`.
        OSError: disk full or not writable.
    """
    present = set(count_labels(labels.array)) - {0}
    drawn = [segment for segment in segments if segment.value in present]
    if not drawn:
        raise InputRefused("There are no labels, so nothing to write as DICOM SEG: segment the scan first.")
    numbers = {segment.value: number for number, segment in enumerate(drawn, start=1)}
    table = np.zeros(max(present) + 1, np.uint8 if len(drawn) < 256 else np.uint16)
    for value in present:
        table[value] = numbers[value]
    sources, planes = _on_images(images, table, labels.array)
    file = _segmentation(sources, planes, [_described(segment, numbers[segment.value], model) for segment in drawn])
    # Of overlapping slices the thickness, which readers fall back on, is another one.
    shared = file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    shared.SpacingBetweenSlices = round(float(images.grid.spacing_mm[2]), 6)
    # The standard lets it be empty, but not be missing (type 2); highdicom leaves it away.
    file.ContentCreatorName = ""
    file.save_as(path)


def is_dicom_seg(path: Path) -> bool:
    """Whether a file, if it is DICOM, holds segments and no image."""
    if not is_dicom_file(path):
        return False
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SOPClassUID"])
    return header.get("SOPClassUID") in _SOP_CLASSES


def read_dicom_seg(path: Path) -> Volume:
    """The labels of a DICOM SEG, by what its segments are called and coded, see `segment_list.numbered_by_names`.

    Returns:
        Whole numbers (k, j, i), affine IJK -> RAS in mm: of the planes that the file has, mostly fewer than the scan.

    Raises:
        InputRefused: highdicom is missing, the file is damaged, segments overlap or are no labels, planes don't form a
            volume, or no segment says what it is.
    """
    highdicom = _highdicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = highdicom.seg.segread(path)
            planes = file.get_volume(combine_segments=True)
            stated = _stated_in(file)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if lacks_memory(error):
            raise
        text = str(error).rstrip(".")
        raise InputRefused(
            f"'{path.name}' can't be read as a DICOM SEG with one label for each voxel ({text}): use a .seg.nrrd."
        ) from error
    array = renumbered(planes.array, stated, numbered_by_names(path.name, stated))
    # highdicom counts (slice, row, column) and goes to LPS.
    return Volume(array, LPS_FROM_RAS @ planes.affine[:, [2, 1, 0, 3]])


def segments_of(path: Path) -> list[StatedSegment]:
    """The segments of a DICOM SEG with the values that `read_dicom_seg` gives them; raises InputRefused like it."""
    from pydicom import dcmread

    return numbered_by_names(path.name, _stated_in(dcmread(path, stop_before_pixels=True)))


def _stated_in(file: Dataset) -> list[StatedSegment]:
    # A label map lists its background as segment 0.
    return [_stated(item) for item in file.SegmentSequence if item.SegmentNumber]


def _stated(item: Dataset) -> StatedSegment:
    code = item.SegmentedPropertyTypeCodeSequence[0]
    entry = f"~~{code.get('CodingSchemeDesignator')}^{code.get('CodeValue')}^{code.CodeMeaning}~"
    return StatedSegment(int(item.SegmentNumber), "", str(item.SegmentLabel), _GRAY, {TERMINOLOGY_TAG: entry})


def _highdicom():
    try:
        import highdicom
    except ImportError as error:
        raise InputRefused(
            "DICOM SEG needs the package highdicom, which isn't installed here: pip install highdicom"
        ) from error
    return highdicom


def _segmentation(sources: list[Dataset], planes: np.ndarray, described: list) -> Dataset:
    """highdicom's segmentation of planes of segment numbers, with its descriptions of the segments."""
    highdicom = _highdicom()
    try:
        with warnings.catch_warnings():
            # Of names that aren't in the standard's form, and the like; they are the series' own.
            warnings.simplefilter("ignore")
            return highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=planes,
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=described,
                series_instance_uid=highdicom.UID(),
                series_number=SERIES_NUMBER,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=f"{NAME} contributors",
                manufacturer_model_name=NAME,
                software_versions=__version__,
                device_serial_number="none",
                content_label="SPINE",
                content_description=SERIES_DESCRIPTION,
                series_description=SERIES_DESCRIPTION,
                specific_character_set="ISO_IR 192",
            )
    except (AttributeError, TypeError, ValueError) as error:
        text = str(error).rstrip(".")
        raise InputRefused(
            f"The headers of the series don't hold what DICOM SEG must repeat ({text}): write .seg.nrrd instead."
        ) from error


def _on_images(images: Stack, table: np.ndarray, array: np.ndarray) -> tuple[list[Dataset], np.ndarray]:
    """The headers of the images, and for each image (or frame of the only one) its plane of segment numbers."""
    if images.slices[0].frames == 1:
        headers = [_header(item.path) for item in images.slices]
        for header in headers:
            # `dicom` took them for one stack; highdicom stumbles over a last digit.
            header.ImageOrientationPatient = headers[0].ImageOrientationPatient
        return headers, table[array]
    header = _header(images.slices[0].path)
    planes = np.zeros((images.slices[0].frames, *array.shape[1:]), table.dtype)
    for item, plane in zip(images.slices, array, strict=True):
        planes[item.order[1]] = table[plane]
    return [header], planes


def _header(path: Path) -> Dataset:
    """Everything but the pixels, with what the standard lets be empty, also where it can't be read."""
    from pydicom import dcmread
    with warnings.catch_warnings():
        # Of values that aren't in the standard's form.
        warnings.simplefilter("ignore")
        dataset = dcmread(path, stop_before_pixels=True, force=True)
        dataset.decode()
        for keyword in _MAY_BE_EMPTY:
            if keyword not in dataset or not _is_readable(dataset[keyword]):
                setattr(dataset, keyword, "")
    if dataset.PatientSex not in _SEXES:
        dataset.PatientSex = ""
    return dataset


def _is_readable(element: DataElement) -> bool:
    """Whether a date or time is one to pydicom; other values always are."""
    from pydicom.valuerep import DA, TM

    try:
        {"DA": DA, "TM": TM}.get(element.VR, str)(element.value)
    except ValueError:
        return False
    return True


def _described(segment: Segment, number: int, model: str | None):
    """highdicom's description of a segment."""
    highdicom = _highdicom()
    parts = segment.terminology_entry.split("~") if segment.terminology_entry else []
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name.replace("\\", "/")[:_LONGEST_NAME],
        segmented_property_category=_code(parts, _CATEGORY),
        segmented_property_type=_code(parts, _TYPE),
        algorithm_type=segment.made_by,
        algorithm_identification=None if segment.made_by == "MANUAL" else _algorithm(model),
        display_color=highdicom.color.CIELabColor.from_rgb(*(255 * part for part in segment.color)),
    )


def _code(parts: list[str], position: int):
    """The code at a position of a terminology entry; "tissue" where there is none."""
    text = parts[position] if len(parts) > position else ""
    scheme, value, meaning = text.split("^") if text.count("^") == 2 and all(text.split("^")) else _TISSUE.split("^")
    return _highdicom().sr.CodedConcept(value, scheme, meaning[:_LONGEST_NAME])


def _algorithm(model: str | None):
    from pydicom.sr.codedict import codes

    name, _, version = (model or f"{NAME} {__version__}").rpartition(" ")
    return _highdicom().AlgorithmIdentificationSequence(
        name=(algorithm_name(name) if model else NAME)[:_LONGEST_NAME],
        family=codes.DCM.ArtificialIntelligence,
        version=version[:_LONGEST_NAME],
        source=NAME,
    )
