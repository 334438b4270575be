import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume, to_sitk
from SpineContextSegLib.writing import write_volume
from Testing.geometry import GRIDS, SHEARED, centered_grid
from Testing.scans import CTS, ct, needs_scans

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
PACKED = {".nii": False, ".nii.gz": True, ".nrrd": True, ".mha": True}


def scan(name="lps") -> Volume:
    grid = centered_grid(GRIDS[name].spacing_mm, (30, 24, 36), GRIDS[name].directions)
    return Volume(np.random.default_rng(0).integers(-1024, 3000, grid.shape).astype(np.int16), grid.affine)


def save(volume: Volume, path, packed: bool) -> None:
    sitk.WriteImage(to_sitk(volume), str(path), useCompression=packed)


def nifti(volume: Volume, path, sform=None, qform=None, codes=(1, 1), order="<") -> None:
    """Writes a NIfTI file with the transforms given, whatever they say."""
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    header.set_data_shape(volume.array.shape[::-1])
    header.set_qform(volume.affine if qform is None else qform, codes[1], strip_shears=True)
    header.set_sform(volume.affine if sform is None else sform, codes[0])
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    data = header.binaryblock + b"\0" * 4 + volume.array.astype(np.dtype(np.int16).newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def refusal(path) -> str:
    with pytest.raises(InputRefused) as caught:
        read_volume(path)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and ": " in message
    return message


@pytest.mark.parametrize(
    "name, ending", [(n, e) for n in GRIDS for e in ENDINGS if n not in SHEARED or not e.startswith(".nii")]
)
def test_every_format_keeps_voxels_and_place(name, ending, tmp_path):
    volume = scan(name)
    path = tmp_path / f"Aufnahme für 脊柱{ending}"
    write_volume(volume, path)
    read, notes = read_volume(path)
    assert notes == [] and read.array.dtype == np.int16
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.grid.same_as(volume.grid, tolerance_mm=1e-4)


@pytest.mark.parametrize("name", ["lps", "sagittal", "oblique_thick"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", "<>")
def test_nifti_of_either_byte_order_agrees_with_nibabel(name, ending, order, tmp_path):
    volume = scan(name)
    path = tmp_path / f"scan{ending}"
    nifti(volume, path, order=order)
    read, notes = read_volume(path)
    oracle = nibabel.load(path)
    assert notes == []
    np.testing.assert_allclose(read.affine, oracle.affine, atol=1e-4)
    np.testing.assert_array_equal(read.array, np.asarray(oracle.dataobj).transpose(2, 1, 0))


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (2, 1), (1, 2), (4, 1)])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", "<>")
def test_sheared_nifti_is_refused(codes, ending, order, tmp_path):
    path = tmp_path / f"tilted{ending}"
    nifti(scan("sheared"), path, codes=codes, order=order)
    message = refusal(path)
    assert "sheared" in message and "DICOM" in message and ".nrrd" in message


def test_one_degree_of_tilt_is_recognized(tmp_path):
    volume = scan("lps")
    affine = volume.affine.copy()
    affine[1, 2] = np.tan(np.radians(1.0)) * affine[2, 2]
    nifti(volume, tmp_path / "a.nii", sform=affine)
    assert "sheared" in refusal(tmp_path / "a.nii")


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (4, 1), (1, 4), (0, 1), (1, 0)])
def test_of_two_transforms_the_one_simpleitk_used_is_named(codes, tmp_path):
    volume = scan("lps")
    moved = volume.affine.copy()
    moved[:3, 3] += (3.0, 20.0, -5.0)
    path = tmp_path / "two.nii.gz"
    nifti(volume, path, sform=volume.affine, qform=moved, codes=codes)
    read, notes = read_volume(path)
    x, y, z = sitk.ReadImage(str(path)).GetOrigin()
    np.testing.assert_allclose(read.affine[:3, 3], (-x, -y, z), atol=1e-4)
    used = "sform" if np.allclose(read.affine[:3, 3], volume.affine[:3, 3], atol=1e-3) else "qform"
    expected = volume.affine if used == "sform" else moved
    np.testing.assert_allclose(read.affine, expected, atol=1e-3)
    if 0 in codes:
        assert notes == [] and used == ("sform" if codes[0] else "qform")
    else:
        assert len(notes) == 1 and "20 mm apart" in notes[0] and used in notes[0]


def test_nifti_that_does_not_state_a_position_is_noted(tmp_path):
    nifti(scan(), tmp_path / "a.nii", codes=(0, 0))
    _, notes = read_volume(tmp_path / "a.nii")
    assert len(notes) == 1 and "left and right" in notes[0]


@pytest.mark.parametrize("pixdim", [1.5, 0.0])
def test_nifti_whose_spacing_contradicts_its_position_is_refused(pixdim, tmp_path):
    path = tmp_path / "a.nii"
    nifti(scan("thick"), path, codes=(1, 0))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, 80, pixdim)
    path.write_bytes(raw)
    assert "contradicts itself" in refusal(path)


@pytest.mark.parametrize("field", [280, 300, 76 + 4])
def test_nifti_with_nan_in_its_geometry_is_refused(field, tmp_path):
    path = tmp_path / "a.nii"
    nifti(scan(), path)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, field, float("nan"))
    path.write_bytes(raw)
    refusal(path)


def test_nifti_slope_and_intercept_are_applied(tmp_path):
    path = tmp_path / "a.nii.gz"
    volume = scan()
    nifti(volume, path)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<2f", raw, 112, 0.5, -3.0)
    path.write_bytes(gzip.compress(raw))
    np.testing.assert_array_equal(read_volume(path)[0].array, volume.array * 0.5 - 3)


def test_nifti_2_is_refused_with_advice(tmp_path):
    volume = scan()
    nibabel.save(nibabel.Nifti2Image(volume.array.transpose(2, 1, 0), volume.affine), tmp_path / "a.nii.gz")
    assert "NIfTI-1" in refusal(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [0.999, 0.66, 0.01])
def test_file_cut_short_is_refused(ending, kept, tmp_path):
    path = tmp_path / f"scan{ending}"
    for packed in {PACKED[ending], ending == ".nii.gz"}:
        save(scan(), path, packed)
        path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
        refusal(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_flipped_byte_in_packed_voxels_is_refused(ending, tmp_path):
    path = tmp_path / f"scan{ending}"
    save(scan(), path, packed=True)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x55
    path.write_bytes(raw)
    refusal(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_voxel_that_was_changed_inside_a_packed_file_is_refused(ending, tmp_path):
    """The data still unpacks to its full size; only the checksum knows."""
    path = tmp_path / f"scan{ending}"
    save(scan(), path, packed=True)
    raw = path.read_bytes()
    start = 0 if ending == ".nii.gz" else raw.index(b"\n\n") + 2
    data = bytearray(gzip.compress(gzip.decompress(raw[start:]), compresslevel=0))
    data[len(data) // 2] ^= 0x01
    path.write_bytes(raw[:start] + data)
    refusal(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_intact_packed_file_is_unpacked_once(ending, tmp_path, monkeypatch):
    """By ITK; unpacking it again to look for damage took three times as long."""
    volume = scan()
    save(volume, tmp_path / f"scan{ending}", packed=True)
    monkeypatch.setattr("SpineContextSegLib.integrity._unpacks_to", lambda *_: pytest.fail("unpacked again"))
    np.testing.assert_array_equal(read_volume(tmp_path / f"scan{ending}")[0].array, volume.array)


def test_gzip_in_several_parts_or_with_bytes_behind_it_is_read(tmp_path):
    volume = scan()
    nifti(volume, tmp_path / "scan.nii")
    data = (tmp_path / "scan.nii").read_bytes()
    half = len(data) // 2
    for tail in (b"", b"\0" * 512):
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(gzip.compress(data[:half]) + gzip.compress(data[half:]) + tail)
        np.testing.assert_array_equal(read_volume(path)[0].array, volume.array)


@pytest.mark.parametrize("ending", ENDINGS)
def test_header_that_promises_more_than_the_file_holds_is_refused(ending, tmp_path):
    path = tmp_path / f"scan{ending}"
    if ending.startswith(".nii"):
        nifti(scan(), path)
        raw = bytearray(gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())
        struct.pack_into("<4h", raw, 40, 3, 30000, 30000, 30000)
        path.write_bytes(gzip.compress(raw) if ending == ".nii.gz" else raw)
    else:
        save(scan(), path, packed=True)
        size = " ".join(map(str, scan().array.shape[::-1])).encode()
        assert path.read_bytes().count(size) == 1
        path.write_bytes(path.read_bytes().replace(size, b"30000 30000 30000"))
    assert "54000000 MB" in refusal(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_zeros_that_pack_well_are_no_fraud(ending, tmp_path):
    volume = Volume(np.zeros((200, 200, 200), np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    save(volume, tmp_path / f"zeros{ending}", packed=True)
    read_volume(tmp_path / f"zeros{ending}")


def test_color_and_vectors_are_refused(tmp_path):
    for ending in (".nrrd", ".mha", ".nii.gz"):
        image = sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True)
        sitk.WriteImage(image, str(tmp_path / f"rgb{ending}"))
        assert "3 values per voxel" in refusal(tmp_path / f"rgb{ending}")


def test_4d_is_refused_but_a_single_volume_in_4d_is_read(tmp_path):
    volume = scan("sagittal_thick")
    for count in (1, 3):
        array = np.repeat(volume.array.transpose(2, 1, 0)[..., None], count, axis=3)
        nibabel.save(nibabel.Nifti1Image(array, volume.affine), tmp_path / f"{count}.nii.gz")
    read, _ = read_volume(tmp_path / "1.nii.gz")
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.grid.same_as(volume.grid, tolerance_mm=1e-3)
    assert "3 volumes (4D)" in refusal(tmp_path / "3.nii.gz")


def test_flat_pictures_are_refused(tmp_path):
    picture = sitk.GetImageFromArray(np.zeros((40, 50), np.uint8))
    for ending in (".mha", ".nrrd"):
        sitk.WriteImage(picture, str(tmp_path / f"flat{ending}"))
        assert "2 dimensions" in refusal(tmp_path / f"flat{ending}")
    sitk.WriteImage(picture, str(tmp_path / "photo.png"))
    assert "no known kind" in refusal(tmp_path / "photo.png")


def test_two_slices_are_refused(tmp_path):
    save(Volume(np.zeros((2, 40, 40), np.int16), np.eye(4)), tmp_path / "thin.nrrd", packed=True)
    assert "slices" in refusal(tmp_path / "thin.nrrd")


@pytest.mark.parametrize("spacing", ["0 1 1", "1 1 50", "1 0.001 1", "-1 1 1"])
def test_absurd_spacing_is_refused(spacing, tmp_path):
    path = tmp_path / "scan.mha"
    save(Volume(scan().array, np.diag([-1.0, -1.0, 1.0, 1.0])), path, packed=True)
    raw = path.read_bytes()
    assert raw.count(b"ElementSpacing = 1 1 1") == 1
    path.write_bytes(raw.replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = " + spacing.encode()))
    refusal(path)


HEADERS = {
    ".nrrd": "NRRD0005\ntype: short\ndimension: 3\nsizes: 8 8 8\nencoding: raw\nendian: little\n{}\n",
    ".mha": "ObjectType = Image\nNDims = 3\nDimSize = 8 8 8\nElementType = MET_SHORT\n{}ElementDataFile = LOCAL\n",
}
DIRECTIONS = "space directions: (2,0,0) (0,2,0) (0,0,2)\n"
UNSTATED = ["The file does not state how the patient lies in it: left and right may be exchanged."]


def with_header(path, text):
    path.write_bytes(HEADERS[path.suffix].format(text).encode() + bytes(2 * 8**3))
    return path


@pytest.mark.parametrize(
    ("ending", "text"),
    [(".nrrd", ""), (".nrrd", "space: LPS\n"), (".nrrd", "spacings: 2 2 nan\n"), (".mha", ""),
     (".mha", "TransformMatrix = 1 0 0 0 1 0 0 0 1\n")],
)  # fmt: skip
def test_voxels_of_unknown_size_are_refused(ending, text, tmp_path):
    assert "how large its voxels are" in refusal(with_header(tmp_path / f"scan{ending}", text))


@pytest.mark.parametrize(
    ("ending", "text", "notes"),
    [
        (".nrrd", "spacings: 2 2 2\n", UNSTATED), (".nrrd", f"space dimension: 3\n{DIRECTIONS}", UNSTATED),
        (".nrrd", f"space: scanner-xyz\n{DIRECTIONS}", UNSTATED), (".nrrd", f"space: RAS\r\n{DIRECTIONS}", []),
        (".nrrd", f"space: left-posterior-superior\n{DIRECTIONS}", []), (".mha", "ElementSpacing = 2 2 2\n", UNSTATED),
        (".mha", "ElementSize = 2 2 2\n", UNSTATED),
        (".mha", "ElementSpacing = 2 2 2\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n", []),
    ],
)  # fmt: skip
def test_an_unknown_orientation_is_said(ending, text, notes, tmp_path):
    volume, said = read_volume(with_header(tmp_path / f"scan{ending}", text))
    assert said == notes
    np.testing.assert_allclose(volume.grid.spacing_mm, 2)


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing.nii.gz")
    for name in ("empty.nii.gz", "empty.nii", "empty.nrrd", "empty.mha", "empty.dcm"):
        (tmp_path / name).touch()
        refusal(tmp_path / name)
        (tmp_path / name).write_text("This is a letter.\n" * 100)
        refusal(tmp_path / name)


def test_itk_warnings_are_back_on_after_a_refusal(tmp_path):
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    refusal(tmp_path / "nothing.nii")
    (tmp_path / "letter.nrrd").write_text("Dear all")
    refusal(tmp_path / "letter.nrrd")
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == before


@needs_scans
@pytest.mark.parametrize("name", CTS)
def test_real_scans_agree_with_nibabel(name):
    volume, notes = read_volume(ct(name))
    oracle = nibabel.load(ct(name))
    assert notes == []
    np.testing.assert_allclose(volume.affine, oracle.affine, atol=1e-3)
    k, j, i = (n // 3 for n in volume.array.shape)
    assert volume.array[k, j, i] == oracle.dataobj[i, j, k]
    labels = read_labels(ct(f"{name}_labels"))
    assert labels.grid.same_as(volume.grid, tolerance_mm=1e-2)


def test_truncated_nifti_is_not_hidden_by_a_wrong_number_of_bits(tmp_path):
    path = tmp_path / "lying.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(20**3, dtype=np.int16).reshape(20, 20, 20)), path)
    content = bytearray(path.read_bytes())
    content[72:74] = (8).to_bytes(2, "little")  # of two bytes per voxel
    path.write_bytes(content[: -(20**3)])
    with pytest.raises(InputRefused, match="lying.nii"):
        read_volume(path)


@pytest.mark.parametrize("names", [("spine.nii.gz", "spine.nii"), ("SPINE.NII.GZ", "SPINE.NII")])
@pytest.mark.parametrize("other", ["the same size", "another size", "another type", "no links"])
def test_a_plain_file_beside_a_packed_one_is_not_read_in_its_place(names, other, tmp_path, monkeypatch):
    """ITK takes the voxels of x.nii.gz from x.nii."""
    if other == "no links":

        def refuse(*_):
            raise OSError("A required privilege is not held by the client")

        monkeypatch.setattr("os.symlink", refuse)
    first = scan()
    second = {
        "the same size": Volume(-first.array, first.affine),
        "another size": Volume(np.zeros((9, 8, 7), np.int16), first.affine),
        "another type": Volume(np.zeros(first.array.shape, np.uint8), first.affine),
        "no links": Volume(-first.array, first.affine),
    }[other]
    for name, volume in zip(names, (first, second)):
        nibabel.save(nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), volume.affine), tmp_path / name.lower())
        (tmp_path / name.lower()).rename(tmp_path / name)
    for name, volume in zip(names, (first, second)):
        read, _ = read_volume(tmp_path / name)
        np.testing.assert_array_equal(read.array, volume.array)
        assert read.grid.same_as(volume.grid, tolerance_mm=1e-3)
