"""The CTK widgets that the panel uses, on PySide6: same names, properties and signals, simpler inside."""

from __future__ import annotations

import sys
from pathlib import Path

import qt
from qt import Property, Signal, registerWidget


def _setting(kind, name: str, default):
    """A property that only keeps its value."""
    return Property(
        kind, lambda self: self.__dict__.get(name, default), lambda self, value: self.__dict__.update({name: value})
    )


class _HidesChildren:
    """Collapsing hides the children; what is shown or hidden meanwhile is remembered and holds once expanded."""

    def _setUpChildren(self) -> None:
        self._collapsed, self._changing, self._shown = False, False, {}

    def _collapse(self, collapsed: bool) -> None:
        self._collapsed = collapsed
        self._updateChildren()
        self.updateGeometry()

    def _updateChildren(self) -> None:
        if self._changing:
            return
        self._changing = True
        for child in self.findChildren(qt.QWidget, options=qt.Qt.FindDirectChildrenOnly):
            if child not in self._shown:
                self._shown[child] = not child.isHidden()
                child.installEventFilter(self)
            child.setVisible(self._shown[child] and not self._collapsed)
            # Only what others do with the child counts as explicit, and only that sends an event.
            child.setAttribute(qt.Qt.WA_WState_ExplicitShowHide, False)
        self._changing = False

    def event(self, event) -> bool:
        if event.type() in (qt.QEvent.LayoutRequest, qt.QEvent.Polish):
            self._updateChildren()
        return super().event(event)

    def eventFilter(self, child, event) -> bool:
        if not self._changing and event.type() in (qt.QEvent.ShowToParent, qt.QEvent.HideToParent):
            self._shown[child] = event.type() == qt.QEvent.ShowToParent
            self._updateChildren()
        return False


@registerWidget
class ctkCollapsibleButton(_HidesChildren, qt.QAbstractButton):
    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments) -> None:
        super().__init__(next((each for each in arguments if isinstance(each, qt.QWidget)), None))
        self._setUpChildren()
        self.setText(next((each for each in arguments if isinstance(each, str)), ""))
        self.setContentsMargins(0, self._barHeight(), 0, 0)
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        self.connect("clicked()", lambda: self._setCollapsed(not self._collapsed))

    def _setCollapsed(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapse(collapsed)
            self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, _setCollapsed)
    collapsedHeight = _setting(int, "_collapsedHeight", 14)
    contentsFrameShape = _setting(int, "_contentsFrameShape", 0)
    contentsFrameShadow = _setting(int, "_contentsFrameShadow", 16)
    contentsLineWidth = _setting(int, "_contentsLineWidth", 1)
    flat = _setting(bool, "_flat", False)

    def _barHeight(self) -> int:
        return self.fontMetrics().height() + 10

    def sizeHint(self) -> qt.QSize:
        layout = self.layout()
        inside = layout.totalSizeHint() if layout and not self._collapsed else qt.QSize(0, self._barHeight() + 4)
        return inside.expandedTo(qt.QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, self._barHeight()))

    def minimumSizeHint(self) -> qt.QSize:
        return self.sizeHint()

    def hitButton(self, position) -> bool:
        return position.y() < self._barHeight()

    def paintEvent(self, event) -> None:
        painter = qt.QPainter(self)
        option = qt.QStyleOptionButton()
        option.initFrom(self)
        option.rect.setHeight(self._barHeight())
        option.state |= qt.QStyle.State_Sunken if self.down else qt.QStyle.State_Raised
        style = self.style()
        style.drawControl(qt.QStyle.CE_PushButtonBevel, option, painter, self)
        arrow = qt.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = qt.QRect(8, self._barHeight() // 2 - 5, 10, 10)
        points_to = qt.QStyle.PE_IndicatorArrowRight if self._collapsed else qt.QStyle.PE_IndicatorArrowDown
        style.drawPrimitive(points_to, arrow, painter, self)
        text = option.rect.adjusted(26, 0, -8, 0)
        style.drawItemText(
            painter, text, qt.Qt.AlignLeft | qt.Qt.AlignVCenter | qt.Qt.TextShowMnemonic, option.palette,
            self.enabled, self.text, qt.QPalette.ButtonText,
        )  # fmt: skip
        painter.end()


@registerWidget
class ctkCollapsibleGroupBox(_HidesChildren, qt.QGroupBox):
    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self._setUpChildren()
        self.setCheckable(True)
        self.connect("toggled(bool)", lambda checked: self._collapse(not checked))

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, collapsed: self.setChecked(not collapsed))
    collapsedHeight = _setting(int, "_collapsedHeight", 14)

    def paintEvent(self, event) -> None:
        """Like a group box with an arrow in place of the check mark."""
        painter = qt.QStylePainter(self)
        option = qt.QStyleOptionGroupBox()
        self.initStyleOption(option)
        if self._collapsed:
            option.subControls &= ~qt.QStyle.SC_GroupBoxFrame
        check = self.style().subControlRect(qt.QStyle.CC_GroupBox, option, qt.QStyle.SC_GroupBoxCheckBox, self)
        label = self.style().subControlRect(qt.QStyle.CC_GroupBox, option, qt.QStyle.SC_GroupBoxLabel, self)
        option.subControls &= ~(qt.QStyle.SC_GroupBoxCheckBox | qt.QStyle.SC_GroupBoxLabel)
        painter.drawComplexControl(qt.QStyle.CC_GroupBox, option)
        painter.drawText(label, qt.Qt.AlignVCenter, option.text)
        arrow = qt.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = check
        painter.drawPrimitive(
            qt.QStyle.PE_IndicatorArrowRight if self._collapsed else qt.QStyle.PE_IndicatorArrowDown, arrow
        )
        painter.end()

    def sizeHint(self) -> qt.QSize:
        full = qt.QWidget.sizeHint(self)  # the method, where self.sizeHint is the property
        return qt.QSize(full.width(), self.fontMetrics().height() + 8) if self._collapsed else full

    def minimumSizeHint(self) -> qt.QSize:
        return self.sizeHint() if self._collapsed else qt.QGroupBox.minimumSizeHint(self)


@registerWidget
class ctkPathLineEdit(qt.QWidget):
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    Dirs, Files, Drives, NoSymLinks = 0x001, 0x002, 0x004, 0x008
    Readable, Writable, Executable, Hidden, System = 0x010, 0x020, 0x040, 0x100, 0x200
    NoDotAndDotDot, NoDot, NoDotDot = 0x1000, 0x2000, 0x4000

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._settingKey = ""
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._combo = qt.QComboBox()
        self._combo.editable = True
        self._combo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._combo.connect("editTextChanged(QString)", self.currentPathChanged.emit)
        row.addWidget(self._combo)
        self._browseButton = qt.QToolButton()
        self._browseButton.text = "..."
        self._browseButton.connect("clicked()", self.browse)
        row.addWidget(self._browseButton)

    filters = _setting(int, "_filters", Dirs | Files | Drives)
    options = _setting(int, "_options", 0)
    label = _setting(str, "_label", "")
    nameFilters = _setting("QStringList", "_nameFilters", [])
    showHistoryButton = _setting(bool, "_showHistoryButton", True)
    minimumContentsLength = _setting(int, "_minimumContentsLength", 0)
    showBrowseButton = Property(
        bool, lambda self: not self._browseButton.isHidden(), lambda self, shown: self._browseButton.setVisible(shown)
    )

    def _setSettingKey(self, key: str) -> None:
        self._settingKey = key
        self.retrieveHistory()

    settingKey = Property(str, lambda self: self._settingKey, _setSettingKey)

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(path)

    currentPath = Property(str, lambda self: self._combo.currentText, setCurrentPath)

    def comboBox(self) -> qt.QComboBox:
        return self._combo

    def browse(self) -> None:
        """Asks with Qt's own dialog: a folder, a file to read, or a file to write, by the filters."""
        start = self.currentPath or str(Path.home())
        if not self.filters & self.Files:
            path = qt.QFileDialog.getExistingDirectory(self, self.label, start)
        elif self.filters & self.Writable:
            path = qt.QFileDialog.getSaveFileName(self, self.label, start)[0]
        else:
            path = qt.QFileDialog.getOpenFileName(self, self.label, start)[0]
        if path:
            self.currentPath = path

    def _key(self) -> str:
        return f"ctkPathLineEdit/{self.settingKey or self.objectName}"

    def addCurrentPathToHistory(self) -> None:
        """The current path comes first in the list of the next time."""
        kept = [path for path in _as_list(qt.QSettings().value(self._key())) if path != self.currentPath]
        qt.QSettings().setValue(self._key(), [self.currentPath, *kept][:10])

    def retrieveHistory(self) -> None:
        """Lists the paths of earlier times, and chooses the last one where none is set."""
        path = self.currentPath
        self._combo.clear()
        self._combo.addItems(_as_list(qt.QSettings().value(self._key())))
        if path:
            self.currentPath = path


def _as_list(value) -> list[str]:
    """Qt's settings give a list of one as a string and an empty one as None."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


@registerWidget
class ctkCheckableComboBox(qt.QComboBox):
    checkedIndexesChanged = Signal()

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.model().itemChanged.connect(self._onItemChanged)
        self.model().rowsInserted.connect(self._makeCheckable)

    def _makeCheckable(self, _parent, first: int, last: int) -> None:
        for row in range(first, last + 1):
            item = self.model().item(row)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsSelectable)
            item.setData(qt.Qt.Unchecked, qt.Qt.CheckStateRole)

    def _onItemChanged(self, _item) -> None:
        self.checkedIndexesChanged.emit()
        self.update()

    def checkableModel(self):
        return self.model()

    def checkState(self, index) -> qt.Qt.CheckState:
        return qt.Qt.CheckState(index.data(qt.Qt.CheckStateRole))

    def setCheckState(self, index, state) -> None:
        self.model().setData(index, state, qt.Qt.CheckStateRole)

    def _indexes(self) -> list[qt.QModelIndex]:
        return [self.model().index(row, 0) for row in range(self.count)]

    def checkedIndexes(self) -> list[qt.QModelIndex]:
        return [index for index in self._indexes() if self.checkState(index) == qt.Qt.Checked]

    def allChecked(self) -> bool:
        return len(self.checkedIndexes()) == self.count

    def noneChecked(self) -> bool:
        return not self.checkedIndexes()

    def paintEvent(self, event) -> None:
        painter = qt.QStylePainter(self)
        option = qt.QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = ", ".join(index.data() for index in self.checkedIndexes())
        painter.drawComplexControl(qt.QStyle.CC_ComboBox, option)
        painter.drawControl(qt.QStyle.CE_ComboBoxLabel, option)
        painter.end()


@registerWidget
class ctkMenuButton(qt.QPushButton):
    """A button with the arrow of a menu beside its text; the menu itself isn't here."""

    def paintEvent(self, event) -> None:
        super().paintEvent(event)
        painter = qt.QStylePainter(self)
        arrow = qt.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = qt.QRect(self.width - 20, self.height // 2 - 5, 10, 10)
        painter.drawPrimitive(qt.QStyle.PE_IndicatorArrowDown, arrow)
        painter.end()


@registerWidget
class ctkMessageBox(qt.QMessageBox):
    dontShowAgain = _setting(bool, "_dontShowAgain", False)
    dontShowAgainVisible = _setting(bool, "_dontShowAgainVisible", False)
    dontShowAgainSettingsKey = _setting(str, "_dontShowAgainSettingsKey", "")

    def deleteLater(self) -> None:
        """Slicer calls it before `exec`, and relies on the application's event loop to wait for the answer."""
        self.connect("finished(int)", lambda: qt.QMessageBox.deleteLater(self))


def unavailable(name: str) -> type:
    """A widget class without stand-in: code may compare types with it, but none can be made."""

    def __init__(self, *arguments):
        raise RuntimeError(f"No stand-in for the widget class {name}")

    return type(name, (qt.QWidget,), {"__init__": __init__, "__module__": __name__})


def __getattr__(name: str) -> type:
    if not name.startswith("ctk"):
        raise AttributeError(name)
    cls = unavailable(name)
    setattr(sys.modules[__name__], name, cls)
    return cls
