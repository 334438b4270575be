"""Real scans, the shipped model: locating the spine first loses nothing (on a generated one see `test_locate`), and
what is cut is said, however the scan was padded."""

import numpy as np
import pytest
import SimpleITK as sitk
from scans import ct, needs_scans

from SpineContextSegLib.evaluate import compare
from SpineContextSegLib.labels import BINARY_SPINE
from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.runtime import choose_helpers, choose_runtime
from SpineContextSegLib.scores import BINARY
from SpineContextSegLib.volume import Volume, from_sitk, to_sitk

TOTALSEGMENTATOR = {"abdomen_3mm"}
SPINE_IN = {"verse": BINARY_SPINE, "totalsegmentator": range(25, 51)}
WORST_LOSS = 0.005  # of Dice, what rounding and other neighbors of windows may do
# Neck, chest and abdomen. Full sweeps of the larger ones take minutes, and show the same.
REAL = ("head_neck", "thorax_crop", "abdomen_3mm", "lumbar_crop")


@pytest.fixture(scope="module")
def model():
    return load_model("spinecontext-ct")


@pytest.fixture(scope="module")
def runtimes(model):
    # In one precision, whatever the processor: what 8 bits cost is measured by `Training.quantize`.
    return choose_runtime(model, precision="fp32"), choose_helpers(model, precision="fp32")


@needs_scans
@pytest.mark.parametrize("name", REAL)
def test_both_searches(name, model, runtimes):
    volume, _ = read_volume(ct(name))
    truth = read_labels(ct(f"{name}_labels"))
    numbering = "totalsegmentator" if name in TOTALSEGMENTATOR else "verse"
    runtime, helpers = runtimes
    located, everywhere = (segment(volume, model, runtime, **helpers, everywhere=which) for which in (False, True))
    dice = [
        compare(result.labels, truth, reference_numbering=numbering)[0][BINARY].dice
        for result in (located, everywhere)
    ]
    assert dice[0] >= dice[1] - WORST_LOSS
    assert located.windows <= everywhere.windows
    # No plane of the scan in which only the full sweep finds more than a speck of true spine.
    near, full = (np.isin(result.labels.array, list(BINARY_SPINE)) for result in (located, everywhere))
    true = np.isin(truth.array, list(SPINE_IN[numbering]))
    missed = (full & ~near & true).sum((1, 2)) * volume.grid.voxel_volume_mm3 / 1000
    assert missed.max() < 2.0


def padded(scan: Volume) -> Volume:
    image = to_sitk(scan)
    return from_sitk(sitk.ConstantPad(image, [6] * 3, [6] * 3, -1024))


def turned(scan: Volume) -> Volume:
    """As a registration writes it: on a grid turned by 12 degrees, what lay outside is -1024."""
    image = to_sitk(scan)
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return from_sitk(sitk.Resample(image, image, sitk.Euler3DTransform(middle, np.deg2rad(12), 0, 0), sitk.sitkLinear,
                                   -1024))  # fmt: skip


@needs_scans
@pytest.mark.parametrize("changed", [lambda scan: scan, padded, turned], ids=["as it is", "padded", "turned"])
def test_the_same_vertebrae_are_cut_however_the_scan_was_padded(changed, model, runtimes):
    scan, _ = read_volume(ct("abdomen_3mm"))
    part = Volume(scan.array[48:84], scan.grid.crop((slice(48, 84), slice(None), slice(None))).affine)
    runtime, helpers = runtimes
    column = segment(changed(part), model, runtime, **helpers).column
    cut = [value for value, is_cut in zip(column.levels.values, column.at_border) if is_cut]
    assert cut == [min(column.levels.values), max(column.levels.values)] and len(column.levels.values) > 2
