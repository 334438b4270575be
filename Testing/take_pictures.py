"""Takes the README's pictures of the panel, in the stand-ins' widgets, with the shipped sample.

    python -m Testing.take_pictures

takes both; with `levels` behind it only that of the section "Levels".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from Testing import slicer_env

slicer_env.install()

import qt  # noqa: E402
import slicer  # noqa: E402

from Testing.slicer_env import application, boot  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "SpineContextSeg" / "SpineContextSegLib" / "sample"
WIDTH, GAP = 400, 12


def main() -> None:
    application.start(boot.boot())
    application.load_module(ROOT / "SpineContextSeg" / "SpineContextSeg.py")
    window = slicer.util.mainWindow()
    window.statusBar().hide()
    window.show()
    slicer.util.selectModule("SpineContextSeg")
    levels()
    if "levels" not in sys.argv[1:]:
        slicer.mrmlScene.Clear(False)
        runs()


def runs() -> None:
    """Writes Resources/panel.png: ready, running, done, and refused side by side; the runs are real."""
    ui, parameters = _panel(640)
    pictures = []

    def take() -> None:
        pictures.append(_picture())

    def wait(condition) -> None:
        while not condition():
            slicer.app.processEvents()
            time.sleep(0.01)

    volume_node = _load(SAMPLE / "phantom_ct.nii.gz")
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


def levels() -> None:
    """Writes Resources/levels.png: levels off by one, put right with one click, and one click too many, side by side.

    The segments are the exact ones of the sample, under the wrong names.
    """
    from SpineContextSegLib.mrml.segmentations import write_result
    from SpineContextSegLib.reading import read_labels
    from SpineContextSegLib.repair import apply, level_sequence, order_of, shifted
    from SpineContextSegLib.volume import Volume

    ui, parameters = _panel(770)
    truth = read_labels(SAMPLE / "phantom_labels.nii.gz")
    wrong = Volume(apply(truth.array, shifted(order_of(truth), -1, level_sequence())), truth.affine)
    for name in ("Red", "Green", "Yellow"):
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", name)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    node = write_result(_load(SAMPLE / "phantom_ct.nii.gz"), wrong, {"levels_known": True, "model": "none"})
    parameters.outputSegmentation = node
    ui.exportGroupBox.collapsed = True
    ui.levelsCollapsibleButton.collapsed = False
    ui.vertebraComboBox.setCurrentText("L4 vertebra")
    ui.levelComboBox.setCurrentText("L5")
    table = ui.segmentsTable.tableWidget()
    pictures = []
    for button in (None, ui.renameButton, ui.shiftDownButton):
        if button:
            button.click()
        slicer.app.processEvents()
        table.scrollToItem(table.item(ui.segmentsTable.rowForSegmentID("SpineContextSeg_26"), 0))
        pictures.append(_picture())
    _side_by_side(pictures).save(str(ROOT / "Resources" / "levels.png"))
    ui.exportGroupBox.collapsed = False
    ui.levelsCollapsibleButton.collapsed = True


def _panel(height: int):
    """The widgets by name and the parameter node, in a window of this height."""
    slicer.util.mainWindow().resize(WIDTH, height)
    widget = slicer.modules.SpineContextSegWidget
    return widget.ui, widget.logic.getParameterNode()


def _picture():
    slicer.app.processEvents()
    return slicer.util.mainWindow().grab()


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
