"""Takes the README's pictures of the workbench into Resources/Workbench/: a real browser, shipped weights and sample.

python -m Testing.take_workbench_pictures
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import SpineContextSegLib
from SpineContextSegLib.labels import STRUCTURES
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Workbench.store.entries import State
from Workbench.store.worklist import Worklist

from .browser import Page
from .workbench_server import WorkbenchServer

PICTURES = Path(__file__).parents[1] / "Resources" / "Workbench"
SAMPLE = Path(SpineContextSegLib.__file__).parent / "sample"
MODEL = "spinecontext-ct"
# Views draw a moment after the scene has changed.
SETTLE_SECONDS = 8.0
RUN_SECONDS = 600.0
STATES = (State.DONE, State.DONE, State.SEGMENTED, State.REJECTED, State.NEW)


def main() -> None:
    """Takes all of them."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        _fill(data)
        server = WorkbenchServer(data, MODEL, data / "trunk_1.nii.gz")
        page = Page(server.address, data)
        try:
            _take(page)
        finally:
            page.close()
            server.end()


def _fill(data: Path) -> None:
    """A folder of parts of the sample, each at another point of the work; number 2 tells its vertebrae apart."""
    scan, _ = read_volume(SAMPLE / "phantom_ct.nii.gz")
    truth = read_labels(SAMPLE / "phantom_labels.nii.gz")
    shutil.copy(SAMPLE / "phantom_ct.nii.gz", data / "trunk_1.nii.gz")
    for number, low in enumerate((0, 30, 60, 90, 110), start=2):
        write_volume(_part(scan, low), data / f"trunk_{number}.nii.gz")
    worklist = Worklist.open(data, "reader")
    entries = worklist.add([data])
    for entry, low, state in zip(entries[1:], (0, 30, 60, 90, 110), STATES):
        if state is not State.NEW:
            labels = _part(truth, low)
            labels = Volume(np.where(labels.array <= 26, labels.array, 0).astype(np.uint8), labels.affine)
            names = {int(value): STRUCTURES[value].name for value in np.unique(labels.array) if value}
            worklist.versions(entry.number).save(labels, names, kind="model", by="reader", report={"model": MODEL})
        worklist.set_state(entry.number, state, "implant hides L4" if state is State.REJECTED else None)


def _part(volume: Volume, low: int) -> Volume:
    part = slice(low, low + 100)
    return Volume(volume.array[part], volume.grid.crop((part, slice(None), slice(None))).affine)


def _take(page: Page) -> None:
    page.until(lambda: page.state("scan_name") == "trunk_1.nii.gz" and not page.state("opening"))
    page.click("segment")
    page.until(lambda: page.state("segments") and not page.state("running"), RUN_SECONDS)
    page.tab("Segments")
    page.press("[data-segment='T12 vertebra']")
    page.click("tool-paint")
    page.until(lambda: page.state("tool") == "paint")
    time.sleep(SETTLE_SECONDS)
    page.drag("Axial", (0.38, 0.56), (0.41, 0.54), (0.44, 0.56))
    page.until(lambda: page.state("can_undo"))
    time.sleep(SETTLE_SECONDS)
    page.picture(PICTURES / "segments.jpg")
    page.click("save")
    page.until(lambda: not page.state("unsaved"))
    page.tab("Worklist")
    page.until(lambda: page.driver.find_element("css selector", "[data-entry='2']")).click()
    page.until(lambda: page.state("scan_name") == "trunk_2.nii.gz" and not page.state("opening"))
    time.sleep(SETTLE_SECONDS)
    page.picture(PICTURES / "worklist.jpg")
    page.tab("Levels")
    page.click("levels-up")
    page.until(lambda: page.state("unsaved"))
    time.sleep(SETTLE_SECONDS)
    page.picture(PICTURES / "levels.jpg")


if __name__ == "__main__":
    main()
