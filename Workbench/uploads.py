"""Scans that a browser sends: limited in size, kept in a private folder, refused whole or kept whole."""

from __future__ import annotations

import asyncio
import math
import mmap
import os
import re
import shutil
import tempfile
import uuid
from pathlib import Path

import SimpleITK as sitk
from aiohttp import BodyPartReader, web

from SpineContextSegLib.dicom_folder import is_dicom_file
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.itk_warnings import quiet_itk
from SpineContextSegLib.mrml.placing import portable_name
from SpineContextSegLib.text_header import HEADER_LIMIT_BYTES

from .store.whole_folders import PARTIAL, remove_abandoned

FOLDER = "uploads"
# Neither .nhdr nor .mhd: they only name the file that holds the voxels, which could be any file of this computer.
# Each with the part of ITK that reads it.
ENDINGS = {
    ".nii.gz": "NiftiImageIO", ".nii": "NiftiImageIO", ".nrrd": "NrrdImageIO", ".mha": "MetaImageIO",
}  # fmt: skip
MAXIMUM_FILES = 20_000
# More than a CT of a whole body has at 0.5 mm; what it unpacks to must fit into memory.
MAXIMUM_VOXEL_BYTES = 6_000_000_000
_CHUNK_BYTES = 1 << 20
_MHA_FIELD = b"ElementDataFile"
_MHA_LOCAL = re.compile(rb"^ElementDataFile[ \t]*=[ \t]*(?:LOCAL|Local|local)[ \t]*\r?\n", re.MULTILINE)


class Uploads:
    """The folder `uploads` in the data folder, readable by its owner only, with a folder per upload.

    Until that is whole it is hidden from the search for scans; what a killed process left of it goes a day after.
    """

    def __init__(self, data_folder: Path, limit_bytes: int) -> None:
        """
        Args:
            data_folder: exists.
            limit_bytes: of all files of one upload together.
        """
        # As the worklist names its scans.
        self._folder = Path(os.path.abspath(data_folder)) / FOLDER
        self._limit = limit_bytes
        remove_abandoned(self._folder)

    async def receive(self, request: web.Request) -> Path:
        """Keeps the files of a form; one image, or the DICOM files of a series.

        Returns:
            The image file, or the folder of DICOM files; absolute.

        Raises:
            InputRefused: too large, too many, of another kind, or not what the name says; nothing is left of it.
            OSError: disk full or not writable; nothing is left of it.
        """
        if (request.content_length or 0) > self._limit + _CHUNK_BYTES:
            raise self._too_large()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".", suffix=PARTIAL, dir=self._folder))
        try:
            scan = await self._keep(request, folder)
            whole = folder.rename(self._folder / f"scan-{uuid.uuid4().hex}")
            return whole / scan.relative_to(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def discard(self, scan: Path) -> None:
        """Removes what `receive` returned."""
        shutil.rmtree(self._folder / scan.relative_to(self._folder).parts[0], ignore_errors=True)

    async def _keep(self, request: web.Request, folder: Path) -> Path:
        if not request.content_type.startswith("multipart/"):
            raise InputRefused("Nothing was sent: choose a scan.")
        left, kept = self._limit, []
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.filename:
                continue
            if len(kept) == MAXIMUM_FILES:
                raise InputRefused(f"More than {MAXIMUM_FILES} files were sent: choose the folder of one series.")
            path = folder / _file_name(part.filename, len(kept))
            with open(path, "xb") as file:
                while chunk := await part.read_chunk(_CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise self._too_large()
                    file.write(chunk)
            kept.append(path)
        return await asyncio.to_thread(_scan_among, kept, folder)

    def _too_large(self) -> InputRefused:
        limit = f"{self._limit / 1e9:.1f} GB" if self._limit >= 1e9 else f"{self._limit / 1e6:.0f} MB"
        return InputRefused(f"The upload is larger than {limit}: crop the scan, or put it into the data folder.")


def _file_name(name: str, number: int) -> str:
    """Only a scan's last part of a name, cleaned, is kept, and no folder of it."""
    last = re.split(r"[/\\]", name)[-1]
    for ending in ENDINGS:
        if last.lower().endswith(ending):
            return portable_name(last[: -len(ending)], "scan") + ending
    return f"{number:06d}.dcm"


def _scan_among(paths: list[Path], folder: Path) -> Path:
    if not paths:
        raise InputRefused("Nothing was sent: choose a scan.")
    images = [path for path in paths if path.name.lower().endswith(tuple(ENDINGS))]
    if len(paths) == 1 and images:
        check_header(images[0])
        return images[0]
    if images:
        raise InputRefused("Several scans were sent at once: choose one file, or the DICOM files of one series.")
    for path in paths:
        if not is_dicom_file(path):
            path.unlink()
    if not any(folder.iterdir()):
        raise InputRefused("This is no scan: choose NIfTI (.nii.gz), .nrrd, .mha, or DICOM files.")
    return folder


def check_header(path: Path) -> None:
    """Refuses what would read other files of this computer, or unpack to more than memory holds.

    Raises:
        InputRefused: one sentence.
    """
    [part] = {part for ending, part in ENDINGS.items() if path.name.lower().endswith(ending)}
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet_itk():
        # ITK goes by the content: a file of HDF5, which may lay its voxels into other files, is read whatever its name.
        if reader.GetImageIOFromFileName(str(path)) != part:
            raise _damaged(path)
        if part == "NrrdImageIO":
            _refuse_detached_nrrd(path)
        if part == "MetaImageIO":
            _refuse_detached_mha(path)
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise _damaged(path) from error
    voxels = math.prod(reader.GetSize())
    if 2 * voxels > MAXIMUM_VOXEL_BYTES:
        raise InputRefused(
            f"'{path.name}' states {voxels / 1e9:.0f} billion voxels, more than a CT has: crop it, or export it again."
        )


def _refuse_detached_nrrd(path: Path) -> None:
    """Lines end as ITK sees it, by CR, LF or both; the header ends with the first empty one."""
    with open(path, "rb") as file:
        lines = file.read(HEADER_LIMIT_BYTES).splitlines()
    if b"" not in lines:
        raise _damaged(path)
    for line in lines[: lines.index(b"")]:
        if line.partition(b":")[0].lower().replace(b" ", b"") == b"datafile":
            raise _detached(path)


def _refuse_detached_mha(path: Path) -> None:
    """The field that ends the header is there once in the whole file.

    ITK has its own mind on where lines end and which ones belong to the value before, so that it might pass over one
    such field and take the next.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        first = content.find(_MHA_FIELD, 0, HEADER_LIMIT_BYTES)
        if first == -1:
            raise _damaged(path)
        local = _MHA_LOCAL.search(content[:HEADER_LIMIT_BYTES])
        if local is None or local.start() != first or content.find(_MHA_FIELD, local.end()) != -1:
            raise _detached(path)


def _damaged(path: Path) -> InputRefused:
    return InputRefused(f"'{path.name}' is damaged or not what its name says: copy or export it again.")


def _detached(path: Path) -> InputRefused:
    return InputRefused(f"'{path.name}' holds no voxels but names another file: save the scan as one file.")
