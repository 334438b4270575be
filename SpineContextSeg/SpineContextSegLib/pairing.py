"""Which prediction belongs to which reference, for two files or two folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from .batch_records import read_record, record_path
from .errors import InputRefused
from .folders import folders_below, identity
from .recorded_results import Choice, is_scan_of, scan_name

# Longest first: the part before the ending is the name of the case.
LABEL_FILE_ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".nii", ".mha", ".mhd")

# What marks a file of labels beside its scan; where one of a case is marked so, its others are scans, and so is all in
# their folder that isn't marked.
# VerSe has `derivatives/sub-verse000/sub-verse000_dir-orient_seg-vert_msk.nii.gz` (osf.io/4skx2) beside
# `rawdata/sub-verse000/sub-verse000_dir-orient_ct.nii.gz`; its challenge layout has `_seg` (osf.io/b2wxj).
_VERTEBRA_MASK = "_seg-vert_msk"
_LABEL_SUFFIXES = ("_labels", "_label", "_segmentation", "_seg", "_mask", "_msk")
_SCAN_SUFFIXES = ("_ct",)
_SUBJECT = re.compile(r"sub-[^_]+")
_OTHER_MASK = re.compile(r"_seg-[^_]+$")


@dataclass(frozen=True)
class Pair:
    """name: of the reference without its ending, with its folder. scan: as the tables of a batch name it, "" where no
    record tells."""

    name: str
    prediction: Path
    reference: Path
    scan: str = ""


def find_pairs(prediction: Path, reference: Path) -> tuple[list[Pair], list[str], list[tuple[str, str]]]:
    """Pairs of files, sorted by name; a sentence for every file that has no partner; and the names of references whose
    partner is unclear, each with the sentence that says why.

    Two files are one pair. Two folders are searched with their subfolders; files belong together when they have the
    same name but for the ending, else but for words like `_ct`, `_labels`, `_seg-vert_msk`, else (as in BIDS) when
    every part of the prediction's name stands in the reference's, `sub-...` included. A result of a batch goes by the
    name of the scan in its record, and only the last one of the very scan that lies beside the reference counts. What
    lies in the same folder of both trees comes first, and only what has nothing there is looked for in the whole tree.
    One of the folders may lie in the other: its files are its own.

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
        return [Pair(stem(prediction), prediction, reference, _scan_in_tables(record_beside(prediction)))], [], []
    if prediction.is_file() or reference.is_file():
        raise InputRefused(f"'{prediction}' and '{reference}' are a file and a folder: give two files or two folders.")
    theirs = label_files(reference)
    predictions, references = _apart(label_files(prediction), theirs)
    if theirs and not references:
        raise InputRefused(f"'{prediction}' and '{reference}' hold the same files: give others.")
    records = {path: record_beside(path) for path in predictions}
    references, scans = _scans_apart(references, records)
    choice = Choice(records)
    chosen = {
        target: choice.among(found, scans.get(_case(target), ()))
        for target, found in _matching(prediction, records, reference, references).items()
    }
    rivals = _rivals(chosen)
    pairs, notes, unclear = [], [], []
    for target, found in chosen.items():
        name = target.relative_to(reference).with_name(stem(target)).as_posix()
        if not found:
            notes.append(f"Not counted, since it has no prediction: '{target.relative_to(reference)}'.")
        elif not any(target in rivals[path] for path in found):
            continue  # a scan, whose labels lie in another folder
        elif len(found) > 1:
            target = target.relative_to(reference)
            why = f"{_quoted(found, prediction)} all match the reference '{target}': keep one prediction for each scan."
            unclear.append((name, why))
        elif len(rivals[found[0]]) > 1:
            both = _quoted(rivals[found[0]], reference)
            one_case = len({_case(rival) for rival in rivals[found[0]]}) == 1
            what = "keep one reference for each scan" if one_case else "give it the name of its scan"
            unclear.append((name, f"{_quoted(found, prediction)} matches the references {both}: {what}."))
        else:
            pairs.append(Pair(name, found[0], target, _scan_in_tables(records[found[0]])))
    left_out = [
        f"Not counted, since {choice.left_out.get(path, 'it has no reference')}: '{path.relative_to(prediction)}'."
        for path in predictions
        if path not in rivals
    ]
    if not pairs:
        raise InputRefused(_why_none(prediction, reference, unclear, left_out if choice.left_out else []))
    return pairs, notes + left_out, unclear


def _why_none(prediction: Path, reference: Path, unclear: list[tuple[str, str]], left_out: list[str]) -> str:
    if unclear:
        return unclear[0][1]
    if left_out:
        return f"Nothing in '{prediction}' is a result for a reference in '{reference}'. {left_out[0]}"
    return (
        f"No file in '{prediction}' matches a reference in '{reference}': name predictions like their references or "
        "like the scans they were made from."
    )


def _apart(predictions: list[Path], references: list[Path]) -> tuple[list[Path], list[Path]]:
    """Without what both folders hold, as where one lies within the other: that belongs to the inner one only."""
    mine, theirs = ({identity(path) for path in files} for files in (predictions, references))
    if mine <= theirs:
        return predictions, [path for path in references if identity(path) not in mine]
    return [path for path in predictions if identity(path) not in theirs], references


def _scans_apart(
    references: list[Path], records: Mapping[Path, Mapping | None]
) -> tuple[list[Path], dict[tuple, list[Path]]]:
    """The references, and by their case the scans that lie beside them."""
    known = [record for record in records.values() if record]
    targets = {path for path in _labels_among(references) if not is_scan_of(path, known)}
    scans: dict[tuple, list[Path]] = defaultdict(list)
    for path in references:
        if path not in targets and not is_named_as_labels(path):
            scans[_case(path)].append(path)
    return [path for path in references if path in targets], scans


def _matching(
    prediction: Path, records: Mapping[Path, Mapping | None], reference: Path, references: list[Path]
) -> dict[Path, list[Path]]:
    """For each reference the predictions that belong to it, by names and folders."""
    names = {path: _scan_file(path, record) for path, record in records.items()}
    in_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in records:
        in_folder[path.parent.relative_to(prediction)].append(path)
    beside = {
        target: _named_alike(target, in_folder[target.parent.relative_to(reference)], names) for target in references
    }
    taken = {path for found in beside.values() for path in found}
    matching = {}
    for target in references:
        found = beside[target] or _named_alike(target, records, names)
        # Where patients' files bear the same name, it says nothing of another folder.
        matching[target] = found if beside[target] or taken.isdisjoint(found) else []
    return matching


def _named_alike(target: Path, predictions: Collection[Path], names: Mapping[Path, Path]) -> list[Path]:
    """Those that belong to a reference by the names of their scans, else (as where somebody renamed results and
    records) by their own."""
    named: dict[Path, list[Path]] = defaultdict(list)
    for path in predictions:
        named[names[path]].append(path)
    found = [path for name in candidates(target, list(named)) for path in named[name]]
    return found or candidates(target, list(predictions))


def _scan_file(path: Path, record: Mapping | None) -> Path:
    """A prediction under the name of its scan, where a record tells that: results may have had to get another one."""
    name = scan_name(record) if record else ""
    # That of a series ends with its UID.
    return path.with_name(name) if name.lower().endswith(LABEL_FILE_ENDINGS) else path


def _rivals(chosen: Mapping[Path, list[Path]]) -> dict[Path, list[Path]]:
    """For each prediction its references: of several those named as labels, as others are scans."""
    rivals: dict[Path, list[Path]] = defaultdict(list)
    for target, found in chosen.items():
        for path in found:
            rivals[path].append(target)
    return {path: best_marked(targets) for path, targets in rivals.items()}


def label_files(folder: Path) -> list[Path]:
    """All files below a folder that may hold labels, sorted; without hidden ones and what lies in hidden folders, such
    as the unfinished results of a batch. Links to folders are followed, each folder is searched once."""
    found = []
    for parent, folders, names in folders_below(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [parent / name for name in names if not name.startswith(".")]
        found += [path for path in shown if path.name.lower().endswith(LABEL_FILE_ENDINGS) and path.is_file()]
    return sorted(found)


def _labels_among(files: list[Path]) -> set[Path]:
    """VerSe's masks where there are any. Else of each case those named as labels; all where none is, but for folders
    that hold labels beside their scans: a lone file there is a scan that nobody labelled."""
    if masks := {path for path in files if stem(path).lower().endswith(_VERTEBRA_MASK)}:
        return masks
    cases: dict[tuple, list[Path]] = defaultdict(list)
    for path in files:
        cases[_case(path)].append(path)
    labels = {path for case in cases.values() for path in best_marked(case)}
    of_scans = {path.parent for path in files if path not in labels and not is_named_as_labels(path)}
    return {path for path in labels if path.parent not in of_scans or is_named_as_labels(path)}


def _case(path: Path) -> tuple[Path | None, str]:
    """The same for a scan and its labels: folder and name, or in BIDS the name alone, which is of one scan there, and
    whose labels lie in another folder."""
    name = _OTHER_MASK.sub("", _scan_name(path))
    return (None if _SUBJECT.search(name) else path.parent), name


def best_marked(files: list[Path]) -> list[Path]:
    """Those named as labels; all where none is."""
    for suffixes in ((_VERTEBRA_MASK,), _LABEL_SUFFIXES):
        marked = [path for path in files if stem(path).lower().endswith(suffixes)]
        if marked:
            return marked
    return files


def candidates(target: Path, predictions: list[Path]) -> list[Path]:
    """Those that belong to a reference by their names, see `find_pairs`."""
    name, scan = stem(target), _scan_name(target)
    same_name = [path for path in predictions if stem(path) == name]
    if same_name:
        return same_name
    same_scan = [path for path in predictions if _scan_name(path) == scan]
    if same_scan:
        return same_scan
    parts = set(scan.split("_"))
    subject = {part for part in parts if _SUBJECT.fullmatch(part)}
    return [path for path in predictions if subject and subject <= set(_scan_name(path).split("_")) <= parts]


def record_beside(labels: Path) -> dict | None:
    """What a batch noted of a scan, where that lies beside a file of its results; see `batch_records`."""
    return read_record(record_path(labels))


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


def _scan_in_tables(record: Mapping | None) -> str:
    # Earlier versions told the key only, which of a series is another one.
    return record.get("name", record["scan"]) if record else ""


def _quoted(paths: list[Path], root: Path) -> str:
    return " and ".join(f"'{path.relative_to(root)}'" for path in paths)


def _scan_name(path: Path) -> str:
    name = stem(path).lower()
    for suffix in (_VERTEBRA_MASK, *_LABEL_SUFFIXES, *_SCAN_SUFFIXES):
        name = name.removesuffix(suffix)
    return name
