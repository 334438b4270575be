"""In the browser: the worklist takes a folder through, and the finished scans leave it as a dataset."""

import numpy as np
import pytest

from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")

from Workbench.store.entries import State  # noqa: E402
from Workbench.store.versions import Versions  # noqa: E402
from Workbench.store.worklist import Worklist  # noqa: E402

L3 = 22


@pytest.fixture
def data(tmp_path, sample_scan):
    """Scans a and c with a result, b without; c is done; and a link to a file that is gone."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, slices in (("a", 60), ("b", 50), ("c", 40)):
        affine = sample_scan.volume.affine
        write_volume(Volume(sample_scan.volume.array[:slices], affine), folder / f"{name}.nii.gz")
        if name != "b":
            labels = Volume((L3 * sample_scan.bone[:slices]).astype(np.uint8), affine)
            versions = Versions(folder / f"{name}.nii.gz", folder)
            versions.save(labels, {L3: "L3 vertebra"}, kind="model", by="model", report={"model": "tiny 0"})
    worklist = Worklist.open(folder, "tester")
    worklist.add([folder])
    worklist.set_state(3, State.DONE)
    (folder / "link.nii.gz").symlink_to(folder / "gone.nii.gz")
    return folder


def test_a_folder_is_taken_through_and_exported(data, tiny_model, tmp_path, sample_scan):
    require_browser()
    server = WorkbenchServer(data, tiny_model, data)
    page = Page(server.address, tmp_path)
    worklist = Worklist.open(data, "tester")

    def opened(name: str) -> None:
        page.until(lambda: page.state("scan_name") == name and not page.state("opening"))

    try:
        opened("a.nii.gz")
        # One link that leads nowhere keeps nothing else out.
        assert [entry["name"] for entry in page.state("entries")] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
        page.until(lambda: "link.nii.gz" in " ".join(page.state("remarks")))
        assert page.state("cohort") == "1 of 3 finished"

        page.tab("Worklist")
        page.until(lambda: page.find("notes").is_displayed())
        page.find("notes").send_keys("metal at L4")
        page.click("next")
        opened("b.nii.gz")
        assert worklist.entry(1).notes == "metal at L4" and page.state("notes") == ""
        page.click("reject")
        page.until(lambda: page.find("reason").is_displayed())
        page.find("reason").send_keys("of another scan")
        page.press(".v-overlay--active .v-card-actions button")
        page.until(lambda: not page.driver.find_elements("css selector", ".v-overlay--active"))
        page.click("reject")
        page.until(lambda: page.find("reason").is_displayed())
        page.find("reason").send_keys("half of it is missing")
        page.click("reject-now")
        page.until(lambda: page.state("entries")[1]["state"] == "rejected")
        assert worklist.entry(2).reason == "half of it is missing"
        page.until(lambda: page.state("cohort") == "2 of 3 finished")
        page.click("previous")
        opened("a.nii.gz")
        assert page.state("notes") == "metal at L4"
        page.click("next")
        page.until(lambda: "No other scan is open" in page.state("notice"))

        page.press("[data-entry='2'] button")
        page.until(lambda: page.state("entries")[1]["state"] == "new")
        assert worklist.entry(2).reason is None
        page.click("done")
        opened("b.nii.gz")
        assert worklist.entry(1).state is State.DONE

        (data / "c.nii.gz").unlink()
        page.click("export-set")
        page.until(lambda: page.state("status").startswith("Exported"))
        [warning] = page.state("remarks")
        assert warning.startswith("Number 3 was left out: ") and "is gone" in warning
        [dataset] = tmp_path.glob("data-dataset-*")
        assert page.state("status") == f"Exported 1 of 2 finished scans to '{dataset}'."
        [masks] = dataset.rglob("*_seg-vert_msk.nii.gz")
        np.testing.assert_array_equal(read_labels(masks).array == L3, sample_scan.bone)

        write_volume(Volume(sample_scan.volume.array[:45], sample_scan.volume.affine), data / "d.nii.gz")
        page.click("look")
        page.until(lambda: len(page.state("entries")) == 4)
        assert "link.nii.gz" in " ".join(page.state("remarks"))
        assert page.faults() == []
    finally:
        page.close()
        server.end()
