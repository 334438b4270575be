"""The keys and what they do; the page passes them on by these names (`web/workbench.js`)."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v

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
    ("N  B", "next scan that is open, previous scan"),
    ("?", "this list"),
)


def dialog() -> None:
    """The list, shown while `show_shortcuts` is true."""
    with v.VDialog(v_model=("show_shortcuts", False), max_width=440), v.VCard(title="Keyboard and mouse"):
        with v.VCardText(), html.Table(classes="keys"):
            for keys, meaning in SHORTCUTS:
                with html.Tr():
                    with html.Td():
                        html.Kbd(keys) if hasattr(html, "Kbd") else html.B(keys)
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
