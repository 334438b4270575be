"""Which prediction belongs to which reference, for two files or two folders."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from .batch_records import is_earlier, is_of, read_record
from .errors import InputRefused
from .folders import folders_below, identity

# Longest first: the part before the ending is the name of the case.
LABEL_FILE_ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".nii", ".mha", ".mhd")

# What marks a file of labels beside its scan; where files of a reference folder are marked so, its others are scans.
# VerSe has `derivatives/sub-verse000/sub-verse000_dir-orient_seg-vert_msk.nii.gz` (osf.io/4skx2) beside
# `rawdata/sub-verse000/sub-verse000_dir-orient_ct.nii.gz`; its challenge layout has `_seg` (osf.io/b2wxj).
_VERTEBRA_MASK = "_seg-vert_msk"
_LABEL_SUFFIXES = ("_labels", "_label", "_segmentation", "_seg", "_mask", "_msk")
_SCAN_SUFFIXES = ("_ct",)


@dataclass(frozen=True)
class Pair:
    """name: of the reference without its ending, with its folder where another one has that name."""

    name: str
    prediction: Path
    reference: Path


def find_pairs(prediction: Path, reference: Path) -> tuple[list[Pair], list[str], list[tuple[str, str]]]:
    """Pairs of files, sorted by name; a sentence for every file that has no partner; and the names of references whose
    partner is unclear, each with the sentence that says why.

    Two files are one pair. Two folders are searched with their subfolders; files belong together when they have the
    same name, else the same name but for the ending and words like `_ct`, `_labels`, `_seg-vert_msk`, else (as in
    BIDS) when every part of the prediction's name stands in the reference's, `sub-...` included. What lies in the same
    folder of both trees comes first, and only what has nothing there is looked for in the whole tree. One of the
    folders may lie in the other: its files are its own.

    Raises:
        InputRefused: a path is missing, one is a file and the other a folder, both are one file or hold the same ones,
            nothing matches, or all that does is unclear.
        OSError: a file can't be read.
    """
    for path in (prediction, reference):
        if not path.exists():
            raise InputRefused(f"'{path}' does not exist: check the path.")
    if prediction.is_file() and reference.is_file():
        if prediction.samefile(reference):
            raise InputRefused(f"'{prediction}' and '{reference}' are one file: give two.")
        return [Pair(stem(prediction), prediction, reference)], [], []
    if prediction.is_file() or reference.is_file():
        raise InputRefused(f"'{prediction}' and '{reference}' are a file and a folder: give two files or two folders.")
    theirs = label_files(reference)
    predictions, references = _apart(label_files(prediction), theirs)
    if theirs and not references:
        raise InputRefused(f"'{prediction}' and '{reference}' hold the same files: give others.")
    matching = _matching(prediction, predictions, reference, labels_among(references))
    chosen = {target: _results_among(found) for target, found in matching.items()}
    rivals: dict[Path, list[Path]] = defaultdict(list)
    for target, found in chosen.items():
        for path in found:
            rivals[path].append(target)
    count = Counter(stem(target) for target, found in chosen.items() if found)
    pairs, notes, unclear = [], [], []
    for target, found in chosen.items():
        name = _name(target, target.parent if count[stem(target)] == 1 else reference)
        if not found:
            notes.append(f"Not counted, since it has no prediction: '{target.relative_to(reference)}'.")
        elif len(found) > 1:
            target = target.relative_to(reference)
            why = f"{_quoted(found, prediction)} all match the reference '{target}': keep one prediction for each scan."
            unclear.append((name, why))
        elif len(rivals[found[0]]) > 1:
            both = _quoted(rivals[found[0]], reference)
            why = f"{_quoted(found, prediction)} matches the references {both}: give it the name of its scan."
            unclear.append((name, why))
        else:
            pairs.append(Pair(name, found[0], target))
    if not pairs:
        raise InputRefused(
            unclear[0][1]
            if unclear
            else f"No file in '{prediction}' matches a reference in '{reference}': name predictions like their "
            "references or like the scans they were made from."
        )
    others = {path for found in matching.values() for path in found}
    for path in (path for path in predictions if path not in rivals):
        why = "by the batch's records it is the scan or an earlier result" if path in others else "it has no reference"
        notes.append(f"Not counted, since {why}: '{path.relative_to(prediction)}'.")
    return pairs, notes, unclear


def _apart(predictions: list[Path], references: list[Path]) -> tuple[list[Path], list[Path]]:
    """Without what both folders hold, as where one lies within the other: that belongs to the inner one only."""
    mine, theirs = ({identity(path) for path in files} for files in (predictions, references))
    if mine <= theirs:
        return predictions, [path for path in references if identity(path) not in mine]
    return [path for path in predictions if identity(path) not in theirs], references


def _matching(
    prediction: Path, predictions: list[Path], reference: Path, references: list[Path]
) -> dict[Path, list[Path]]:
    """For each reference the predictions that belong to it, by names and folders."""
    in_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in predictions:
        in_folder[path.parent.relative_to(prediction)].append(path)
    beside = {target: candidates(target, in_folder[target.parent.relative_to(reference)]) for target in references}
    taken = {path for found in beside.values() for path in found}
    matching = {}
    for target in references:
        found = beside[target] or candidates(target, predictions)
        # Where patients' files bear the same name, it says nothing of another folder.
        matching[target] = found if beside[target] or taken.isdisjoint(found) else []
    return matching


def _results_among(found: list[Path]) -> list[Path]:
    """Of several that belong to one reference those that count: without the scan, and without what an earlier run of
    the batch wrote in another format, where its records tell."""
    records = {path: record_beside(path) for path in found} if len(found) > 1 else {}
    known = [record for record in records.values() if record]
    scans_or_earlier = {
        path for path in records
        if is_earlier(path, records[path]) or any(is_of(record, path, [path]) for record in known)
    }  # fmt: skip
    return [path for path in found if path not in scans_or_earlier] or found


def label_files(folder: Path) -> list[Path]:
    """All files below a folder that may hold labels, sorted; without hidden ones and what lies in hidden folders, such
    as the unfinished results of a batch. Links to folders are followed, each folder is searched once."""
    found = []
    for parent, folders, names in folders_below(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [parent / name for name in names if not name.startswith(".")]
        found += [path for path in shown if path.name.lower().endswith(LABEL_FILE_ENDINGS) and path.is_file()]
    return sorted(found)


def labels_among(files: list[Path]) -> list[Path]:
    """Those named as labels; all where none is."""
    for suffixes in ((_VERTEBRA_MASK,), _LABEL_SUFFIXES):
        marked = [path for path in files if stem(path).lower().endswith(suffixes)]
        if marked:
            return marked
    return files


def candidates(target: Path, predictions: list[Path]) -> list[Path]:
    """Those that belong to a reference by their names, see `find_pairs`."""
    same_name = [path for path in predictions if path.name == target.name]
    if same_name:
        return same_name
    same_scan = [path for path in predictions if _scan_name(path) == _scan_name(target)]
    if same_scan:
        return same_scan
    parts = set(_scan_name(target).split("_"))
    subject = {part for part in parts if re.fullmatch(r"sub-[^_]+", part)}
    return [path for path in predictions if subject and subject <= set(_scan_name(path).split("_")) <= parts]


def record_beside(labels: Path) -> dict | None:
    """What a batch noted of a scan, where that lies beside a file of its results; see `batch_records`."""
    return read_record(labels.with_name(f"{stem(labels)}.json"))


def is_named_as_labels(path: Path) -> bool:
    """Whether a file bears the name of a segmentation, as one that lies beside its scan does."""
    named = stem(path).lower().endswith((_VERTEBRA_MASK, *_LABEL_SUFFIXES))
    return named or path.name.lower().endswith(".seg.nrrd")


def stem(path: Path) -> str:
    """The name of a file of voxels without its ending, which may have two parts."""
    for ending in LABEL_FILE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def _name(path: Path, root: Path) -> str:
    """Of a case, by the folder below `root` and the name of a file without its ending."""
    return path.relative_to(root).with_name(stem(path)).as_posix()


def _quoted(paths: list[Path], root: Path) -> str:
    return " and ".join(f"'{path.relative_to(root)}'" for path in paths)


def _scan_name(path: Path) -> str:
    name = stem(path).lower()
    for suffix in (_VERTEBRA_MASK, *_LABEL_SUFFIXES, *_SCAN_SUFFIXES):
        name = name.removesuffix(suffix)
    return name
