"""`qt` as Slicer's Python knows it (PythonQt), on PySide6.

Different from PySide6, as in PythonQt: Qt properties are attributes (`button.enabled = True`), a misspelled attribute
is an error, `button.connect("clicked(bool)", f)` takes a C++ signature and drops the arguments that `f` has no place
for, and `.ui` files may hold Slicer's own widgets.
"""

from __future__ import annotations

import inspect
import os
import weakref
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import Property, Signal, Slot  # noqa: F401  (used by the stand-in widgets)

for _module in (QtCore, QtGui, QtWidgets):
    globals().update({name: getattr(_module, name) for name in dir(_module) if name[0] in "Qq"})

# --- properties -----------------------------------------------------------------------------------------------------


class _QtProperty:
    """A Qt property as an attribute. On the class itself the name stays what it was (`QTimer.singleShot` is static)."""

    def __init__(self, name: str, shadowed) -> None:
        self._name, self._shadowed = name, shadowed

    def __get__(self, instance, owner=None):
        return self._shadowed if instance is None else instance.property(self._name)

    def __set__(self, instance, value) -> None:
        if not instance.setProperty(self._name, value):
            raise AttributeError(f"{_class_name(instance)}.{self._name} can't be set to {value!r}")


# Properties that Qt reads through a virtual method of the same name: as an attribute they would call themselves.
_VIRTUAL = {"sizeHint", "minimumSizeHint"}


def _add_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name in _VIRTUAL:
            continue
        setattr(cls, name, _QtProperty(name, getattr(cls, name, None)))


def _stands_for_cpp(cls: type) -> bool:
    """Is it a class of Qt, CTK or Slicer, rather than one that a module derived from it in Python?"""
    return cls.__module__.startswith(("PySide6", "Testing.slicer_env")) or cls.__module__ in ("qt", "ctk")


def _set_attribute(self, name: str, value) -> None:
    """In place of PySide6's, which can't be called from a replacement."""
    on_class = inspect.getattr_static(type(self), name, None)
    if isinstance(on_class, Property):
        on_class.fset(self, value)
    elif hasattr(on_class, "__set__"):
        on_class.__set__(self, value)
    elif getattr(value, "objectName", None) == name:  # QUiLoader hangs the children on the widget by their names
        self.__dict__[name] = value
    elif on_class is None and not name.startswith("_") and _stands_for_cpp(type(self)):
        raise AttributeError(f"{_class_name(self)} has no attribute {name!r}, and objects of C++ take no new ones")
    else:
        self.__dict__[name] = value


def _class_name(self) -> str:
    return self.metaObject().className() if type(self).__module__.startswith("PySide6") else type(self).__name__


# --- signals --------------------------------------------------------------------------------------------------------


def _argument_count(signature: str, function) -> int:
    inside = signature.partition("(")[2].rpartition(")")[0].strip()
    given = len(inside.split(",")) if inside else 0
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-in functions don't all tell
        return given
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return given
    return min(given, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters))


class _Connections:
    """`connect` and `disconnect` of one object, with C++ signatures."""

    def __init__(self, sender) -> None:
        self._sender = weakref.ref(sender)
        self._made: list[tuple[str, object, object]] = []

    def connect(self, signature, function, slot=None, *native) -> bool:
        """`connect(signature, function)`, or `connect(signature, receiver, slot)`."""
        if isinstance(signature, QtCore.QObject):  # PySide6 itself, from QTimer.singleShot
            return QtCore.QObject.connect(signature, function, slot, *native)
        if slot is not None:
            function = getattr(function, slot.partition("(")[0])
        count = _argument_count(signature, function)

        def relay(*arguments):
            return function(*arguments[:count])

        self._native(signature, "connect", relay)
        self._made.append((signature, function, relay))
        return True

    def disconnect(self, signature: str, function=None) -> bool:
        """Ends the connections to this function, or all that were made here for this signal."""
        gone = [made for made in self._made if made[0] == signature and function in (None, made[1])]
        for made in gone:
            self._native(signature, "disconnect", made[2])
            self._made.remove(made)
        return bool(gone)

    def _native(self, signature: str, verb: str, relay) -> None:
        """Stand-ins list in `cppSignals` the signals whose arguments PySide6 can't name."""
        sender = self._sender()
        normalized = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
        if sender.metaObject().indexOfSignal(normalized) >= 0:
            getattr(QtCore.QObject, verb)(sender, QtCore.SIGNAL(normalized), relay)
        elif normalized in getattr(sender, "cppSignals", ()):
            getattr(getattr(sender, normalized.partition("(")[0]), verb)(relay)
        else:
            raise RuntimeError(f"{_class_name(sender)} has no signal {signature}")


def _arm(instance):
    """PySide6 finds its own `connect` before any on the class, but not before one on the instance."""
    connections = _Connections(instance)
    instance.__dict__.update(connect=connections.connect, disconnect=connections.disconnect)
    return instance


def _arm_new(cls: type) -> None:
    original = cls.__init__

    def __init__(self, *arguments, **keywords):
        original(self, *arguments, **keywords)
        _arm(self)

    cls.__init__ = __init__


for _cls in [value for value in globals().values() if isinstance(value, type) and issubclass(value, QtCore.QObject)]:
    _add_properties(_cls)
    _arm_new(_cls)
    _cls.__setattr__ = _set_attribute
    if hasattr(_cls, "exec_"):  # PythonQt's spelling, which PySide6 warns of
        _cls.exec_ = _cls.exec
QtCore.QObject.name = property(lambda self: self.objectName, lambda self, name: self.setObjectName(name))
QtCore.QObject.className = _class_name

# --- .ui files ------------------------------------------------------------------------------------------------------

_widget_classes: dict[str, type] = {}


def registerWidget(cls: type) -> type:
    """Makes a stand-in known to `.ui` files under the name of its class."""
    _widget_classes[cls.__name__] = cls
    return cls


class _Builder(QtUiTools.QUiLoader):
    def createWidget(self, className, parent=None, name=""):
        if className in _widget_classes:
            widget = _widget_classes[className](parent)
            widget.setObjectName(name)
            return widget
        return _arm(super().createWidget(className, parent, name))

    def createLayout(self, className, parent=None, name=""):
        return _arm(super().createLayout(className, parent, name))

    def createAction(self, parent=None, name=""):
        return _arm(super().createAction(parent, name))

    def createActionGroup(self, parent=None, name=""):
        return _arm(super().createActionGroup(parent, name))


class QUiLoader:
    """Loads a `.ui` file; what Slicer would leave out with a line in its log is an error here."""

    def load(self, file, parent=None):
        root = ElementTree.fromstring(file.readAll().data())
        unknown = {element.get("class") for element in root.iter("widget")}
        unknown -= {*_widget_classes, *QtUiTools.QUiLoader().availableWidgets()}
        if unknown:
            raise RuntimeError(f"No stand-in for the widget classes {sorted(unknown)}")
        # Connections have MRML types in their signatures, which PySide6 doesn't know: made below.
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        enumerations = _take_enumerations(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        builder = _Builder()
        widget = builder.load(buffer, parent)
        if widget is None:
            raise RuntimeError(builder.errorString())
        named = {child.objectName: child for child in widget.findChildren(QtCore.QObject) if child.objectName}
        named[widget.objectName] = widget
        _check_properties(root, named)
        for name, property_name, value in enumerations:
            setattr(named[name], property_name, value)
        for connection in connections if connections is not None else ():
            text = connection.findtext
            named[text("sender")].connect(text("signal"), named[text("receiver")], text("slot"))
        return widget


def _take_enumerations(root: ElementTree.Element) -> list[tuple[str, str, object]]:
    """Takes enumerations that belong to a stand-in out of the file: (widget, property, value). Qt can't read them."""
    taken = []
    for element in root.iter("widget"):
        cls = _widget_classes.get(element.get("class"))
        for item in element.findall("property"):
            words = item.findtext("set") or item.findtext("enum")
            if cls is None or not words or not isinstance(getattr(cls, item.get("name"), None), Property):
                continue
            value = 0
            for word in words.split("|"):
                value |= _enumerator(cls, word)
            taken.append((element.get("name"), item.get("name"), value))
            element.remove(item)
    return taken


def _enumerator(cls: type, words: str) -> int:
    """`ctkPathLineEdit::Dirs` or `QFrame::StyledPanel` as a number."""
    owner, _, name = words.rpartition("::")
    value = getattr(cls if owner == cls.__name__ else globals()[owner], name)
    return getattr(value, "value", value)


def _check_properties(root: ElementTree.Element, named: dict) -> None:
    """Qt makes a dynamic property of a name that the class doesn't have: a typo in a `.ui` file would go unseen."""
    for element in root.iter("widget"):
        meta = named[element.get("name")].metaObject()
        for item in element.findall("property"):
            if item.get("stdset") != "0" and meta.indexOfProperty(item.get("name")) < 0:
                raise RuntimeError(f"{element.get('class')} {element.get('name')} has no property {item.get('name')}")


# --- look -----------------------------------------------------------------------------------------------------------


def setUpLook(application: QtWidgets.QApplication) -> None:
    """The same on every machine: Fusion, and matplotlib's DejaVu, as a machine without a screen may have no font."""
    application.setStyle("Fusion")
    fonts = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
    for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"):
        QtGui.QFontDatabase.addApplicationFont(str(fonts / name))
    application.setFont(QtGui.QFont("DejaVu Sans", 9))
