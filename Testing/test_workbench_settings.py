"""What is set on the page is so in the scene, whatever was opened and chosen since."""

import pytest

from Testing.store_use import *  # noqa: F403
from Testing.store_use import write_scan
from Testing.workbench_use import paint, play
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")


@pytest.fixture
def scans(data):
    """Two, of noise."""
    Worklist.open(data).add([write_scan(data / f"{seed}.nii.gz", seed) for seed in (1, 2)])


async def open_two(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.save()
    bench.state.update({"limited": True, "opacity": 0.25})
    for number in (2, 1):
        await bench.open_entry(number)
        editor = bench.scene.editor
        assert bench.state.limited and editor.editor_node.GetSourceVolumeIntensityMask()
        assert list(editor.editor_node.GetSourceVolumeIntensityMaskRange()) == bench.state.limits
        assert editor.active_segmentation_display.get_opacity_2d() == bench.state.opacity == 0.25


def test_limits_and_opacity_hold_in_the_next_scan(scans, data):
    play(open_two, data)
