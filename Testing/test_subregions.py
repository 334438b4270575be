"""Labels of parts of vertebrae become vertebrae, discs and canal; the numbers are those of TPTBox."""

import numpy as np
import pytest

from SpineContextSegLib.labels import CANAL, DISC_LEVEL_UNKNOWN, SACRUM, VERTEBRA_LEVEL_UNKNOWN
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume
from Testing.scans import ct, mr, needs_scans
from Training.subregions import from_subregions


@needs_scans
@pytest.mark.parametrize("image", [mr("thoracolumbar_crop_t2"), ct("lumbar_crop")], ids=["mr", "ct"])
def test_parts_of_a_vertebra_make_up_the_vertebra(image):
    """The same scan labelled both ways: the union of the parts is that of the vertebrae and, in the MR, endplates."""
    whole = read_labels(image.with_name(image.name.replace(".nii", "_labels.nii"))).array
    parts = from_subregions(read_labels(image.with_name(image.name.replace(".nii", "_subregions.nii")))).array
    vertebrae = ((whole > 0) & (whole < 29)) | (whole > 200)
    assert np.mean((parts == VERTEBRA_LEVEL_UNKNOWN) == vertebrae) > 0.9999
    assert np.mean((parts == DISC_LEVEL_UNKNOWN) == ((whole > 100) & (whole < 200))) > 0.9999


def test_canal_holds_the_cord_a_sacrum_stays_and_other_values_are_refused():
    labels = Volume(np.array([[[0, 26, 60, 61, 41, 49, 62, 100]]], np.uint8), np.eye(4))
    expected = [0, SACRUM, CANAL, CANAL, *[VERTEBRA_LEVEL_UNKNOWN] * 3, DISC_LEVEL_UNKNOWN]
    assert from_subregions(labels).array.ravel().tolist() == expected
    with pytest.raises(ValueError, match="20"):
        from_subregions(Volume(np.array([[[20]]], np.uint8), np.eye(4)))
