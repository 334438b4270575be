"""`slicer.parameterNodeWrapper` for the types and widgets that the panel uses; stores values as Slicer's own does."""

from __future__ import annotations

import enum
import pathlib
import typing

import ctk
import qt
import slicer

from Testing.slicer_env.parameter_storage import storage

# --- annotations ----------------------------------------------------------------------------------------------------


class Default:
    def __init__(self, value=None, *, generator=None):
        self._generator = generator or (lambda: value)

    @property
    def value(self):
        return self._generator()


class WithinRange:
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Minimum(WithinRange):
    def __init__(self, minimum):
        super().__init__(minimum, float("inf"))


class Maximum(WithinRange):
    def __init__(self, maximum):
        super().__init__(float("-inf"), maximum)


class Choice:
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


# --- connection with widgets ----------------------------------------------------------------------------------------


class _Connector:
    """One widget: how to read it, how to write it, which signal tells of a change."""

    def __init__(self, signal, read, write):
        self._signal, self.read, self.write = signal, read, write

    def connect(self, callback):
        self._callback = lambda *_: callback()
        self._signal.connect(self._callback)

    def disconnect(self):
        self._signal.disconnect(self._callback)


def _attribute(widget, signal, name):
    return _Connector(signal, lambda: getattr(widget, name), lambda value: setattr(widget, name, value))


def _combo_box(widget, values, labels):
    widget.clear()
    widget.addItems(labels)
    return _Connector(
        widget.currentIndexChanged,
        lambda: values[widget.currentIndex],
        lambda value: setattr(widget, "currentIndex", values.index(value)),
    )


def _number(widget, annotations):
    limits = next((each for each in annotations if isinstance(each, WithinRange)), WithinRange(-(2**31), 2**31 - 1))
    widget.minimum = max(limits.minimum, -(2**31))
    widget.maximum = min(limits.maximum, 2**31 - 1)
    return _attribute(widget, widget.valueChanged, "value")


def _node_selector(widget, cls):
    widget.nodeTypes = [cls().GetClassName()]
    return _Connector(widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)


def _connector(widget, cls, annotations):
    kind = type(widget)
    is_class = isinstance(cls, type)
    if cls is bool and kind is qt.QCheckBox:
        return _attribute(widget, widget.stateChanged, "checked")
    if cls is bool and kind is qt.QPushButton:
        widget.checkable = True
        return _attribute(widget, widget.toggled, "checked")
    if cls is int and kind in (qt.QSpinBox, qt.QSlider) or cls is float and kind is qt.QDoubleSpinBox:
        return _number(widget, annotations)
    if kind is qt.QComboBox and is_class and issubclass(cls, enum.Enum):
        label = getattr(cls, "label", lambda each: each.name)
        return _combo_box(widget, list(cls), [label(each) for each in cls])
    if kind is qt.QComboBox and cls in (int, float, str, bool):
        choices = next(each.choices for each in annotations if isinstance(each, Choice))
        return _combo_box(widget, list(choices), [str(each) for each in choices])
    if cls is str and kind is qt.QLineEdit:
        return _attribute(widget, widget.textChanged, "text")
    if kind is ctk.ctkPathLineEdit and is_class and issubclass(cls, pathlib.PurePath):
        write = lambda value: setattr(widget, "currentPath", str(value))
        return _Connector(widget.currentPathChanged, lambda: cls(widget.currentPath), write)
    if kind is slicer.qMRMLNodeComboBox and is_class and issubclass(cls, slicer.vtkMRMLNode):
        return _node_selector(widget, cls)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{cls}' to widget type '{kind}'.")


# --- the decorator --------------------------------------------------------------------------------------------------


class _Parameter:
    def __init__(self, owner, name, hint):
        self.cls, *self.annotations = typing.get_args(typing.Annotated[hint, None])[:-1]
        self._name, self._storage = name, storage(self.cls)
        declared = next((each for each in self.annotations if isinstance(each, Default)), None)
        value = getattr(owner, name, self._storage.default)
        self.default = declared or Default(value)

    def ensure(self, wrapper):
        if not self._storage.isIn(wrapper.parameterNode, self._name):
            self.__set__(wrapper, self.default.value)

    def __get__(self, wrapper, owner=None):
        if wrapper is None:
            return self
        self.ensure(wrapper)
        return self._storage.read(wrapper.parameterNode, self._name)

    def __set__(self, wrapper, value):
        for each in (self._storage, *self.annotations):
            getattr(each, "validate", lambda _: None)(value)
        self._storage.write(wrapper.parameterNode, self._name, value)


class _Wrapper:
    """What the decorator adds to the class."""

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._connections, self._nextTag, self._updating = {}, 0, False
        for parameter in self.allParameters.values():
            parameter.ensure(self)

    def getValue(self, name):
        return self._parameter(name).__get__(self)

    def setValue(self, name, value):
        self._parameter(name).__set__(self, value)

    def default(self, name):
        return self._parameter(name).default

    def _parameter(self, name):
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return self.allParameters[name]

    def connectGui(self, gui):
        is_widget = getattr(gui, "isWidgetType", lambda: False)()
        widgets = gui.findChildren(qt.QWidget) if is_widget else vars(gui).values()
        named = {widget.property("SlicerParameterName"): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        connectors = {}
        for name, widget in mapping.items():
            parameter = self._parameter(name)
            connectors[name] = _connector(widget, parameter.cls, parameter.annotations)
        tag = self._nextTag
        self._nextTag += 1
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect(lambda name=name, connector=connector: self._readGui(name, connector))
        observer = self.AddObserver("ModifiedEvent", lambda *_: self._writeGui())
        self._connections[tag] = (connectors, observer)
        return tag

    def disconnectGui(self, tag):
        connectors, observer = self._connections.pop(tag)
        for connector in connectors.values():
            connector.disconnect()
        self.RemoveObserver(observer)

    def _readGui(self, name, connector):
        if not self._updating:
            with slicer.util.NodeModify(self):
                self.setValue(name, connector.read())

    def _writeGui(self):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for connectors, _ in self._connections.values():
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating = False

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def Modified(self):
        self.parameterNode.Modified()


def parameterNodeWrapper(classtype):
    """Makes typed properties of the annotated names, kept in a vtkMRMLScriptedModuleNode."""
    hints = typing.get_type_hints(classtype, include_extras=True)
    parameters = {name: _Parameter(classtype, name, hint) for name, hint in hints.items()}
    added = {name: value for name, value in vars(_Wrapper).items() if not name.startswith("__") or name == "__init__"}
    clash = (set(added) & set(parameters)) | ({"allParameters", "parameterNode"} & set(parameters))
    if clash:
        raise ValueError(f"Cannot use reserved names {sorted(clash)} in a parameterNodeWrapper")
    for name, value in {**added, **parameters, "allParameters": parameters}.items():
        setattr(classtype, name, value)
    return classtype
