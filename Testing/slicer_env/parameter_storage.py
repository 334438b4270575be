"""How typed values lie in a vtkMRMLScriptedModuleNode: as Slicer's own parameterNodeWrapper writes them."""

from __future__ import annotations

import enum
import pathlib
import typing
from collections.abc import MutableSequence

import slicer


class Text:
    """A value that is one text in the node."""

    def __init__(self, cls, default, to_text=str, from_text=None):
        self._cls, self.default = cls, default
        self._to_text, self._from_text = to_text, from_text or cls

    def validate(self, value):
        accepted = (int, float) if self._cls is float else self._cls
        if not isinstance(value, accepted):
            raise (ValueError if value is None else TypeError)(f"Value must be of type {self._cls}, is {value!r}")

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        node.SetParameter(name, self._to_text(value))

    def read(self, node, name):
        return self._from_text(node.GetParameter(name))

    def remove(self, node, name):
        node.UnsetParameter(name)


class Node:
    """A MRML node or None, as a node reference."""

    default = None

    def __init__(self, cls):
        self._cls = cls

    def isIn(self, node, name):
        return node.HasParameter(name)

    def validate(self, value):
        if value is not None and not isinstance(value, self._cls):
            raise TypeError(f"Value must be of type {self._cls}, is {value!r}")

    def write(self, node, name, value):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)


class List:
    """A list, an entry at a time."""

    default = ()

    def __init__(self, element):
        self._element = element

    def isIn(self, node, name):
        return node.HasParameter(f"{name}.len")

    def validate(self, values):
        for value in values:
            self._element.validate(value)

    def write(self, node, name, values):
        self.validate(values)
        before = int(node.GetParameter(f"{name}.len")) if self.isIn(node, name) else 0
        with slicer.util.NodeModify(node):
            for index, value in enumerate(values):
                self._element.write(node, f"{name}.{index}", value)
            node.SetParameter(f"{name}.len", str(len(values)))
            for index in range(len(values), before):
                self._element.remove(node, f"{name}.{index}")

    def read(self, node, name):
        count = int(node.GetParameter(f"{name}.len"))
        return ObservedList(self, node, name, [self._element.read(node, f"{name}.{index}") for index in range(count)])


class ObservedList(MutableSequence):
    """A list of the node; what is changed in it is changed in the node."""

    def __init__(self, storage, node, name, values):
        self._storage, self._node, self._name, self._values = storage, node, name, values

    def _save(self):
        self._storage.write(self._node, self._name, self._values)

    def __len__(self):
        return len(self._values)

    def __getitem__(self, index):
        return self._values[index]

    def __setitem__(self, index, value):
        self._values[index] = value
        self._save()

    def __delitem__(self, index):
        del self._values[index]
        self._save()

    def insert(self, index, value):
        self._values.insert(index, value)
        self._save()

    def __eq__(self, other):
        return self._values == list(other)


def storage(cls):
    if cls in (int, float):
        return Text(cls, cls())
    if cls is str:
        return Text(str, "")
    if cls is bool:
        return Text(bool, False, from_text=lambda text: text == "True")
    if isinstance(cls, type) and issubclass(cls, pathlib.PurePath):
        return Text(cls, cls())
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        return Text(cls, next(iter(cls)), lambda value: value.name, lambda text: cls[text])
    if isinstance(cls, type) and issubclass(cls, slicer.vtkMRMLNode):
        return Node(cls)
    if typing.get_origin(cls) is list:
        return List(storage(typing.get_args(cls)[0]))
    raise TypeError(f"No stand-in for parameters of type {cls}")
