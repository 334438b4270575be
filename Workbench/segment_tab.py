"""The panel's tab "Segments": what is there, and the tools that change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trame.widgets import html
from trame.widgets import vuetify3 as v

from .editing import SMOOTHINGS, Tool
from .events import CLICK_ALONE
from .numbers import BOUNDS
from .spoken import named

if TYPE_CHECKING:
    from .workbench import Workbench

TOOLS = (
    (Tool.PAINT, "mdi-brush", "Paint (P)"),
    (Tool.ERASE, "mdi-eraser", "Erase (E)"),
    (Tool.SCISSORS, "mdi-content-cut", "Erase inside a lasso, in all slices (X)"),
)


_UNUSABLE = "!segments.length || running"
_EYE = "item.visible ? 'mdi-eye-outline' : 'mdi-eye-off-outline'"


def fill(bench: Workbench) -> None:
    """The content of the tab."""
    _list(bench)
    v.VDivider(classes="my-3")
    _tools(bench)
    v.VDivider(classes="my-3")
    _whole_segment(bench)
    v.VDivider(classes="my-3")
    _looks()


def _list(bench: Workbench) -> None:
    with html.Div(classes="d-flex align-center mb-1"):
        html.Div("{{ segments.length ? segments.length + (segments.length > 1 ? ' segments' : ' segment') "
                 ": 'No segments yet' }}", classes="text-caption")  # fmt: skip
        v.VSpacer()
        v.VBtn("Add", size="small", prepend_icon="mdi-plus", id="add-segment", disabled=("!scan_name || running",),
               click=bench.clicks.attempt(bench.segments.add))  # fmt: skip
    with v.VList(density="compact", classes="segments py-0", style="max-height: 228px; overflow-y: auto;",
                 bg_color="transparent", v_if="segments.length"):  # fmt: skip
        with v.VListItem(
            v_for="item in segments", key="item.id", active=("item.id === active_segment",), color="primary",
            click=(bench.clicks.attempt(bench.segments.choose), "[item.id]"), raw_attrs=[':data-segment="item.name"'],
        ):  # fmt: skip
            with v.Template(v_slot_prepend=True):
                html.Div(classes="swatch", style=("{ background: item.color }",))
            html.Div("{{ item.name }}", classes="text-body-2 text-truncate",
                     style=("{ opacity: item.visible ? 1 : .45 }",))  # fmt: skip
            with v.Template(v_slot_append=True):
                for icon, title, act in (
                    ("'mdi-pencil-outline'", "Name and color", bench.segments.edit),
                    ("'mdi-crosshairs-gps'", "Go to (F)", bench.scene.go_to),
                    (_EYE, "Hide or show (H)", bench.segments.toggle),
                    ("'mdi-delete-outline'", "Remove", bench.segments.remove),
                ):
                    with v.VBtn(icon=True, size="x-small", title=title, __events=[CLICK_ALONE],
                                click_stop=(bench.clicks.attempt(act), "[item.id]"),
                                disabled=("running",) if act == bench.segments.remove else None):  # fmt: skip
                        v.VIcon(icon=(icon,), size="small")


def _tools(bench: Workbench) -> None:
    with html.Div(classes="d-flex align-center mb-2"):
        for tool, icon, title in TOOLS:
            with v.VBtn(
                icon=True, title=title, id=f"tool-{tool.value}", rounded="lg", classes="mr-1",
                variant=(f"tool === '{tool.value}' ? 'flat' : 'tonal'",),
                color=(f"tool === '{tool.value}' ? 'primary' : undefined",),
                click=(bench.clicks.attempt(bench.tools.choose), f"['{tool.value}']"), disabled=(_UNUSABLE,),
            ):  # fmt: skip
                v.VIcon(icon)
        v.VSpacer()
        v.VSwitch(v_model=("sphere",), label="Ball", id="ball", title="Paint into the slices beside, too",
                  classes="flex-grow-0")  # fmt: skip
    with html.Div(classes="d-flex align-center"):
        html.Div("Brush", classes="text-caption", style="width: 52px;")
        v.VSlider(v_model=("brush_mm",), **_within("brush_mm"), step=1, **named("Brush"))
        html.Div("{{ Math.round(brush_mm) }} mm", classes="text-caption text-right", style="width: 50px;")
    v.VSwitch(v_model=("keep_inside",), label="Keep what is inside, cut away the rest", id="keep-inside",
              v_if="tool === 'scissors'", classes="mt-1")  # fmt: skip
    v.VSwitch(v_model=("limited",), label=("'Only voxels with these values (' + limits_unit + ')'",), id="limited",
              disabled=("!limits_unit",), classes="mt-1")  # fmt: skip
    with html.Div(v_if="limited", classes="d-flex align-center"):
        html.Div("{{ +limits[0].toPrecision(3) }}", classes="text-caption", style="width: 40px;")
        # 320 steps: 10 HU each in a CT without metal.
        v.VRangeSlider(v_model=("limits",), min=("limits_bounds[0]",), max=("limits_bounds[1]",),
                       step=("(limits_bounds[1] - limits_bounds[0]) / 320",),
                       **named("Least and greatest value"))  # fmt: skip
        html.Div("{{ +limits[1].toPrecision(3) }}", classes="text-caption text-right", style="width: 40px;")


def _whole_segment(bench: Workbench) -> None:
    unusable = "!active_segment || running"
    with html.Div(classes="d-flex align-center mb-2"):
        v.VBtn("Keep largest piece", size="small", variant="tonal", id="largest", disabled=(unusable,),
               click=bench.clicks.attempt(bench.editing.keep_largest_island))  # fmt: skip
    with html.Div(classes="d-flex align-center mb-2"):
        v.VBtn("Remove pieces below", size="small", variant="tonal", id="small-islands", disabled=(unusable,),
               click=bench.clicks.attempt(bench.tools.remove_small_islands))  # fmt: skip
        v.VTextField(v_model=("island_voxels",), type="number", suffix="voxels", classes="ml-2",
                     id="island-voxels", **_within("island_voxels"), **named("Voxels of a piece"))  # fmt: skip
    with html.Div(classes="d-flex align-center"):
        v.VSelect(v_model=("smoothing",), items=("smoothings", list(SMOOTHINGS)), label="Smoothing",
                  style="width: 128px;")  # fmt: skip
        v.VTextField(v_model=("smoothing_mm",), type="number", label="mm", classes="mx-2", id="smoothing-mm",
                     style="width: 84px;", **_within("smoothing_mm"))  # fmt: skip
        v.VBtn("Smooth", size="small", variant="tonal", id="smooth", disabled=(unusable,),
               click=bench.clicks.attempt(bench.tools.smooth))  # fmt: skip


def _looks() -> None:
    with html.Div(classes="d-flex align-center"):
        html.Div("Opacity", classes="text-caption", style="width: 52px;")
        v.VSlider(v_model=("opacity",), **_within("opacity"), step=0.05, id="opacity", **named("Opacity"))
        v.VSwitch(v_model=("show_3d",), label="3D", id="show-3d", classes="ml-3 flex-grow-0")
    v.VSelect(v_model=("model",), items=("models",), label="Network", id="model", v_if="models.length > 1",
              disabled=("running",), hide_details=True)  # fmt: skip
    v.VSwitch(v_model=("structures_all",), label="Discs and spinal canal, too", id="structures-all",
              disabled=("running",))  # fmt: skip


def _within(name: str) -> dict[str, float]:
    least, greatest = BOUNDS[name]
    return {"min": least, "max": greatest}
