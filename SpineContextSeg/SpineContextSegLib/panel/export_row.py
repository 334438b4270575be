"""The part of "Result" that writes files: folder, formats, button."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputRefused
from ..faults import describe
from ..mrml.belonging import volume_of
from ..mrml.export import export_segmentation
from .notice import Notice


class ExportRow:
    """Exports the segmentation that is shown."""

    def __init__(self, ui, notice: Notice, say: Callable[[str], None], chosen_formats: Callable[[], list[str]]) -> None:
        """
        Args:
            ui: has `exportFolderEdit` and `exportButton`.
            notice: for errors and remarks.
            say: for the good end.
            chosen_formats: tells the formats that are checked.
        """
        self._ui, self._notice, self._say, self._chosen_formats = ui, notice, say, chosen_formats
        self._segmentation_node = None
        # What the widget takes from the last session was nobody's choice for this one.
        self._suggested = ui.exportFolderEdit.currentPath
        ui.exportButton.connect("clicked(bool)", self._export)

    def show(self, segmentation_node) -> None:
        """Takes the segmentation that is shown, and suggests the folder of its scan where the user chose none."""
        self._segmentation_node = segmentation_node
        if segmentation_node is None:
            return
        formats = self._chosen_formats()
        self._ui.exportButton.enabled = bool(formats)
        self._ui.exportButton.toolTip = (
            _("Write the segmentation as it is now.") if formats else _("Check at least one format.")
        )
        edit = self._ui.exportFolderEdit
        if edit.currentPath in ("", self._suggested):
            edit.currentPath = str(_folder_of(volume_of(segmentation_node)))
            # As the widget writes it.
            self._suggested = edit.currentPath

    def _export(self) -> None:
        self._notice.clear()
        try:
            files, remarks = self._write()
        except (InputRefused, OSError) as error:
            self._notice.show([str(error)], heading=_("Not exported"))
            return
        except Exception as error:  # noqa: BLE001, the user's click must get an answer
            log = "".join(traceback.format_exception(error))
            self._notice.show([describe(error)], heading=_("Not exported"), log=log)
            return
        self._ui.exportFolderEdit.addCurrentPathToHistory()
        self._notice.show(remarks, heading=_("About the exported files"))
        names = ", ".join(path.name for path in files)
        self._say(_("Exported to '{folder}': {names}.").format(folder=files[0].parent, names=names))

    def _write(self) -> tuple[list[Path], list[str]]:
        volume_node = volume_of(self._segmentation_node)
        if volume_node is None:
            raise InputRefused(
                _("It is not known which volume the segmentation was made on: choose that as the input volume.")
            )
        folder = self._ui.exportFolderEdit.currentPath
        if not folder:
            raise InputRefused(_("No folder is chosen: choose where the files go."))
        exported = export_segmentation(self._segmentation_node, volume_node, folder, formats=self._chosen_formats())
        return exported.files, exported.remarks


def _folder_of(volume_node) -> Path:
    """Beside the volume's file, or the user's documents where it has none or lies in a folder of Slicer's own."""
    storage_node = volume_node.GetStorageNode() if volume_node else None
    name = storage_node.GetFullNameFromFileName() if storage_node else None
    if name and Path(name).parent.is_dir() and not _is_slicers_own(Path(name).parent):
        return Path(name).parent
    return Path(qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation))


def _is_slicers_own(folder: Path) -> bool:
    """Whether Slicer empties a folder (downloads, temporary files) or alone may write there (the DICOM database)."""
    database = getattr(slicer, "dicomDatabase", None)
    own = [
        slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory(),
        slicer.app.temporaryPath,
        database and database.databaseDirectory,
    ]
    return any(folder.resolve().is_relative_to(Path(path).resolve()) for path in own if path)
