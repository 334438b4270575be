"""The panel's tab "Levels": which vertebra is which, put right with a click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trame.widgets import html
from trame.widgets import vuetify3 as v

from SpineContextSegLib.repair import LUMBAR_COUNTS, THORACIC_COUNTS

if TYPE_CHECKING:
    from .workbench import Workbench


def fill(bench: Workbench) -> None:
    """The content of the tab."""
    html.Div("{{ levels_refusal }}", v_if="levels_refusal", classes="text-body-2", id="levels-refusal")
    with html.Div(v_if="!levels_refusal"):
        with html.Div(classes="d-flex align-center mb-2"):
            v.VSelect(v_model=("which",), items=("level_names",), label="The vertebra", id="which")
            html.Div("is", classes="mx-2 text-body-2")
            v.VSelect(v_model=("level",), items=("all_levels",), label="Level", id="level")
        _button(bench, "Apply to all", "rename", "All others follow in order, above and below")
        _button(bench, "Swap the two", "swap", "Only these two exchange their levels")
        html.Div("All levels", classes="text-caption mt-3 mb-1")
        _button(bench, "One up", "up", "L5 becomes L4")
        _button(bench, "One down", "down", "L4 becomes L5")
        html.Div("The chosen vertebra", classes="text-caption mt-3 mb-1")
        _button(bench, "Merge with next", "merge", "The vertebra below becomes a part of it")
        _button(bench, "Split at axial slice", "split", "What lies below the slice becomes the next vertebra")
        html.Div("The column has", classes="text-caption mt-3 mb-2")
        with html.Div(classes="d-flex"):
            v.VSelect(v_model=("thoracic",), items=("thoracic_counts", list(THORACIC_COUNTS)), label="Thoracic",
                      classes="mr-2")  # fmt: skip
            v.VSelect(v_model=("lumbar",), items=("lumbar_counts", list(LUMBAR_COUNTS)), label="Lumbar")
        html.Div("Undo (Ctrl+Z) takes back repairs and paint in one order.", classes="text-caption mt-4")


def _button(bench: Workbench, text: str, repair: str, title: str) -> None:
    v.VBtn(text, size="small", variant="tonal", classes="mr-2 mb-2", title=title, id=f"levels-{repair}",
           disabled=("running",), click=(bench.clicks.attempt(bench.levels.repair), f"['{repair}']"))  # fmt: skip
