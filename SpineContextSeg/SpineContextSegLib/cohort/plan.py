"""What a run has to do: nothing where the result is there already, and never over somebody's corrections."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from ..batch_records import is_ours, read_record
from ..checksums import fingerprint, has_checksum
from ..errors import InputRefused
from ..integrity import check_complete
from ..itk_warnings import quiet_itk
from ..nifti import read_nifti_header
from ..reading import image_reader
from .job import Job
from .places import Place
from .records import as_it_is, make_record, meant, write_record
from .scans import Scan


@dataclass(frozen=True)
class Options:
    """What is asked of every scan; see `Job`."""

    model: str
    digest: str
    structures: Literal["spine", "all"]
    force: bool
    preview: bool


@dataclass
class Plan:
    """Work to do, and the records of scans that need none, by key."""

    jobs: list[Job] = field(default_factory=list)
    settled: dict[str, dict] = field(default_factory=dict)


def make_plan(scans: Sequence[Scan], places: Sequence[Place], options: Options, staging: Path) -> Plan:
    """
    Args:
        scans, places: in the same order.
        options: of this run.
        staging: see `Job`.
    """
    plan = Plan()
    for scan, place in zip(scans, places, strict=True):
        asked = meant(options.digest, options.structures, options.force, place.ending)
        try:
            mark, content = fingerprint(scan.files, asked), fingerprint(scan.files, {})
        except OSError as error:
            message = f"'{scan.name}' can't be read ({error.strerror}): check the file."
            plan.settled[scan.key] = make_record(scan.key, "", "refused", message)
            continue
        record = read_record(place.record)
        unchanged = record is not None and _is_unchanged(record, mark, asked, scan)
        if unchanged:
            record = _brought_up_to_date(record, scan, mark, content, place, staging)
        written = tuple(record["written"]) if record else ()
        try:
            work, reason = _work(place, record if unchanged else None, written, options.preview)
            if work is None and not reason:
                done = record["state"] == "done"
                plan.settled[scan.key] = as_it_is(record, place.segmentation) if done else record
                continue
        except OSError as error:
            work, reason = None, _why_unreadable(error, place)
        if reason:
            plan.settled[scan.key] = make_record(scan.key, mark, "refused", reason, written=written)
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


def _is_unchanged(record: Mapping, mark: str, asked: Mapping[str, object], scan: Scan) -> bool:
    """Whether a record is of the same scan and of what is asked for; a copy has other dates."""
    if record["fingerprint"] == mark:
        return True
    return record.get("options") == asked and has_checksum(scan.files, record.get("checksum"))


def _brought_up_to_date(record: dict, scan: Scan, mark: str, content: str, place: Place, staging: Path) -> dict:
    """The record of an unchanged scan; rewritten where the scan was moved or copied, else a later change there would
    make it another scan, and a copy would be read each time to tell that it is one."""
    now = record | {"source": str(scan.source), "fingerprint": mark, "content": content}
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
    place: Place, record: dict | None, written: Sequence[str], preview: bool
) -> tuple[Literal["segment", "preview"] | None, str]:
    """What is left to do, if anything, and a sentence where it can't be done.

    Args:
        record: of the same scan and the same options, if there is one.
        written: checksums of segmentations that may be replaced.

    Raises:
        OSError: what lies there can't be read.
    """
    state = record["state"] if record else None
    if state == "refused":
        return None, ""
    there = place.segmentation.is_file() and place.segmentation.stat().st_size > 0
    if state == "done" and there:
        if place.segmentation.stat().st_size != record.get("bytes") and not _is_whole(place.segmentation):
            return None, (
                f"'{place.segmentation.name}' was changed since it was written, and can't be read: look at it, and "
                "remove it to segment the scan again."
            )
        return ("preview" if preview and not place.preview.is_file() else None), ""
    if not is_ours(place.segmentation, written):
        return None, (
            f"'{place.segmentation.name}' was changed by hand, and the scan, its date or the options have changed, "
            "too: move it away to segment the scan again."
        )
    return "segment", ""


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
