"""In the browser: the views show the spine, as a whole, and say where one is."""

import time

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")

from Workbench.store.versions import Versions  # noqa: E402

# As Slicer calls them.
VIEWS = {"Sagittal": "yellow", "Coronal": "green", "Axial": "red"}
BODIES = slice(27, 42)
NAMES = {20 + n: f"L{n + 1} vertebra" for n in range(5)}


@pytest.fixture(scope="module")
def scan(sample_scan) -> Volume:
    """As tall as a trunk."""
    return Volume(sample_scan.volume.array, sample_scan.volume.affine @ np.diag([1, 1, 2.5, 1]))


@pytest.fixture(scope="module")
def server(tmp_path_factory, scan, sample_scan, tiny_model):
    """With a scan whose saved result is its whole column."""
    require_browser()
    folder = tmp_path_factory.mktemp("data")
    write_volume(scan, folder / "a.nii.gz")
    labels = np.zeros(scan.array.shape, np.uint8)
    drawn = np.zeros(labels.shape, bool)
    drawn[:, BODIES] = sample_scan.bone[:, BODIES]
    # As much behind the canal as arches and processes are.
    drawn[:, 44:54, 26:43] = True
    for n, value in enumerate(NAMES):
        part = slice(60 - 12 * (n + 1), 60 - 12 * n)
        labels[part] = value * drawn[part]
    Versions(folder / "a.nii.gz", folder).save(
        Volume(labels, scan.affine), NAMES, kind="model", by="model", report={"model": "tiny 0"}
    )
    server = WorkbenchServer(folder, tiny_model, folder / "a.nii.gz")
    yield server
    server.end()


@pytest.fixture
def page(server, tmp_path):
    page = Page(server.address, tmp_path)
    page.until(lambda: page.state("scan_name") == "a.nii.gz" and not page.state("opening"))
    yield page
    try:
        assert page.faults() == []
    finally:
        page.close()


def test_every_button_of_a_view_lies_in_it(page):
    buttons = page.driver.find_elements("css selector", ".view-button")
    boxes = [page.view(name) for name in ("Sagittal", "Coronal", "Axial", "3D")]
    assert len(buttons) == len(boxes)
    for button, (left, top, width, height) in zip(buttons, boxes):
        x, y = button.rect["x"] - left, button.rect["y"] - top
        assert 0.8 * width < x < width and 0 <= y < 0.2 * height


def test_slices_run_through_bodies_and_show_all_of_the_scan(page, scan, sample_scan):
    middle = scan.grid.world(np.argwhere(scan.array > -2000)[:, ::-1].mean(axis=0))
    look = page.look()
    sagittal, coronal, axial = look["middles"]
    # The picture isn't moved, only the slice.
    np.testing.assert_allclose([sagittal[1], sagittal[2]], middle[[1, 2]], atol=3)
    np.testing.assert_allclose([coronal[0], coronal[2]], middle[[0, 2]], atol=3)
    np.testing.assert_allclose([axial[0], axial[1]], middle[[0, 1]], atol=3)
    places = scan.grid.world(np.argwhere(sample_scan.bone[:, BODIES])[:, ::-1] + (0, BODIES.start, 0))
    assert abs(coronal[1] - np.median(places[:, 1])) < 6
    assert abs(sagittal[0] - np.median(places[:, 0])) < 8


def test_a_key_and_a_button_show_whole_slices_again(page):
    body = page.driver.find_element("tag name", "body")

    def settled() -> dict:
        """What the page shows once two looks agree: views change one after the other."""
        before, look = None, page.look()
        while look != before:
            time.sleep(0.3)
            before, look = look, page.look()
        return look

    def drag() -> None:
        left, top, width, height = page.view("Axial")
        x, y = left + width / 2, top + height / 2
        for kind, dy in (("mousePressed", 0), ("mouseMoved", 60), ("mouseReleased", 60)):
            event = {"type": kind, "x": x, "y": y + dy, "button": "right", "buttons": 2, "clickCount": 1}
            page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def zoom() -> list:
        before = settled()["fields_mm"]
        # A page that has just come up takes no drag yet.
        page.until(lambda: drag() or settled()["fields_mm"] != before)
        return settled()["fields_mm"]

    zoomed = zoom()
    body.send_keys("r")
    page.until(lambda: settled()["fields_mm"] != zoomed)
    whole = settled()
    zoom()
    page.driver.find_elements("css selector", ".view-button")[2].click()
    page.until(lambda: all(np.allclose(settled()[name], whole[name], atol=0.1) for name in ("fields_mm", "offsets")))


def test_letters_place_and_value_under_the_mouse(page, scan):
    def edges(view: str) -> list[str]:
        return [letter.text for letter in page.driver.find_elements("css selector", f"#bearings_{VIEWS[view]} div")]

    assert edges("Axial") == ["R", "L", "A", "P"]
    assert edges("Coronal") == ["R", "L", "S", "I"]
    assert edges("Sagittal") == ["A", "P", "S", "I"]
    height = page.look()["offsets"][2]
    assert page.state("bearings_red")["place"] == f"{'S' if height >= 0 else 'I'} {abs(height):.1f} mm"

    page.point_at("Axial", 0.5, 0.55)
    words = page.until(lambda: page.state("under_mouse"))
    place, value = words.split(":")
    point = [float(word) * (1 if letter in "RAS" else -1) for letter, word in
             (part.split()[:2] for part in place.split("  "))]  # fmt: skip
    index = np.linalg.inv(scan.affine) @ (*point, 1)
    i, j, k = np.rint(index[:3]).astype(int)
    near = scan.array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2]
    number, unit = value.split()
    page.driver.execute_script("document.querySelector('.views').dispatchEvent(new MouseEvent('mouseleave'))")
    page.until(lambda: not page.state("under_mouse"))
    assert unit == "HU" and near.min() <= float(number) <= near.max()


def test_the_whole_column_is_in_view_after_a_run(tmp_path, scan, tiny_model):
    require_browser()
    write_volume(scan, tmp_path / "b.nii.gz")
    server = WorkbenchServer(tmp_path, tiny_model, tmp_path / "b.nii.gz")
    page = Page(server.address, tmp_path)
    try:
        page.until(lambda: page.state("scan_name") == "b.nii.gz" and not page.state("opening"))
        page.click("segment")
        page.until(lambda: page.state("segments") and not page.state("running"))
        look = page.look()
        assert look["surfaces_seen"]
        # As near as the button brings it, which is pressed until nothing changes any more.
        for _ in range(2):
            page.driver.find_elements("css selector", ".view-button")[3].click()
            time.sleep(2)
        assert look["zoom"] == pytest.approx(page.look()["zoom"], rel=0.03)
    finally:
        page.close()
        server.end()


def test_slices_show_what_a_run_and_an_earlier_version_put_there(tmp_path, scan, tiny_model):
    require_browser()
    write_volume(scan, tmp_path / "c.nii.gz")
    # Larger than the bone that the run finds.
    labels = np.zeros(scan.array.shape, np.uint8)
    labels[5:-5, 5:-5, 5:-5] = 20
    versions = Versions(tmp_path / "c.nii.gz", tmp_path)
    versions.save(Volume(labels, scan.affine), NAMES, kind="model", by="model", report={"model": "tiny 0"})
    server = WorkbenchServer(tmp_path, tiny_model, tmp_path / "c.nii.gz")
    page = Page(server.address, tmp_path)

    def seen() -> np.ndarray:
        """The share of each slice view that is neither gray nor almost."""
        pictures = (page.view_picture(view) for view in VIEWS)
        return np.array([(np.ptp(picture, axis=2) > 40).mean() for picture in pictures])

    try:
        page.until(lambda: page.state("scan_name") == "c.nii.gz" and not page.state("opening"))
        page.until(lambda: (seen() > 0.1).all())
        opened = seen()
        page.click("segment")
        page.until(lambda: page.state("status").startswith("Done") and not page.state("running"))
        page.until(lambda: (seen() < 0.6 * opened).all())
        page.click("show-versions")
        page.press(f"[data-version='{versions.list()[0].folder.name}']")
        page.until(lambda: page.state("unsaved") and not page.state("opening"))
        page.until(lambda: np.allclose(seen(), opened, rtol=0.1))
    finally:
        page.close()
        server.end()


def test_the_first_stroke_is_in_view(tmp_path, scan, tiny_model):
    require_browser()
    # Where a scanner's table may be, and the view's own camera doesn't look.
    affine = scan.affine.copy()
    affine[2, 3] -= 1500
    write_volume(Volume(scan.array, affine), tmp_path / "d.nii.gz")
    server = WorkbenchServer(tmp_path, tiny_model, tmp_path / "d.nii.gz")
    page = Page(server.address, tmp_path)

    def paint(y: float) -> None:
        before = sum(mask.sum() for mask in page.scene().values())
        page.drag("Axial", (0.4, y), (0.6, y))
        page.until(lambda: sum(mask.sum() for mask in page.scene().values()) > before)

    try:
        page.until(lambda: page.state("scan_name") == "d.nii.gz" and not page.state("opening"))
        page.click("add-segment")
        page.click("tool-paint")
        page.until(lambda: page.state("tool") == "paint")
        paint(0.5)
        page.until(lambda: (np.ptp(page.view_picture("3D"), axis=2) > 40).mean() > 0.02)
        zoom = page.look()["zoom"]
        # From then on the view is the user's.
        paint(0.3)
        assert page.look()["zoom"] == zoom
    finally:
        page.close()
        server.end()
