"""The panel's tab "Worklist": which scans there are and how far each one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trame.widgets import html
from trame.widgets import vuetify3 as v

from .events import CLICK_ALONE
from .spoken import named
from .store.entries import State

if TYPE_CHECKING:
    from .workbench import Workbench

LOOKS = {
    State.NEW: ("new", "#5b6b75"),
    State.SEGMENTED: ("segmented", "#5a8fd8"),
    State.IN_CORRECTION: ("in correction", "#f2b84b"),
    State.DONE: ("done", "#7cc38a"),
    State.REJECTED: ("rejected", "#ef6f6c"),
}


def fill(bench: Workbench) -> None:
    """The content of the tab."""
    actions = bench.worklist_actions
    _progress()
    with html.Div(classes="d-flex align-center mb-2"):
        v.VBtn("Previous", size="small", id="previous", disabled=("running || opening",),
               click=bench.clicks.begin(actions.open_previous), prepend_icon="mdi-chevron-left")  # fmt: skip
        v.VBtn("Next open", size="small", id="next", disabled=("running || opening",),
               click=bench.clicks.begin(actions.open_next), append_icon="mdi-chevron-right")  # fmt: skip
        v.VSpacer()
        with v.VBtn(icon=True, size="small", title="Look for new scans in the data folder", id="look",
                    click=bench.clicks.begin(actions.add_folder)):  # fmt: skip
            v.VIcon("mdi-refresh")
        with v.VBtn(icon=True, size="small", title="Export all that are done as a dataset", id="export-set",
                    disabled=("exporting",), click=bench.clicks.begin(actions.export_set)):  # fmt: skip
            v.VIcon("mdi-database-export-outline")
    _all_new(bench)
    _entries(bench)
    with html.Div(v_if="entry !== null"):
        v.VDivider(classes="my-3")
        v.VTextarea(v_model=("notes",), label="Notes on this scan", rows=3, id="notes",
                    blur=(bench.clicks.attempt(actions.keep_notes), "[entry, notes]"))  # fmt: skip
        with html.Div(classes="d-flex align-center mt-3"):
            v.VBtn("Done, next", size="small", variant="flat", color="success", id="done", classes="mr-2",
                   disabled=("running || opening",), click=bench.clicks.begin(actions.finish))  # fmt: skip
            v.VBtn("Reject...", size="small", variant="tonal", color="error", id="reject", disabled=("running",),
                   click="reason = ''; rejecting = entry")  # fmt: skip
            v.VSpacer()
            with v.VBtn(icon=True, size="small", title="Who changed what in this scan, and when", id="show-history",
                        click=bench.clicks.attempt(actions.show_history)):  # fmt: skip
                v.VIcon("mdi-account-clock-outline")


def _progress() -> None:
    html.Div("{{ cohort }}", classes="text-body-2 mb-1", id="cohort")
    with html.Div(classes="d-flex mb-1", style="height: 8px; border-radius: 4px; overflow: hidden;"):
        for state, (name, color) in LOOKS.items():
            width = f"(cohort_share['{state.value}'] || 0) + '%'"
            html.Div(style=(f"{{ width: {width}, background: '{color}' }}",), title=name)
    with html.Div(classes="d-flex flex-wrap mb-2 text-caption", id="legend"):
        for state, (name, color) in LOOKS.items():
            with html.Div(classes="d-flex align-center mr-3"):
                html.Div(style=f"background: {color};", classes="dot mr-1")
                html.Div(f"{name} {{{{ cohort_counts['{state.value}'] || 0 }}}}")


def _all_new(bench: Workbench) -> None:
    v.VBtn("Segment all new", size="small", variant="tonal", id="segment-all", classes="mb-2", v_if="!all_running",
           disabled=("running || !cohort_counts.new",), click=bench.clicks.begin(bench.segment_all),
           prepend_icon="mdi-playlist-play")  # fmt: skip
    with html.Div(v_if="all_running", classes="d-flex align-center mb-2"):
        with html.Div(style="flex: 1; min-width: 0;"):
            html.Div("{{ all_text }}", classes="text-caption text-truncate", id="all-text")
            v.VProgressLinear(model_value=("all_share",), color="primary", rounded=True,
                              **named("Progress of all new scans"))  # fmt: skip
        v.VBtn("Cancel", size="small", color="error", id="cancel-all", classes="ml-2",
               click=bench.clicks.attempt(bench.all_new.cancel))  # fmt: skip


def _entries(bench: Workbench) -> None:
    colors = {state.value: color for state, (_, color) in LOOKS.items()}
    names = {state.value: name for state, (name, _) in LOOKS.items()}
    v.VTextField(v_model=("filter",), placeholder="Filter by name, state or notes", id="filter", clearable=True,
                 v_if="entries.length > 5 || filter", classes="mb-1",
                 **named("Filter"))  # fmt: skip
    with v.VList(density="compact", lines="two", classes="entries py-0", bg_color="transparent",
                 style="max-height: max(170px, calc(100vh - 480px)); overflow-y: auto;"):  # fmt: skip
        with v.VListItem(v_for="item in window.workbench.matching(entries, filter)", key="item.number",
                         active=("item.number === entry",), color="primary",
                         click=(bench.clicks.begin(bench.worklist_actions.open_other), "[item.number]"),
                         raw_attrs=[':data-entry="item.number"']):  # fmt: skip
            html.Div("{{ item.number }}  {{ item.name }}", classes="text-body-2 text-truncate")
            with html.Div(classes="d-flex align-center text-caption", title=("item.reason",)):
                html.Div(classes="dot mr-2", style=(f"{{ background: {colors}[item.state] }}",))
                html.Div(f"{{{{ {names}[item.state] + (item.reason ? ': ' + item.reason : '') }}}}",
                         classes="mr-2 text-truncate")  # fmt: skip
                html.Div("{{ item.changed }}, {{ item.by }}", style="color: #7f929d; flex: none;", v_if="!item.reason")
            with v.Template(v_slot_append=True):
                with v.VBtn(icon=True, size="x-small", title="Open it again",
                            v_if="item.state === 'done' || item.state === 'rejected'", __events=[CLICK_ALONE],
                            click_stop=(bench.clicks.attempt(bench.worklist_actions.reopen),
                                        "[item.number]")):  # fmt: skip
                    v.VIcon("mdi-restore", size="small")
