"""In the browser: a question is about the scan that was open when it was asked, and has the keys to itself."""

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")
webdriver = pytest.importorskip("selenium.webdriver")

from Workbench.store.versions import Versions  # noqa: E402

NAMES = {21: "L2 vertebra", 22: "L3 vertebra"}


@pytest.fixture
def page(tmp_path, tiny_model, sample_scan):
    """With scans a and b of two vertebrae each, of which a is open; the list of scans is shown."""
    require_browser()
    data = tmp_path / "data"
    data.mkdir()
    for name, slices in (("a", 40), ("b", 50)):
        path = data / f"{name}.nii.gz"
        write_volume(Volume(sample_scan.volume.array[:slices], sample_scan.volume.affine), path)
        labels = np.zeros((slices, *sample_scan.bone.shape[1:]), np.uint8)
        labels[10:18, 20:30, 20:30], labels[20:28, 20:30, 20:30] = 22, 21
        result = Volume(labels, sample_scan.volume.affine)
        Versions(path, data).save(result, NAMES, kind="model", by="model", report={"model": "tiny 0"})
    server = WorkbenchServer(data, tiny_model, data)
    page = Page(server.address, tmp_path)
    opened(page, "a.nii.gz")
    page.tab("Worklist")
    yield page
    page.close()
    server.end()


def opened(page: Page, name: str) -> None:
    page.until(lambda: page.state("scan_name") == name and not page.state("opening"))


def type_keys(page: Page, keys: str) -> None:
    """To whatever has the focus."""
    webdriver.ActionChains(page.driver, duration=20).send_keys(keys).perform()


def press_behind(page: Page, selector: str) -> None:
    """Clicks what a dialog covers, as another tab with the same workbench can."""
    page.driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def settled(page: Page) -> None:
    """The server has heard of everything that was done before."""
    page.driver.execute_script("trame.state.set('opacity', 7)")
    page.until(lambda: page.state("opacity") == 1)


def focus(page: Page, name: str) -> None:
    page.until(lambda: page.driver.switch_to.active_element.get_attribute("id") == name)


def no_dialog(page: Page) -> None:
    page.until(lambda: not page.driver.find_elements("css selector", ".v-overlay--active"))


def states(page: Page) -> list[str]:
    return [entry["state"] for entry in page.state("entries")]


def test_a_scan_is_rejected_by_the_question_about_it(page):
    page.click("reject")
    focus(page, "reason")
    type_keys(page, "not been")
    page.until(lambda: page.state("reason") == "not been")
    press_behind(page, "[data-entry='2']")
    opened(page, "b.nii.gz")
    no_dialog(page)
    page.click("reject")
    focus(page, "reason")
    type_keys(page, "metal")
    page.click("reject-now")
    page.until(lambda: states(page) == ["segmented", "rejected"])
    assert page.state("entries")[1]["reason"] == "metal" and page.state("scan_name") == "b.nii.gz"
    no_dialog(page)
    assert page.faults() == []


def test_a_segment_gets_the_name_that_was_asked_for_it(page):
    page.tab("Segments")
    page.press("[data-segment='L2 vertebra'] [title='Name and color']")
    focus(page, "new-name")
    type_keys(page, " b")
    press_behind(page, "[data-segment='L3 vertebra']")
    page.until(lambda: page.state("active_segment") == page.state("segments")[1]["id"])
    page.click("apply-name")
    page.until(lambda: [item["name"] for item in page.state("segments")] == ["L2 vertebra b", "L3 vertebra"])
    assert page.state("scan_name") == "a.nii.gz"
    no_dialog(page)
    page.press("[data-segment='L3 vertebra'] [title='Name and color']")
    focus(page, "new-name")
    press_behind(page, "[data-entry='2']")
    opened(page, "b.nii.gz")
    no_dialog(page)
    assert [item["name"] for item in page.state("segments")] == ["L2 vertebra", "L3 vertebra"]
    assert page.faults() == []


def test_a_click_on_the_open_scan_leaves_it_as_it_is(page):
    page.tab("Segments")
    page.press("[data-segment='L2 vertebra'] [title='Remove']")
    page.until(lambda: page.state("can_undo") and page.state("unsaved"))
    page.tab("Worklist")
    page.press("[data-entry='1']")
    settled(page)
    assert page.state("can_undo") and page.state("unsaved") and not page.state("opening")
    # Another one is opened, and then it is asked for what was done, which no other session did.
    page.press("[data-entry='2']")
    opened(page, "b.nii.gz")
    assert page.state("recovery") is None
    page.press("[data-entry='1']")
    opened(page, "a.nii.gz")
    page.until(lambda: "it was kept when you left it" in page.find("found").text)
    page.click("recover")
    page.until(lambda: [item["name"] for item in page.state("segments")] == ["L3 vertebra"] and page.state("unsaved"))
    assert page.faults() == []


def test_keys_do_nothing_behind_a_list(page):
    page.click("show-versions")
    page.until(lambda: page.driver.find_elements("css selector", "[data-version]"))
    type_keys(page, "n")
    settled(page)
    assert page.state("scan_name") == "a.nii.gz" and not page.state("opening")
    type_keys(page, webdriver.Keys.ESCAPE)
    no_dialog(page)
    page.click("show-versions")
    page.until(lambda: page.driver.find_elements("css selector", "[data-version]"))
    press_behind(page, "[data-entry='2']")
    opened(page, "b.nii.gz")
    no_dialog(page)
    for closing in ("?", webdriver.Keys.ESCAPE):
        type_keys(page, "?")
        page.until(lambda: page.driver.find_elements("css selector", ".v-overlay--active .keys"))
        type_keys(page, closing)
        no_dialog(page)
    # Nor does the browser save the page.
    pressed = """return document.body.dispatchEvent(new KeyboardEvent("keydown",
                 {key: "s", ctrlKey: true, bubbles: true, cancelable: true}))"""
    type_keys(page, "?")
    page.until(lambda: page.driver.find_elements("css selector", ".v-overlay--active .keys"))
    assert page.driver.execute_script(pressed) is False
    type_keys(page, "?")
    no_dialog(page)
    # Without one they work again.
    type_keys(page, "b")
    opened(page, "a.nii.gz")
    # And where one writes the scan is saved, too.
    page.find("notes").send_keys(webdriver.Keys.CONTROL, "s")
    page.until(lambda: page.state("status").startswith("Saved as version"))
    assert page.faults() == []
