"""What a run has to do: nothing where the result is there already, and never over somebody's corrections."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from ..batch_records import FORMATS, is_of_content, is_ours, read_record, result_of
from ..checksums import fingerprint
from ..errors import InputRefused
from ..integrity import check_complete
from ..itk_warnings import quiet_itk
from ..nifti import read_nifti_header
from ..reading import image_reader
from .job import Job
from .places import Place
from .records import CORRECTED, as_kept, make_record, meant, write_record
from .scans import Scan

UNREADABLE = (
    "'{name}' was changed since it was written, and can't be read: look at it, and remove it to segment the scan again."
)
SCAN_CHANGED = (
    "'{name}' was changed by hand, and its scan isn't the same any more: move it away to segment the scan again."
)
NOT_FINISHED = (
    "'{name}' was changed by hand, and no run has come to an end with its scan since: move it away to segment the scan "
    "again."
)


@dataclass(frozen=True)
class Options:
    """What is asked of every scan; see `Job`."""

    model: str
    digest: str
    structures: Literal["spine", "all"]
    force: bool
    preview: bool

    def meant(self, ending: str) -> dict[str, object]:
        """See `records.meant`."""
        return meant(self.digest, self.structures, self.force, ending)


@dataclass
class Plan:
    """Work to do, and the records of scans that need none, by key."""

    jobs: list[Job] = field(default_factory=list)
    settled: dict[str, dict] = field(default_factory=dict)


def result_stays(scan: Scan, place: Place, options: Options) -> bool:
    """Whether a run segments nothing anew at the place of a scan: what lies there is what it asks for, or somebody's
    work."""
    asked, record = options.meant(place.ending), read_record(place.record)
    if record is None:
        return False
    try:
        options_then = _options_then(record, fingerprint(scan.files, asked), asked, scan)
        return _work(place, record, options_then, asked, preview=False) != "segment"
    except (InputRefused, OSError):
        return True


def make_plan(scans: Sequence[Scan], places: Sequence[Place], options: Options, staging: Path) -> Plan:
    """
    Args:
        scans, places: in the same order.
        options: of this run.
        staging: see `Job`.
    """
    plan = Plan()
    for scan, place in zip(scans, places, strict=True):
        asked = options.meant(place.ending)
        try:
            mark, content = fingerprint(scan.files, asked), fingerprint(scan.files, {})
        except OSError as error:
            message = f"'{scan.name}' can't be read ({error.strerror}): check the file."
            plan.settled[scan.key] = make_record(scan.key, "", "refused", message)
            continue
        record = read_record(place.record)
        written = tuple(record["written"]) if record else ()
        options_then = None if record is None else _options_then(record, mark, asked, scan)
        if options_then is not None:
            record = _brought_up_to_date(record, options_then, scan, content, place, staging)
        try:
            work = _work(place, record, options_then, asked, options.preview)
        except (InputRefused, OSError) as error:
            message = str(error) if isinstance(error, InputRefused) else _why_unreadable(error, place)
            work = make_record(scan.key, mark, "refused", message, written=written)
        if isinstance(work, dict):
            plan.settled[scan.key] = work
        else:
            plan.jobs.append(Job(
                batch=staging.name, key=scan.key, fingerprint=mark, content=content, written=written,
                name=scan.name, source=str(scan.source), files=tuple(map(str, scan.files)), is_series=scan.is_series,
                notes=scan.notes, segmentation=str(place.segmentation),
                preview=str(place.preview), with_preview=options.preview, record=str(place.record),
                ending=place.ending, work=work,
                model=options.model, digest=options.digest, structures=options.structures, force=options.force,
                staging=str(staging),
            ))  # fmt: skip
    return plan


def _options_then(record: Mapping, mark: str, asked: Mapping[str, object], scan: Scan) -> Mapping[str, object] | None:
    """What was asked for when a record was written, nothing where an earlier version doesn't tell; None where the scan
    is another one by now."""
    if record["fingerprint"] == mark:
        return asked
    return record.get("options", {}) if is_of_content(record, scan.files) else None


def _brought_up_to_date(
    record: dict, options: Mapping[str, object], scan: Scan, content: str, place: Place, staging: Path
) -> dict:
    """The record of a scan that holds the same; rewritten where scan or results were moved, copied or renamed, else a
    later change there would make it another scan, and a copy would be read each time to tell that it is one."""
    now = record | {"scan": scan.key, "name": scan.name, "source": str(scan.source), "content": content}
    if "model" in options:  # some earlier versions told a part of them
        now["fingerprint"] = fingerprint(scan.files, options)
    if "files" in record:
        result = result_of(record, place.record)
        if Path(record["files"][0]).name != result.name:
            now["files"] = [str(result), str(place.preview)][: len(record["files"])]
    if now != record:
        with suppress(OSError):  # the next run tries again
            write_record(now, place.record, staging)
    return now


def _why_unreadable(error: OSError, place: Place) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "With the ending of its result, the name is too long for the disk: give the scan a shorter name."
    return (
        f"'{place.segmentation.name}' can't be read ({error.strerror}): check its permissions, or move it away to "
        "segment the scan again."
    )


def _work(
    place: Place, record: dict | None, options_then: Mapping | None, asked: Mapping, preview: bool
) -> dict | Literal["segment", "preview"]:
    """What is left to do; the record to report where that is nothing.

    Args:
        record: at this place, if there is one.
        options_then: see `_options_then`.

    Raises:
        InputRefused: nothing can be done, as somebody's work lies there.
        OSError: what lies there can't be read.
    """
    same = options_then is not None and options_then == asked
    state = record["state"] if record else None
    if same and state == "refused":
        return record
    written = record["written"] if record else ()
    corrected = next((path for path in _results(place, record) if not is_ours(path, written)), None)
    if corrected:
        if options_then is None:
            raise InputRefused(SCAN_CHANGED.format(name=corrected.name))
        if state != "done":
            raise InputRefused(NOT_FINISHED.format(name=corrected.name))
        if not _is_whole(corrected):
            raise InputRefused(UNREADABLE.format(name=corrected.name))
        if not same or corrected != place.segmentation:
            return as_kept(record, corrected)
    # An empty file is none.
    there = place.segmentation.is_file() and place.segmentation.stat().st_size > 0
    if same and state == "done" and there:
        if preview and not place.preview.is_file():
            return "preview"
        return record | {"message": CORRECTED} if corrected else record
    return "segment"


def _results(place: Place, record: Mapping | None) -> list[Path]:
    """Where a segmentation may lie that must not be lost sight of: the one that is asked for, that of the record, and
    one in Slicer's format. With another ending it may be the scan itself, or another one."""
    endings = [place.ending]
    if record is not None:
        endings += [record.get("options", {}).get("ending", place.ending), f".{FORMATS[0]}"]
    return [replace(place, ending=ending).segmentation for ending in dict.fromkeys(endings)]


def _is_whole(segmentation: Path) -> bool:
    """Whether all voxels are there that the header promises, of however many layers: Slicer saves segments that overlap
    as several."""
    reader = image_reader(segmentation)
    try:
        with quiet_itk():
            reader.ReadImageInformation()
        header = read_nifti_header(segmentation) if segmentation.name.lower().endswith(".nii.gz") else None
        bytes_per_value = (
            header.bytes_per_voxel if header else sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
        )
        values = int(np.prod(reader.GetSize(), dtype=np.int64)) * reader.GetNumberOfComponents()
        check_complete(segmentation, values * bytes_per_value, header.voxel_offset if header else 0)
    except (InputRefused, OSError, RuntimeError):  # RuntimeError: no image for SimpleITK
        return False
    return True
