"""The page: bar, panel with three tabs, views, status line. What a click does is the workbench's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v
from trame_slicer.core import LayoutManager

from . import dialogs, level_tab, segment_tab, shortcuts, worklist_tab
from .exports import DICOM_SEG, EXPORTS
from .theme import VUETIFY
from .views import LAYOUT

if TYPE_CHECKING:
    from .workbench import Workbench

PANEL_WIDTH = 316
TABS = (("worklist", "Worklist"), ("segments", "Segments"), ("levels", "Levels"))


def build(bench: Workbench, layout: LayoutManager) -> SimpleNamespace:
    """Builds the page.

    Returns:
        `download`, whose `exec(address)` makes the browser fetch a file.
    """
    with VAppLayout(bench.server, vuetify_config=VUETIFY) as page:
        download = client.JSEval(exec="window.workbench.download($event)")
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
            with html.Div(style="position: relative; height: 100%;"):
                _notices(bench)
                with html.Div(classes="views"):
                    layout.initialize_layout_grid(page)
                    layout.set_layout(LAYOUT)
                _nothing_open()
        _status_line(bench)
        dialogs.build(bench)
        shortcuts.dialog()
    return SimpleNamespace(download=download, layout=page)


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
        _icon("mdi-keyboard-outline", "Keyboard and mouse (?)", "keys", "show_shortcuts = true", "false")


def _icon(icon: str, title: str, name: str, click, disabled: str) -> None:
    with v.VBtn(icon=True, size="small", title=title, id=name, click=click, disabled=(disabled,)):
        v.VIcon(icon)


def _notices(bench: Workbench) -> None:
    with html.Div(style="position: absolute; top: 10px; left: 50%; transform: translateX(-50%); z-index: 5;"
                        "width: min(640px, 92%);"):  # fmt: skip
        with v.VAlert(v_if="notice", id="notice", type="error", density="compact", closable=True, classes="mb-2",
                      click_close="notice = ''"):  # fmt: skip
            html.Div("{{ notice }}")
            v.VBtn("Segment anyway", v_if="can_force", id="force", size="small", variant="outlined", classes="mt-2",
                   click=(bench.clicks.begin(bench.segment), "[false, true]"))  # fmt: skip
        with v.VAlert(v_if="warnings.length", id="warnings", type="warning", variant="flat", density="compact",
                      closable=True, click_close="warnings = []"):  # fmt: skip
            html.Div("{{ sentence }}", v_for="sentence in warnings", key="sentence")


def _nothing_open() -> None:
    with html.Div(v_if="!scan_name", classes="empty"), html.Div(classes="text-center", style="color: #9fb3bf;"):
        v.VIcon("mdi-tray-arrow-down", size=56, classes="mb-3")
        html.Div("Drop a scan here, or open one", classes="text-h6")
        html.Div("NIfTI, NRRD, MetaImage or a folder of DICOM files", classes="text-body-2 mt-1")
        html.Div("Scans stay on this computer.", classes="text-body-2")


def _status_line(bench: Workbench) -> None:
    with v.VFooter(app=True, height=30, color="surface", border="t", classes="py-0 px-4 text-caption"):
        v.VProgressCircular(v_if="opening || sending", indeterminate=True, size=14, width=2, classes="mr-2")
        html.Div("{{ sending ? 'Sending the scan...' : opening ? 'Opening...' : status }}", id="status",
                 classes="text-truncate", style="max-width: 620px;")  # fmt: skip
        v.VProgressLinear(v_if="running", model_value=("progress || 0",), indeterminate=("progress === null",),
                          color="primary", rounded=True, style="width: 220px; flex: none;", classes="ml-4",
                          id="progress")  # fmt: skip
        v.VSpacer()
        html.Div("Not for diagnosis or treatment", style="color: #9fb3bf;")
