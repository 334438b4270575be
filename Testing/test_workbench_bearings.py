"""Letters and places of the slices stay with their views, also where those are turned to the axes of a tilted scan."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume
from Testing.store_use import *  # noqa: F403
from Testing.workbench_use import play
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")

# As the page names them, see test_workbench_views.
LETTERS = {"yellow": ["A", "P", "S", "I"], "green": ["R", "L", "S", "I"], "red": ["R", "L", "A", "P"]}
EDGES = ("left", "right", "top", "bottom")


async def open_tilted(bench):
    await bench.open_entry(1)
    assert {view.get_orientation() for view in bench.scene.app.view_manager.get_slice_views()} == {"Reformat"}
    bench.scene.jump((0.0, 0.0, 0.0))
    before = {name: bench.state[f"bearings_{name}"]["place"] for name in LETTERS}
    for name, letters in LETTERS.items():
        assert [bench.state[f"bearings_{name}"][edge] for edge in EDGES] == letters
    bench.scene.jump((12.0, 14.0, 16.0))
    for name, place in before.items():
        assert bench.state[f"bearings_{name}"]["place"] != place


def test_a_tilted_scan_has_them(data, sample_scan):
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_euler("xyz", (8, 5, -6), degrees=True).as_matrix()
    write_volume(Volume(sample_scan.volume.array, tilt @ sample_scan.volume.affine), data / "tilted.nii.gz")
    Worklist.open(data, "tester").add([data / "tilted.nii.gz"])
    play(open_tilted, data)
