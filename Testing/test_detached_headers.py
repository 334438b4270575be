"""Scans whose header is one file and whose voxels are others."""

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
