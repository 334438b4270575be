"""The keys and what they do; the page passes them on by these names (`web/workbench.js`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from trame.widgets import html
from trame.widgets import vuetify3 as v

from .editing import Tool

if TYPE_CHECKING:
    from .workbench import Workbench

SHORTCUTS = (
    ("P", "paint"),
    ("E", "erase"),
    ("X", "erase inside a lasso, in all slices"),
    ("Esc", "no tool: move, zoom, window"),
    ("+  -", "brush larger, smaller"),
    ("Shift + wheel", "brush larger, smaller, under the mouse"),
    ("Ctrl + Z", "undo"),
    ("Ctrl + Y", "redo"),
    ("Ctrl + S", "save"),
    ("F", "go to the chosen segment"),
    ("H", "hide or show the chosen segment"),
    ("R", "whole slices again, after zoom and moves"),
    ("N  B", "next scan that is open, previous scan"),
    ("?", "this list"),
)


def dialog() -> None:
    """The list, shown while `show_shortcuts` is true."""
    with v.VDialog(v_model=("show_shortcuts", False), max_width=600), v.VCard(title="Keyboard and mouse"):
        with v.VCardText(), html.Table(classes="keys"):
            for keys, meaning in SHORTCUTS:
                with html.Tr():
                    with html.Td():
                        html.Kbd(keys)
                    html.Td(meaning)
            with html.Tr():
                html.Td("wheel")
                html.Td("through the slices")
            with html.Tr():
                html.Td("left, right, middle drag")
                html.Td("window, zoom, move (without a tool)")
        with v.VCardActions():
            v.VSpacer()
            v.VBtn("Close", click="show_shortcuts = false")


def press(bench: Workbench, name: str) -> None:
    """Does what a key stands for, by the name of that."""
    active = bench.scene.editor.active_segment_id
    slow = {
        "save": bench.save,
        "next": bench.worklist_actions.open_next,
        "previous": bench.worklist_actions.open_previous,
    }
    quick: dict[str, Callable[[], object]] = {
        **{tool.value: partial(bench.tools.choose, tool.value) for tool in Tool},
        "larger": partial(bench.tools.resize_brush, 1.25),
        "smaller": partial(bench.tools.resize_brush, 0.8),
        "go_to": lambda: active and bench.scene.go_to(active),
        "fit": bench.scene.fit_slices,
        "hide": lambda: active and bench.segments.toggle(active),
        "undo": bench.editing.undo,
        "redo": bench.editing.redo,
        "shortcuts": lambda: bench.state.update({"show_shortcuts": not bench.state.show_shortcuts}),
    }
    if name in slow:
        bench.clicks.begin(slow[name])()
    elif name in quick and not (bench.state.running and name in ("undo", "redo")):
        bench.clicks.attempt(quick[name])()
