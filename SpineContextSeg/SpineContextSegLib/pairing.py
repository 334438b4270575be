"""Which prediction belongs to which reference, for two files or two folders."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.folders import folders_below

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


def find_pairs(prediction: Path, reference: Path) -> tuple[list[Pair], list[str]]:
    """Pairs of files, sorted by name, and a sentence for every file that has no partner.

    Two files are one pair. Two folders are searched with their subfolders; files belong together when they have the
    same name, else the same name but for the ending and words like `_ct`, `_labels`, `_seg-vert_msk`, else (as in
    BIDS) when every part of the prediction's name stands in the reference's, `sub-...` included. What lies in the same
    folder of both trees comes first, and only what has nothing there is looked for in the whole tree.

    Raises:
        InputRefused: a path is missing, one is a file and the other a folder, nothing matches, or several do.
    """
    for path in (prediction, reference):
        if not path.exists():
            raise InputRefused(f"'{path}' does not exist: check the path.")
    if prediction.is_file() and reference.is_file():
        return [Pair(stem(prediction), prediction, reference)], []
    if prediction.is_file() or reference.is_file():
        raise InputRefused(f"'{prediction}' and '{reference}' are a file and a folder: give two files or two folders.")
    predictions, references = label_files(prediction), labels_among(label_files(reference))
    in_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in predictions:
        in_folder[path.parent.relative_to(prediction)].append(path)
    beside = {target: candidates(target, in_folder[target.parent.relative_to(reference)]) for target in references}
    taken = {path for found in beside.values() for path in found}
    notes, partner = [], {}
    for target in references:
        found = beside[target] or candidates(target, predictions)
        if not beside[target] and not taken.isdisjoint(found):
            # Where patients' files bear the same name, it says nothing of another folder.
            found = []
        if len(found) > 1:
            names = " and ".join(f"'{path.relative_to(prediction)}'" for path in found)
            raise InputRefused(
                f"{names} all match the reference '{target.relative_to(reference)}': keep one prediction for each scan."
            )
        if not found:
            notes.append(f"Not counted, since it has no prediction: '{target.relative_to(reference)}'.")
            continue
        if found[0] in partner:
            both = " and ".join(f"'{path.relative_to(reference)}'" for path in (partner[found[0]], target))
            raise InputRefused(
                f"'{found[0].relative_to(prediction)}' matches both references {both}: give it the name of its scan."
            )
        partner[found[0]] = target
    notes += [
        f"Not counted, since it has no reference: '{path.relative_to(prediction)}'."
        for path in predictions
        if path not in partner
    ]
    if not partner:
        raise InputRefused(
            f"No file in '{prediction}' matches a reference in '{reference}': name predictions like their references "
            "or like the scans they were made from."
        )
    count = Counter(map(stem, partner.values()))
    pairs = [
        Pair(_name(target, target.parent if count[stem(target)] == 1 else reference), path, target)
        for path, target in partner.items()
    ]
    return pairs, notes


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


def _scan_name(path: Path) -> str:
    name = stem(path).lower()
    for suffix in (_VERTEBRA_MASK, *_LABEL_SUFFIXES, *_SCAN_SUFFIXES):
        name = name.removesuffix(suffix)
    return name
