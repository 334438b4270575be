"""The sheet of all labelled scans: what was found in color, the labels as an outline in white."""

import numpy as np
import pytest
from PIL import Image

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.sample_body import *  # noqa: F403
from Training.draw_overlays import draw_overlays


@pytest.fixture
def scan(ct, labels, tmp_path):
    """The sample beside its labels, and the labels as what was found."""
    write_volume(ct, tmp_path / "scan.nii.gz")
    write_volume(labels, tmp_path / "scan_labels.nii.gz")
    write_segmentation(labels, tmp_path / "scan_segmentation.nii.gz")
    return tmp_path / "scan.nii.gz"


def drawn(scan, *others) -> np.ndarray:
    picture = scan.with_name("sheet.png")
    draw_overlays([scan, *others], scan.parent, picture, frozenset())
    return np.asarray(Image.open(picture).convert("RGB")).astype(int)


def test_labels_are_outlined_where_they_lie(scan, labels):
    aligned = drawn(scan)
    assert (np.ptp(aligned, axis=2) > 40).mean() > 0.05, "nothing is colored"
    lower_half = labels.array.copy()
    lower_half[len(lower_half) // 2 :] = 0
    write_volume(Volume(lower_half, labels.affine), scan.with_name("scan_labels.nii.gz"))
    changed = np.argwhere((drawn(scan) != aligned).any(2))
    # The title takes a little of the top.
    middle = aligned.shape[0] * 0.53
    assert len(changed) > 1000 and (changed[:, 0] < middle + 15).all()


def test_each_scan_has_a_part_of_the_sheet(scan):
    one = drawn(scan)
    assert drawn(scan, scan, scan, scan).shape == (2 * one.shape[0], 3 * one.shape[1], 3)


def test_a_segmentation_that_is_missing_is_named(scan):
    scan.with_name("scan_segmentation.nii.gz").unlink()
    with pytest.raises(InputRefused, match="scan_segmentation"):
        drawn(scan)


def test_files_in_another_order_are_drawn_in_their_place_and_on_another_grid_refused(scan, labels):
    as_stored = drawn(scan)
    turned = labels.affine @ np.array([[-1, 0, 0, labels.array.shape[2] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for name in ("scan_labels.nii.gz", "scan_segmentation.nii.gz"):
        write_volume(Volume(np.ascontiguousarray(labels.array[:, :, ::-1]), turned), scan.with_name(name))
    np.testing.assert_array_equal(drawn(scan), as_stored)
    shifted = labels.affine.copy()
    shifted[2, 3] += 10.0
    write_volume(Volume(labels.array, shifted), scan.with_name("scan_segmentation.nii.gz"))
    with pytest.raises(InputRefused, match="mm apart"):
        drawn(scan)
