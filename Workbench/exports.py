"""Files to take away: the segmentation in the forms that other programs read."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

from SpineContextSegLib import dicom_seg
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import FIRST_OWN_VALUE, TERMINOLOGY_TAG
from SpineContextSegLib.mrml.export import export_segmentation
from SpineContextSegLib.mrml.ours import tag
from SpineContextSegLib.mrml.placing import portable_name
from SpineContextSegLib.mrml.segment_voxels import merge, name_of, overlap_remarks, read_segments
from SpineContextSegLib.volume import Volume

from .held_folder import HeldFolder
from .scene import Scene

DICOM_SEG = "dcm"
EXPORTS = {
    "seg.nrrd": "Slicer segmentation (.seg.nrrd)",
    "nii.gz": "NIfTI with VerSe values (.nii.gz)",
    "stl": "Surfaces (.stl)",
    DICOM_SEG: "DICOM SEG, of a DICOM series (.dcm)",
}


class Exports:
    """Files that wait to be fetched by the browser, under names that nobody can guess; gone with the server."""

    def __init__(self) -> None:
        self._folder = HeldFolder("SpineContextSeg-exports-")
        self._files: dict[str, Path] = {}

    def make(self, scene: Scene, form: str) -> tuple[str, list[str]]:
        """Writes the segmentation as it is now, several files as one ZIP.

        Args:
            form: of `EXPORTS`, but for DICOM SEG.

        Returns:
            The key to fetch it with, and remarks for the user.

        Raises:
            InputRefused: there is nothing to export, or the form can't hold it.
            OSError: disk full.
        """
        if form not in EXPORTS:
            raise InputRefused("There is no such form of export: choose one from the list.")
        folder = Path(tempfile.mkdtemp(dir=self._folder.path))
        exported = export_segmentation(scene.segmentation_node, scene.volume_node, folder, formats=[form])
        path = exported.files[0]
        if len(exported.files) > 1:
            path = folder / f"{_stem(scene)}.zip"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in exported.files:
                    archive.write(file, file.name)
        return self._keep(path), exported.remarks

    async def make_dicom_seg(
        self, scene: Scene, locate: Callable[[], Path], model: str | None, corrected: bool
    ) -> tuple[str, list[str]]:
        """Writes the segmentation as it is now as a DICOM SEG; returns as `make`.

        Args:
            locate: returns the scan; called in another thread.
            model: see `dicom_seg.write_dicom_seg`.
            corrected: whether a hand was at the network's segments.

        Raises:
            InputRefused: as `dicom_seg.find_images` and `write_dicom_seg`, and what `locate` raises.
            OSError: disk full.
        """
        labels, segments, remarks = _draw(scene, corrected)
        folder = Path(tempfile.mkdtemp(dir=self._folder.path))
        path = folder / f"{_stem(scene)}{dicom_seg.ENDING}"

        def write() -> None:
            images = dicom_seg.find_images(locate(), labels.grid)
            dicom_seg.write_dicom_seg(labels, images, segments, model, path)

        await asyncio.to_thread(write)
        return self._keep(path), remarks

    def _keep(self, path: Path) -> str:
        key = uuid.uuid4().hex
        self._files[key] = path
        return key

    def file(self, key: str) -> Path | None:
        """The file behind a key, None where there is none."""
        return self._files.get(key)

    def remove(self) -> None:
        """Removes all of them."""
        self._folder.remove()


def _stem(scene: Scene) -> str:
    """Of a file's name."""
    return portable_name(scene.segmentation_node.GetName() or "", "Segmentation")


def _draw(scene: Scene, corrected: bool) -> tuple[Volume, list[dicom_seg.Segment], list[str]]:
    """The segments as one label map on the scan's grid, what a DICOM SEG says about each, and remarks for the user."""
    grid = scene.volume().grid
    items, remarks = read_segments(scene.segmentation_node, scene.volume_node, grid)
    array, overlapping = merge(items, grid)
    remarks += overlap_remarks(overlapping, "the file")
    by_network = "SEMIAUTOMATIC" if corrected else "AUTOMATIC"
    segments = [
        dicom_seg.Segment(
            item.value, name_of(item), item.segment.GetColor(), tag(item.segment, TERMINOLOGY_TAG),
            by_network if item.value < FIRST_OWN_VALUE else "MANUAL",
        )
        for item in items
    ]  # fmt: skip
    return Volume(array, grid.affine), segments, remarks
