"""Results of `spinecontextseg batch` become versions of the scans that they were made from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from SpineContextSegLib.batch_records import is_earlier, result_of, told_source
from SpineContextSegLib.checksums import file_digest
from SpineContextSegLib.cohort.owners import records_below
from SpineContextSegLib.cohort.scans import series_of
from SpineContextSegLib.cohort.segmented import is_of_another_scan
from SpineContextSegLib.dicom import find_stack
from SpineContextSegLib.dicom_folder import dicom_files
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.itk_warnings import quiet_itk
from SpineContextSegLib.labels import STRUCTURES, Segment
from SpineContextSegLib.on_grid import labels_on_grid_of
from SpineContextSegLib.pairing import LABEL_FILE_ENDINGS
from SpineContextSegLib.reading import read_labels, read_segments, read_volume
from SpineContextSegLib.recorded_results import is_scan_of, why_unclear
from SpineContextSegLib.volume import Volume, count_labels

from .entries import State
from .versions import hex_color
from .worklist import Worklist


def take_over(worklist: Worklist, folder: Path, on_problem: Callable[[str], None]) -> int:
    """Lists the scans of all results in a batch's folder; those without any version get the result as their first one.

    A file that was changed since the batch wrote it counts as a correction.

    Args:
        on_problem: called with a sentence for each result that can't be taken over.

    Returns:
        How many scans got a version.

    Raises:
        InputRefused: there are no results in the folder.
    """
    records = records_below(folder)
    if not records:
        raise InputRefused(f"'{folder}' holds no results of `spinecontextseg batch`: give its output folder.")
    taken = 0
    for path, record in records.items():
        if record["state"] == "done":
            try:
                taken += _take(worklist, path, record, records.values())
            except (ValueError, OSError) as error:  # also of a person's own values that can't be saved
                on_problem(f"'{path.name}' was not taken over: {error}")
    return taken


def _take(worklist: Worklist, path: Path, record: dict, records: Collection[Mapping]) -> bool:
    segmentation = _segmentation(path, record, records)
    scan = told_source(record)
    entries = worklist.add([scan])
    if len(entries) != 1:
        raise InputRefused(f"'{scan}' is not one scan.")
    _check_series(entries[0].scan, record)
    versions = worklist.versions(entries[0].number)
    if versions.list():
        return False
    if is_of_another_scan(entries[0].scan, record):
        raise InputRefused(f"'{entries[0].scan.name}' isn't the scan any more that was segmented: run the batch again.")
    labels = read_labels(segmentation)
    kind = "model" if file_digest(segmentation) in record["written"] else "correction"
    if kind == "correction":
        labels = _on_grid_of_scan(labels, entries[0].scan, segmentation)
    present = {value for value in count_labels(labels.array) if value}
    found = {item["value"]: item["name"] for item in record["structures"]}
    drawn = _segments(segmentation, present)
    names = {value: drawn[value].name if value in drawn else found.get(value) or _name(value) for value in present}
    colors = {value: hex_color(segment.color) for value, segment in drawn.items()}
    versions.save(labels, names, kind=kind, by="batch", report=record, colors=colors)
    # Whoever rejected the scan has decided on it.
    if entries[0].state is State.NEW:
        worklist.set_state(entries[0].number, State.SEGMENTED if kind == "model" else State.IN_CORRECTION)
    return True


def _segmentation(path: Path, record: Mapping, records: Collection[Mapping]) -> Path:
    """The one beside the record, wherever both are now: the result, or what was saved in another format instead. Others
    are of an earlier run, or scans."""
    named = [path.with_name(f"{path.stem}{ending}") for ending in LABEL_FILE_ENDINGS]
    found = [f for f in named if f.is_file() and not is_earlier(f, record) and not is_scan_of(f, records)]
    if not found:
        raise InputRefused(f"its segmentation '{result_of(record, path).name}' is gone.")
    if len(found) > 1:
        raise InputRefused(why_unclear(dict.fromkeys(found, record)))
    return found[0]


def _on_grid_of_scan(labels: Volume, scan: Path, segmentation: Path) -> Volume:
    """Another program may have cropped them, or taken another scan."""
    grid = read_volume(scan)[0].grid
    return Volume(labels_on_grid_of(labels, grid, (f"'{segmentation.name}'", f"'{scan.name}'")), grid.affine)


def _segments(path: Path, present: set[int]) -> dict[int, Segment]:
    """Value -> what the file says of it, also of what a person drew or renamed; other files say nothing."""
    if not path.name.lower().endswith(".seg.nrrd"):
        return {}
    return {segment.value: segment for segment in read_segments(path) if segment.value in present and segment.name}


def _check_series(scan: Path, record: dict) -> None:
    """A batch segments each series of a DICOM folder; here the folder is one scan, read as one of them."""
    if scan.is_dir():
        with quiet_itk():
            read = find_stack(dicom_files(scan), str(scan)).slices[0]
        if series_of(record["scan"]) != read.series_uid:
            raise InputRefused(
                f"it is of another series than the one of '{scan}' that is shown"
                + (f" (\"{read.description}\")" if read.description else "")
                + ": put each series into a folder of its own and run the batch again."
            )


def _name(value: int) -> str:
    return STRUCTURES[value].name if value in STRUCTURES else f"Segment {value}"
