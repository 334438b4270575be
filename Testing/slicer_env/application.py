"""`slicer.app`, the main window, and modules with their panels: what desktop Slicer builds around the core with Qt."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import types
from pathlib import Path

import qt
import slicer
from qt import Property, Signal

from Testing.slicer_env import segment_widgets  # noqa: F401  (registers its widgets)
from Testing.slicer_env.boot import SlicerCore
from Testing.slicer_env.qmrml import qMRMLWidget


class qSlicerApplication(qt.QApplication):
    """Only what panels ask of the application; settings live in a temporary folder."""

    startupCompleted = Signal()

    def __init__(self, core: SlicerCore) -> None:
        super().__init__(["Slicer"])
        self._core = core
        self._temporary = tempfile.TemporaryDirectory(prefix="slicer_app_")
        self._testing = True
        self._moduleManager = qSlicerModuleManager()
        self._warnings = QtWarnings()
        self.setApplicationName("Slicer")
        self.setOrganizationName("slicer.org")
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, self._temporary.name)

    temporaryPath = Property(str, lambda self: self._temporary.name)
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 11)
    documentationBaseUrl = Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")

    def warnings(self) -> QtWarnings:
        """Not in Slicer: for the fixtures."""
        return self._warnings

    def mrmlScene(self):
        return self._core.scene

    def applicationLogic(self):
        return self._core.application_logic

    def moduleManager(self) -> qSlicerModuleManager:
        return self._moduleManager

    def mainWindow(self) -> qSlicerMainWindow | None:
        return slicer.util.mainWindow()

    def layoutManager(self) -> None:
        """No views: as in desktop Slicer started without a main window."""

    def testingEnabled(self) -> bool:
        return self._testing

    def setTestingEnabled(self, enabled: bool) -> None:
        """For tests of what dialogs do, which answer themselves in testing mode. Desktop Slicer: --testing."""
        self._testing = enabled

    def settings(self) -> qt.QSettings:
        return qt.QSettings()

    userSettings = settings

    def pauseRender(self) -> None:
        """Nothing is rendered."""

    resumeRender = pauseRender

    def translate(self, context: str, text: str, *_) -> str:
        return text

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"


class qSlicerModuleManager(qt.QObject):
    moduleAboutToBeUnloaded = Signal(str)

    def module(self, name: str):
        return getattr(slicer.modules, name.lower(), None)


class qSlicerScriptedLoadableModule(qt.QObject):
    """A scripted module: what its Python class gets as `parent`, and what `slicer.modules.<name>` is."""

    title = ""
    categories = dependencies = contributors = associatedNodeTypes = ()
    helpText = acknowledgementText = ""
    icon = property(lambda self: self._icon, lambda self, icon: setattr(self, "_icon", icon))
    hidden = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.setObjectName(path.stem)
        self._path = path
        self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        self._widget = None

    path = property(lambda self: str(self._path))

    def logic(self):
        """The logic in C++ that every scripted module has, not the one in Python."""
        return self._logic

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The module's widget: first its setup without a scene, then the scene, as desktop Slicer does it."""
        widget = qSlicerScriptedLoadableModuleWidget(self)
        widget.reload()
        widget.setMRMLScene(slicer.mrmlScene)
        return widget

    def unload(self) -> None:
        """What closing the application does with a module."""
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.name)
        if self._widget is not None:
            self._widget.setParent(None)
            self._widget.deleteLater()
            self._widget = None
        for attribute in (self.name.lower(), f"{self.name}Instance", f"{self.name}Widget"):
            vars(slicer.modules).pop(attribute, None)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel around the module's Python widget; calls its setup, enter and exit."""

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module, self._self, self._entered = module, None, False
        self.setLayout(qt.QVBoxLayout())

    isEntered = Property(bool, lambda self: self._entered)

    def self(self):
        return self._self

    def reload(self) -> None:
        """Makes the Python widget anew from the module as it is in `sys.modules` now."""
        name = self._module.name
        self._self = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._self)
        self._self.setup()

    def enter(self) -> None:
        self._entered = True
        getattr(self._self, "enter", lambda: None)()

    def exit(self) -> None:
        self._entered = False
        getattr(self._self, "exit", lambda: None)()


class qSlicerMainWindow(qt.QMainWindow):
    """A window with one module's panel in it and a status bar."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar(self)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        return self._selector


class qSlicerModuleSelectorToolBar(qt.QObject):
    moduleSelected = Signal(str)

    def __init__(self, window: qSlicerMainWindow) -> None:
        super().__init__(window)
        self._selected = ""

    selectedModule = Property(str, lambda self: self._selected)

    def selectModule(self, name: str) -> None:
        """Leaves the module that is shown and enters this one; the empty name leaves only."""
        if name == self._selected:
            return
        if self._selected and slicer.util.getModule(self._selected):
            shown = slicer.util.getModule(self._selected).widgetRepresentation()
            shown.exit()
            self.parent().takeCentralWidget()
        self._selected = name
        if name:
            entered = slicer.util.getModule(name).widgetRepresentation()
            self.parent().setCentralWidget(entered)
            entered.setVisible(True)
            entered.enter()
        self.moduleSelected.emit(name)


def load_module(path: Path, *, after_startup: bool = False) -> types.ModuleType:
    """Loads a scripted module as the desktop does: its folder on `sys.path`, its class made, startup completed.

    With `after_startup` as a running application does it where a folder is dragged onto its window.
    """
    folder, name = str(path.parent), path.stem
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    python_module = importlib.util.module_from_spec(spec)
    sys.modules[name] = python_module
    spec.loader.exec_module(python_module)
    module = qSlicerScriptedLoadableModule(path)
    instance = getattr(python_module, name)(module)
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.modules, f"{name}Instance", instance)
    getattr(instance, "setup", lambda: None)()
    if not after_startup:
        slicer.app.startupCompleted.emit()
    return python_module


class QtWarnings:
    """Collects what Qt warns of, which otherwise only reaches stderr."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        qt.qInstallMessageHandler(self._on_message)

    def _on_message(self, kind, _context, message: str) -> None:
        # The platform without a screen says this whenever a window is shown.
        if "propagateSizeHints" not in message:
            print(message, file=sys.stderr)
            if kind in (qt.QtMsgType.QtWarningMsg, qt.QtMsgType.QtCriticalMsg):
                self.messages.append(message)


def start(core: SlicerCore) -> qSlicerApplication:
    """Starts the application around the core: `slicer.app`, a main window, Segment Editor."""
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
    application = qSlicerApplication(core)
    qt.setUpLook(application)
    slicer.app = application
    application._window = qSlicerMainWindow()
    load_module(Path(__file__).parent / "SegmentEditor.py")
    return application
