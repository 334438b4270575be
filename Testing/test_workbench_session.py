"""In the browser: however a session is left or ended, nothing is lost, and the next one says what there is."""

import os
import shutil
import signal

import numpy as np
import pytest

from SpineContextSegLib.levels import Levels
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")

from Workbench.store.versions import Versions  # noqa: E402
from Workbench.store.worklist import Worklist  # noqa: E402

VALUE, NAME = 22, "L3 vertebra"
# As the library words it, so that another wording there is seen here.
UNSURE = Levels((VALUE,), (0.5,), ("first ribs",)).reason
STROKE = ((0.40, 0.45), (0.60, 0.45))


@pytest.fixture
def data(tmp_path, sample_scan):
    """Scan a with a result that comes with a warning, and scan b without one."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(sample_scan.path, folder / "a.nii.gz")
    write_volume(Volume(sample_scan.volume.array[:40], sample_scan.volume.affine), folder / "b.nii.gz")
    labels = np.zeros(sample_scan.volume.array.shape, np.uint8)
    labels[24:36] = VALUE * sample_scan.bone[24:36]
    report = {"model": "tiny 0", "warnings": [UNSURE]}
    Versions(folder / "a.nii.gz", folder).save(
        Volume(labels, sample_scan.volume.affine), {VALUE: NAME}, kind="model", by="model", report=report
    )
    return folder


@pytest.fixture
def start(tmp_path):
    """Starts a server and opens its page."""
    require_browser()
    opened = []

    def start(*arguments, **options) -> tuple[WorkbenchServer, Page]:
        opened.append(server := WorkbenchServer(*arguments, **options))
        opened.append(page := Page(server.address, tmp_path))
        return server, page

    yield start
    for thing in reversed(opened):
        thing.close() if isinstance(thing, Page) else thing.end()


def opened(page: Page, name: str) -> None:
    page.until(lambda: page.state("scan_name") == name and not page.state("opening"))


def paint(page: Page) -> np.ndarray:
    """Paints into the scan that is open, and returns what is there then."""
    page.tab("Segments")
    page.press(f"[data-segment='{NAME}']")
    page.click("tool-paint")
    page.until(lambda: page.state("tool") == "paint")
    page.drag("Axial", *STROKE)
    page.until(lambda: page.state("can_undo"))
    return page.scene()[NAME]


def test_who_stays_on_the_page_works_on(data, tiny_model, start):
    """The browser asks before a page with unsaved work is left; until then its connection must live."""
    _, page = start(data, tiny_model, data / "a.nii.gz")
    opened(page, "a.nii.gz")
    leave = (
        "const event = new Event('beforeunload', {cancelable: true}); window.dispatchEvent(event);"
        "return event.defaultPrevented"
    )
    paint(page)
    page.until(lambda: page.state("unsaved"))
    assert page.driver.execute_script(leave)
    page.click("undo")
    page.until(lambda: not page.state("unsaved"))
    assert page.faults() == []
    assert not page.driver.execute_script(leave)


def test_the_worklist_is_there_after_a_restart(data, tiny_model, start):
    Worklist.open(data, "tester").add([data])
    _, page = start(data, tiny_model)
    assert [entry["name"] for entry in page.state("entries")] == ["a.nii.gz", "b.nii.gz"]
    assert page.state("tab") == "worklist" and page.state("cohort") == "0 of 2 finished"
    page.press("[data-entry='2']")
    opened(page, "b.nii.gz")


def test_a_closed_terminal_loses_nothing(data, tiny_model, start):
    server, page = start(data, tiny_model, data / "a.nii.gz")
    opened(page, "a.nii.gz")
    painted = paint(page)
    server.end(signal.SIGHUP)
    versions = Versions(data / "a.nii.gz", data)
    np.testing.assert_array_equal(versions.load(versions.unsaved_autosave()).array == VALUE, painted)
    page.until(lambda: "Your work is kept" in page.find("ended").text)
    assert "If it still runs" in page.find("ended").text


def test_work_is_kept_when_the_hand_rests(data, tiny_model, start):
    """And a killed server loses none of it; what was taken back isn't offered later."""
    server, page = start(data, tiny_model, data / "a.nii.gz")
    opened(page, "a.nii.gz")
    painted = paint(page)
    versions = Versions(data / "a.nii.gz", data)
    [_, kept] = page.until(lambda: len(versions.list()) == 2 and versions.list(), 20)
    np.testing.assert_array_equal(versions.load(kept).array == VALUE, painted)
    page.click("undo")
    page.until(lambda: not page.state("unsaved"))
    server.end()
    assert versions.unsaved_autosave() is None


def test_exports_of_a_killed_server_are_removed(data, tiny_model, start, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    running, _ = start(data, tiny_model, temporary=temporary)
    [held] = temporary.glob("SpineContextSeg-exports-*")
    killed, _ = start(tmp_path / "data", tiny_model, temporary=temporary)
    [abandoned] = set(temporary.glob("SpineContextSeg-exports-*")) - {held}
    killed.kill()
    for folder in (held, abandoned):
        os.utime(folder / ".held", (0, 0))
    start(data, tiny_model, temporary=temporary)
    assert held.is_dir() and not abandoned.exists()


def test_warnings_stay_with_their_scan(data, tiny_model, start):
    _, page = start(data, tiny_model, data)
    opened(page, "a.nii.gz")
    [warning] = page.state("warnings")
    assert "uncertain" in warning
    # Above the views, not over them.
    strip, view = page.until(lambda: page.find("warnings")).rect, page.view("Sagittal")
    assert strip["y"] + strip["height"] <= view[1] + 1
    assert page.find("show-warnings").text == "1"
    page.press("#warnings [title='Close']")
    page.until(lambda: not page.driver.find_elements("id", "warnings"))

    page.tab("Levels")
    page.click("levels-down")
    page.until(lambda: page.state("unsaved"))
    page.click("export")
    page.click("export-seg-nrrd")
    page.downloaded(".seg.nrrd")
    page.click("show-warnings")
    assert page.until(lambda: page.find("warnings").text) == warning
    page.click("save")
    page.until(lambda: not page.state("unsaved"))
    page.tab("Worklist")
    page.press("[data-entry='2']")
    opened(page, "b.nii.gz")
    assert page.state("warnings") == []
    page.press("[data-entry='1']")
    opened(page, "a.nii.gz")
    assert page.state("warnings") == [warning]
    assert page.faults() == []


def test_the_status_line_says_nothing_that_has_passed(data, tiny_model, start):
    _, page = start(data, tiny_model, data / "a.nii.gz")
    opened(page, "a.nii.gz")
    page.click("save")
    page.until(lambda: page.state("status") == "Saved as version 2.")
    paint(page)
    assert "version 2" not in page.state("status")


def test_a_page_that_is_loaded_again_sends_nothing_any_more(data, tiny_model, start):
    _, page = start(data, tiny_model, data / "a.nii.gz")
    opened(page, "a.nii.gz")
    # A file that takes long.
    page.driver.execute_script("window.fetch = () => new Promise(() => {})")
    page.send_file(data / "b.nii.gz")
    page.until(lambda: page.find("status").text == "Sending the scan...")
    # The server has heard of everything since.
    page.driver.execute_script("trame.state.set('opacity', 7)")
    page.until(lambda: page.state("opacity") == 1)
    page.driver.refresh()
    page.until(lambda: page.find("status").text == "Opened 'a.nii.gz'.", 15)
    assert not page.state("sending")


def test_nothing_is_saved_of_nothing(data, tiny_model, start):
    _, page = start(data, tiny_model, data / "b.nii.gz")
    opened(page, "b.nii.gz")
    page.click("save")
    page.until(lambda: "nothing to save" in page.state("notice"))
    assert Versions(data / "b.nii.gz", data).list() == []


def test_notes_are_kept_while_they_are_typed(data, tiny_model, start):
    _, page = start(data, tiny_model, data / "a.nii.gz")
    opened(page, "a.nii.gz")
    page.tab("Worklist")
    page.until(lambda: page.find("notes").is_displayed())
    page.find("notes").send_keys("metal at L4")
    worklist = Worklist.open(data, "tester")
    page.until(lambda: worklist.entry(1).notes == "metal at L4", 15)
    assert len(worklist.history(1)) <= 3
