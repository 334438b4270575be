"""Scans whose header is one file and whose voxels are others."""

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.integrity import data_file
from SpineContextSegLib.reading import read_volume

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
    (tmp_path / name).write_text(text, newline="")
    assert data_file(tmp_path / name) == (named and tmp_path / named)
