"""What is segmented: a file, and where its truth lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import SimpleITK as sitk

from SpineContextSegLib.itk_warnings import quiet_itk
from SpineContextSegLib.numbering import Numbering
from SpineContextSegLib.pairing import stem
from Training.labelled_scans import labels_of


@dataclass(frozen=True)
class Scan:
    """`about` says in a few words what it is; `numbering` is that of `truth`, None where there is none."""

    name: str
    path: Path
    about: str
    truth: Path | None = None
    numbering: Numbering = "verse"

    @cached_property
    def _header(self) -> sitk.ImageFileReader:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(self.path))
        with quiet_itk():
            reader.ReadImageInformation()
        return reader

    @property
    def shape_ijk(self) -> tuple[int, ...]:
        return self._header.GetSize()

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Along (i, j, k)."""
        return tuple(round(step, 4) for step in self._header.GetSpacing())

    @property
    def input_mb(self) -> float:
        """The volume's size in memory, as the file's numbers are, in MB (10^6 bytes)."""
        voxels = 1
        for size in self.shape_ijk:
            voxels *= size
        return voxels * sitk.Image([1, 1], self._header.GetPixelID()).GetSizeOfPixelComponent() / 1e6

    def warm(self) -> None:
        """Read the file once, so that the disk plays no part."""
        with self.path.open("rb") as file:
            while file.read(1 << 24):
                pass


def real_scan(path: Path, totalsegmentator: frozenset[str]) -> Scan:
    """A scan of the user's, its truth where `labels_of` finds it; `totalsegmentator` names scans whose truth has that
    numbering."""
    name, truth = stem(path), labels_of(path)
    numbering = "totalsegmentator" if name in totalsegmentator else "verse"
    return Scan(name, path, "real", truth if truth.is_file() else None, numbering)
