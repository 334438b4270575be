"""The saved versions of the scan that is open, on the page: listed, or offered, so that they can be brought back."""

from __future__ import annotations

from trame_server.state import State as PageState

from SpineContextSegLib.errors import InputRefused

from .saving import Saving
from .store.versions import Version

KINDS = {"model": "result of the network", "correction": "correction", "autosave": "saved in passing"}


class VersionList:
    """`state.versions`, newest first; versions are told apart by the names of their folders."""

    def __init__(self, saving: Saving, state: PageState) -> None:
        self._saving, self._state = saving, state

    def show(self) -> None:
        """Opens the list."""
        self._state.versions = [
            {"name": version.folder.name, "title": f"Version {version.number}: {KINDS[version.kind]}",
             "subtitle": f"{version.saved.astimezone():%d %b %Y, %H:%M} by {version.by}"}
            for version in reversed(self._saving.versions())
        ]  # fmt: skip
        self._state.versions_shown = True

    def offer_found(self) -> None:
        """Asks what is to become of work that was only saved in passing, where there is some."""
        found = self._saving.found
        if found is None:
            return
        when = f"{found.saved.astimezone():%d %b %Y, %H:%M}"
        if self._saving.is_own(found):
            said = f"What you did on this scan isn't saved; it was kept when you left it, {when}."
        else:
            said = f"The last session on this scan ended without saving. Its work was kept, {when} by {found.by}."
        self._state.recovery = said

    def find(self, name: str) -> Version:
        """Raises InputRefused where it is gone by now."""
        found = [version for version in self._saving.versions() if version.folder.name == name]
        if not found:
            raise InputRefused("This version is gone: newer work that was saved in passing has taken its place.")
        return found[0]
