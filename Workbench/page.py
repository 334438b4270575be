"""The page: bar, panel with three tabs, views, status line. What a click does is the workbench's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v
from trame_slicer.core import LayoutManager

from . import dialogs, level_tab, segment_tab, shortcuts, worklist_tab
from .exports import DICOM_SEG, EXPORTS
from .spoken import announced, named
from .theme import VUETIFY
from .views import LAYOUT

if TYPE_CHECKING:
    from .workbench import Workbench

PANEL_WIDTH = 316
# In place of trame's own words, which only say that a connection was closed.
ENDED = """<div id="ended" style="position: fixed; inset: 0; display: flex; flex-direction: column; gap: 10px;
  align-items: center; justify-content: center; background: #0b1115; color: #c4d2da; font-family: Roboto, sans-serif;">
  <div style="font-size: 22px;">The workbench has ended</div>
  <div style="max-width: 520px; text-align: center; line-height: 1.5;">Your work is kept. Start the workbench again
  (<b>make app</b> or <b>python -m Workbench</b>, as before), open the address that it prints and then the scan: what
  wasn't saved is offered there.</div>
  <div style="margin-top: 10px;">If it still runs, as after a pause of this computer:</div>
  <button onclick="location.reload()" style="padding: 8px 18px; border: 0; border-radius: 4px;
  background: #4db6ac; color: #06211e; font-size: 14px; cursor: pointer;">Load again</button></div>"""
TABS = (("worklist", "Worklist"), ("segments", "Segments"), ("levels", "Levels"))


def build(bench: Workbench, layout: LayoutManager) -> client.JSEval:
    """Builds the page.

    Returns:
        What makes the browser fetch a file, by `exec(address)`.
    """
    bench.state.trame__template_error = ENDED
    with VAppLayout(bench.server, vuetify_config=VUETIFY) as page:
        download = client.JSEval(exec="window.workbench.download($event)")
        for name in ("entry", "tab"):
            client.ClientStateChange(value=name, change="window.workbench.showEntry(entry)")
        _bar(bench)
        with v.VNavigationDrawer(permanent=True, width=PANEL_WIDTH, color="surface"):
            with v.VTabs(v_model=("tab",), density="compact", grow=True, color="primary"):
                for value, title in TABS:
                    v.VTab(title, value=value, size="small", min_width=0)
            v.VDivider()
            for (value, _), fill in zip(TABS, (worklist_tab.fill, segment_tab.fill, level_tab.fill)):
                with html.Div(v_show=f"tab === '{value}'", classes="pa-3"):
                    fill(bench)
        with v.VMain(style="position: relative; height: 100vh;"):
            with html.Div(classes="middle"):
                _strips(bench)
                with html.Div(classes="stage"):
                    with html.Div(classes="views", mouseleave="under_mouse = ''"):
                        layout.initialize_layout_grid(page)
                        layout.set_layout(LAYOUT)
                    _nothing_open()
        _status_line()
        dialogs.build(bench)
        shortcuts.dialog()
    return download


def _bar(bench: Workbench) -> None:
    with v.VAppBar(density="compact", color="surface", flat=True, border="b"):
        html.Div("SpineContextSeg", classes="ml-4 text-subtitle-1 font-weight-medium")
        v.VChip("Research use only", size="small", color="warning", variant="tonal", classes="ml-3")
        html.Div("{{ scan_name }}{{ unsaved ? ' \u2022 not saved' : '' }}", classes="ml-4 text-body-2 text-truncate",
                 style="max-width: 260px; color: #9fb3bf;", id="scan-name")  # fmt: skip
        v.VSpacer()
        with v.VMenu():
            with v.Template(v_slot_activator="{ props }"):
                v.VBtn("Open", v_bind="props", id="open", prepend_icon="mdi-folder-open-outline",
                       disabled=("running || opening",))  # fmt: skip
            with v.VList(density="compact"):
                v.VListItem("Scan file...", click="window.workbench.choose(false)", id="open-file")
                v.VListItem("Folder of DICOM files...", click="window.workbench.choose(true)")
        v.VBtn("Segment spine", id="segment", variant="flat", color="primary", prepend_icon="mdi-play", classes="mx-2",
               v_if="!running", disabled=("!scan_name || opening",),
               click=bench.clicks.begin(bench.segment))  # fmt: skip
        v.VBtn("Cancel", id="cancel", variant="flat", color="error", prepend_icon="mdi-stop", classes="mx-2",
               v_if="running", click=bench.clicks.attempt(bench.cancel))  # fmt: skip
        _icon("mdi-undo", "Undo (Ctrl+Z)", "undo", bench.clicks.attempt(bench.editing.undo), "!can_undo || running")
        _icon("mdi-redo", "Redo (Ctrl+Y)", "redo", bench.clicks.attempt(bench.editing.redo), "!can_redo || running")
        v.VBtn("Save", id="save", prepend_icon="mdi-content-save-outline", disabled=("!scan_name || running",),
               click=bench.clicks.begin(bench.save))  # fmt: skip
        with v.VMenu():
            with v.Template(v_slot_activator="{ props }"):
                v.VBtn("Export", v_bind="props", id="export", prepend_icon="mdi-export-variant",
                       disabled=("!segments.length || running",))  # fmt: skip
            with v.VList(density="compact"):
                for form, title in EXPORTS.items():
                    v.VListItem(title, click=(bench.clicks.begin(bench.export), f"['{form}']"),
                                disabled=("!is_dicom",) if form == DICOM_SEG else None,
                                id=f"export-{form.replace('.', '-')}")  # fmt: skip
        with v.VBtn(v_if="warnings.length", icon=True, size="small", id="show-warnings", color="warning",
                    title="What to look at in this scan", click="warnings_shown = !warnings_shown"):  # fmt: skip
            with v.VBadge(content=("warnings.length",), color="warning"):
                v.VIcon("mdi-alert-outline")
        _icon("mdi-history", "Saved versions", "show-versions", bench.clicks.attempt(bench.version_list.show),
              "!scan_name || running || opening")
        _icon("mdi-keyboard-outline", "Keyboard and mouse (?)", "keys", "show_shortcuts = true", "false")


def _icon(icon: str, title: str, name: str, click, disabled: str) -> None:
    with v.VBtn(icon=True, size="small", title=title, id=name, click=click, disabled=(disabled,)):
        v.VIcon(icon)


def _strips(bench: Workbench) -> None:
    """What there is to say, above the views, which make room for it."""
    with html.Div(v_if="notice", id="notice", classes="strip fault", **announced("alert")):
        v.VIcon("mdi-close-circle-outline", size="small")
        html.Div("{{ notice }}", style="flex: 1;")
        v.VBtn("Segment anyway", v_if="can_force", id="force", size="small", variant="outlined",
               click=(bench.clicks.begin(bench.segment), "[false, true]"))  # fmt: skip
        _close("notice = ''")
    with html.Div(v_if="warnings.length && warnings_shown", id="warnings", classes="strip warning",
                  **announced("status")):  # fmt: skip
        v.VIcon("mdi-alert-outline", size="small")
        with html.Div(style="flex: 1;"):
            html.Div("{{ sentence }}", v_for="sentence in warnings", key="sentence")
        _close("warnings_shown = false")
    with html.Div(v_if="remarks.length", id="remarks", classes="strip remark", **announced("status")):
        v.VIcon("mdi-information-outline", size="small")
        with html.Div(style="flex: 1;"):
            html.Div("{{ sentence }}", v_for="sentence in remarks", key="sentence")
        _close("remarks = []")


def _close(click: str) -> None:
    with v.VBtn(icon=True, size="x-small", title="Close", click=click):
        v.VIcon("mdi-close", size="small")


def _nothing_open() -> None:
    with html.Div(v_if="!scan_name", classes="empty"), html.Div(classes="text-center", style="color: #9fb3bf;"):
        v.VIcon("mdi-tray-arrow-down", size=56, classes="mb-3")
        html.Div("Drop a scan here, or open one", classes="text-h6")
        html.Div("NIfTI, NRRD, MetaImage or a folder of DICOM files", classes="text-body-2 mt-1")
        html.Div("Scans stay on this computer.", classes="text-body-2")


def _status_line() -> None:
    with v.VFooter(app=True, height=30, color="surface", border="t", classes="py-0 px-4 text-caption"):
        v.VProgressCircular(v_if="opening || sending", indeterminate=True, size=14, width=2, classes="mr-2")
        html.Div("{{ sending ? 'Sending the scan...' : opening ? 'Opening...' : status }}", id="status",
                 classes="text-truncate", style="max-width: 620px;", **announced("status"))  # fmt: skip
        v.VProgressLinear(v_if="running", model_value=("progress || 0",), indeterminate=("progress === null",),
                          color="primary", rounded=True, style="width: 220px; flex: none;", classes="ml-4",
                          id="progress", **named("Progress of the run"))  # fmt: skip
        v.VSpacer()
        html.Div("{{ under_mouse }}", id="under-mouse", style="white-space: pre;", classes="mr-6")
        html.Div("Not for diagnosis or treatment", style="color: #9fb3bf;")
