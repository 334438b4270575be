"""What is said once a run has ended, well or not."""

import shutil

import numpy as np
import pytest

from Testing.store_use import *  # noqa: F403
from Testing.workbench_use import play
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")


@pytest.fixture
def scan(data, sample_scan):
    """The only one in the worklist."""
    shutil.copy(sample_scan.path, data / "scan.nii.gz")
    Worklist.open(data).add([data / "scan.nii.gz"])
    return data / "scan.nii.gz"


async def segment_over_ones_own(bench):
    await bench.open_entry(1)
    bench.segments.add()
    own = np.zeros(bench.scene.volume().array.shape, np.uint8)
    own[20:30, 20:40, 20:50] = 1
    bench.scene.editor.active_segment_modifier.set_segment_labelmap(bench.state.active_segment, own)
    await bench.segment(replace=True)
    saved = bench.saving._versions.load(bench.saving.latest()).array
    shown = {item["name"]: bench.scene.editor.get_segment_labelmap(item["id"], as_numpy_array=True) != 0
             for item in bench.state.segments}  # fmt: skip
    np.testing.assert_array_equal(saved == 300, own != 0)
    lost = int((shown["Vertebrae"] & (saved == 300)).sum())
    assert lost
    [remark] = bench.state.remarks
    assert remark.startswith(f"Segments overlap in {lost} voxels, of which the saved result has")


def test_what_is_shown_and_not_saved_is_told(scan, data, tiny_model):
    play(segment_over_ones_own, data, tiny_model)
