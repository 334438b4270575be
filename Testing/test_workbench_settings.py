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
    Worklist.open(data, "tester").add([write_scan(data / f"{seed}.nii.gz", seed) for seed in (1, 2)])


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


def wheel(bench, direction: str, turns: int) -> None:
    """With Shift, over the axial slice."""
    window = bench.scene.app.view_manager.get_view("Red").interactor()
    width, height = window.GetSize()
    # Ctrl, Shift.
    window.SetEventInformation(width // 2, height // 2, 0, 1)
    window.InvokeEvent("MouseMoveEvent")
    for _ in range(turns):
        window.InvokeEvent(f"MouseWheel{direction}Event")


async def turn_the_wheel(bench):
    from trame_slicer.segmentation import SegmentationEffectErase, SegmentationEffectPaint

    def sizes() -> set[float]:
        return {bench.scene.editor.get_effect(effect).get_brush_diameter()
                for effect in (SegmentationEffectPaint, SegmentationEffectErase)}  # fmt: skip

    await bench.open_entry(1)
    bench.segments.add()
    bench.tools.choose("erase")
    assert bench.state.brush_mm == 8 and sizes() == {8}
    wheel(bench, "Forward", 2)
    assert bench.state.brush_mm == pytest.approx(8 * 1.1**2)
    # As the page does with what has changed.
    bench.tools.apply_sizes()
    bench.tools.choose("paint")
    assert bench.state.brush_mm == pytest.approx(8 * 1.1**2) and sizes() == {bench.state.brush_mm}
    await bench.open_entry(2)
    bench.segments.add()
    bench.tools.choose("paint")
    assert bench.state.brush_mm == pytest.approx(8 * 1.1**2) and sizes() == {bench.state.brush_mm}
    for direction, bound in (("Forward", 60), ("Backward", 1)):
        wheel(bench, direction, 60)
        assert bench.state.brush_mm == bound and sizes() == {bound}
    bench.tools.resize_brush(5)
    bench.tools.apply_sizes()
    assert bench.state.brush_mm == 5 and sizes() == {5}


def test_the_wheel_sets_the_brush_within_its_bounds(scans, data):
    play(turn_the_wheel, data)
