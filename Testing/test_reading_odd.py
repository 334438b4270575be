"""Files that look unlike most, be they right, and a computer that is short of memory."""

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.faults import lacks_memory
from SpineContextSegLib.reading import read_labels, read_segments, read_volume
from SpineContextSegLib.volume import Volume, to_sitk
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.dicom_series import SeriesWriter
from Testing.test_reading import DIRECTIONS, nifti, refusal, with_header

SCAN = Volume(np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8), np.diag([-1.0, -1.0, 2.0, 1.0]))


def run_out_of_memory(*_):
    """In ITK's words."""
    raise RuntimeError("Exception thrown in SimpleITK ImageFileReader_Execute: Failed to allocate memory for image.")


@pytest.mark.parametrize("step", ["ReadImageInformation", "Execute"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_lack_of_memory_is_no_fault_of_the_file(step, ending, tmp_path, monkeypatch):
    write_volume(SCAN, tmp_path / f"scan{ending}")
    monkeypatch.setattr(sitk.ImageFileReader, step, run_out_of_memory)
    with pytest.raises(RuntimeError) as caught:
        read_volume(tmp_path / f"scan{ending}")
    assert lacks_memory(caught.value)


def test_what_the_nifti_library_cant_load_although_it_is_whole_lacks_memory(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("ITK ERROR: NiftiImageIO(0x1): nifti_image_load failed for file: scan.nii.gz")

    path, noise = tmp_path / "scan.nii.gz", np.random.default_rng(0).integers(-1000, 1000, (40, 60, 60))
    write_volume(Volume(noise.astype(np.int16), SCAN.affine), path)
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", fail)
    with pytest.raises(MemoryError):
        read_volume(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(InputRefused, match="damaged"):
        read_volume(path)


@pytest.mark.parametrize("step", ["ReadImageInformation", "Execute"])
def test_a_lack_of_memory_is_no_fault_of_a_series(step, tmp_path, monkeypatch):
    SeriesWriter(tmp_path).write(SCAN)
    monkeypatch.setattr(sitk.ImageFileReader, step, run_out_of_memory)
    with pytest.raises(RuntimeError) as caught:
        read_volume(tmp_path)
    assert lacks_memory(caught.value)


def test_a_lack_of_memory_is_no_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(sitk, "WriteImage", lambda *_, **__: run_out_of_memory())
    with pytest.raises(RuntimeError) as caught:
        write_volume(SCAN, tmp_path / "scan.nrrd")
    assert lacks_memory(caught.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["A.NII", "A.NII.GZ", "A.NRRD", "A.MHA", "A.Mha"])
def test_endings_may_be_in_capitals(name, tmp_path):
    write_volume(SCAN, tmp_path / name)
    np.testing.assert_array_equal(read_volume(tmp_path / name)[0].array, SCAN.array)


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_a_detached_header_may_be_named_in_capitals(ending, tmp_path):
    sitk.WriteImage(to_sitk(SCAN), str(tmp_path / f"a{ending}"))
    header = (tmp_path / f"a{ending}").rename(tmp_path / f"A{ending.upper()}")
    np.testing.assert_array_equal(read_volume(header)[0].array, SCAN.array)


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2)])
def test_two_positions_that_are_mirror_images_are_said_to_be(codes, tmp_path):
    mirrored, turned = SCAN.affine.copy(), SCAN.affine.copy()
    mirrored[0] *= -1
    turned[:2] *= -1
    nifti(SCAN, tmp_path / "a.nii", qform=mirrored, codes=codes)
    [note] = read_volume(tmp_path / "a.nii")[1]
    assert "mm apart and one the mirror image of the other; that of its" in note
    assert note.endswith("form was used: check left and right.")
    nifti(SCAN, tmp_path / "b.nii", qform=turned, codes=codes)
    [note] = read_volume(tmp_path / "b.nii")[1]
    assert "mm apart; that of its" in note and "mirror" not in note


@pytest.mark.parametrize(
    ("sizes", "units"),
    [(f"space: LPS\n{DIRECTIONS}", 'space units: "cm" "cm" "cm"'), ("spacings: 2 2 2\n", 'units: "mm" "mm" "cm"')],
)
def test_nrrd_in_other_units_than_mm_is_refused(sizes, units, tmp_path):
    path = with_header(tmp_path / "a.nrrd", f"{sizes}{units}\n")
    assert refusal(path) == "'a.nrrd' states its voxel size in cm: export the scan again in mm."


@pytest.mark.parametrize("unit", ["mm", "", "Millimeter", " mm "])
def test_nrrd_in_mm_is_read(unit, tmp_path):
    units = " ".join([f'"{unit}"'] * 3)
    volume, notes = read_volume(with_header(tmp_path / "a.nrrd", f"space: LPS\n{DIRECTIONS}space units: {units}\n"))
    assert notes == []
    np.testing.assert_allclose(volume.grid.spacing_mm, 2)


def test_names_of_segments_that_arent_utf_8_are_read_and_written(tmp_path):
    path, copy = tmp_path / "a.seg.nrrd", tmp_path / "b.seg.nrrd"
    write_segmentation(Volume(np.where(SCAN.array > 9, 20, 21).astype(np.uint8), SCAN.affine), path)
    for stored, name in ((b"Wirbelk\xf6rper \x84alt\x93", "Wirbelkörper „alt“"), (b"a\x81b", "a\ufffdb"),
                         ("Lendenwirbelkörper 脊椎".encode(), "Lendenwirbelkörper 脊椎")):  # fmt: skip
        raw = path.read_bytes()
        copy.write_bytes(raw.replace(b"Name:=L1 vertebra", b"Name:=" + stored))
        described = {segment.value: segment for segment in read_segments(copy)}
        assert described[20].name == name
        write_segmentation(read_labels(copy), copy, described)
        assert {segment.value: segment.name for segment in read_segments(copy)} == {20: name, 21: "L2 vertebra"}


def test_nifti_with_the_ending_of_the_other_kind_is_to_be_renamed(tmp_path):
    """It is whole: to export it again would be of no use."""
    write_volume(SCAN, tmp_path / "plain.nii")
    write_volume(SCAN, tmp_path / "packed.nii.gz")
    plain, packed = (tmp_path / "plain.nii").rename(tmp_path / "A.NII.gz"), tmp_path / "packed.nii"
    (tmp_path / "packed.nii.gz").rename(packed)
    assert refusal(plain) == "'A.NII.gz' isn't packed: name it 'A.NII'."
    assert refusal(packed) == "'packed.nii' is packed: name it 'packed.nii.gz'."
    for path, right in ((plain, "A.NII"), (packed, "packed.nii.gz")):
        np.testing.assert_array_equal(read_volume(path.rename(tmp_path / right))[0].array, SCAN.array)
