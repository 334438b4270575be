"""One scan after the other through a model that stays loaded; results appear whole, with a record, or not at all."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..account import Account
from ..batch_records import is_ours, read_record
from ..checks import force_hint
from ..checksums import checksum, file_digest, is_unchanged
from ..errors import InputRefused, UnlikelyValues
from ..faults import describe
from ..itk_warnings import quiet_itk
from ..levels import doubt_of
from ..memory import peak_memory_mb
from ..model import load_model
from ..outputs import share_alike
from ..pipeline import segment
from ..preview import write_preview
from ..reading import read_dicom_files, read_labels, read_volume
from ..runtime import choose_helpers, choose_runtime
from ..stopwatch import Stopwatch
from ..volume import Volume
from ..writing import check_output, write_segmentation
from .job import Job
from .records import (
    PLACING,
    as_it_is,
    earlier_result,
    facts_of,
    leave_record,
    make_record,
    model_digest,
    write_record,
    written_for,
)  # fmt: skip

OTHER_MODEL = (
    "This computer has another version of the model '{name}' than the one that started the batch: install the same on "
    "all."
)
CORRECTED_MEANWHILE = (
    "'{name}' was saved by hand while the batch ran, and stays as it is: move it away to segment the scan again."
)
STAYS = "What {model} made of it stays."
NOT_AS_PLANNED = "'{name}' has gone or changed since the batch began: check its disk, and run the batch again."
RECORD_GONE = (
    "The record '{record}' has gone since the batch began: move '{segmentation}' away to segment the scan again."
)


class Segmenter:
    """Keeps the model of the last job, which is mostly that of the next one."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._loaded: tuple[str, str] | None = None

    def run(self, job: Job) -> dict:
        """Does a job and returns the record that now lies beside the result. Nothing is raised for what goes wrong with
        a scan; `job.staging` exists, and what is left in it is rubbish."""
        known = {}
        try:
            self._load(job)
            if job.work == "preview":
                return self._draw(job)
            # Before it is read for its voxels: else that of what replaced it meanwhile would stand beside its result.
            with suppress(OSError):  # reading tells it better
                known["checksum"] = checksum([Path(name) for name in job.files])
            return self._segment(job, known)
        except InputRefused as refusal:
            forcible = isinstance(refusal, UnlikelyValues)
            message = f"{refusal} {force_hint(self._model.card.modality[0])}" if forcible else str(refusal)
            earlier = earlier_result(job) if forcible else None
            if earlier:
                # Where CT and MR lie in one folder, each model refuses the scans of the other.
                told = f"{message} {STAYS.format(model=earlier['model'])}"
                return make_record(job.key, job.fingerprint, "refused", told, written=earlier["written"])
            return leave_record(job, "refused", message, **known)
        except Exception as error:  # noqa: BLE001, one scan's fault must not stop the others
            log = "".join(traceback.format_exception(error)).splitlines()
            return leave_record(job, "failed", describe(error), log=log)

    def _load(self, job: Job) -> None:
        if self._loaded == (job.model, job.digest):
            return
        self._loaded = None
        try:
            model = load_model(job.model)
            if model_digest(model) != job.digest:
                raise RuntimeError(OTHER_MODEL.format(name=job.model))
            choices = "auto", "auto", self._threads
            self._model, self._runtime = model, choose_runtime(model, *choices)
            self._helpers = choose_helpers(model, *choices)
        except InputRefused as refusal:
            # The scan isn't to blame, and the next run may find things in order.
            raise RuntimeError(str(refusal)) from refusal
        self._loaded = job.model, job.digest

    def _segment(self, job: Job, known: Mapping[str, object]) -> dict:
        """`known` of the scan goes into the record."""
        before, after, staging = Stopwatch(), Stopwatch(), Path(job.staging)
        target = Path(job.segmentation)
        with before.stage("read"):
            volume, notes = _read(job, self._model.card.modality[0])
        staged = staging / target.name
        check_output(staged, volume.grid)
        result = segment(
            volume, self._model, self._runtime, **self._helpers, structures=job.structures, force=job.force
        )
        with after.stage("write"):
            write_segmentation(result.labels, staged, doubt=result.doubt)
        files = {staged: target}
        if job.with_preview:
            files[staging / Path(job.preview).name] = Path(job.preview)
            with after.stage("preview"):
                write_preview(volume, result.labels, staging / Path(job.preview).name, job.name, result.doubt)
        seconds = before.seconds | result.seconds | after.seconds
        account = Account(
            Path(job.source), volume.grid, [*job.notes, *notes], result, seconds, peak_memory_mb(), list(files.values())
        )
        digest = file_digest(staged)
        about = job.key, job.fingerprint
        # Also of segmentations in other formats, which stay beside this one.
        written = written_for(job)
        # Hours may lie between the plan and this moment.
        if not is_ours(target, written):
            # No record of it is written, so that the next run looks at the file again.
            return make_record(*about, "refused", CORRECTED_MEANWHILE.format(name=target.name), written=written)
        # Should this be interrupted between two of the files, they are still known as ours.
        written = list(dict.fromkeys([*written, digest]))
        placing = make_record(*about, PLACING, written=written, **facts_of(job), **known)
        write_record(placing, Path(job.record), staging)
        if not job.with_preview:  # that of an earlier result would pass for one of this
            Path(job.preview).unlink(missing_ok=True)
        for partial, whole in files.items():
            share_alike(partial, whole)
            os.replace(partial, whole)
        facts = {**facts_of(job), **known, "bytes": target.stat().st_size, **account.report()}
        record = make_record(*about, "done", written=written, **facts)
        write_record(record, Path(job.record), staging)
        return record

    def _draw(self, job: Job) -> dict:
        """Adds the picture to a segmentation that is there, and may have been corrected since."""
        record = read_record(Path(job.record))
        if record is None:
            names = {"record": Path(job.record).name, "segmentation": Path(job.segmentation).name}
            raise RuntimeError(RECORD_GONE.format(**names))
        volume, _ = _read(job, self._model.card.modality[0])
        labels = read_labels(job.segmentation)
        if not labels.grid.same_as(volume.grid):
            raise RuntimeError(f"'{job.segmentation}' doesn't lie on the grid of its scan: no picture was made.")
        staged = Path(job.staging) / Path(job.preview).name
        # Who corrected it has seen to the levels.
        doubt = doubt_of(record) if is_ours(Path(job.segmentation), record["written"]) else ""
        write_preview(volume, labels, staged, job.name, doubt)
        share_alike(staged, Path(job.preview))
        os.replace(staged, job.preview)
        return as_it_is(record, Path(job.segmentation))


def _read(job: Job, modality: str) -> tuple[Volume, list[str]]:
    """Raises OSError where files have gone or changed since the plan, as on a network drive that fails for a while: the
    scan isn't to blame, and the next run may find things in order."""
    files = [Path(name) for name in job.files]
    try:
        if job.is_series:
            with quiet_itk():
                read = read_dicom_files(files, job.source, modality)
        else:
            read = read_volume(files[0])
    except InputRefused as refusal:
        if is_unchanged(files, job.content):
            raise
        raise OSError(NOT_AS_PLANNED.format(name=job.name)) from refusal
    # A series is read without the slices that have gone.
    if not all(path.exists() for path in files):
        raise OSError(NOT_AS_PLANNED.format(name=job.name))
    return read
