"""Which scans a folder holds: image files, and DICOM series, each found once and by a name that stays."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..batch_records import is_of
from ..bids_names import DERIVED, DESCRIPTION, RAW
from ..checks import MINIMUM_SLICES, check_path
from ..dicom import Slice, list_series
from ..dicom_choice import MOST_LOCALIZER_IMAGES, is_unmarked_localizer
from ..dicom_folder import is_dicom_file, left_out, slices_among
from ..dicom_frames import images_in
from ..errors import InputRefused
from ..folders import folders_below
from ..itk_warnings import quiet_itk
from ..pairing import is_named_as_labels, record_beside, stem
from ..reading import READABLE_ENDINGS
from ..text_header import data_files, names_data_elsewhere

# What lies beside the scans of a BIDS dataset: results, originals in another format, programs.
BIDS_OTHERS = frozenset({DERIVED, "sourcedata", "code"})
LONGEST_NAME = 80
_MOST_LISTED = 5
# What may be a scan, too, or hold some, but isn't read; the longest first.
_FOREIGN_ENDINGS = (
    ".gipl.gz", ".nrrd.gz", ".mha.gz", ".hdr.gz", ".img.gz", ".dcm.gz", ".tar.gz",
    ".hdr", ".img", ".mgh", ".mgz", ".gipl", ".mnc", ".vtk", ".vti", ".mrb",
    ".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst",
)  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """One scan of a cohort.

    Attributes:
        key: the same in every run: the path from the input, with "/"; for a series its folder, "#" and its UID.
        name: the same for people, by which tables tell scans apart: no other one has it.
        folder: from the input, where results belong in the output.
        stem: what results would best be called.
        files: absolute; the file to read, then others that belong to it, or all of a series.
        is_series: whether the files are DICOM.
        notes: one sentence each on what may be missing.
    """

    key: str
    name: str
    folder: Path
    stem: str
    files: tuple[Path, ...]
    is_series: bool = False
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        """The file, or the folder of a series."""
        return self.files[0].parent if self.is_series else self.files[0]


@dataclass
class Cohort:
    """What was found.

    Attributes:
        scans: sorted by folder and name.
        unreadable: path from the input -> one sentence; what lies there is missing among the scans.
        notes: one sentence each on what was left out on purpose.
    """

    scans: list[Scan] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_scans(source: Path, left_out: Path | None = None, modalities: Collection[str] = ("CT",)) -> Cohort:
    """All scans in a file or below a folder.

    Hidden files, files named as segmentations, results of a batch, what a BIDS dataset keeps beside its scans,
    DICOM series of other modalities, with fewer than 3 slices or of localizers, and files of other kinds that may be
    scans are left out, and the notes say so. Links to folders are followed, each folder is searched once. One scan is
    one series in one folder: copies of a series elsewhere are scans of their own, and what lies scattered over folders
    isn't put together, since broken anonymization gives two patients the same UID.

    Args:
        source: exists.
        left_out: a folder that isn't searched, such as the one for results.
        modalities: of DICOM series, those that are wanted; other files don't tell.

    Raises:
        InputRefused: there is nothing to segment.
    """
    cohort, others, foreign, segmentations = Cohort(), Counter(), Counter(), []
    if source.is_file():
        _add(cohort, others, foreign, Path(), [source], modalities)
    else:
        for folder, files, labels in _folders(source, left_out, cohort):
            results = {path for path in files if _is_image(path) and _is_result(path)}
            files = [path for path in files if path not in results]
            segmentations += [path.relative_to(source).as_posix() for path in labels]
            others["result"] += len(results)
            _add(cohort, others, foreign, folder.relative_to(source), files, modalities)
    cohort.scans.sort(key=lambda scan: (scan.folder.parts, scan.stem, scan.key))
    cohort.notes += _notes(others, foreign, segmentations)
    if not cohort.scans and not cohort.unreadable:
        raise InputRefused(
            " ".join([f"'{source}' holds no scan: give scans as NIfTI, NRRD, MetaImage or DICOM.", *cohort.notes])
        )
    return cohort


def _folders(root: Path, left_out: Path | None, cohort: Cohort) -> Iterator[tuple[Path, list[Path], list[Path]]]:
    """Every folder once, with its files to look at and those named as segmentations."""

    def unreadable(error: OSError) -> None:
        where = Path(error.filename).relative_to(root).as_posix()
        cohort.unreadable[where] = f"The folder can't be read ({error.strerror}), so that its scans are missing."

    for folder, folders, names in folders_below(root, unreadable, left_out):
        # VerSe's own releases have derivatives without the description.
        beside = BIDS_OTHERS if DESCRIPTION in names else {DERIVED} if RAW in folders else frozenset()
        skipped = sorted(beside.intersection(folders))
        if skipped:
            cohort.notes.append(f"Left out beside the scans: {', '.join(str(folder / name) for name in skipped)}.")
        usable = {path.name for path in map(folder.joinpath, [*folders, *names]) if _is_usable(path, root, cohort)}
        folders[:] = [name for name in folders if name in usable and name not in skipped]
        files, labels = [], []
        for path in (folder / name for name in names if name in usable):
            (labels if is_named_as_labels(path) and _is_image(path) else files).append(path)
        yield folder, files, labels


def _is_usable(path: Path, root: Path, cohort: Cohort) -> bool:
    """Whether to look at a file or folder: not where it is hidden or its name is none, which the cohort is told."""
    if path.name.startswith("."):
        return False
    try:
        check_path(path)
    except InputRefused as refusal:
        if path.is_dir() or _is_image(path) or is_dicom_file(path):
            cohort.unreadable[path.relative_to(root).as_posix()] = str(refusal)
        return False
    return True


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(READABLE_ENDINGS)


def _is_result(image: Path) -> bool:
    """Whether a batch wrote it: a record lies beside it that isn't of this image itself, as one is where results lie
    beside their scan."""
    record = None if names_data_elsewhere(image) else record_beside(image)
    return record is not None and not is_of(record, image, [image])


def _add(
    cohort: Cohort, others: Counter, foreign: Counter, folder: Path, files: list[Path], modalities: Collection[str]
) -> None:
    """Adds the scans among the files of one folder; counts what is left out: series by reason, and files by ending."""
    images = [path for path in files if _is_image(path)]
    parts = set(images)
    for path in images:
        key = (folder / path.name).as_posix()
        if not path.is_file():
            cohort.unreadable[key] = "The link leads nowhere, or it is no file: check it."
            continue
        scan = Scan(key, key, folder, stem(path), (path, *_beside(path, files)))
        cohort.scans.append(scan)
        parts.update(scan.files)
    rest = slices_among([path for path in files if path not in set(images)])
    foreign.update(filter(None, map(_foreign_ending, set(files) - parts - set(rest))))
    with quiet_itk():
        series = list_series(rest)
    # Of which series they were, nothing says.
    lost = set(rest) - {item.path for slices in series.values() for item in slices}
    notes = tuple(left_out(lost))
    # Of all series, so that a scan has the same name for every model.
    called = {uid: safe_name(slices[0].description) or "series" for uid, slices in series.items()}
    count = Counter(called.values())
    for uid, slices in sorted(series.items()):
        reason = _why_left_out(slices, modalities)
        if reason:
            others[reason] += 1
            continue
        name = called[uid]
        told = name if count[name] == 1 else f"{name}, {uid}"
        paths = tuple(dict.fromkeys(item.path for item in slices))
        where = folder.as_posix()
        cohort.scans.append(Scan(f"{where}#{uid}", f"{where} ({told})", folder, name, paths, True, notes))
        lost = set()
    others["lost"] += len(lost)


def _foreign_ending(path: Path) -> str | None:
    return next((ending for ending in _FOREIGN_ENDINGS if path.name.lower().endswith(ending)), None)


def _beside(image: Path, files: list[Path]) -> list[Path]:
    """The voxels of a detached header: the files that it names, and what shares its name."""
    if not names_data_elsewhere(image):
        return []
    same_name = [path for path in files if not _is_image(path) and stem(path) == stem(image)]
    return [path for path in dict.fromkeys([*same_name, *data_files(image)]) if path != image and path.is_file()]


def _why_left_out(slices: list[Slice], modalities: Collection[str]) -> str | None:
    modality = slices[0].modality
    if modality not in modalities:
        return modality or "of unknown modality"
    seen = sum(item.frames for item in slices if not item.localizer)
    # To look for the frames of large files takes seconds, and a localizer is none.
    if seen <= MOST_LOCALIZER_IMAGES and is_unmarked_localizer([one for item in slices for one in images_in(item)]):
        return "short"
    return None if seen >= MINIMUM_SLICES else "short"


def series_of(key: str) -> str:
    """The UID of a series, from its key."""
    return key.rpartition("#")[2]


def safe_name(text: str) -> str:
    """What of a free text can be the name of a file on any system."""
    return re.sub(r"[^\w.+-]+", "_", text)[:LONGEST_NAME].strip("._ ")


def listed(names: Collection[str]) -> str:
    """The first of them."""
    return ", ".join([*sorted(names)[:_MOST_LISTED], *["..."] * (len(names) > _MOST_LISTED)])


def _notes(others: Counter, foreign: Counter, segmentations: Collection[str]) -> Iterable[str]:
    if segmentations:
        yield f"Left out, named as segmentations: {len(segmentations)} ({listed(segmentations)})."
    if others["result"]:
        yield f"Left out, results of an earlier batch: {others['result']}."
    if others["lost"]:
        yield f"Left out, damaged files and DICOM files without an image: {others['lost']}."
    told = ("result", "lost", "short")
    modalities = {reason: count for reason, count in others.items() if reason not in told}
    if modalities:
        named = ", ".join(f"{count} {reason}" for reason, count in sorted(modalities.items()))
        yield f"Left out, DICOM series of other modalities: {named}."
    if others["short"]:
        yield f"Left out, DICOM series of fewer than {MINIMUM_SLICES} slices or of localizers: {others['short']}."
    if foreign:
        named = ", ".join(f"{count} {ending}" for ending, count in sorted(foreign.items()))
        yield f"Left out, files that may be scans of a kind that isn't read (unpack or convert them): {named}."
