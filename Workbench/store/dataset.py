"""The finished scans of a worklist as a BIDS-like dataset in VerSe's layout, without names and paths.

Images are written anew from their voxels and their geometry: what else their headers hold, a patient's name perhaps,
stays behind.
"""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SpineContextSegLib import nifti
from SpineContextSegLib.bids_names import DERIVED, RAW
from SpineContextSegLib.centroids import write_centroids
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import BINARY_SPINE, IGNORED, STRUCTURES, levels_known
from SpineContextSegLib.measure import vertebra_rows
from SpineContextSegLib.mr import has_hounsfield_units
from SpineContextSegLib.on_grid import labels_on_grid_of
from SpineContextSegLib.outputs import check_target
from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import Volume, count_labels
from SpineContextSegLib.writing import write_volume

from .bids import ScanName, scan_names, write_descriptions, write_sidecar
from .entries import Entry, State
from .whole_folders import remove_abandoned, whole_folder
from .worklist import Worklist

# VerSe's own mask holds nothing else, and some readers of it would fail on more.
_IN_VERSE = BINARY_SPINE | {IGNORED}
_KNOWN = _IN_VERSE | frozenset(STRUCTURES)


@dataclass(frozen=True)
class Report:
    """What was exported.

    Attributes:
        dataset: the folder.
        exported: number of the entry -> name of the scan in the dataset, such as "sub-0001".
        left_out: number of the entry -> one sentence that says why it is not in the dataset.
        notes: one sentence each.
    """

    dataset: Path
    exported: dict[int, str]
    left_out: dict[int, str]
    notes: list[str]


@dataclass(frozen=True)
class _Case:
    """A scan (HU, or signal of an MR) and its labels (VerSe values), both (k, j, i) on one grid; corrected: by hand."""

    scan: Volume
    labels: Volume
    corrected: bool
    notes: list[str]


def export_dataset(
    worklist: Worklist, destination: str | Path, *, on_entry: Callable[[int, int], None] | None = None
) -> Report:
    """Writes all entries that are done, each in the version that was set to done; the folder appears when it is whole.

    Which scan became which subject is said by a CSV table in the data folder, which isn't for others' eyes.

    Args:
        worklist: what to export.
        destination: a folder that doesn't exist yet, outside of the data folder.
        on_entry: called with (entries done, entries in all); what it raises ends the export, and nothing is left.

    Raises:
        InputRefused: nothing is done, none of what is done can be exported, or a destination that won't do.
        OSError: disk full or not writable; nothing is left behind.
    """
    destination = Path(os.path.abspath(destination))
    _check_destination(destination, worklist.folder)
    entries = worklist.entries()
    names, done = scan_names(entries), [entry for entry in entries if entry.state is State.DONE]
    if not done:
        raise InputRefused("No scan of the worklist is done: set those that are finished to done, then export.")
    exported: dict[int, str] = {}
    left_out: dict[int, str] = {}
    notes: list[str] = []
    remove_abandoned(destination.parent)
    with ExitStack() as undone:
        with whole_folder(destination) as partial:
            for n, entry in enumerate(done, 1):
                name = names[entry.number]
                try:
                    case = _read(worklist, entry)
                except (InputRefused, OSError) as refusal:
                    left_out[entry.number] = str(refusal)
                else:
                    _write(case, partial, name)
                    exported[entry.number] = name.stem
                    notes += [f"{name.stem}: {note}" for note in case.notes]
                if on_entry:
                    on_entry(n, len(done))
            if not exported:
                raise InputRefused(f"No scan could be exported. {next(iter(left_out.values()))}")
            write_descriptions(partial, (names[number].subject for number in exported))
            # Before the dataset is there, as nobody could say later who is who in it.
            subjects = _new_file(worklist.folder, f"{destination.name}-subjects")
            undone.callback(subjects.unlink, missing_ok=True)
            _write_subjects(subjects, {entry: names[entry.number].stem for entry in done if entry.number in exported})
        undone.pop_all()
    return Report(destination, exported, left_out, notes)


def _check_destination(destination: Path, data_folder: Path) -> None:
    if os.path.lexists(destination):
        raise InputRefused(f"'{destination}' exists already, and nothing is overwritten: choose a new name.")
    check_target(destination)
    real = destination.resolve()
    if real.is_relative_to(data_folder.resolve()):
        raise InputRefused(
            f"'{destination}' lies in the data folder, whose names and paths must not get into the dataset: choose a "
            "folder outside of it."
        )


def _read(worklist: Worklist, entry: Entry) -> _Case:
    versions, version = worklist.versions(entry.number), worklist.accepted(entry.number)
    if version is None:
        raise InputRefused(f"'{entry.name}' is no longer done, somebody has just changed that: export again.")
    scan, notes = read_volume(entry.scan)
    stored = versions.load(version)
    voxels = labels_on_grid_of(stored, scan.grid, (f"Version {version.number}", f"'{entry.name}'"))
    present = count_labels(voxels).keys() - {0}
    foreign = sorted(present - _KNOWN)
    if foreign:
        names = ", ".join(version.names.get(value, str(value)) for value in foreign)
        notes = [*notes, f"left out, as VerSe's numbering doesn't have them: {names}."]
        voxels = np.where(np.isin(voxels, foreign), 0, voxels)
    if not present:
        notes = [*notes, "has no labels at all."]
    elif not levels_known(present):
        notes = [*notes, "vertebrae are not told apart: 1 stands for all of them."]
    if not nifti.holds(scan.grid):
        notes = [*notes, "written as .nrrd, since NIfTI can't hold a tilted gantry."]
    labels = Volume(np.ascontiguousarray(voxels.astype(np.uint8)), scan.affine)
    return _Case(scan, labels, version.kind == "correction", notes)


def _write(case: _Case, dataset: Path, name: ScanName) -> None:
    ending = ".nii.gz" if nifti.holds(case.scan.grid) else ".nrrd"
    raw, derived = dataset / RAW / name.subject, dataset / DERIVED / name.subject
    for folder in (raw, derived):
        folder.mkdir(parents=True, exist_ok=True)
    image, start = f"{name.stem}_ct", name.stem
    if not has_hounsfield_units(case.scan.array):
        # Whoever pairs scans and labels takes only `_ct` for a word that labels lack.
        image = start = f"{name.stem}_mr"
    write_volume(case.scan, raw / f"{image}{ending}")
    values = count_labels(case.labels.array).keys() - {0}
    in_verse = Volume(np.where(np.isin(case.labels.array, list(_IN_VERSE)), case.labels.array, 0), case.labels.affine)
    masks = {"vert": in_verse} | ({"spine": case.labels} if values - _IN_VERSE else {})
    for kind, labels in masks.items():
        write_volume(labels, derived / f"{start}_seg-{kind}_msk{ending}")
        held = values & (_IN_VERSE if kind == "vert" else _KNOWN)
        write_sidecar(derived / f"{start}_seg-{kind}_msk.json", held, case.corrected)
    if levels_known(values):
        rows = vertebra_rows(None, case.labels)
        write_centroids(rows, case.labels.grid, derived / f"{start}_seg-subreg_ctd.json")


def _new_file(folder: Path, stem: str) -> Path:
    """An empty file under a name that no other file has."""
    for number in itertools.count(1):
        path = folder / f"{stem}{f'_{number}' * (number > 1)}.csv"
        with suppress(FileExistsError):
            open(path, "x").close()
            return path


def _write_subjects(path: Path, stems: dict[Entry, str]) -> None:
    with open(path, "w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(("scan in the dataset", "number in the worklist", "scan"))
        writer.writerows((stem, entry.number, entry.scan) for entry, stem in stems.items())
        file.flush()
        os.fsync(file.fileno())
