"""Reads what a widget class of Slicer or CTK has from its C++ header: bases, properties, signals and methods."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import qt

_SECTION = re.compile(r"^\s*((?:public|protected|private)(?:\s+(?:slots|Q_SLOTS))?|signals|Q_SIGNALS)\s*:", re.M)
_METHOD = re.compile(r"[\w>&*]\s+[&*]?(\w+)\s*\(")


@dataclass(frozen=True)
class WidgetClass:
    """Of a class and all its bases down to Qt's: names of properties and methods, normalized signatures of signals.

    Methods are those that Python reaches: public slots and what is marked Q_INVOKABLE.
    """

    properties: frozenset[str]
    methods: frozenset[str]
    signals: frozenset[str]


class Headers:
    """The headers below some folders; classes of Qt are asked from Qt itself."""

    def __init__(self, *folders: Path) -> None:
        self._files = {path.stem: path for folder in folders for path in folder.rglob("*.h")}

    @functools.cache
    def widget_class(self, name: str) -> WidgetClass:
        """What the class has. KeyError for a class that is neither in the headers nor Qt's."""
        if name not in self._files:
            return _qt_class(name)
        text = _without_comments(self._files[name].read_text(encoding="utf-8"))
        declared = re.search(rf"class\s+(?:[A-Z][A-Z_0-9]+\s+)?{name}\s*:\s*public\s+(\w+)(.*?)\n}};", text, re.DOTALL)
        if not declared:
            raise KeyError(name)
        base, body = self.widget_class(declared[1]), declared[2]
        sections = _SECTION.split(body)
        parts = list(zip(sections[1::2], sections[2::2], strict=True))
        slots = "".join(part for access, part in parts if re.match(r"public\s", access))
        signals = "".join(part for access, part in parts if access in ("signals", "Q_SIGNALS"))
        return WidgetClass(
            base.properties | set(re.findall(r"Q_PROPERTY\(\s*[\w:<>]+\s+(\w+)", body)),
            base.methods | {*_METHOD.findall(slots), *re.findall(rf"Q_INVOKABLE[^;(]*{_METHOD.pattern}", body)},
            base.signals | {_normalized(signature) for signature in re.findall(r"void\s+(\w+\([^)]*\))", signals)},
        )


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def _normalized(signature: str) -> str:
    """Without names and default values of the arguments."""
    name, _, inside = signature.rstrip(")").partition("(")
    types = [re.sub(r"\s*\b\w+\s*(=.*)?$", "", each) if " " in each.strip() else each for each in inside.split(",")]
    return qt.QMetaObject.normalizedSignature(f"{name}({','.join(types)})").data().decode()


def _qt_class(name: str) -> WidgetClass:
    cls = getattr(qt, name, None)
    if cls is None:
        raise KeyError(name)
    # A class of its own: PySide6 drops the meta object of a Qt class together with an instance that was asked for it,
    # and that of a Python class together with the class, which is held here.
    probe = type("Probe", (cls,), {})
    meta = probe.staticMetaObject
    methods = [meta.method(index) for index in range(meta.methodCount())]
    signals = [method for method in methods if method.methodType() == qt.QMetaMethod.Signal]
    return WidgetClass(
        frozenset(meta.property(index).name() for index in range(meta.propertyCount())),
        frozenset(name for name in dir(cls) if not name.startswith("_")),
        frozenset(signal.methodSignature().data().decode() for signal in signals),
    )
