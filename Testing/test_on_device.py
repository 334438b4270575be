"""Blending where the network runs: the same result as window by window on the host, on the CPU as the device.

No GPU has run this yet: what differs there is the device's name and its ways to fail, which are played here.
"""

import numpy as np
import pytest
import torch
from model_cards import ROI_SIZE, random_network

from SpineContextSegLib.errors import Cancelled
from SpineContextSegLib.network import fold_batch_norm
from SpineContextSegLib.runtime.torch_runtime import TorchRuntime
from SpineContextSegLib.sliding_window import sweep
from SpineContextSegLib.windows import windows_over

PAD = -1.0
MERGE = np.array([[0, 1, 1], [0.5, 0, 2]], np.float32)


class Device(TorchRuntime):
    """The CPU as if it were a GPU, which can be made to fail at a window."""

    fails_at = None

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.device = "cpu:0"  # the same one to torch, not the host's to us

    def on_device(self, batch):
        self.seen = getattr(self, "seen", 0) + len(batch)
        if self.fails_at is not None and self.seen > self.fails_at:
            if self.preferred_batch > 1:
                self.preferred_batch //= 2
            else:
                self.fall_back("out of memory")
                self.fails_at = None
            return None
        return super().on_device(batch)


def of(kind) -> TorchRuntime:
    return kind(fold_batch_norm(random_network(out_channels=3)), torch.nn.Softmax(1), threads=1)


def image_of(shape, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1500, shape, dtype=np.int16)


def normalize(hu):
    return np.clip(hu / np.float32(1000), -1, 1).astype(np.float32)


def skip(hu):
    return np.array([1, 0, 0], np.float32) if hu.max() < -900 else None


def blended(runtime, image, corners, **options):
    options = {"normalize": normalize, "merge": MERGE, "skip": skip} | options
    result, weights = None, np.zeros(image.shape, np.float32)
    for where, block, weight in sweep(image, runtime, ROI_SIZE, corners, PAD, **options):
        result = np.zeros((len(block), *image.shape), np.float32) if result is None else result
        result[(slice(None), *where)], weights[where] = block, weight
    return result, weights


SIZE = np.array(ROI_SIZE)


@pytest.mark.parametrize("shape", [SIZE * 2 + 5, SIZE - 3, (SIZE[0] * 3, SIZE[1] - 5, SIZE[2] + 1)], ids=str)
@pytest.mark.parametrize("merge", [None, MERGE], ids=["classes", "merged"])
@pytest.mark.parametrize("batch", [1, 3])
def test_same_as_on_the_host(shape, merge, batch):
    image = image_of(tuple(int(n) for n in shape))
    image[: SIZE[0]] = -1000  # skipped
    corners = windows_over(image.shape, ROI_SIZE, 0.25)
    device = of(Device)
    device.preferred_batch = batch
    for found, expected in zip(
        blended(device, image, corners, merge=merge), blended(of(TorchRuntime), image, corners, merge=merge)
    ):
        assert np.abs(found - expected).max() < 1e-5


def test_windows_along_a_part_of_the_image():
    """Some places are in no window, some windows begin before the image."""
    image = image_of(tuple(int(n) for n in SIZE * 3))
    corners = [(-4, 0, 3), (int(SIZE[0]) - 6, 5, 9), (int(SIZE[0] * 2), int(SIZE[1]), int(SIZE[2] * 2 + 2))]
    found, expected = blended(of(Device), image, corners), blended(of(TorchRuntime), image, corners)
    assert np.abs(found[0] - expected[0]).max() < 1e-5 and np.abs(found[1] - expected[1]).max() < 1e-5
    assert (found[1] == 0).any()


@pytest.mark.parametrize("batch", [1, 4])
def test_device_that_gives_up_is_replaced_by_the_host(batch):
    image = image_of(tuple(int(n) for n in SIZE * 2 + 3))
    corners = windows_over(image.shape, ROI_SIZE, 0.25)
    device = of(Device)
    device.preferred_batch, device.fails_at = batch, 5
    found = blended(device, image, corners)
    assert device.device == "cpu" and "the CPU took over: out of memory" in device.warnings[-1]
    assert np.abs(found[0] - blended(of(TorchRuntime), image, corners)[0]).max() < 1e-5


def test_progress_and_cancel():
    image = image_of(tuple(int(n) for n in SIZE * 2))
    corners = windows_over(image.shape, ROI_SIZE, 0.0)
    told = []
    device = of(Device)
    device.preferred_batch = 3
    blended(device, image, corners, progress=lambda *numbers: told.append(numbers))
    assert told == [(3, 8), (6, 8), (8, 8)]
    with pytest.raises(Cancelled):
        blended(device, image, corners, cancelled=lambda: True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this computer")
def test_on_a_gpu():
    image = image_of(tuple(int(n) for n in SIZE * 2 + 3))
    corners = windows_over(image.shape, ROI_SIZE, 0.25)
    gpu = TorchRuntime(fold_batch_norm(random_network(out_channels=3)), torch.nn.Softmax(1), "cuda")
    assert gpu.blends_on_device
    found, expected = blended(gpu, image, corners), blended(of(TorchRuntime), image, corners)
    assert gpu.device == "cuda" and np.abs(found[0] - expected[0]).max() < 0.02
