"""Every saved state of a scan's labels: the model's results, the corrections, and what was saved in passing.

Beside the scan lies a folder `spinecontextseg-versions`, in it one folder per scan, in it one folder per version:

    spinecontextseg-versions/chest-5f0c1d2e3a4b/0002-correction-9b1c7e52/saved_labels.nrrd, version.json

The digits behind the scan's name are the start of its fingerprint (see `fingerprints`), by which its versions are
found, so a renamed scan keeps them and another scan of the same name doesn't get them. Every version has a folder of
its own, which appears when it is whole; nothing is ever written into an earlier one, but for the mark of an autosave
that nobody needs any more. Several sessions may work on one scan: each holds a file of its own beside its autosaves
(`held_file`), which are offered to others once that is let go of.
"""

from __future__ import annotations

import errno
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np

from SpineContextSegLib.checksums import file_digest
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume, count_labels
from SpineContextSegLib.writing import write_volume

from .database import DATABASE
from .fingerprint import fingerprints
from .held_file import hold, is_abandoned, is_held
from .scan_names import without_ending
from .whole_folders import claimed, remove_abandoned, remove_folder, whole_folder

VERSIONS_FOLDER = "spinecontextseg-versions"
KEPT_AUTOSAVES = 3
Kind = Literal["model", "correction", "autosave"]

# Named as labels are, so that whoever searches the folder for scans passes over them.
_LABELS, _RECORD, _SET_ASIDE = "saved_labels.nrrd", "version.json", "set-aside"
_HELD = ".held"  # end of the hidden name of a session's file
_VERSION_NAME = re.compile(rf"\d+-({'|'.join(get_args(Kind))})-[0-9a-f]+")
_SHORT = 12  # digits of a fingerprint in the name of a folder
_NAME_BYTES = 100  # of the scan's name in there, far within what file systems allow


@dataclass(frozen=True)
class Version:
    """One saved state.

    Attributes:
        number: from 1 on in the order of saving, which doesn't depend on the clock.
        kind: "model" (a model's result), "correction" (saved by hand) or "autosave".
        by: the user.
        saved: when (with time zone).
        names: label value -> name of the segment.
        colors: label value -> color of the segment, as "#12abef".
        report: of the model's run (`pipeline.Result.report`), or None.
        begun_after: number of the newest version when the model's run began, or the work; 0 where there was none.
        session: of work in which it was saved, see `Versions`; None where an earlier workbench saved it.
        folder: where it lies; its last part is the same wherever the data are moved to.
    """

    number: int
    kind: Kind
    by: str
    saved: datetime
    names: Mapping[int, str]
    colors: Mapping[int, str]
    report: dict | None
    begun_after: int
    session: str | None
    folder: Path


class Versions:
    """The versions of one scan. The object stands for one session of work, so keep it while the scan is open, and `end`
    it then.

    Args:
        scan: file or DICOM folder; versions lie in a folder beside it.
        data_folder: where they go when the folder of the scan can't be written to, or is gone.

    Raises:
        InputRefused: there is no such scan.
        OSError: it can't be read.
    """

    def __init__(self, scan: str | Path, data_folder: str | Path) -> None:
        self._scan = Path(scan).absolute()
        # What is saved bears the first.
        self._fingerprints = fingerprints(self._scan)
        data_folder = Path(data_folder).absolute()
        database = data_folder / DATABASE
        # With a witness each: where a stick was, its mount point may still be, and what is written there would be
        # hidden by the next stick.
        self._places = {self._scan.parent / VERSIONS_FOLDER: self._scan}
        self._places[data_folder / VERSIONS_FOLDER] = database if database.exists() else data_folder
        self._saving = threading.Lock()
        self._session = uuid.uuid4().hex
        # The autosaves of this session, what it holds beside them, and one of a session before that it goes on from.
        self._mine: dict[int, Path] = {}
        self._held: dict[Path, BinaryIO] = {}
        self._continued: Version | None = None
        self._highest = 0

    def save(
        self, labels: Volume, names: Mapping[int, str], *, kind: Kind, by: str, report: dict | None = None,
        begun_after: int | None = None, colors: Mapping[int, str] | None = None,
    ) -> Version:  # fmt: skip
        """Saves labels whole or not at all; earlier versions stay as they are.

        Autosaves of this object that are older than its newest three are removed, and with a correction all of them.

        Args:
            labels: whole numbers (k, j, i) from 0 to 65535; affine IJK -> RAS in mm, sheared or not.
            names: label value -> name, at least of the values that the labels hold.
            kind, by, report: see `Version`.
            begun_after: see `Version`; the newest one of now by default.
            colors: see `Version`, at most of the values that have names.

        Raises:
            ValueError: an unknown kind, a value without a name, or a value below 0 or above 65535.
            OSError: it could be written neither beside the scan nor in the data folder.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"there is no kind {kind!r} of versions")
        present = count_labels(labels.array)
        unnamed = present.keys() - names.keys() - {0}
        if unnamed or min(present) < 0 or max(present) > np.iinfo(np.uint16).max:
            raise ValueError(f"labels {sorted(unnamed) or [min(present), max(present)]} can't be saved")
        compact = labels.array.astype(np.uint8 if max(present) < 256 else np.uint16, copy=False)
        with self._saving:
            content = {
                "kind": kind,
                "by": by,
                "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "scan": self._scan.name,
                "fingerprint": self._fingerprints[0],
                "names": {str(value): name for value, name in names.items()},
                "colors": {str(value): color for value, color in (colors or {}).items()},
                "report": report,
                "begun_after": begun_after,
                "session": self._session,
            }
            version = self._write(Volume(compact, labels.affine), content)
            self._highest = version.number
            self._prune(version)
        return version

    def list(self) -> list[Version]:
        """All, oldest first."""
        return [version for version in self._read() if version is not None]

    def latest(self) -> Version | None:
        """The newest correction or model's result, but for results of runs that began before the newest correction.

        Autosaves don't count, see `unsaved_autosave`.
        """
        versions = self.list()
        corrected = max((version.number for version in versions if version.kind == "correction"), default=0)
        for version in reversed(versions):
            if version.kind == "correction" or (version.kind == "model" and version.begun_after >= corrected):
                return version
        return None

    def newest_number(self) -> int:
        """Of all versions, 0 where there are none."""
        return max((version.number for version in self.list()), default=0)

    def load(self, version: Version) -> Volume:
        """The labels, to the voxel.

        Raises:
            InputRefused: the file is missing, damaged, or not the one that was saved.
        """
        path = version.folder / _LABELS
        try:
            whole = file_digest(path) == json.loads((version.folder / _RECORD).read_text(encoding="utf-8"))["sha256"]
            if whole:
                return read_labels(path)
        except FileNotFoundError as error:
            raise InputRefused(f"Version {version.number} is gone ('{version.folder}'): check its disk.") from error
        except (OSError, ValueError, KeyError) as error:
            raise InputRefused(
                f"Version {version.number} can't be read ({error}): check the disk, or take an earlier version."
            ) from error
        raise InputRefused(f"Version {version.number} ('{path}') is damaged: take an earlier version.")

    def unsaved_autosave(self) -> Version | None:
        """The newest autosave that is work to be recovered: of this session or one that has ended, which saved no
        correction after it, and nobody set it aside."""
        settled: set[str | None] = set()
        for version in reversed(self.list()):
            if version.kind == "correction":
                # Of earlier workbenches nothing says whose correction it was.
                settled |= {version.session, None}
            elif version.kind == "autosave" and version.session not in settled:
                # Asked first: what a session has set aside or removed until it ended is seen below.
                if self._is_at_work(version.session) or (version.folder / _SET_ASIDE).exists():
                    settled.add(version.session)
                elif version.folder.exists():
                    return version
        return None

    def go_on_from(self, autosave: Version) -> None:
        """Says that an autosave was brought back: with the next one, or a correction, it is no longer told of."""
        self._continued = autosave

    def end(self) -> None:
        """Ends the session: what it has only saved in passing may be recovered by others."""
        for path, file in self._held.items():
            file.close()
            # Its disk may be gone, or protected by now.
            with suppress(OSError):
                path.unlink()
        self._held.clear()

    def set_aside(self, version: Version) -> None:
        """Says that an autosave isn't wanted: `unsaved_autosave` no longer tells of it or of older ones of its session.

        Raises:
            OSError: it can't be marked, so it will be told of again.
        """
        (version.folder / _SET_ASIDE).touch()

    def warnings(self) -> list[str]:
        """Sentences for the user: damaged versions, or versions of another scan that had the name of this one."""
        damaged = sum(version is None for version in self._read())
        sentences = []
        if damaged:
            sentences.append(
                f"{damaged} saved version{'s' * (damaged != 1)} of '{self._scan.name}' can't be read: check the disk."
            )
        others = self._of_another_scan()
        if others:
            sentences.append(
                f"'{self._scan.name}' is not the scan that {others} saved version{'s' * (others != 1)} under this "
                "name belong to: they are kept, and shown again with their own scan."
            )
        return sentences

    def _read(self) -> list[Version | None]:
        """By number; None for each that can't be read."""
        found: list[Version | None] = []
        for path in self._paths():
            try:
                content = json.loads((path / _RECORD).read_text(encoding="utf-8"))
                if content["fingerprint"] in self._fingerprints:
                    found.append(_version(content, path))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                # Another process may just have removed it.
                found += [None] if path.exists() else []
        return sorted(found, key=lambda v: (v.number, v.saved, v.folder.name) if v else (0,))

    def _of_another_scan(self) -> int:
        """How many versions beside the scan were made when another one had its name."""
        count = 0
        for folder in _subfolders(self._scan.parent / VERSIONS_FOLDER):
            if folder.name.startswith(f"{_short_name(self._scan)}-"):
                for path in _saved(folder):
                    with suppress(OSError, ValueError, KeyError, TypeError):
                        content = json.loads((path / _RECORD).read_text(encoding="utf-8"))
                        another = content["fingerprint"] not in self._fingerprints
                        count += another and content["scan"] == self._scan.name
        return count

    def _paths(self) -> list[Path]:
        """The folders of all versions, also of those that can't be read."""
        return [path for folder in self._folders() for path in _saved(folder)]

    def _folders(self) -> list[Path]:
        """What versions of this scan lie in."""
        endings = tuple(f"-{each[:_SHORT]}" for each in self._fingerprints)
        return [folder for place in self._places for folder in _subfolders(place) if folder.name.endswith(endings)]

    def _is_at_work(self, session: str | None) -> bool:
        """Whether it is another one that hasn't ended."""
        return session != self._session and any(is_held(folder / f".{session}{_HELD}") for folder in self._folders())

    def _hold(self, folder: Path) -> None:
        for path in folder.glob(f".*{_HELD}"):
            if is_abandoned(path):
                with suppress(OSError):
                    path.unlink()
        own = folder / f".{self._session}{_HELD}"
        if own not in self._held:
            self._held[own] = hold(own)

    def _numbers(self) -> list[int]:
        return [int(path.name.split("-")[0]) for path in self._paths()]

    @contextmanager
    def _next_number(self, folder: Path) -> Iterator[int]:
        """One that no other process that saves at the same moment gets."""
        number = self._highest
        while True:
            number = 1 + max([number, *self._numbers()])
            with claimed(folder, f"{number:04d}") as is_mine:
                # Whoever had it may have saved since the look at the numbers.
                if is_mine and number not in self._numbers():
                    yield number
                    return

    def _write(self, labels: Volume, content: dict) -> Version:
        failed: OSError | None = None
        for place, witness in self._places.items():
            try:
                if witness.exists():
                    return self._write_in(place, labels, content)
            except OSError as error:
                failed = failed or error
        raise failed or FileNotFoundError(
            errno.ENOENT, "The disk of the scan and of the data folder is gone: connect it again", str(self._scan)
        )

    def _write_in(self, place: Path, labels: Volume, content: dict) -> Version:
        place.mkdir(exist_ok=True)
        ending = f"-{self._fingerprints[0][:_SHORT]}"
        folders = [folder for folder in _subfolders(place) if folder.name.endswith(ending)]
        folder = folders[0] if folders else place / f"{_short_name(self._scan)}{ending}"
        folder.mkdir(exist_ok=True)
        remove_abandoned(folder)
        if content["kind"] == "autosave":
            # Before anybody sees it.
            self._hold(folder)
        with self._next_number(folder) as number:
            begun_after = number - 1 if content["begun_after"] is None else content["begun_after"]
            content = content | {"number": number, "begun_after": begun_after}
            target = folder / f"{number:04d}-{content['kind']}-{uuid.uuid4().hex[:8]}"
            with whole_folder(target) as partial:
                write_volume(labels, partial / _LABELS)
                content["sha256"] = file_digest(partial / _LABELS)
                text = json.dumps(content, indent=1, ensure_ascii=False)
                (partial / _RECORD).write_text(text, encoding="utf-8", errors="backslashreplace")
        return _version(content, target)

    def _prune(self, saved: Version) -> None:
        """Other sessions' autosaves stay: they may be somebody's only copy."""
        if saved.kind == "model":
            return
        if saved.kind == "autosave":
            self._mine[saved.number] = saved.folder
        kept = KEPT_AUTOSAVES if saved.kind == "autosave" else 0
        for old in sorted(self._mine, reverse=True)[kept:]:
            remove_folder(self._mine.pop(old))
        if self._continued is not None:
            # Where it can't be marked, it is told of again.
            with suppress(OSError):
                self.set_aside(self._continued)
            self._continued = None


def _version(content: dict, folder: Path) -> Version:
    return Version(
        int(content["number"]), content["kind"], content["by"], datetime.fromisoformat(content["saved"]),
        {int(value): name for value, name in content["names"].items()},
        # Earlier workbenches wrote neither colors nor what came before, and no session.
        {int(value): color for value, color in content.get("colors", {}).items()}, content["report"],
        int(content.get("begun_after", int(content["number"]) - 1)), content.get("session"), folder,
    )  # fmt: skip


def hex_color(color: Sequence[float]) -> str:
    """As in `Version.colors`, of red, green, blue in 0..1."""
    return "#" + "".join(f"{round(255 * min(max(part, 0), 1)):02x}" for part in color)


def _short_name(scan: Path) -> str:
    """The name of a scan without its ending, cut where it would be too long for the name of a folder."""
    return without_ending(scan.name).encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore")


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:  # not there, or its disk is gone
        return []


def _saved(folder: Path) -> list[Path]:
    return [path for path in _subfolders(folder) if _VERSION_NAME.fullmatch(path.name)]
