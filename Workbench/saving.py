"""Nothing is lost: results and corrections as versions, autosaves in passing, and recovery."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.mrml.edits import is_edited
from SpineContextSegLib.volume import Volume

from .scene import Scene
from .store.versions import Kind, Version, Versions

# Saved in passing when the hand rests for so long, and after so long also while it doesn't.
REST_SECONDS, AUTOSAVE_SECONDS = 5.0, 60.0


class Saving:
    """Saves the segmentation of a `Scene`; the scan it belongs to is set with `begin`."""

    def __init__(self, scene: Scene, by: str) -> None:
        self._scene, self._by = scene, by
        self._versions: Versions | None = None
        # Counted: of the scene in all, and up to which they are in a version, in one that isn't removed later, and in
        # one that was tried to be saved in passing.
        self._changes = self._kept_changes = self._lasting_changes = self._tried_changes = 0
        self._changed_at = self._tried_at = time.monotonic()
        # What is in the scene, or was before it was changed; None where nothing was saved.
        self._shown: Version | None = None
        # The last one of this session that no other version has followed.
        self._in_passing: Version | None = None
        # The folders of all that this session has saved in passing.
        self._own: set[Path] = set()
        # Work that was only saved in passing, until somebody has said what is to become of it.
        self.found: Version | None = None
        # One after the other, so that an older state never gets the higher number.
        self._order = asyncio.Lock()
        scene.undo_stack.index_changed.connect(self._count)

    def _count(self, *_: object) -> None:
        self._changes += 1
        self._changed_at = time.monotonic()

    def begin(self, versions: Versions) -> None:
        """Another scan is open from now on."""
        self.end()
        self._versions, self._in_passing, self._shown = versions, None, None
        self.found = self.recoverable()
        self._kept_changes = self._lasting_changes = self._changes
        self._tried_at = time.monotonic()

    def end(self) -> None:
        """The scan is left: what was only saved in passing may be recovered by others."""
        if self._versions is not None:
            self._versions.end()

    @property
    def is_unsaved(self) -> bool:
        """Whether there is work that is in no saved correction."""
        return self._versions is not None and not self._scene.undo_stack.is_clean()

    @property
    def is_due(self) -> bool:
        """Whether it is time to save in passing. After a failure it is so only when the longer time is over."""
        if not self.is_unsaved or self._changes == self._kept_changes:
            return False
        now = time.monotonic()
        rests = self._changes != self._tried_changes and now - self._changed_at >= REST_SECONDS
        return rests or now - self._tried_at >= AUTOSAVE_SECONDS

    def recoverable(self) -> Version | None:
        """Work that was only saved in passing, of this session or one that ended without saving."""
        return self._versions.unsaved_autosave()

    def is_own(self, version: Version) -> bool:
        """Whether this session saved a version in passing, before another scan was opened."""
        return version.folder in self._own

    def holds_corrections(self) -> bool:
        """Whether a hand was at what is shown."""
        latest = self.latest()
        is_corrected = latest is not None and latest.kind == "correction"
        return is_corrected or self.is_unsaved or is_edited(self._scene.segmentation_node)

    def latest(self) -> Version | None:
        """The newest correction or result."""
        return self._versions.latest()

    def shown_number(self) -> int:
        """Of the version that is in the scene, or was before it was changed; 0 where nothing was saved."""
        return self._shown.number if self._shown else 0

    def is_behind(self) -> bool:
        """Whether there is something of others that isn't shown, and nothing unsaved that would have to make room."""
        if self.is_unsaved:
            return False
        latest, lost = self.latest(), self.recoverable()
        return lost not in (None, self._in_passing) or (latest is not None and latest.number != self.shown_number())

    def versions(self) -> list[Version]:
        """All of the scan, oldest first; none where no scan is open."""
        return [] if self._versions is None else self._versions.list()

    def model(self) -> str | None:
        """Name and version of the network whose result these labels were at first; None where none is known."""
        reports = (version.report for version in reversed(self._versions.list()))
        return next((report["model"] for report in reports if report and "model" in report), None)

    def set_aside_found(self) -> None:
        """What was found isn't wanted."""
        version, self.found = self.found, None
        if version is not None:
            self._versions.set_aside(version)

    def warnings(self, report: dict | None = None) -> list[str]:
        """Of the versions and of the run that the labels come from, for the user.

        Args:
            report: of that run, where it may not be saved.
        """
        reports = [report] if report else [version.report for version in reversed(self._versions.list())]
        reports = [report for report in reports if report]
        return [*self._versions.warnings(), *(reports[0].get("warnings", []) if reports else [])]

    async def bring_back(self, version: Version) -> Version | None:
        """Puts a version into the scene, in place of what is kept as a correction, where that isn't saved.

        Returns:
            That correction, None where there was nothing to be kept.

        Raises:
            InputRefused: its files are damaged.
            OSError: what is there can't be saved; it stays.
        """
        labels = await asyncio.to_thread(self._versions.load, version)
        kept = await self.keep()
        self.show(version, labels)
        if version == self.found:
            self._versions.go_on_from(version)
            self.found = None
        return kept

    def show(self, version: Version, labels: Volume) -> None:
        """Puts a version into the scene; any other than the latest counts as unsaved work, to be kept in passing.

        Args:
            labels: of the version.
        """
        self._scene.write_version(labels, version.names, version.colors, self.model() or "saved")
        self._shown = version
        latest = self.latest()
        if version != latest:
            self.mark_unsaved()
        if version in (latest, self.recoverable()):
            self._kept_changes = self._changes
        if version.kind != "autosave":
            self._lasting_changes = self._changes

    def mark_unsaved(self) -> None:
        """The scene has become something else that is in no version."""
        self._count()
        self._scene.undo_stack.reset_clean()

    async def keep(self) -> Version | None:
        """Saves what isn't saved as a correction, as something else is about to take its place in the scene.

        Autosaves don't do for that: newer ones take their place, too.

        Returns:
            The correction, None where there was nothing to be saved.
        """
        kept = None
        while self.is_unsaved and self._changes != self._lasting_changes:
            # Again where something was painted while the disk was busy.
            async with self._order:
                saved = await self._save("correction")
            if saved is None:
                break
            kept = saved
        return kept

    async def save(self, kind: Kind, report: dict | None = None) -> Version:
        """Saves the scene as it is now.

        Raises:
            InputRefused: a correction without a single voxel, or one that would end the offer of what was found, or
                another scan was opened first.
            OSError: it couldn't be written; the scene still has the work.
        """
        if kind == "correction" and self.found is not None:
            raise InputRefused("Unsaved work was found: bring it back or discard it before you save.")
        versions = self._versions
        async with self._order:
            if versions is not self._versions:
                raise InputRefused("Another scan was opened first; what wasn't saved of this one is kept in passing.")
            version = await self._save(kind, report)
        if version is None:
            raise InputRefused("There is nothing to save: segment the scan, or paint a segment first.")
        return version

    async def autosave(self) -> Version | None:
        """Saves in passing, where something was changed since anything was saved."""
        async with self._order:
            # Only now, as the save that was waited for may have kept all there is.
            if not self.is_unsaved and self._in_passing is not None:
                # What was kept has been undone since: nothing to be offered later.
                self._versions.set_aside(self._in_passing)
                self._in_passing = None
            if not self.is_unsaved or self._changes == self._kept_changes:
                return None
            self._tried_changes, self._tried_at = self._changes, time.monotonic()
            return await self._save("autosave")

    async def _save(self, kind: Kind, report: dict | None = None) -> Version | None:
        """None for a correction without a single voxel, which isn't saved."""
        versions, changes = self._versions, self._changes
        index = self._scene.undo_stack.index()
        labels, names, colors, _ = self._scene.labels()
        if kind == "correction" and not names:
            return None
        version = await asyncio.to_thread(
            versions.save, labels, names, kind=kind, by=self._by, report=report, colors=colors
        )
        if kind == "autosave":
            self._own.add(version.folder)
        if versions is self._versions:
            self._kept_changes = max(self._kept_changes, changes)
            if kind == "model" and self._in_passing is not None:
                # Of a segmentation that was emptied, so that no correction has followed it: nothing to be offered.
                versions.set_aside(self._in_passing)
            self._in_passing = version if kind == "autosave" else None
            if kind != "autosave":
                self._lasting_changes = max(self._lasting_changes, changes)
                self._shown = version
            # What was painted while the disk was busy is not in it.
            if kind != "autosave" and index == self._scene.undo_stack.index() and changes == self._changes:
                self._scene.undo_stack.set_clean()
        return version
