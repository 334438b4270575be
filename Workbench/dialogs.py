"""The questions that the page asks; each has a way out that changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from trame.widgets import html
from trame.widgets import vuetify3 as v

from .spoken import named

if TYPE_CHECKING:
    from .workbench import Workbench

WIDTH = 460


def build(bench: Workbench) -> None:
    """All of them; each is shown while its state is set."""
    _recovery(bench)
    _replace(bench)
    _versions(bench)
    _history()
    _rename(bench)
    _reject(bench)


def _recovery(bench: Workbench) -> None:
    with v.VDialog(model_value=("!!recovery",), persistent=True, max_width=WIDTH):
        with v.VCard(title="Unsaved work was found"):
            v.VCardText("{{ recovery }}", id="found")
            with v.VCardActions():
                v.VSpacer()
                v.VBtn("Discard it", id="forget", click=bench.clicks.attempt(bench.forget))
                v.VBtn("Bring it back", id="recover", color="primary", variant="flat",
                       click=bench.clicks.begin(bench.recover))  # fmt: skip


def _replace(bench: Workbench) -> None:
    with v.VDialog(v_model=("ask_replace",), max_width=WIDTH), v.VCard(title="Replace your corrections?"):
        v.VCardText(
            "The segments were changed by hand. A new run takes their place; what is not saved yet is saved "
            "first, and every saved version can be brought back."
        )
        with v.VCardActions():
            v.VSpacer()
            v.VBtn("Keep them", click="ask_replace = false")
            v.VBtn("Segment again", id="replace", color="primary", variant="flat",
                   click=("ask_replace = false; " + _call(bench, bench.segment, "[true, replace_forced]")))  # fmt: skip


def _call(bench: Workbench, act: Callable[..., Awaitable], arguments: str) -> str:
    """An expression of the page that calls `act`, which waits for something."""
    return f"trigger('{bench.server.controller.trigger_name(bench.clicks.begin(act))}', {arguments})"


def _versions(bench: Workbench) -> None:
    with v.VDialog(v_model=("versions_shown",), max_width=WIDTH, scrollable=True), v.VCard(title="Saved versions"):
        with v.VCardText():
            html.Div("Nothing was saved for this scan.", v_if="!versions.length")
            with v.VList(density="compact", lines="two"):
                with v.VListItem(v_for="item in versions", key="item.name", title=("item.title",),
                                 subtitle=("item.subtitle",)):  # fmt: skip
                    with v.Template(v_slot_append=True):
                        v.VBtn("Bring back", size="small", variant="tonal", raw_attrs=[':data-version="item.name"'],
                               click=(bench.clicks.begin(bench.bring_back), "[item.name]"))  # fmt: skip
        with v.VCardActions():
            v.VSpacer()
            v.VBtn("Close", click="versions_shown = false")


def _history() -> None:
    with v.VDialog(v_model=("history_shown",), max_width=WIDTH, scrollable=True), v.VCard(title="Who changed what"):
        with v.VCardText():
            html.Div("Nothing was changed since this scan was listed.", v_if="!history.length")
            with html.Div(v_for="item, n in history", key="n", classes="mb-2"):
                html.Div("{{ item.title }}", classes="text-body-2")
                html.Div("{{ item.subtitle }}", classes="text-caption")
        with v.VCardActions():
            v.VSpacer()
            v.VBtn("Close", click="history_shown = false")


def _rename(bench: Workbench) -> None:
    shown = {"model_value": ("!!renaming",), "update_modelValue": "renaming = ''"}
    with v.VDialog(**shown, max_width=WIDTH), v.VCard(title="Name and color"):
        with v.VCardText(), html.Div(classes="d-flex align-center"):
            html.Input(type="color", v_model=("new_color",), style="width: 44px; height: 38px;", classes="mr-3",
                       **named("Color"))  # fmt: skip
            v.VTextField(v_model=("new_name",), label="Name", maxlength=100, id="new-name", autofocus=True)
        with v.VCardActions():
            v.VSpacer()
            v.VBtn("Cancel", click="renaming = ''")
            v.VBtn("Apply", id="apply-name", color="primary", variant="flat",
                   click=bench.clicks.attempt(bench.segments.apply_name))  # fmt: skip


def _reject(bench: Workbench) -> None:
    shown = {"model_value": ("!!rejecting",), "update_modelValue": "rejecting = null"}
    with v.VDialog(**shown, max_width=WIDTH), v.VCard(title="Reject this scan"):
        with v.VCardText():
            v.VTextField(v_model=("reason",), label="Why it can't be used", maxlength=500, id="reason", autofocus=True)
        with v.VCardActions():
            v.VSpacer()
            v.VBtn("Cancel", click="rejecting = null")
            v.VBtn("Reject", id="reject-now", color="error", variant="flat", disabled=("!reason.trim()",),
                   click=(bench.clicks.attempt(bench.worklist_actions.reject), "[rejecting, reason]"))  # fmt: skip
