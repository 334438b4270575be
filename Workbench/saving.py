"""Nothing is lost: results and corrections as versions, autosaves in passing, recovery, and files to take away."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
import zipfile
from pathlib import Path

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.mrml.export import export_segmentation

from .scene import Scene
from .store.versions import Kind, Version, Versions

AUTOSAVE_SECONDS = 60.0
EXPORTS = {
    "seg.nrrd": "Slicer segmentation (.seg.nrrd)",
    "nii.gz": "NIfTI with VerSe values (.nii.gz)",
    "stl": "Surfaces (.stl)",
}


class Saving:
    """Saves the segmentation of a `Scene`; the scan it belongs to is set with `begin`."""

    def __init__(self, scene: Scene, by: str) -> None:
        self._scene, self._by = scene, by
        self._versions: Versions | None = None
        self._changes = self._kept_changes = 0
        # One after the other, so that an older state never gets the higher number.
        self._order = asyncio.Lock()
        scene.undo_stack.index_changed.connect(self._count)

    def _count(self, *_: object) -> None:
        self._changes += 1

    def begin(self, versions: Versions) -> None:
        """Another scan is open from now on."""
        self._versions = versions
        self._kept_changes = self._changes

    @property
    def is_unsaved(self) -> bool:
        """Whether there is work that is in no saved correction."""
        return self._versions is not None and not self._scene.undo_stack.is_clean()

    def recoverable(self) -> Version | None:
        """Work that was only saved in passing, of a session that ended without saving."""
        return self._versions.unsaved_autosave()

    def latest(self) -> Version | None:
        """The newest correction or result."""
        return self._versions.latest()

    def set_aside(self, version: Version) -> None:
        """That work isn't wanted."""
        self._versions.set_aside(version)

    def warnings(self) -> list[str]:
        """Of the versions, for the user."""
        return self._versions.warnings()

    async def show(self, version: Version) -> None:
        """Puts a version into the scene; one that was saved in passing counts as unsaved work.

        Raises:
            InputRefused: its files are damaged.
        """
        labels = await asyncio.to_thread(self._versions.load, version)
        self._scene.write_version(labels, version.names, (version.report or {}).get("model", "saved"))
        if version.kind == "autosave":
            self._scene.undo_stack.reset_clean()
        self._kept_changes = self._changes

    async def save(self, kind: Kind, report: dict | None = None) -> Version:
        """Saves the scene as it is now.

        Raises:
            OSError: it couldn't be written; the scene still has the work.
        """
        async with self._order:
            versions, changes = self._versions, self._changes
            index = self._scene.undo_stack.index()
            labels, names = self._scene.labels()
            version = await asyncio.to_thread(versions.save, labels, names, kind=kind, by=self._by, report=report)
            if versions is self._versions:
                self._kept_changes = max(self._kept_changes, changes)
                # What was painted while the disk was busy is not in it.
                if kind != "autosave" and index == self._scene.undo_stack.index() and changes == self._changes:
                    self._scene.undo_stack.set_clean()
            return version

    async def autosave(self) -> Version | None:
        """Saves in passing, where something was changed since anything was saved."""
        if not self.is_unsaved or self._changes == self._kept_changes:
            return None
        return await self.save("autosave")


class Exports:
    """Files that wait to be fetched by the browser, under names that nobody can guess; gone with the server."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="SpineContextSeg-exports-"))
        self._files: dict[str, Path] = {}

    def make(self, scene: Scene, form: str) -> tuple[str, list[str]]:
        """Writes the segmentation as it is now, several files as one ZIP.

        Args:
            form: of `EXPORTS`.

        Returns:
            The key to fetch it with, and remarks for the user.

        Raises:
            InputRefused: there is nothing to export, or the form can't hold it.
            OSError: disk full.
        """
        if form not in EXPORTS:
            raise InputRefused("There is no such form of export: choose one from the list.")
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        exported = export_segmentation(scene.segmentation_node, scene.volume_node, folder, formats=[form])
        path = exported.files[0]
        if len(exported.files) > 1:
            path = folder / f"{exported.files[0].name.split('.')[0]}.zip"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in exported.files:
                    archive.write(file, file.name)
        key = uuid.uuid4().hex
        self._files[key] = path
        return key, exported.remarks

    def file(self, key: str) -> Path | None:
        """The file behind a key, None where there is none."""
        return self._files.get(key)

    def remove(self) -> None:
        """Removes all of them."""
        shutil.rmtree(self._folder, ignore_errors=True)
