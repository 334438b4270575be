"""Scans of which a part is missing, told by what is missing."""

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.reading import read_volume


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_a_header_without_the_file_of_its_voxels_says_which_one_is_missing(ending, packed, tmp_path):
    header = tmp_path / f"scan{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((40, 50, 60), np.int16)), str(header), useCompression=packed)
    [data] = set(tmp_path.iterdir()) - {header}
    data.unlink()
    with pytest.raises(InputRefused) as refused:
        read_volume(header)
    assert str(refused.value) == f"'{data.name}', which holds the voxels of '{header.name}', is missing: copy both."
