"""Scans whose header is one file and whose voxels are others."""

import subprocess
import sys
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.reading import read_volume
from SpineContextSegLib.text_header import data_files

# More than a header could promise if it were all that there is.
VOXELS = np.tile(np.arange(-1000, 1000, dtype=np.int16), 500).reshape(100, 100, 100)


@pytest.fixture(params=[".mhd", ".nhdr"])
def header(request, tmp_path):
    path = tmp_path / f"scan{request.param}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    return path


def test_a_header_may_be_renamed(header):
    renamed = header.rename(header.with_name(f"patient 1{header.suffix}"))
    assert np.array_equal(read_volume(renamed)[0].array, VOXELS)


def test_one_file_for_each_slice_is_read(tmp_path):
    for k, plane in enumerate(VOXELS):
        plane.tofile(tmp_path / f"slice{k}.raw")
    common = "NDims = 3\nDimSize = 100 100 100\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
    (tmp_path / "list.mhd").write_text(
        f"{common}ElementDataFile = LIST\n" + "".join(f"slice{k}.raw\n" for k in range(len(VOXELS)))
    )
    (tmp_path / "pattern.mhd").write_text(f"{common}ElementDataFile = slice%d.raw 0 99 1\n")
    for name in ("list.mhd", "pattern.mhd"):
        assert np.array_equal(read_volume(tmp_path / name)[0].array, VOXELS), name


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.mhd", "NDims = 3\r\nElementDataFile = my scan.raw\r\n", "my scan.raw"),
        ("a.mhd", "elementdatafile=b.zraw", "b.zraw"),
        ("a.mhd", "ElementDataFile = LOCAL\n\0\0", "a.mhd"),
        ("a.mhd", "ElementDataFile = LIST\nb.raw\n", None),
        ("a.mhd", "NDims = 3\n", None),
        ("a.nhdr", "NRRD0005\ndata file: sub/b.raw.gz\n", "sub/b.raw.gz"),
        ("a.nhdr", "NRRD0005\ndatafile: b.raw\n\n", "b.raw"),
        ("a.nhdr", "NRRD0005\ndata file: b%03d.raw 1 60 1\n", None),
        ("a.nhdr", "NRRD0005\ndata file: LIST 2\nb.raw\n", None),
    ],
)
def test_the_file_that_a_header_names(name, text, named, tmp_path):
    """Of several, only what is there counts; of one, what is named."""
    (tmp_path / name).write_text(text, newline="")
    assert data_files(tmp_path / name) == ([tmp_path / named] if named else [])


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("a.mhd", "ElementDataFile = LIST\r\ns1.raw\r\ns2.raw\r\ns9.raw\r\n", "s1 s2"),
        ("a.mhd", "ElementDataFile = LIST 2\ns2.raw\nsub/1.raw", "s2 sub/1"),
        ("a.mhd", "ElementDataFile = s%d.raw", "s1 s2 s3 s4"),
        ("a.mhd", "ElementDataFile = s%i.raw 1 3 2", "s1 s3"),
        ("a.mhd", "ElementDataFile = s%02d.raw 1 3 1", "s01"),
        ("a.nhdr", "NRRD0005\ndata file: s%d.raw 2 4 1 2\n", "s2 s3 s4"),
        ("a.nhdr", "NRRD0005\ndatafile: s%d.raw 3 1 -2\n", "s3 s1"),
        ("a.nhdr", "NRRD0005\ndata file: sub/%d.raw 0 999999999 1\n", "sub/1"),
        ("a.nhdr", "NRRD0005\ndata file: LIST\ns4.raw\ns1.raw\n", "s4 s1"),
        ("a.nhdr", "NRRD0005\ndata file: 50%.raw\n", "50%"),
    ],
)
def test_the_files_that_a_header_names(name, text, named, tmp_path):
    (tmp_path / "sub").mkdir()
    for file in ("s1.raw", "s2.raw", "s3.raw", "s4.raw", "s01.raw", "sub/1.raw", "50%.raw"):
        (tmp_path / file).touch()
    (tmp_path / name).write_text(text, newline="")
    assert data_files(tmp_path / name) == [tmp_path / f"{file}.raw" for file in named.split()]


def meta_image(folder, stated, packed=False):
    header = folder / "scan.mhd"
    header.write_text(
        f"NDims = 3\nCompressedData = {packed}\nDimSize = 10 10 3\nElementType = MET_SHORT\nElementSpacing = 1 1 1\n"
        f"ElementDataFile = {stated}\n"
    )
    return header


@pytest.fixture
def parts(tmp_path):
    """A folder with three slices of 10 x 10 voxels, each in a file of its own, half a slice, and all in one."""
    slices = VOXELS.ravel()[:300].reshape(3, 10, 10)
    for n, plane in enumerate(slices, 1):
        (tmp_path / f"s{n}.raw").write_bytes(plane.tobytes())
    (tmp_path / "s4.raw").write_bytes(slices[0, :5].tobytes())
    (tmp_path / "whole.raw").write_bytes(slices.tobytes())
    packed = zlib.compress(np.random.default_rng(0).permutation(slices.ravel()).tobytes())
    (tmp_path / "cut.zraw").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "short.zraw").write_bytes(zlib.compress(slices[:2].tobytes()))
    (tmp_path / "whole.zraw").write_bytes(zlib.compress(slices.tobytes()))
    return tmp_path


@pytest.mark.parametrize(
    ("stated", "packed"),
    [
        ("whole.raw", False), ("whole.zraw", True), ("s%d.raw 1 3 1", False), ("s%d.raw 1 4 1", False),
        ("s%d.raw", False), ("LIST\ns1.raw\ns2.raw\ns3.raw", False), ("LIST 2D\ns1.raw\ns2.raw\ns3.raw", False),
    ],
)  # fmt: skip
def test_meta_images_in_one_or_several_files(stated, packed, parts):
    read, _ = read_volume(meta_image(parts, stated, packed))
    assert np.array_equal(read.array.ravel(), VOXELS.ravel()[:300])


@pytest.mark.parametrize(
    ("stated", "packed"),
    [
        ("cut.zraw", True), ("short.zraw", True), ("s%d.raw 3 1 1", False), ("s%d.raw 2 4 1", False),
        ("s%d.raw 1 2 1", False), ("LIST\ns1.raw\ns2.raw", False), ("LIST\ns1.raw\ns2.raw\nno.raw", False),
        ("LIST\nwhole.raw", False), ("LIST 3D\nwhole.raw", False), ("LIST 2\ns1.raw", False),
        ("LIST x\ns1.raw", False), ("s%d.raw 1 x 1", False),
        ("s%d.raw 1 3", False), ("s%d.raw 1 3 0", False), ("s%s.raw 1 3 1", False), ("s%n.raw 1 3 1", False),
        ("s%d%d.raw 1 3 1", False), ("LIST\ns1.raw\ns2.raw\ns3.raw", True),
    ],
)  # fmt: skip
def test_meta_images_that_lack_voxels_are_refused(stated, packed, parts):
    """ITK leaves what lies in memory in their place, or ends the process: so in one of its own."""
    header = meta_image(parts, stated, packed)
    read = f"from SpineContextSegLib.reading import read_volume; read_volume({str(header)!r})"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True)
    assert "InputRefused: 'scan.mhd'" in done.stderr.splitlines()[-1]
