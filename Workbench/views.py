"""The four views of the scene in the page: three slices with a slider each, and the surfaces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from trame.widgets import html
from trame.widgets import vuetify3 as v
from trame_server import Server
from trame_slicer.app.logic.slice_view_logic import connect_slice_view_slider_to_state
from trame_slicer.app.ui.slider import Slider
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import RemoteViewFactory
from trame_slicer.views import (
    AbstractView,
    Layout,
    LayoutDirection,
    NoScheduleRendering,
    SliceView,
    ThreeDView,
    ViewLayoutDefinition,
    ViewType,
)

from .bearings import EDGES, name_of
from .scene import fit_slice
from .spoken import named

LAYOUT = "spine"
# Pictures a second of a view that the pointer isn't over.
_BLUR_FPS = 10.0


def make_layout(server: Server, app: SlicerApp) -> LayoutManager:
    """Sagittal and coronal planes show a column at a glance, so they stand side by side above the axial one."""
    kinds = (ViewType.SLICE_VIEW, SliceView, _slice_frame), (ViewType.THREE_D_VIEW, ThreeDView, _surface_frame)
    for kind, make, frame in kinds:
        app.view_manager.register_factory(
            RemoteViewFactory(server, partial(_unseen, make), kind, populate_view_ui_f=frame, blur_fps=_BLUR_FPS)
        )
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


def _unseen(make: Callable[..., AbstractView], **of_view) -> AbstractView:
    """A view that doesn't draw itself until it has a place on the page: by then it would have done so 60 times."""
    return make(scheduled_render_strategy=NoScheduleRendering(), **of_view)


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
