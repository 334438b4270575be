"""The shipped sample as fixtures, for `from Testing.sample_body import *`."""

from pathlib import Path

import pytest

from SpineContextSegLib.reading import read_labels, read_volume

__all__ = ["SAMPLE", "ct", "labels"]

SAMPLE = Path(__file__).parents[1] / "SpineContextSeg" / "SpineContextSegLib" / "sample"


@pytest.fixture(scope="module")
def ct():
    return read_volume(SAMPLE / "phantom_ct.nii.gz")[0]


@pytest.fixture(scope="module")
def labels():
    return read_labels(SAMPLE / "phantom_labels.nii.gz")
