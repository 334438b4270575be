"""The sliding window against MONAI's, its memory, progress and cancel, and the way of the axes through a network."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from model_cards import ROI_SIZE, card_content, random_network
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import nn

from SpineContextSegLib.card import ModelCard
from SpineContextSegLib.errors import Cancelled
from SpineContextSegLib.network import fold_batch_norm
from SpineContextSegLib.runtime.torch_runtime import TorchRuntime
from SpineContextSegLib.sliding_window import importance_map, sweep
from SpineContextSegLib.windows import window_starts, windows_over

PAD = -1.0


@pytest.fixture(scope="module")
def runtime():
    return TorchRuntime(fold_batch_norm(random_network(out_channels=3)), torch.nn.Softmax(1), threads=1)


def monai(image, runtime, overlap, roi_size=ROI_SIZE):
    """The oracle: class probabilities (classes, d, h, w)."""
    predict = lambda windows: torch.from_numpy(runtime(windows.numpy()))  # noqa: E731
    options = {"roi_size": roi_size, "sw_batch_size": 2, "overlap": overlap, "mode": "gaussian", "cval": PAD}
    return sliding_window_inference(torch.from_numpy(image)[None, None], predictor=predict, **options)[0].numpy()


def sliding_window(image, runtime, roi_size, overlap, pad_value, **options):
    """All blocks of a sweep over the whole image in one array (classes, d, h, w)."""
    result = None
    for where, block, _ in sweep(
        image, runtime, roi_size, windows_over(image.shape, roi_size, overlap), pad_value, **options
    ):
        result = np.empty((len(block), *image.shape), np.float32) if result is None else result
        result[(slice(None), *where)] = block
    return result


def random_image(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


class Recorder:
    """A runtime that keeps the windows it was given; its answer is the window itself."""

    name = device = precision = "recorder"
    blends_on_device = False
    warnings: list[str] = []

    def __init__(self, preferred_batch=1):
        self.preferred_batch = preferred_batch
        self.batches = []

    def __call__(self, windows):
        self.batches.append(windows.copy())
        return windows


@pytest.mark.parametrize("roi_size", [(16, 24, 8), (5, 64, 9)])
def test_importance_is_monai_s_and_nowhere_zero(roi_size):
    weights = importance_map(roi_size)
    np.testing.assert_allclose(weights, compute_importance_map(roi_size, "gaussian").numpy(), rtol=1e-5)
    assert weights.min() >= 1e-3


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.625])
@pytest.mark.parametrize(
    "shape",
    [(32, 24, 16), (20, 17, 9), (37, 41, 27), (33, 23, 40), (70, 20, 16)],
    ids=["the window", "smaller", "larger and odd", "mixed", "long along the first axis"],
)
def test_equals_monai(runtime, shape, overlap):
    image = random_image(shape)
    result = sliding_window(image, runtime, ROI_SIZE, overlap, PAD)
    reference = monai(image, runtime, overlap)
    assert result.shape == reference.shape == (3, *shape)
    assert reference.std() > 0.05
    np.testing.assert_allclose(result, reference, atol=1e-4)


def test_no_overlap_equals_monai(runtime):
    image = random_image((50, 24, 33))
    np.testing.assert_allclose(
        sliding_window(image, runtime, ROI_SIZE, 0, PAD), monai(image, runtime, 0), atol=1e-4
    )


def test_windows_lie_anywhere_and_blocks_cover_them_once():
    """Also beyond the border, and with a gap in between that no window reaches."""
    image = random_image((90, 50, 160))
    corners = [(3, 2, 1), (60, 30, 140), (-5, 20, 9), (3, 30, 5), (50, -4, 149), (31, 7, 21)]
    seen, expected = np.zeros(image.shape, int), np.zeros(image.shape)
    weights = importance_map(ROI_SIZE)
    for corner in corners:
        first = np.maximum(corner, 0)
        last = np.minimum(np.add(corner, ROI_SIZE), image.shape)
        own = tuple(slice(a - c, b - c) for a, b, c in zip(first, last, corner))
        expected[tuple(map(slice, first, last))] += weights[own]
    thickest = 0
    for where, block, importance in sweep(image, Recorder(), ROI_SIZE, corners, PAD):
        assert block.shape[1:] == importance.shape == seen[where].shape
        np.testing.assert_allclose(block[0], np.where(importance > 0, image[where], 0), atol=1e-5)
        np.testing.assert_allclose(importance, expected[where], rtol=1e-5)
        seen[where] += 1
        thickest = max(thickest, where[2].stop - where[2].start)
    assert seen.max() == 1 and (seen[expected > 0] == 1).all()
    assert thickest <= ROI_SIZE[2]


def test_the_border_of_the_image_counts():
    """A published implementation gives the border no weight; here a corner voxel keeps its value."""
    image = np.zeros((40, 40, 40), np.float32)
    image[0, 0, 0] = image[-1, -1, -1] = 1
    result = sliding_window(image, Recorder(), ROI_SIZE, 0.5, PAD)[0]
    np.testing.assert_allclose(result, image, atol=1e-6)


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_batches_change_nothing_but_the_number_of_calls(batch):
    image = random_image((45, 50, 37))
    one, many = Recorder(), Recorder(batch)
    np.testing.assert_array_equal(
        sliding_window(image, one, ROI_SIZE, 0.5, PAD), sliding_window(image, many, ROI_SIZE, 0.5, PAD)
    )
    assert max(len(windows) for windows in many.batches) == batch
    np.testing.assert_array_equal(np.concatenate(one.batches), np.concatenate(many.batches))


def test_hu_are_scaled_window_by_window(runtime):
    """int16 HU through the card's scaling equal floats scaled beforehand; the padding is air either way."""
    card = ModelCard.from_dict(card_content())
    hu = np.random.default_rng(0).integers(-1500, 2500, (20, 30, 27)).astype(np.int16)
    result = sliding_window(hu, runtime, ROI_SIZE, 0.5, card.pad_value, normalize=card.normalize)
    np.testing.assert_allclose(result, monai(card.normalize(hu), runtime, 0.5), atol=1e-4)


def test_merged_classes_are_their_sums(runtime):
    image = random_image((45, 30, 37))
    merge = np.array([[0, 1, 1]], np.float32)
    result = sliding_window(image, runtime, ROI_SIZE, 0.5, PAD, merge=merge)
    whole = sliding_window(image, runtime, ROI_SIZE, 0.5, PAD)
    np.testing.assert_allclose(result[0], whole[1] + whole[2], atol=1e-5)


def test_windows_of_air_are_not_run():
    card = ModelCard.from_dict(card_content())
    hu = np.full((64, 24, 48), -1024, np.int16)
    hu[40:, :, 20:] = 100

    class Bone(Recorder):
        """Says class 1 everywhere."""

        def __call__(self, windows):
            self.batches.append(windows)
            result = np.zeros((len(windows), 8, *ROI_SIZE), np.float32)
            result[:, 1] = 1
            return result

    runtime, progress = Bone(), []
    options = {"normalize": card.normalize, "skip": card.known_outputs}
    result = sliding_window(
        hu, runtime, ROI_SIZE, 0.5, card.pad_value, progress=lambda *done: progress.append(done), **options
    )
    total = len(window_starts(64, 32, 0.5)) * len(window_starts(48, 16, 0.5))
    assert 0 < len(runtime.batches) < total
    assert all((windows > card.pad_value).any() for windows in runtime.batches)
    assert progress[-1] == (total, total) and [done for done, _ in progress] == sorted({done for done, _ in progress})
    np.testing.assert_allclose(result.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(result[0, :16, :, :8], 1)
    np.testing.assert_array_equal(result[1, 48:, :, 32:], 1)
    merged = sliding_window(hu, runtime, ROI_SIZE, 0.5, card.pad_value, merge=card.structure_matrix([1, 26]), **options)
    np.testing.assert_allclose(merged, [result[1], 0 * result[3]], atol=1e-5)


def test_progress_counts_every_window():
    progress = []
    image = random_image((45, 50, 37))
    recorder = Recorder(2)
    sliding_window(image, recorder, ROI_SIZE, 0.5, PAD, progress=lambda *done: progress.append(done))
    total = sum(len(windows) for windows in recorder.batches)
    assert progress[-1] == (total, total)
    assert len(progress) == len(recorder.batches)
    assert np.diff([done for done, _ in progress]).min() > 0


def test_cancel_between_windows():
    recorder = Recorder()
    image = random_image((45, 50, 37))
    with pytest.raises(Cancelled):
        sliding_window(image, recorder, ROI_SIZE, 0.5, PAD, cancelled=lambda: len(recorder.batches) == 3)
    assert len(recorder.batches) == 3


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 1)])
def test_only_images_of_three_dimensions(shape):
    with pytest.raises(ValueError, match="3D"):
        next(sweep(np.zeros(shape, np.float32), Recorder(), ROI_SIZE, [(0, 0, 0)], PAD))


@pytest.mark.parametrize("corners", [[], [(0, 0, 0), (40, 0, 0)], [(0, 0, -ROI_SIZE[2])]])
def test_windows_must_meet_the_image(corners):
    with pytest.raises(ValueError, match="windows"):
        next(sweep(np.zeros((40, 40, 40), np.float32), Recorder(), ROI_SIZE, corners, PAD))


@pytest.mark.parametrize(("order", "move"), [("RAS", (1, 2, 3)), ("LPS", (-1, -2, 3)), ("SRA", (2, 3, 1))])
def test_directions_survive_the_way_through_a_network(order, move):
    """A network that moves every voxel by 1, 2, 3 along its axes moves the volume by `move` along R, A, S."""
    card = ModelCard.from_dict(card_content(axis_order=order))
    network = nn.Conv3d(1, 1, kernel_size=7, padding=3, bias=False)
    with torch.no_grad():
        network.weight.zero_()
        network.weight[0, 0, 3 - 1, 3 - 2, 3 - 3] = 20  # far up the sigmoid
    volume = np.full((40, 40, 40), -20, np.float32)
    volume[20, 21, 22] = 20
    result = sliding_window(
        card.to_network_axes(volume), TorchRuntime(network, torch.nn.Sigmoid()), card.roi_size, card.overlap, -20.0
    )
    right, anterior, superior = move
    bright = np.argwhere(card.to_volume_axes(result)[0] > 0.9)
    np.testing.assert_array_equal(bright, [[20 + superior, 21 + anterior, 22 + right]])


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_memory_for_a_large_scan_stays_below_280_mib():
    """512x512x600, the two sums of classes that `--structures spine` writes.

    The slab takes (2 + 1) x 512 x 512 x 64 x 4 bytes = 192 MiB; moving it on and one window add less than 64 MiB.
    Each further class adds 64 MiB.
    """
    code = """
import numpy as np
from SpineContextSegLib.sliding_window import sweep
from SpineContextSegLib.windows import windows_over

class Constant:
    name = device = precision = "constant"
    preferred_batch = 1
    blends_on_device = False
    warnings = []
    answer = np.full((1, 2, 128, 128, 64), 0.25, np.float32)
    def __call__(self, windows):
        return self.answer

def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) / 1024

image = np.full((600, 512, 512), -1000, np.int16).transpose(2, 1, 0)
before, voxels = peak(), 0
corners = windows_over(image.shape, (128, 128, 64), 0.25)
for where, block, _ in sweep(image, Constant(), (128, 128, 64), corners, 0.0, normalize=np.float32):
    assert np.allclose(block[:, ::32, ::32], 0.25)
    voxels += block[0].size
assert voxels == image.size
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 192 < float(done.stdout) < 280
