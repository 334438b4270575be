"""In the browser: a screen reader finds a name for every control, and is told of what appears."""

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")

from Workbench.store.versions import Versions  # noqa: E402

CONTROLS = {
    "button", "checkbox", "ColorWell", "combobox", "progressbar", "slider", "spinbutton", "tab", "textbox",
}  # fmt: skip
# Of each tab, something at its end.
LAST = {"Worklist": "Reject...", "Segments": "Discs and spinal canal, too", "Levels": "Lumbar"}


@pytest.fixture
def page(tmp_path, sample_scan, tiny_model):
    """With a scan that has a result with a level."""
    require_browser()
    write_volume(sample_scan.volume, tmp_path / "a.nii.gz")
    labels = Volume((22 * sample_scan.bone).astype(np.uint8), sample_scan.volume.affine)
    Versions(tmp_path / "a.nii.gz", tmp_path).save(labels, {22: "L3 vertebra"}, kind="correction", by="anna")
    server = WorkbenchServer(tmp_path, tiny_model, tmp_path / "a.nii.gz")
    page = Page(server.address, tmp_path)
    page.until(lambda: page.state("scan_name") == "a.nii.gz" and not page.state("opening"))
    yield page
    page.close()
    server.end()


def spoken(page: Page) -> list[tuple[str, str]]:
    """Role and name of all that is shown, as the browser hands them to a screen reader."""
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    # Vuetify gives the role of a select to the frame around it, too, which can't be reached.
    frames = [node for node in nodes if (node["role"]["value"], _focusable(node)) == ("combobox", False)]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes if not node["ignored"] and node not in frames
    ]  # fmt: skip


def _focusable(node: dict) -> bool:
    return any(item["name"] == "focusable" and item["value"]["value"] for item in node.get("properties", []))



def test_every_control_has_a_name(page):
    page.driver.execute_script("trame.state.update({limited: true, filter: 'a', running: true, all_running: true})")
    page.until(lambda: page.state("running") and page.find("progress").is_displayed())
    found = set()
    for tab in ("Worklist", "Segments", "Levels"):
        page.tab(tab)
        # Once it has moved in.
        page.until(lambda tab=tab: any(name == LAST[tab] for _, name in spoken(page)))
        found.update(spoken(page))
    page.driver.execute_script("trame.state.set('renaming', true)")
    page.until(lambda: page.find("new-name").is_displayed())
    found.update(spoken(page))
    controls = [(role, name) for role, name in found if role in CONTROLS]
    assert {role for role, _ in controls} == CONTROLS
    assert [role for role, name in controls if not name.strip()] == []


def test_what_appears_is_announced(page):
    page.driver.execute_script("trame.state.update({notice: 'fault', warnings: ['warning'], remarks: ['remark']})")
    for name, role in (("notice", "alert"), ("warnings", "status"), ("remarks", "status"), ("status", "status")):
        page.until(lambda name=name, role=role: page.find(name).get_attribute("role") == role)
