"""The few questions and windows of the panel; under test Slicer answers a question by itself."""

from __future__ import annotations

import platform
from typing import Literal

import qt
import slicer
from slicer.i18n import tr as _

from .. import __version__

EditsAnswer = Literal["keep", "replace", "cancel"]


def ask_about_edits(name: str) -> EditsAnswer:
    """What to do with a segmentation of this name that a person has edited; "keep" is the default, also under test."""
    if slicer.app.testingEnabled():
        return "keep"
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setIcon(qt.QMessageBox.Question)
    box.setWindowTitle("SpineContextSeg")
    box.setTextFormat(qt.Qt.PlainText)
    box.setText(_("'{name}' was edited since it was made.").format(name=name))
    box.setInformativeText(_("Keep the edits and put the result into a new segmentation, or replace them?"))
    box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No | qt.QMessageBox.Cancel)
    box.button(qt.QMessageBox.Yes).setText(_("Keep edits"))
    box.button(qt.QMessageBox.No).setText(_("Replace"))
    box.setDefaultButton(qt.QMessageBox.Yes)
    answer = box.exec_()
    box.deleteLater()
    return {qt.QMessageBox.Yes: "keep", qt.QMessageBox.No: "replace"}.get(answer, "cancel")


def show_log(message: str, log: str) -> qt.QDialog:
    """Opens a window with the log of a run, to read and to copy; the panel stays usable."""
    dialog = qt.QDialog(slicer.util.mainWindow())
    dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
    dialog.setWindowTitle(_("Log of the run"))
    layout = qt.QVBoxLayout(dialog)
    label = qt.QLabel(message)
    label.setTextFormat(qt.Qt.PlainText)
    label.setWordWrap(True)
    layout.addWidget(label)
    text = qt.QPlainTextEdit()
    text.setReadOnly(True)
    versions = f"SpineContextSeg {__version__}, Python {platform.python_version()}, {platform.platform()}"
    text.setPlainText(f"{versions}\n{log}")
    layout.addWidget(text)
    buttons = qt.QDialogButtonBox()
    buttons.setStandardButtons(qt.QDialogButtonBox.Close)
    buttons.connect("rejected()", dialog.close)
    layout.addWidget(buttons)
    dialog.resize(720, 420)
    dialog.show()
    return dialog
