"""In the browser: levels, tools and worklist do what they say; a closed tab or a killed server loses nothing."""

import shutil
import time

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from Testing.browser import Page, require_browser
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")

from Workbench.store.entries import State  # noqa: E402
from Workbench.store.versions import Versions  # noqa: E402
from Workbench.store.worklist import Worklist  # noqa: E402

# Blocks of the sample's column, top to bottom, and what they are called at first: one too high.
BLOCKS = {"L2 vertebra": 48, "L3 vertebra": 36, "L4 vertebra": 24}
VALUES = {21: "L2 vertebra", 22: "L3 vertebra", 23: "L4 vertebra"}


@pytest.fixture
def data(tmp_path_factory, sample_scan):
    """A scan whose saved result tells three vertebrae apart."""
    folder = tmp_path_factory.mktemp("data")
    shutil.copy(sample_scan.path, folder / "a.nii.gz")
    labels = np.zeros(sample_scan.volume.array.shape, np.uint8)
    for value, name in VALUES.items():
        start = BLOCKS[name]
        labels[start : start + 12] = value * sample_scan.bone[start : start + 12]
    # A speck aside, for the islands.
    labels[30, 5:7, 5:7] = 22
    names = dict(VALUES)
    Versions(folder / "a.nii.gz", folder).save(
        Volume(labels, sample_scan.volume.affine), names, kind="model", by="model", report={"model": "tiny 0"}
    )
    return folder


def opened(page, name):
    page.until(lambda: page.state("scan_name") == name and not page.state("opening"))


def choose_l3(page: Page) -> None:
    """As the level that the chosen vertebra is to get."""
    page.press(".v-select:has(#level) .v-field")
    choices = page.until(lambda: page.driver.find_elements("css selector", ".v-overlay--active .v-list-item"))
    next(choice for choice in choices if choice.text == "L3").click()
    page.until(lambda: page.state("level") == 22)
    page.until(lambda: not page.driver.find_elements("css selector", ".v-overlay--active"))


def names_of(page):
    return [item["name"] for item in page.state("segments")]


def test_levels_tools_worklist_and_recovery(data, tiny_model, tmp_path, sample_scan):
    require_browser()
    server = WorkbenchServer(data, tiny_model, data / "a.nii.gz")
    page = Page(server.address, tmp_path)
    try:
        opened(page, "a.nii.gz")
        assert names_of(page) == list(VALUES.values())
        before = page.scene()
        # Found beside the scan, saved from outside.
        assert page.state("entries")[0]["state"] == "segmented"
        # The slices show the vertebra in the middle.
        place = np.argwhere(before["L3 vertebra"] & sample_scan.bone)[:, ::-1].mean(axis=0)
        axial = page.look()["middles"][2]
        assert np.abs(axial - sample_scan.volume.grid.world(place))[2] < 15

        page.tab("Levels")
        assert page.state("which") == 21
        page.driver.execute_script("trame.state.set('which', 22)")
        page.click("levels-down")
        page.until(lambda: names_of(page) == ["L3 vertebra", "L4 vertebra", "L5 vertebra"])
        # The same vertebra is still chosen.
        page.until(lambda: (page.state("which"), page.state("level")) == (23, 23))
        page.click("levels-up")
        page.until(lambda: names_of(page) == list(VALUES.values()) and page.state("which") == 22)
        page.click("undo")
        page.until(lambda: page.state("which") == 23)
        page.driver.execute_script("trame.state.set('which', 22)")
        after = page.scene()
        for old, new in zip(before, after):
            np.testing.assert_array_equal(before[old], after[new])
        page.click("levels-merge")
        page.until(lambda: names_of(page) == ["L3 vertebra", "L5 vertebra"])
        page.click("undo")
        page.until(lambda: len(names_of(page)) == 3)
        page.click("undo")
        page.until(lambda: names_of(page) == list(VALUES.values()))
        page.click("redo")
        page.until(lambda: names_of(page) == ["L3 vertebra", "L4 vertebra", "L5 vertebra"])
        for old, new in zip(before.values(), page.scene().values()):
            np.testing.assert_array_equal(old, new)

        page.tab("Segments")
        page.press("[data-segment='L4 vertebra']")
        page.until(lambda: page.state("active_segment") == page.state("segments")[1]["id"])
        page.click("largest")
        page.until(lambda: page.scene()["L4 vertebra"].sum() == after["L4 vertebra"].sum() - 4)
        cut = page.scene()

        # The tab is closed: what is unsaved is kept in passing. Then the server is killed.
        assert page.state("unsaved")
        versions = Versions(data / "a.nii.gz", data)
        page.close()
        end = time.monotonic() + 120
        while versions.list()[-1].kind != "autosave" and time.monotonic() < end:
            time.sleep(0.2)
        assert versions.list()[-1].kind == "autosave"
    finally:
        page.close()
        server.kill()

    server = WorkbenchServer(data, tiny_model, data)
    page = Page(server.address, tmp_path)
    try:
        opened(page, "a.nii.gz")
        assert names_of(page) == list(VALUES.values())
        page.click("recover")
        page.until(lambda: names_of(page) == ["L3 vertebra", "L4 vertebra", "L5 vertebra"])
        for name, mask in page.scene().items():
            np.testing.assert_array_equal(mask, cut[name])
        assert page.state("unsaved")

        page.tab("Worklist")
        page.click("done")
        page.until(lambda: "all are done" in page.state("notice") or page.state("entries")[0]["state"] == "done")
        worklist = Worklist.open(data, "tester")
        assert worklist.entry(1).state is State.DONE
        saved = worklist.accepted(1)
        labels = worklist.versions(1).load(saved)
        for value, name in ((22, "L3 vertebra"), (23, "L4 vertebra"), (24, "L5 vertebra")):
            np.testing.assert_array_equal(labels.array == value, cut[name])
        assert page.faults() == []
    finally:
        page.close()
        server.end()


def test_every_tool_and_repair_can_be_undone(data, tiny_model, tmp_path):
    require_browser()
    server = WorkbenchServer(data, tiny_model, data / "a.nii.gz")
    page = Page(server.address, tmp_path)
    body = page.driver.find_element("tag name", "body")

    def undone() -> None:
        page.click("undo")
        page.until(lambda: page.scene().keys() == before.keys())
        for name, mask in page.scene().items():
            np.testing.assert_array_equal(mask, before[name])

    try:
        opened(page, "a.nii.gz")
        before = page.scene()
        page.press("[data-segment='L3 vertebra']")
        page.until(lambda: page.state("active_segment") == page.state("segments")[1]["id"])
        body.send_keys("f")
        body.send_keys("e")
        page.until(lambda: page.state("tool") == "erase")
        page.drag("Axial", (0.45, 0.5), (0.55, 0.5))
        page.until(lambda: page.state("can_undo"))
        erased = page.scene()
        assert erased["L3 vertebra"].sum() < before["L3 vertebra"].sum()
        assert not (erased["L3 vertebra"] & ~before["L3 vertebra"]).any()
        undone()
        page.click("small-islands")
        page.until(lambda: page.scene()["L3 vertebra"].sum() == before["L3 vertebra"].sum() - 4)
        undone()
        page.click("smooth")
        page.until(lambda: (page.scene()["L3 vertebra"] != before["L3 vertebra"]).any())
        undone()

        page.tab("Levels")
        choose_l3(page)
        page.click("levels-swap")
        page.until(lambda: (page.scene()["L3 vertebra"] == before["L2 vertebra"]).all())
        np.testing.assert_array_equal(page.scene()["L2 vertebra"], before["L3 vertebra"])
        undone()
        # The level that is offered is that of the chosen vertebra again.
        assert page.state("which") == page.state("level") == 21
        choose_l3(page)
        page.click("levels-rename")
        page.until(lambda: names_of(page) == ["L3 vertebra", "L4 vertebra", "L5 vertebra"])
        undone()
        page.tab("Segments")
        page.press("[data-segment='L2 vertebra'] [title^='Go to']")
        page.tab("Levels")
        page.click("levels-split")
        page.until(lambda: len(names_of(page)) == 4)
        undone()

        page.click("export")
        page.click("export-stl")
        assert page.downloaded(".zip").stat().st_size > 1000
        body.send_keys("?")
        page.until(lambda: page.state("show_shortcuts"))
        body.send_keys("?")
        page.until(lambda: not page.state("show_shortcuts"))

        # A new run asks before it replaces what was done by hand.
        page.click("levels-down")
        page.until(lambda: page.state("unsaved"))
        page.click("segment")
        page.until(lambda: page.state("ask_replace"))
        page.click("replace")
        page.until(lambda: names_of(page) == ["Vertebrae"] and not page.state("running"))
        assert page.faults() == []
    finally:
        page.close()
        server.end()
