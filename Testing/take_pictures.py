"""Takes the README's picture of the panel: real runs on the shipped sample, in the stand-ins' widgets.

    python -m Testing.take_pictures
"""

from __future__ import annotations

import time
from pathlib import Path

from Testing import slicer_env

slicer_env.install()

import qt  # noqa: E402
import slicer  # noqa: E402

from Testing.slicer_env import application, boot  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "SpineContextSeg" / "SpineContextSegLib" / "sample" / "phantom_ct.nii.gz"
WIDTH, GAP = 400, 12


def main() -> None:
    """Writes Resources/panel.png: ready, running, done, and refused side by side."""
    application.start(boot.boot())
    application.load_module(ROOT / "SpineContextSeg" / "SpineContextSeg.py")
    window = slicer.util.mainWindow()
    window.statusBar().hide()
    window.resize(WIDTH, 640)
    window.show()
    slicer.util.selectModule("SpineContextSeg")
    widget = slicer.modules.SpineContextSegWidget
    ui, parameters = widget.ui, widget.logic.getParameterNode()
    pictures = []

    def take() -> None:
        slicer.app.processEvents()
        pictures.append(window.grab())

    def wait(condition) -> None:
        while not condition():
            slicer.app.processEvents()
            time.sleep(0.01)

    volume_node = _load(SAMPLE)
    parameters.discs = parameters.canal = True
    take()
    ui.segmentButton.click()
    wait(lambda: ui.progressBar.maximum > 0 and ui.progressBar.value >= ui.progressBar.maximum // 2)
    take()
    wait(lambda: ui.segmentButton.text == "Segment")
    ui.exportFolderEdit.currentPath = "export"
    take()
    # No negative values, as in an MR.
    slicer.util.arrayFromVolume(volume_node)[:] = (slicer.util.arrayFromVolume(volume_node) + 1000) // 2
    volume_node.SetName("SpineContextSegPhantom MR")
    parameters.outputSegmentation = None
    ui.segmentButton.click()
    wait(lambda: ui.segmentButton.text == "Segment")
    take()
    _side_by_side(pictures).save(str(ROOT / "Resources" / "panel.png"))


def _load(path: Path):
    storage_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage_node.SetFileName(str(path))
    volume_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "SpineContextSegPhantom")
    if not storage_node.ReadData(volume_node):
        raise OSError(f"{path} can't be read")
    return volume_node


def _side_by_side(pictures: list) -> object:
    size = pictures[0].size()
    sheet = qt.QPixmap(len(pictures) * (size.width() + GAP) - GAP, size.height())
    sheet.fill(qt.QColor("white"))
    painter = qt.QPainter(sheet)
    for number, picture in enumerate(pictures):
        painter.drawPixmap(number * (size.width() + GAP), 0, picture)
    painter.end()
    return sheet


if __name__ == "__main__":
    main()
