"""In the browser: all new scans are segmented in one go, while others are opened and corrected."""

import shutil

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.processes import working_on
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")
keys = pytest.importorskip("selenium.webdriver").Keys

from Workbench.store.entries import State  # noqa: E402
from Workbench.store.worklist import Worklist  # noqa: E402

STROKE = ((0.40, 0.45), (0.60, 0.45))


@pytest.fixture
def data(tmp_path, sample_scan):
    """Scans a, b and c, of which b is no CT, in a folder with the list in a folder of its own."""
    folder = tmp_path / "scans"
    folder.mkdir()
    volume = sample_scan.volume
    shutil.copy(sample_scan.path, folder / "a.nii.gz")
    write_volume(Volume(volume.array.clip(0) * 40, volume.affine), folder / "b.nii.gz")
    write_volume(Volume(volume.array[:50], volume.affine), folder / "c.nii.gz")
    (folder / "SpineContextSeg").mkdir()
    return folder / "SpineContextSeg"


@pytest.fixture
def start(data, tmp_path):
    """Starts a server on the scans and opens its page, with the first scan open."""
    require_browser()
    opened = []

    def start(model) -> Page:
        (tmp_path / "temporary").mkdir()
        opened.append(server := WorkbenchServer(data, model, data.parent, tmp_path / "temporary"))
        opened.append(page := Page(server.address, tmp_path))
        page.until(lambda: page.state("scan_name") == "a.nii.gz" and not page.state("opening"))
        page.tab("Worklist")
        return page

    yield start
    for thing in reversed(opened):
        thing.close() if isinstance(thing, Page) else thing.end()


def test_all_that_can_be_segmented_are(data, tiny_model, start, tmp_path, sample_scan):
    page = start(tiny_model)
    page.click("segment-all")
    page.until(lambda: page.state("all_running"))
    page.until(lambda: not page.state("all_running"), 120)
    assert page.state("status") == "2 of 3 new scans were segmented, 1 could not be: the list says why."
    assert [entry["state"] for entry in page.state("entries")] == ["segmented", "new", "segmented"]
    name, state = page.driver.find_element("css selector", "[data-entry='2']").text.split("\n")
    assert name == "2 b.nii.gz" and state.startswith("new: ") and "Hounsfield" in state
    worklist = Worklist.open(data, "tester")
    assert "Hounsfield" in worklist.entry(2).problem
    [version] = worklist.versions(3).list()
    assert version.kind == "model" and version.by == "tester" and version.report["model"].startswith("tiny")
    labels = worklist.versions(3).load(version).array
    np.testing.assert_array_equal(labels, sample_scan.bone[:50])
    # The one that was open, and untouched, is shown.
    page.until(lambda: [item["name"] for item in page.state("segments")] == ["Vertebrae"])
    assert not page.state("unsaved")

    legend = page.driver.find_element("id", "legend").text.split("\n")
    assert legend[:2] == ["new 1", "segmented 2"]
    # The next try is of the one that is still new.
    page.click("segment-all")
    page.until(lambda: "0 of 1" in page.state("status") and not page.state("all_running"))
    # The dataset lies beside the scans, not among them.
    worklist.set_state(3, State.DONE)
    page.click("export-set")
    page.until(lambda: page.state("status").startswith("Exported 1"))
    assert len(list(tmp_path.glob("scans-dataset-*"))) == 1
    assert page.faults() == []


def test_others_are_corrected_meanwhile_and_it_can_be_cancelled(data, slow_model, start, tmp_path):
    page = start(slow_model)
    page.click("segment-all")
    page.until(lambda: page.state("all_share") and working_on(tmp_path / "temporary"))
    page.click("segment")
    page.until(lambda: "All new scans are being segmented" in page.state("notice"))
    page.press("[data-entry='3']")
    page.until(lambda: page.state("scan_name") == "c.nii.gz" and not page.state("opening"))
    page.tab("Segments")
    page.click("add-segment")
    page.until(lambda: page.state("active_segment"))
    page.click("tool-paint")
    page.until(lambda: page.state("tool") == "paint")
    page.drag("Axial", *STROKE)
    page.until(lambda: page.state("can_undo"))
    [painted] = page.scene().values()
    assert page.state("all_running")
    page.tab("Worklist")
    page.click("cancel-all")
    page.until(lambda: not page.state("all_running"), 15)
    assert working_on(tmp_path / "temporary") == []
    [still] = page.scene().values()
    np.testing.assert_array_equal(still, painted)
    assert {entry.problem for entry in Worklist.open(data, "tester").entries()} == {None}
    assert page.faults() == []


def test_the_list_is_filtered_and_shows_the_open_scan(tmp_path, tiny_model, sample_scan):
    require_browser()
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(1, 31):
        volume = Volume(sample_scan.volume.array[: 10 + number], sample_scan.volume.affine)
        write_volume(volume, folder / f"scan_{number:02d}.nii.gz")
    worklist = Worklist.open(folder, "tester")
    worklist.add([folder])
    worklist.set_notes(7, "Metal at L4")
    server = WorkbenchServer(folder, tiny_model, folder / "scan_30.nii.gz")
    page = Page(server.address, tmp_path)

    def listed() -> list[str]:
        return [row.get_attribute("data-entry") for row in page.driver.find_elements("css selector", "[data-entry]")]

    try:
        page.until(lambda: page.state("scan_name") == "scan_30.nii.gz" and not page.state("opening"))
        page.tab("Worklist")
        inside = (
            "const row = document.querySelector('[data-entry=\"30\"]').getBoundingClientRect();"
            "const list = document.querySelector('.entries').getBoundingClientRect();"
            "return row.height > 0 && list.top <= row.top && row.bottom <= list.bottom + 1"
        )
        page.until(lambda: page.driver.execute_script(inside))
        assert len(listed()) == 30
        field = page.find("filter")
        field.send_keys("metal")
        page.until(lambda: listed() == ["7"])
        field.send_keys(keys.CONTROL, "a")
        field.send_keys("new scan_2")
        page.until(lambda: listed() == [str(number) for number in range(20, 30)])
        assert page.faults() == []
    finally:
        page.close()
        server.end()
