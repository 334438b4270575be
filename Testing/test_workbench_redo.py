"""Repairs that are undone and done again leave what was done after them as it was."""

import numpy as np
import pytest

from SpineContextSegLib.volume import Volume
from Testing.one_scan import *  # noqa: F403
from Testing.store_use import *  # noqa: F403
from Testing.store_use import NAMES
from Testing.workbench_use import play
from Workbench.store.versions import Versions

pytest.importorskip("trame_slicer")

L1, L2, L3 = 20, 21, 22


def seen(bench) -> dict[str, tuple]:
    """Name -> ID and voxels of every segment."""
    labels, names, *_ = bench.scene.labels()
    ids = {item["name"]: item["id"] for item in bench.state.segments}
    return {name: (ids[name], (labels.array == value).tobytes()) for value, name in names.items()}


def split(bench) -> str:
    """Cuts L1 in its middle; the ID of the part."""
    before = {item["id"]: item for item in bench.state.segments}
    upper = next(item["id"] for item in bench.state.segments if item["name"] == NAMES[L1])
    bench.scene.go_to(upper)
    bench.state.which = L1
    bench.levels.repair("split")
    [part] = {item["id"] for item in bench.state.segments} - before.keys()
    return part


def paint_part(bench, part: str) -> None:
    bench.segments.choose(part)
    mask = np.zeros(bench.scene.volume().array.shape, np.uint8)
    mask[5:8, 3:6, 3:6] = 1
    bench.scene.editor.active_segment_modifier.set_segment_labelmap(part, mask)


def name_part(bench, part: str) -> None:
    bench.segments.edit(part)
    bench.state.new_name = "The lower half"
    bench.segments.apply_name()


async def go_back_and_forth(bench, step):
    await bench.open_entry(1)
    states = [seen(bench)]
    part = split(bench)
    states.append(seen(bench))
    {"paint": paint_part, "name": name_part}[step](bench, part)
    states.append(seen(bench))
    assert states[0] != states[1] != states[2]
    for way in (bench.editing.undo, bench.editing.redo, bench.editing.undo):
        for state in (states[1], states[0]) if way == bench.editing.undo else states[1:]:
            way()
            assert seen(bench) == state
    assert not bench.state.can_undo and not bench.state.unsaved


@pytest.mark.parametrize("step", ["paint", "name"])
def test_a_part_keeps_what_was_done_to_it(scan, data, sample_scan, step):
    array = np.zeros(sample_scan.volume.array.shape, np.uint8)
    for value, k in ((L1, 48), (L2, 36), (L3, 24)):
        array[k : k + 10, 20:30, 20:30] = value
    Versions(scan, data).save(Volume(array, sample_scan.volume.affine), NAMES, kind="model", by="anna")
    play(go_back_and_forth, data, "", step)
