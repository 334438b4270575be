"""What is measured where a scan ends at less than its grid: at filling, at a region of interest, or within an arch."""

import numpy as np
import pytest
import SimpleITK as sitk
from geometry import rotation
from known_sizes import *  # noqa: F403
from known_sizes import by_value, heights, own_rows, painted_ct
from level_values import L1, L2, L3
from scans import ct, needs_scans

from SpineContextSegLib.label_boxes import bounding_box
from SpineContextSegLib.labels import C1, VERTEBRAE
from SpineContextSegLib.measure import CUT_PROCESS, NO_BODY, vertebra_rows
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.roi import Box, crop, inside, paste
from SpineContextSegLib.volume import Volume, to_sitk

# -------------------------------------------------------------------------------------------------------------- filling


def padded(volume, value):
    affine = volume.affine.copy()
    affine[:3, 3] = volume.grid.world(np.array([-6, -6, -6]))
    return Volume(np.pad(volume.array, 6, constant_values=value), affine)


def turned(volume, value, interpolator):
    """On a grid that stands askew and holds all of it, as after a registration."""
    image = to_sitk(volume)
    matrix = (rotation(11, 0) @ rotation(17, 2)).ravel()
    middle = image.TransformContinuousIndexToPhysicalPoint([size / 2 for size in image.GetSize()])
    transform = sitk.Euler3DTransform()
    transform.SetMatrix(matrix.tolist())
    transform.SetCenter(middle)
    size = [int(1.5 * n) for n in image.GetSize()]
    reference = sitk.Image(size, image.GetPixelID())
    reference.SetSpacing(image.GetSpacing())
    reference.SetDirection(image.GetDirection())
    start = image.TransformContinuousIndexToPhysicalPoint([-n / 4 for n in image.GetSize()])
    reference.SetOrigin(start)
    array = sitk.GetArrayFromImage(sitk.Resample(image, reference, transform, interpolator, value))
    affine = volume.affine.copy()
    affine[:3, 3] = volume.grid.world(np.array([-n / 4 for n in image.GetSize()]))
    return Volume(array, affine)


@needs_scans
@pytest.mark.parametrize("value", [-1024, 0])
@pytest.mark.parametrize("fill", [padded, turned])
def test_where_filling_begins_the_scan_ends(fill, value):
    """L2 and L4 of this scan are cut at its ends."""
    scan, labels = read_volume(ct("lumbar_crop"))[0], read_labels(ct("lumbar_crop_labels"))
    usual = by_value(vertebra_rows(scan, labels, hounsfield=True))
    if fill is padded:
        scan, labels = padded(scan, value), padded(labels, 0)
    else:
        scan, labels = turned(scan, value, sitk.sitkLinear), turned(labels, 0, sitk.sitkNearestNeighbor)
    rows = by_value(vertebra_rows(scan, labels, hounsfield=True))
    assert [rows[value].partial for value in (L2, L3, 23)] == [True, False, True]
    for cut in (rows[L2], rows[23]):
        assert np.isnan([*heights(cut), cut.body_hu]).all() and cut.remark == NO_BODY
    assert heights(rows[L3]) == pytest.approx(heights(usual[L3]), abs=1.5)


@pytest.mark.parametrize("planes", [2, 4, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_of_what_little_is_left_where_filling_begins_no_height_is_given(axis, planes, lumbar):
    """As where the same scan ends without any filling."""
    _, labels = lumbar
    scan = painted_ct(labels)
    last = np.flatnonzero((labels.array == L2).any(tuple({0, 1, 2} - {axis})))[-1]
    box = tuple(slice(last + 1 - planes, None) if n == axis else slice(None) for n in range(3))
    parts = [Volume(volume.array[box], volume.grid.crop(box).affine) for volume in (scan, labels)]
    cut = by_value(vertebra_rows(*parts, hounsfield=True))[L2]
    filled = by_value(vertebra_rows(padded(parts[0], -1024), padded(parts[1], 0), hounsfield=True))[L2]
    assert cut.partial and filled.partial and np.isnan([*heights(cut), *heights(filled)]).all()


def test_a_scan_that_is_not_filled_ends_at_its_border(lumbar):
    """Nor is it where all but bone was masked, or where a scan shows nothing."""
    _, labels = lumbar
    masked = Volume(np.where(np.isin(labels.array, list(VERTEBRAE)), painted_ct(labels).array, 0), labels.affine)
    for scan in (masked, Volume(np.zeros(labels.array.shape, np.int16), labels.affine)):
        rows = vertebra_rows(scan, labels, hounsfield=True)
        assert [row.partial for row in rows] == [row.partial for row in vertebra_rows(None, labels)]
        assert [row.partial for row in rows] == [True, True, False, False, False, True]


# -------------------------------------------------------------------------------------------------------------- regions


def box_around(center, size_mm, axes=np.eye(3)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, center
    return Box(matrix, size_mm)


def within(labels, box):
    part, slices = crop(labels, box)
    return paste(part, slices, labels.grid, box)


@pytest.mark.parametrize("degrees", [0, 25])
def test_the_sides_of_a_region_are_a_border(degrees, lumbar):
    plan, labels = lumbar
    usual = own_rows(labels, L1, L2, L3)
    middle = (np.array(usual[L1].center_mm) + usual[L3].center_mm) / 2
    # From the middle of L1 to the middle of L3.
    size = np.array([150, 190, np.linalg.norm(np.subtract(usual[L1].center_mm, usual[L3].center_mm))])
    box = box_around(middle, size, rotation(degrees, 2))
    rows = by_value(vertebra_rows(None, within(labels, box), regions=[box]))
    assert [rows[value].partial for value in (L1, L2, L3)] == [True, False, True]
    for value in (L1, L3):
        assert np.isnan(heights(rows[value])).all() and NO_BODY in rows[value].remark
    assert heights(rows[L2]) == pytest.approx(heights(usual[L2]), abs=0.3) and rows[L2].remark == ""


def test_what_goes_on_beyond_a_region_is_not_cut(lumbar):
    """A person paints the rest, or a second region holds it."""
    _, labels = lumbar
    usual = own_rows(labels, L1, L2, L3)
    upper, lower = (box_around(np.add(usual[L2].center_mm, (0, 0, s)), (300, 300, 200)) for s in (100, -100))
    (cut,) = (row for row in vertebra_rows(None, within(labels, upper), regions=[upper]) if row.value == L2)
    assert cut.partial
    rest = inside(labels.grid, lower) & (labels.array == L2)
    painted = Volume(np.where(rest, L2, within(labels, upper).array).astype(np.uint8), labels.affine)
    for drawn, regions in ((painted, [upper]), (labels, [upper, lower])):
        row = by_value(vertebra_rows(None, drawn, regions=regions))[L2]
        assert not row.partial and row.remark == ""
        assert heights(row) == pytest.approx(heights(usual[L2]), abs=0.3)


# ------------------------------------------------------------------------------------------------------ files of labels


def kept(labels, box):
    """Labels of a file that covers a part of the scan, on the scan's grid."""
    array = np.zeros_like(labels.array)
    array[box] = labels.array[box]
    return Volume(array, labels.affine)


def figures(row):
    return (row.value, row.partial, *np.nan_to_num(heights(row), nan=-1).round(3), row.remark)


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6])
@pytest.mark.parametrize("from_below", [True, False])
def test_a_body_through_which_a_file_of_labels_ends_is_cut(from_below, share, lumbar):
    """Though the scan goes on; the heights of what is left look like a fracture."""
    _, labels = lumbar
    planes = np.flatnonzero((labels.array == L2).any((1, 2)))
    at = int(planes[0] + share * len(planes))
    part = kept(labels, (slice(at, None) if from_below else slice(0, at), slice(None), slice(None)))
    # A program may have cropped what was left, then.
    for covered in (bounding_box(part.array), (bounding_box(part.array)[0], slice(None), slice(None))):
        row = by_value(vertebra_rows(None, part, covered=covered))[L2]
        assert row.partial and np.isnan(heights(row)).all() and NO_BODY in row.remark


def test_arches_that_a_file_of_labels_leaves_out_are_cut(lumbar):
    """As where it was cropped around the bodies."""
    _, labels = lumbar
    j = int(np.round(np.linalg.inv(labels.affine) @ [*own_rows(labels, L2)[L2].center_mm, 1])[1])
    behind = int(j - np.sign(labels.affine[1, 1]) * 27)
    box = (slice(None), slice(behind, None) if labels.affine[1, 1] > 0 else slice(None, behind), slice(None))
    rows = vertebra_rows(None, kept(labels, box), covered=box)
    alone = vertebra_rows(None, Volume(labels.array[box], labels.grid.crop(box).affine))
    assert [figures(row) for row in rows] == [figures(row) for row in alone]
    assert by_value(rows)[L2].partial and np.isfinite(heights(by_value(rows)[L2])).all()


def assert_whole_when_cropped_to(labels, value):
    one = Volume(np.where(labels.array == value, labels.array, 0), labels.affine)
    box = bounding_box(one.array)
    expected = [figures(row) for row in vertebra_rows(None, one)]
    # Some programs crop all axes, a DICOM SEG leaves out slices.
    for covered in (box, (box[0], slice(None), slice(None))):
        assert [figures(row) for row in vertebra_rows(None, one, covered=covered)] == expected


def test_a_file_of_labels_that_ends_where_they_end_cuts_none(lumbar):
    for value in (L1, L2, L3):
        assert_whole_when_cropped_to(lumbar[1], value)


@needs_scans
@pytest.mark.parametrize("name", ["chest_1mm", "thorax_crop", "head_neck", "chest_scoliosis"])
def test_a_file_of_real_labels_that_ends_where_they_end_cuts_none(name):
    """In slices of 1 to 3 mm."""
    labels = read_labels(ct(f"{name}_labels"))
    for row in vertebra_rows(None, labels):
        if not row.partial and row.value != C1:
            assert_whole_when_cropped_to(labels, row.value)


# ----------------------------------------------------------------------------------------------- what is left of a body


def cropped(volume, axis, part):
    box = tuple(part if n == axis else slice(None) for n in range(3))
    return Volume(volume.array[box], volume.grid.crop(box).affine)


def real(name):
    return read_volume(ct(name))[0], read_labels(ct(f"{name}_labels"))


@needs_scans
def test_what_is_left_of_an_arch_is_no_body():
    """A field of view that ends at one side of the bodies, and one that ends behind them."""
    scan, labels = real("chest_1mm")
    usual = by_value(vertebra_rows(scan, labels))
    middle = np.round(np.linalg.inv(labels.affine) @ [*usual[14].center_mm, 1]).astype(int)
    towards_right = int(np.sign(labels.affine[0, 0]))
    for offset_mm in (11, 16, 20):
        i = int(middle[0] + towards_right * offset_mm)
        part = slice(i, None) if towards_right > 0 else slice(None, i)
        assert_no_bodies(cropped(scan, 2, part), cropped(labels, 2, part), usual)
    for offset_mm in (-16, -20):
        j = int(middle[1] + np.sign(labels.affine[1, 1]) * offset_mm)
        part = slice(None, j) if labels.affine[1, 1] > 0 else slice(j, None)
        assert_no_bodies(cropped(scan, 1, part), cropped(labels, 1, part), usual)


def assert_no_bodies(scan, labels, usual):
    """Where vertebrae stand in the row, more or less is seen of each."""
    for row in vertebra_rows(scan, labels, hounsfield=True):
        if row.volume_ml < 0.5 * usual[row.value].volume_ml:
            assert np.isnan([*heights(row), row.body_hu]).all(), row


@needs_scans
def test_whole_bodies_whose_arches_are_cut_are_measured():
    """As in a scan of the heart."""
    scan, labels = real("chest_1mm")
    usual = by_value(vertebra_rows(scan, labels))
    j = int(np.round(np.linalg.inv(labels.affine) @ [*usual[15].center_mm, 1])[1] - np.sign(labels.affine[1, 1]) * 27)
    part = slice(j, None) if labels.affine[1, 1] > 0 else slice(None, j)
    rows = by_value(vertebra_rows(cropped(scan, 1, part), cropped(labels, 1, part), hounsfield=True))
    assert all(rows[value].partial for value in range(13, 18))
    for value in range(12, 18):
        assert heights(rows[value]) == pytest.approx(heights(usual[value]), abs=1.0)
        assert rows[value].body_hu == pytest.approx(usual[value].body_hu, abs=10)


# -------------------------------------------------------------------------------------------------------------- remarks


def test_a_process_that_is_cut_by_little_is_told(lumbar):
    _, labels = lumbar
    rows = np.flatnonzero((labels.array == L2).any((0, 2)))
    said = {}
    for lost in range(-1, 40):
        row = own_rows(cropped(labels, 1, slice(int(rows[0]) + lost, None)), L2)[L2]
        said.setdefault((row.partial, row.remark), []).append(lost)
    assert set(said) == {(False, ""), (False, CUT_PROCESS), (True, "")}


def test_bodies_without_a_disc_between_them_are_told(lumbar):
    """Where one block is divided somewhere, its two heights mean nothing."""
    _, labels = lumbar
    image = to_sitk(Volume(np.where(np.isin(labels.array, (L1, L2)), labels.array, 0).astype(np.uint8), labels.affine))
    filled = sitk.BinaryMorphologicalClosing(image > 0, [1, 1, 20])
    distances = [sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image == v, False, False, True)) for v in (L1, L2)]
    block = (sitk.GetArrayFromImage(filled) > 0) & np.isin(labels.array, (0, 119, 120, L1, L2))
    array = np.where(block, np.where(distances[0] < distances[1], L1, L2), labels.array).astype(np.uint8)
    rows = by_value(vertebra_rows(None, Volume(array, labels.affine)))
    assert rows[L1].remark == "grown together with L2: heights are arbitrary"
    assert rows[L2].remark == "grown together with L1: heights are arbitrary"
    assert "grown" not in rows[L3].remark


@needs_scans
@pytest.mark.parametrize("name", ["chest_1mm", "thorax_crop", "lumbar_crop", "chest_scoliosis"])
def test_thin_discs_are_discs(name):
    assert not any("grown together" in row.remark for row in vertebra_rows(*real(name)))
