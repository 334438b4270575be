"""Heights of bodies from what was found, against those from the labels of a scan."""

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.sample_body import *  # noqa: F403
from Training.compare_heights import compare_heights, table

L2, L3 = 21, 22


@pytest.fixture
def scan(ct, labels, tmp_path):
    """The sample beside its labels."""
    write_volume(ct, tmp_path / "scan.nii.gz")
    write_volume(labels, tmp_path / "scan_labels.nii.gz")
    return tmp_path / "scan.nii.gz"


def compared(scan, found: Volume):
    write_segmentation(found, scan.with_name("found.nii.gz"))
    return compare_heights(scan, scan.with_name("found.nii.gz"))


def test_labels_compared_with_themselves_differ_by_nothing(scan, labels):
    differences = compared(scan, labels)
    assert len(differences.ratios) >= 6
    assert not differences.heights_mm.any() and not differences.ratios.any()


def test_a_body_that_lost_its_upper_layers_is_lower_by_as_much(scan, labels):
    body = labels.array == L3
    # Two planes of voxels of 2 mm, wherever the vertebra has any above: the endplate goes down with them.
    lower = body & np.roll(body, -1, 0) & np.roll(body, -2, 0)
    shaved = np.where(body & ~lower, 0, labels.array)
    heights = compared(scan, Volume(shaved, labels.affine)).heights_mm
    lost = -heights.mean(1)
    assert lost.max() == pytest.approx(4.0, abs=0.8), "L3"
    assert np.sort(lost)[:-1] == pytest.approx(np.zeros(len(lost) - 1), abs=1e-6), "all others"


def test_what_was_not_found_is_left_out_and_counted(scan, labels):
    found = Volume(np.where(labels.array == L2, 0, labels.array), labels.affine)
    without, all_of_them = compared(scan, found), compared(scan, labels)
    assert len(without.ratios) == len(all_of_them.ratios) - 1
    assert f"| scan | {len(without.ratios)} | 0.00 |" in table({"scan": without})


def test_where_nothing_can_be_compared_the_table_has_dashes(scan, labels):
    only_one = Volume(np.where(labels.array == L2, labels.array, 0), labels.affine)
    write_volume(Volume(np.where(labels.array == L3, L3, 0).astype(np.uint8), labels.affine),
                 scan.with_name("scan_labels.nii.gz"))  # fmt: skip
    assert table({"scan": compared(scan, only_one)}).endswith("| scan | 0 | - | - | - | - |")
