"""In the browser: every question has its way out, and every switch and number field does what it says."""

import shutil
import time

import numpy as np
import pytest
from conftest import bone_threshold_state, model_card

from SpineContextSegLib.model import FOLDER_VARIABLE
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.processes import working_on
from Testing.workbench_server import WorkbenchServer
from Training.export import export

pytest.importorskip("trame_slicer")
keys = pytest.importorskip("selenium.webdriver").Keys

from Workbench.store.versions import Versions  # noqa: E402

NAME, VALUE = "L3 vertebra", 22
BODY, DISC = 1, 4
# Across the column.
STROKE = ((0.40, 0.45), (0.60, 0.45))
LEFT_HALF = ((0.5, 0.05), (0.5, 0.3), (0.5, 0.6), (0.5, 0.9), (0.2, 0.9), (0.1, 0.5), (0.1, 0.05), (0.4, 0.05))


@pytest.fixture
def data(tmp_path, sample_scan):
    """A scan with a saved result, and later work on it that was only saved in passing."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(sample_scan.path, folder / "scan.nii.gz")
    labels = np.zeros(sample_scan.volume.array.shape, np.uint8)
    labels[24:36] = VALUE * sample_scan.bone[24:36]
    versions = Versions(folder / "scan.nii.gz", folder)
    for kind in ("model", "autosave"):
        report = {"model": "tiny 0"} if kind == "model" else None
        versions.save(Volume(labels, sample_scan.volume.affine), {VALUE: NAME}, kind=kind, by="model", report=report)
        labels[24:28] = 0
    versions.end()
    return folder


@pytest.fixture
def open_page(tmp_path):
    """Starts a server and opens its page, with a scan of the data folder in it."""
    require_browser()
    opened = []

    def start(data, model, scan="scan.nii.gz", temporary=None) -> Page:
        opened.append(server := WorkbenchServer(data, model, data / scan, temporary))
        opened.append(page := Page(server.address, tmp_path))
        page.until(lambda: page.state("scan_name") == scan and not page.state("opening"))
        return page

    yield start
    for thing in reversed(opened):
        thing.close() if isinstance(thing, Page) else thing.end()


def discard(page: Page) -> None:
    page.click("forget")
    page.until(lambda: page.state("recovery") is None)
    # The dialog takes a moment to go, and takes clicks meanwhile.
    page.until(lambda: not page.driver.find_elements("css selector", ".v-overlay--active"))


def test_cancel_leaves_the_scene_and_no_process(data, slow_model, tmp_path, open_page):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    page = open_page(data, slow_model, temporary=temporary)
    discard(page)
    before = page.scene()
    page.click("segment")
    page.until(lambda: working_on(temporary) and page.state("progress") is not None)
    page.click("cancel")
    page.until(lambda: not page.state("running"), 15)
    assert page.state("status") == "Cancelled, nothing was changed."
    assert working_on(temporary) == []
    assert {path.name.split("-")[1] for path in temporary.glob("SpineContextSeg-*")} == {"exports"}
    after = page.scene()
    assert before.keys() == after.keys() == {NAME}
    np.testing.assert_array_equal(before[NAME], after[NAME])
    assert not page.state("unsaved") and not page.state("can_undo")
    assert len(Versions(data / "scan.nii.gz", data).list()) == 2
    # And it is ready for another one.
    page.until(lambda: page.find("segment").is_enabled())
    assert page.faults() == []


def test_unsaved_work_can_be_discarded(data, tiny_model, sample_scan, open_page):
    write_volume(Volume(sample_scan.volume.array[:40], sample_scan.volume.affine), data / "other.nii.gz")
    page = open_page(data, tiny_model)
    assert "ended without saving" in page.state("recovery")
    discard(page)
    result = np.zeros(sample_scan.bone.shape, bool)
    result[24:36] = sample_scan.bone[24:36]
    np.testing.assert_array_equal(page.scene()[NAME], result)
    assert not page.state("unsaved")
    versions = Versions(data / "scan.nii.gz", data)
    assert versions.unsaved_autosave() is None
    # It isn't offered again, and neither is it gone from the disk.
    page.tab("Worklist")
    page.click("look")
    for number, name in ((2, "other.nii.gz"), (1, "scan.nii.gz")):
        page.press(f"[data-entry='{number}']")
        page.until(lambda name=name: page.state("scan_name") == name and not page.state("opening"))
    assert page.state("recovery") is None
    assert [version.kind for version in versions.list()] == ["model", "autosave"]
    assert page.faults() == []


def test_what_does_not_look_like_a_ct_is_segmented_only_when_told_to(tmp_path, tiny_model, sample_scan, open_page):
    folder = tmp_path / "data"
    folder.mkdir()
    strange = Volume(np.clip(sample_scan.volume.array, 0, None) * 40, sample_scan.volume.affine)
    write_volume(strange, folder / "cone.nii.gz")
    page = open_page(folder, tiny_model, "cone.nii.gz")
    page.click("segment")
    page.until(lambda: "Hounsfield" in page.state("notice") and not page.state("running"))
    assert page.scene() == {} and page.state("segments") == []
    # It is offered beside this refusal alone.
    page.click("save")
    page.until(lambda: "nothing to save" in page.find("notice").text)
    assert not page.driver.find_elements("id", "force")
    page.click("segment")
    page.click("force")
    page.until(lambda: page.state("segments") and not page.state("running"))
    assert page.scene()["Vertebrae"][sample_scan.bone].mean() > 0.8
    assert page.state("notice") == "" and page.state("warnings")
    [version] = Versions(folder / "cone.nii.gz", folder).list()
    assert version.kind == "model"
    assert page.faults() == []


def colorful(picture: np.ndarray) -> float:
    """The share of pixels that are neither gray nor almost."""
    return float((np.ptp(picture, axis=2) > 40).mean())


def test_switches_change_what_is_seen(data, tiny_model, sample_scan, open_page):
    page = open_page(data, tiny_model)
    discard(page)

    def slide(name: str, key: str) -> None:
        page.driver.find_element("css selector", f".v-slider:has(#{name}) .v-slider-thumb").send_keys(key)

    assert page.look()["surfaces"]
    page.until(lambda: colorful(page.view_picture("3D")) > 0.005)
    page.switch("show-3d")
    page.until(lambda: not page.look()["surfaces"])
    page.until(lambda: colorful(page.view_picture("3D")) < 0.001)
    page.switch("show-3d")
    page.until(lambda: page.look()["surfaces"] and colorful(page.view_picture("3D")) > 0.005)

    slide("opacity", keys.END)
    page.until(lambda: page.look()["opacity"] == 1.0)
    page.until(lambda: colorful(page.view_picture("Sagittal")) > 0.005)
    opaque = colorful(page.view_picture("Sagittal"))
    slide("opacity", keys.HOME)
    page.until(lambda: page.look()["opacity"] == 0.0)
    # The outline stays.
    page.until(lambda: colorful(page.view_picture("Sagittal")) < 0.5 * opaque)

    page.press(f"[data-segment='{NAME}']")
    page.click("tool-paint")
    page.until(lambda: page.state("tool") == "paint")

    def painted() -> int:
        """In how many axial slices a stroke paints; it is taken back."""
        before = page.scene()[NAME]
        page.drag("Axial", *STROKE)
        page.until(lambda: page.state("can_undo"))
        slices = np.flatnonzero((page.scene()[NAME] & ~before).any(axis=(1, 2)))
        page.click("undo")
        page.until(lambda: not page.state("can_undo"))
        return len(slices)

    assert painted() == 1
    page.switch("ball")
    page.until(lambda: page.state("sphere"))
    # Keys still work while the switch has the focus.
    assert page.driver.switch_to.active_element.get_attribute("id") == "ball"
    page.driver.switch_to.active_element.send_keys("p")
    page.until(lambda: page.state("tool") == "none")
    page.driver.switch_to.active_element.send_keys("p")
    page.until(lambda: page.state("tool") == "paint")
    # 8 mm in slices of 2.5 mm.
    assert painted() in (3, 4)
    assert page.faults() == []


def test_a_lasso_erases_what_is_inside_in_all_slices(data, tiny_model, sample_scan, open_page):
    page = open_page(data, tiny_model)
    discard(page)
    page.press(f"[data-segment='{NAME}']")
    before = page.scene()[NAME]
    # The left of a view is where i is low (the patient's right), or j (the front).
    behind_mm = (np.argwhere(before)[:, 1].mean() - 29.5) * 2
    behind = behind_mm / page.look()["fields_mm"][0][0]
    for view, axis, aside in (("Axial", 2, 0), ("Sagittal", 1, behind), ("Coronal", 2, 0)):
        page.click("tool-scissors")
        page.until(lambda: page.state("tool") == "scissors")
        page.drag(view, *((x + aside, y) for x, y in LEFT_HALF))
        page.until(lambda: page.state("can_undo"))
        after = page.scene()[NAME]
        erased = before & ~after
        assert not (after & ~before).any() and 0.3 < erased.sum() / before.sum() < 0.7
        assert np.nonzero(erased)[axis].max() < np.nonzero(after)[axis].min()
        np.testing.assert_array_equal(erased.any(axis=(1, 2)), before.any(axis=(1, 2)))
        page.click("undo")
        page.until(lambda: not page.state("can_undo"))
        np.testing.assert_array_equal(page.scene()[NAME], before)
        page.click("tool-scissors")
        page.until(lambda: page.state("tool") == "none")
    # Turned round, it erases what the same lasso left.
    page.click("tool-scissors")
    page.switch("keep-inside")
    page.until(lambda: page.state("keep_inside"))
    page.drag("Coronal", *LEFT_HALF)
    page.until(lambda: page.state("can_undo"))
    np.testing.assert_array_equal(page.scene()[NAME], erased)
    page.click("undo")
    page.until(lambda: not page.state("can_undo"))
    page.switch("keep-inside")
    page.click("tool-scissors")
    page.until(lambda: page.state("tool") == "none")
    # Held to what is denser than this bone, it erases nothing.
    page.driver.execute_script("trame.state.set('limits', [1000, 3000])")
    page.switch("limited")
    page.click("tool-scissors")
    page.until(lambda: page.state("limited") and page.state("tool") == "scissors")
    page.drag("Axial", *LEFT_HALF)
    time.sleep(2)
    np.testing.assert_array_equal(page.scene()[NAME], before)
    assert page.faults() == []


def test_limits_are_those_of_the_scan(data, tiny_model, sample_scan, open_page):
    page = open_page(data, tiny_model)
    assert page.state("limits_bounds") == [-200, 3000] and page.state("limits_unit") == "HU"
    signal = np.clip(sample_scan.volume.array.astype(np.float32), 0, 400) / 400
    write_volume(Volume(signal, sample_scan.volume.affine), data / "mr.nii.gz")
    page = open_page(data, tiny_model, "mr.nii.gz")
    assert page.state("limits_bounds") == [0, 1] and page.state("limits_unit") == "signal"
    low, high = page.state("limits")
    assert 0 <= low < high <= 1
    page.click("add-segment")
    page.until(lambda: page.state("active_segment"))
    page.driver.execute_script("trame.state.set('limits', [0.7, 1])")
    page.switch("limited")
    page.click("tool-paint")
    page.until(lambda: page.state("limited") and page.state("tool") == "paint")
    page.drag("Axial", *STROKE)
    page.until(lambda: page.state("can_undo"))
    (painted,) = page.scene().values()
    assert painted.any() and signal[painted].min() >= 0.69
    assert page.faults() == []


def test_discs_are_segmented_when_asked_for(tmp_path, sample_scan, open_page):
    """The network calls disc what is between muscle and bone."""
    state = bone_threshold_state(2)
    state["final.weight"][DISC], state["final.bias"][DISC] = state["final.weight"][BODY] / 2, -400 * 0.1 / 2
    export(state, model_card("discs", 2, (32, 32, 32), 2.0), tmp_path / "model")
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(sample_scan.path, folder / "scan.nii.gz")
    page = open_page(folder, tmp_path / "model")
    for expected in (["Vertebrae"], ["Vertebrae", "Intervertebral discs"]):
        page.click("segment")
        page.until(lambda: [item["name"] for item in page.state("segments")] == expected and not page.state("running"))
        assert all(mask.any() for mask in page.scene().values())
        if expected == ["Vertebrae"]:
            page.switch("structures-all")
            page.until(lambda: page.state("structures_all"))
    assert page.faults() == []


def test_a_model_of_the_users_is_listed_and_used(data, tiny_model, tmp_path, monkeypatch, open_page):
    """It finds nothing: another one than the first would find the bone."""
    card = model_card("ours", 4, (32, 32, 32), 2.0)
    state = bone_threshold_state(4)
    state["final.bias"][0] += 6e4
    export(state, card, tmp_path / "models" / "ours")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "models"))
    page = open_page(data, tiny_model)
    discard(page)
    before = page.scene()
    assert page.state("models")[0] == str(tiny_model) and {"ours", "spinecontext-ct"} <= set(page.state("models"))
    for name, said in (("ours", "Nothing was found"), ("/etc", "no such model")):
        page.driver.execute_script("trame.state.set('model', arguments[0])", name)
        page.click("segment")
        page.until(lambda said=said: said in str(page.said()))
        page.until(lambda: not page.state("running"))
        unchanged = page.scene()
        assert unchanged.keys() == before.keys() and all((unchanged[key] == before[key]).all() for key in before)


def test_numbers_are_held_to_their_bounds(data, tiny_model, open_page):
    page = open_page(data, tiny_model)
    discard(page)
    page.press(f"[data-segment='{NAME}']")

    def type_number(name: str, text: str) -> None:
        field = page.find(name)
        field.send_keys(keys.CONTROL, "a")
        field.send_keys(text)
        # trame sends what is typed a moment later, when a person's hand is still on its way to the button.
        time.sleep(0.5)

    type_number("smoothing-mm", "900")
    page.click("smooth")
    page.until(lambda: page.state("smoothing_mm") == 20)
    page.until(lambda: page.find("smoothing-mm").get_attribute("value") == "20")
    type_number("island-voxels", "-7")
    page.click("small-islands")
    page.until(lambda: page.state("island_voxels") == 2)
    type_number("island-voxels", keys.BACKSPACE)
    page.click("small-islands")
    page.until(lambda: page.state("notice") == "A number is missing: type one from 2 to 1000000.")
    too_far = (("brush_mm", 5000, 60), ("brush_mm", -3, 1), ("opacity", 7, 1), ("limits", [-9e9, 50], [-200, 50]))
    for name, sent, held in too_far:
        page.driver.execute_script("trame.state.set(arguments[0], arguments[1])", name, sent)
        page.until(lambda: page.state(name) == held)
    assert page.faults() == []
