"""What a dataset in VerSe's layout holds beside images: names of files, descriptions, and a text for its reader.

VerSe, subject based (osf.io/4skx2): `rawdata/sub-verse000/sub-verse000_ct.nii.gz`, `derivatives/sub-verse000/` with
`..._seg-vert_msk.nii.gz` and `..._seg-subreg_ctd.json`; `split-...` in the names where a patient has several scans.
Descriptions: BIDS 1.10 (bids-specification.readthedocs.io, "Modality agnostic files"); Name and BIDSVersion are
required, in derivatives GeneratedBy too. BIDS itself has no CT yet, and calls an MR by its weighting, which isn't known
here, so a validator is told to pass over the images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from SpineContextSegLib import __version__
from SpineContextSegLib.bids_names import DERIVED, DESCRIPTION, RAW
from SpineContextSegLib.labels import STRUCTURES, levels_known, structure

from .entries import Entry
from .exported import PROGRAM

_BIDS_VERSION = "1.10.0"
_NAME = "Spines in CT and MR, segmented with SpineContextSeg and checked or corrected by hand"
_SUBJECT_FOLDER = re.compile(r"sub-[0-9A-Za-z]+")

README = """\
# Spines in CT and MR with checked labels

Research use only. Made with the workbench of SpineContextSeg; the layout is that of the VerSe dataset.

- rawdata/sub-*/sub-*_ct.nii.gz: a CT in Hounsfield units. Any other scan is called sub-*_mr.nii.gz and holds the values
  that it came with: the signal of an MR, mostly. The values tell which it is, so that a CT whose values are no
  Hounsfield units, as a cone-beam CT, is called so too.
- derivatives/sub-*/sub-*_seg-vert_msk.nii.gz: labels on the grid of the scan, in VerSe's numbers: 1-7 C1-C7, 8-19
  T1-T12, 20-25 L1-L6, 26 sacrum, 27 coccyx, 28 T13; 255 are voxels that nobody could assign.
- derivatives/sub-*/sub-*_seg-spine_msk.nii.gz, where more was labeled: the same and 61 spinal canal, 100 + n the disc
  below vertebra n, 200 discs whose level is unknown.
- derivatives/sub-*/sub-*_seg-vert_msk.json: "LevelsKnown" false means that vertebrae were not told apart, and 1 stands
  for every vertebra and not for C1. "Manual" true means corrected by hand, false a network's result that was accepted.
- derivatives/sub-*/sub-*_seg-subreg_ctd.json: the middle of each vertebra in voxels, in VerSe's format.
- Names of all that belongs to a sub-*_mr scan begin with sub-*_mr too.
- A scan with tilted gantry, which NIfTI can't hold, is an .nrrd file, and so are its labels.

Subjects are numbered. Each scan is a subject of its own, unless scans lay in one folder that was called sub-...; other
scans of one person were not recognized as such. Files hold no names, dates or paths, but an image may show who it is:
faces have not been removed.
"""


@dataclass(frozen=True)
class ScanName:
    """What a scan is called in a dataset: its subject, and its number where the subject has several (else None)."""

    subject: str
    split: int | None

    @property
    def stem(self) -> str:
        """Start of the names of all its files."""
        return self.subject if self.split is None else f"{self.subject}_split-{self.split:02d}"


def scan_names(entries: Iterable[Entry]) -> dict[int, ScanName]:
    """Number of the entry -> name in the dataset, for all entries of a worklist.

    Scans in one folder `sub-...` whose names begin with it (BIDS) are of one subject; a subject has the number of its
    first entry, so a later dataset of the same worklist has the same numbers.
    """
    subjects: dict[Path | int, list[int]] = {}
    for entry in entries:
        folder = next((parent for parent in entry.scan.parents if entry.scan.name.startswith(f"{parent.name}_")), None)
        is_subject = folder is not None and _SUBJECT_FOLDER.fullmatch(folder.name)
        subjects.setdefault(folder if is_subject else entry.number, []).append(entry.number)
    return {
        number: ScanName(f"sub-{numbers[0]:04d}", place if len(numbers) > 1 else None)
        for numbers in subjects.values()
        for place, number in enumerate(numbers, 1)
    }


def write_descriptions(dataset: Path, subjects: Iterable[str]) -> None:
    """Writes what stands at the top of the dataset and of both its parts."""
    (dataset / "README.md").write_text(README, encoding="utf-8")
    made_by = {"Name": PROGRAM, "Version": __version__}
    common = {"Name": _NAME, "BIDSVersion": _BIDS_VERSION}
    _write_json(dataset / DESCRIPTION, common | {"GeneratedBy": [made_by]})
    _write_json(dataset / RAW / DESCRIPTION, common | {"DatasetType": "raw"})
    _write_json(
        dataset / DERIVED / DESCRIPTION,
        common | {"DatasetType": "derivative", "GeneratedBy": [made_by], "SourceDatasets": [{"URL": f"../{RAW}"}]},
    )
    (dataset / RAW / ".bidsignore").write_text("*_ct.*\n*_mr.*\n", encoding="utf-8")
    lines = ["participant_id", *sorted(set(subjects))]
    (dataset / RAW / "participants.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_sidecar(path: Path, values: Iterable[int], corrected: bool) -> None:
    """What is to be known of a label map that holds `values`; names are those of the label table, not a user's."""
    values = sorted(values)
    known = levels_known(values)
    names = {str(value): structure(value, levels_known=known).name for value in values if value in STRUCTURES}
    _write_json(path, {"Manual": corrected, "LevelsKnown": known, "LabelNames": names})


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
