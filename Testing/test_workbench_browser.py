"""The workbench in a real browser: what a person clicks and paints is what the scene and the files hold."""

import os
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.volume import LPS_FROM_RAS, Volume
from SpineContextSegLib.writing import write_volume
from Testing.browser import Page, require_browser
from Testing.dicom_series import SeriesWriter
from Testing.workbench_server import WorkbenchServer

pytest.importorskip("trame_slicer")

from Workbench.store.versions import Versions  # noqa: E402

# In front of the column, and across it into the muscle on both sides.
STROKE = ((0.40, 0.30), (0.55, 0.30), (0.60, 0.40))
THROUGH_BONE = ((0.30, 0.55), (0.70, 0.55))


@pytest.fixture(scope="module")
def data(tmp_path_factory, sample_scan):
    folder = tmp_path_factory.mktemp("data")
    shutil.copy(sample_scan.path, folder / "scan.nii.gz")
    return folder


@pytest.fixture(scope="module")
def server(data, tiny_model):
    require_browser()
    server = WorkbenchServer(data, tiny_model, data)
    yield server
    server.end()


@pytest.fixture
def page(server, tmp_path):
    page = Page(server.address, tmp_path)
    yield page
    try:
        assert page.faults() == []
    finally:
        page.close()


def test_segment_paint_undo_save_and_export(page, data, tmp_path, sample_scan):
    page.until(lambda: page.state("scan_name") == "scan.nii.gz" and not page.state("opening"))
    assert "Research use only" in page.driver.find_element("tag name", "body").text
    page.click("segment")
    page.until(lambda: page.state("segments"))
    page.until(lambda: not page.state("running"))
    result = page.scene()
    assert list(result) == ["Vertebrae"]
    np.testing.assert_array_equal(result["Vertebrae"], sample_scan.bone)
    assert not page.state("unsaved")
    # All slices lie in the middle of the spine.
    middle = sample_scan.volume.grid.world(np.argwhere(sample_scan.bone)[:, ::-1].mean(axis=0))
    sagittal, coronal, axial = page.look()["middles"]
    assert np.abs(np.array([sagittal[0], coronal[1], axial[2]]) - middle).max() < 15

    page.click("tool-paint")
    page.until(lambda: page.state("tool") == "paint")
    page.drag("Axial", *STROKE)
    page.until(lambda: page.state("can_undo"))
    painted = page.scene()["Vertebrae"]
    added = painted & ~result["Vertebrae"]
    assert added.sum() > 20 and not (result["Vertebrae"] & ~painted).any()
    # A disc of 8 mm, in one axial slice.
    assert len(np.flatnonzero(added.any(axis=(1, 2)))) == 1
    rows, columns = np.nonzero(added.any(axis=0))
    assert np.ptp(rows) * 2.0 < 60 and np.ptp(columns) * 2.0 < 90
    assert page.state("unsaved")

    page.click("undo")
    page.until(lambda: page.state("can_redo"))
    np.testing.assert_array_equal(page.scene()["Vertebrae"], result["Vertebrae"])
    assert not page.state("unsaved")
    page.click("redo")
    page.until(lambda: not page.state("can_redo"))
    # As a Mac's keyboard does both.
    for shift, possible in (("false", "can_redo"), ("true", "can_undo")):
        event = f"new KeyboardEvent('keydown', {{key: 'z', metaKey: true, shiftKey: {shift}, bubbles: true}})"
        page.driver.execute_script(f"document.body.dispatchEvent({event})")
        page.until(lambda possible=possible: page.state(possible))
    assert not page.state("can_redo")
    np.testing.assert_array_equal(page.scene()["Vertebrae"], painted)

    page.click("save")
    page.until(lambda: not page.state("unsaved"))
    versions = Versions(data / "scan.nii.gz", data)
    assert [version.kind for version in versions.list()] == ["model", "correction"]
    assert {version.by for version in versions.list()} == {"tester"}
    np.testing.assert_array_equal(versions.load(versions.latest()).array == 1, painted)
    np.testing.assert_array_equal(versions.load(versions.list()[0]).array == 1, result["Vertebrae"])

    for form in ("seg-nrrd", "nii-gz"):
        page.click("export")
        page.until(lambda: "disabled" in page.find("export-dcm").get_attribute("class"))
        page.click(f"export-{form}")
    read, _ = read_volume(page.downloaded(".seg.nrrd"))
    np.testing.assert_array_equal(read.array == 1, painted)
    assert read.grid.same_as(sample_scan.volume.grid)
    shutil.unpack_archive(page.downloaded(".zip"), tmp_path / "nifti")
    nifti = sitk.ReadImage(str(next((tmp_path / "nifti").glob("*.nii.gz"))))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(nifti) == 1, painted)

    # A segment of one's own, and the brush held to bone; then the scan is opened anew.
    page.click("add-segment")
    page.until(lambda: len(page.state("segments")) == 2)
    page.switch("limited")
    page.until(lambda: page.state("limited"))
    page.drag("Axial", *THROUGH_BONE)
    own = page.until(lambda: {name: mask for name, mask in page.scene().items() if name != "Vertebrae" and mask.any()})
    [own_name] = own
    low, high = page.state("limits")
    assert sample_scan.volume.array[own[own_name]].min() >= low and high > low
    drawn = page.scene()
    assert not (drawn[own_name] & drawn["Vertebrae"]).any()
    page.click("save")
    page.until(lambda: not page.state("unsaved"))
    # It is in the list already.
    page.send_file(data / "scan.nii.gz")
    page.until(lambda: page.state("status").startswith("Opened") and not page.state("opening"))
    again = page.scene()
    assert again.keys() == drawn.keys()
    for name, mask in drawn.items():
        np.testing.assert_array_equal(again[name], mask)

    # The buttons in its row, which must not choose the row instead.
    row = f"[data-segment='{own_name}']"
    page.press(f"{row} [title^='Hide']")
    page.until(lambda: [item["visible"] for item in page.state("segments")] == [True, False])
    page.press(f"{row} [title^='Name']")
    page.until(lambda: page.find("new-name").is_displayed())
    page.find("new-name").send_keys(" of mine")
    page.click("apply-name")
    page.until(lambda: list(page.scene()) == ["Vertebrae", f"{own_name} of mine"])
    page.press("[data-segment='Vertebrae'] [title='Remove']")
    page.until(lambda: list(page.scene()) == [f"{own_name} of mine"])
    page.click("undo")
    page.until(lambda: page.scene().keys() == {"Vertebrae", f"{own_name} of mine"})
    np.testing.assert_array_equal(page.scene()["Vertebrae"], drawn["Vertebrae"])


def test_uploads_are_opened_or_refused_in_the_page(page, data, tmp_path, sample_scan):
    text = tmp_path / "letter.nii.gz"
    text.write_text("no scan")
    page.send_file(text)
    page.until(lambda: "damaged" in page.state("notice"))
    large = tmp_path / "large.nii"
    large.write_bytes(os.urandom(4_000_000))
    page.send_file(large)
    page.until(lambda: "larger" in page.state("notice"))
    assert list((data / "uploads").iterdir()) == []

    other = Volume(sample_scan.volume.array[:50], sample_scan.volume.affine)
    sent = tmp_path / "..sent ü.nii.gz"
    write_volume(other, sent)
    page.send_file(sent)
    page.until(lambda: page.state("scan_name") == "sent ü.nii.gz" and not page.state("opening"))
    assert page.state("notice") == ""
    assert (data / "uploads").stat().st_mode & 0o077 == 0
    assert [entry["name"] for entry in page.state("entries")] == ["scan.nii.gz", "sent ü.nii.gz"]


def test_a_dropped_folder_of_dicom_files_is_opened_and_exported(page, data, tmp_path, sample_scan):
    page.until(lambda: page.state("scan_name") and not page.state("opening"))
    before = page.state("entry")
    SeriesWriter(tmp_path / "series").write(sample_scan.volume)
    page.drop(tmp_path / "series")
    page.until(lambda: page.state("entry") != before and not page.state("opening"))
    kept = data / "uploads" / page.state("scan_name")
    assert len(list(kept.glob("*.dcm"))) == len(sample_scan.volume.array)

    page.click("segment")
    page.until(lambda: page.state("segments") and not page.state("running"))
    page.press("[data-segment='Vertebrae']")
    page.click("tool-paint")
    page.until(lambda: page.state("tool") == "paint")
    page.drag("Axial", *STROKE)
    page.until(lambda: page.state("can_undo"))
    page.click("add-segment")
    page.until(lambda: len(page.state("segments")) == 2)
    page.drag("Axial", *THROUGH_BONE)
    drawn = page.until(lambda: len(shown := {n: mask for n, mask in page.scene().items() if mask.any()}) == 2 and shown)
    page.click("export")
    page.click("export-dcm")
    file = pydicom.dcmread(page.downloaded(".dcm"))
    assert [item.SegmentLabel for item in file.SegmentSequence] == list(drawn)
    assert [item.SegmentAlgorithmType for item in file.SegmentSequence] == ["SEMIAUTOMATIC", "MANUAL"]
    assert file.SegmentSequence[0].SegmentAlgorithmName == "SpineContextSeg, tiny"
    written = {name: np.zeros_like(mask) for name, mask in drawn.items()}
    to_index = np.linalg.inv(LPS_FROM_RAS @ read_volume(kept)[0].affine)
    for frame, pixels in zip(file.PerFrameFunctionalGroupsSequence, file.pixel_array, strict=True):
        place = np.array([*frame.PlanePositionSequence[0].ImagePositionPatient, 1], float)
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        written[file.SegmentSequence[number - 1].SegmentLabel][round((to_index @ place)[2])] = pixels
    for name, mask in drawn.items():
        np.testing.assert_array_equal(written[name], mask)
    page.click("save")
    page.until(lambda: not page.state("unsaved"))
