"""The four views of the scene in the page: three slices with a slider each, and the surfaces."""

from __future__ import annotations

from functools import partial

from trame.widgets import html
from trame.widgets import vuetify3 as v
from trame_server import Server
from trame_slicer.app.logic.slice_view_logic import connect_slice_view_slider_to_state
from trame_slicer.app.ui.slider import Slider
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import register_rca_factories
from trame_slicer.views import Layout, LayoutDirection, ViewLayoutDefinition

from .bearings import EDGES, name_of
from .scene import fit_slice
from .spoken import named

LAYOUT = "spine"


def make_layout(server: Server, app: SlicerApp) -> LayoutManager:
    """Sagittal and coronal planes show a column at a glance, so they stand side by side above the axial one."""
    register_rca_factories(app.view_manager, server, slice_view_ui_f=_slice_frame, three_d_view_ui_f=_surface_frame)
    manager = LayoutManager(app.scene, app.view_manager, server)
    upper = Layout(
        LayoutDirection.Horizontal, [ViewLayoutDefinition.sagittal_view(), ViewLayoutDefinition.coronal_view()]
    )
    lower = Layout(
        LayoutDirection.Horizontal,
        [ViewLayoutDefinition.axial_view(), ViewLayoutDefinition.threed_view(background_color="#0b1115")],
    )
    manager.register_layout(LAYOUT, Layout(LayoutDirection.Vertical, [upper, lower]))
    manager.set_layout(LAYOUT)
    return manager


def _slice_frame(server: Server, _view_id: str, view) -> None:
    html.Div(view.get_orientation(), classes="view-name")
    bearings = name_of(view)
    html.Div(f"{{{{ {bearings}?.place }}}}", classes="view-place", v_if="scan_name")
    with html.Div(v_if="scan_name", id=bearings):
        for edge in EDGES:
            html.Div(f"{{{{ {bearings}?.{edge} }}}}", classes=f"view-letter {edge}")
    with v.VBtn(icon=True, size="small", classes="view-button", click=partial(fit_slice, view),
                title="Whole slice (R: all three)"):  # fmt: skip
        v.VIcon("mdi-fit-to-screen-outline", size="small")
    with html.Div(classes="view-slider"):
        Slider(connect_slice_view_slider_to_state(server, view), **named(f"Slice, {view.get_orientation()}"))


def _surface_frame(_server: Server, _view_id: str, view) -> None:
    html.Div("3D", classes="view-name")
    with v.VBtn(icon=True, size="small", classes="view-button", click=view.reset_view, title="Show everything"):
        v.VIcon("mdi-fit-to-screen-outline", size="small")
