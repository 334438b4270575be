"""Labels of a segmentation as one array, on the grid of its scan or the smallest; planes and points in views."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.label_volume import label_volume, reference_grid  # noqa: E402
from SpineContextSegLib.mrml.planes import name_of, plane_at, pointers  # noqa: E402
from Testing.level_repairs import *  # noqa: E402, F403
from Testing.level_repairs import LUMBAR, column  # noqa: E402
from Testing.scene_nodes import draw, mask_of, paint, remove_views  # noqa: E402
from Testing.scene_results import SMALL  # noqa: E402


class TestLabelVolume:
    def test_on_the_grid_of_the_scan(self, node, volume):
        draw(node, "Mine", column(5) == 5, volume)
        found = label_volume(node.GetSegmentation(), SMALL)
        np.testing.assert_array_equal(found.array, column(*LUMBAR))
        remembered = reference_grid(node.GetSegmentation())
        assert remembered.same_as(SMALL)

    def test_the_smallest_grid_that_holds_all(self, node, volume):
        node.GetSegmentation().SeparateSegmentLabelmap("SpineContextSeg_22")
        outside = np.zeros(SMALL.shape, bool)
        outside[15, 15, 17] = True
        paint(node, "SpineContextSeg_22", outside, volume)
        found = label_volume(node.GetSegmentation())
        k, j, i = np.argwhere(found.array == 22).T
        places = found.grid.world(np.stack([i, j, k], 1))
        k, j, i = np.argwhere(mask_of(node, "SpineContextSeg_22", volume)).T
        np.testing.assert_allclose(places, SMALL.world(np.stack([i, j, k], 1)), atol=1e-6)

    def test_nothing(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        assert not label_volume(node.GetSegmentation()).array.any()
        assert reference_grid(node.GetSegmentation()) is None


def test_what_points_at_a_place(scene):
    assert pointers(scene) == []
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode", "Yellow")
    view.SetSliceToRASByNTP(1, 0, 0, 0, 1, 0, 7, 8, 9, 0)
    crosshair = scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairRAS(1, 2, 3)
    assert list(map(name_of, pointers(scene))) == ["Crosshair", "Yellow slice"]
    np.testing.assert_allclose(plane_at(crosshair)[0], (1, 2, 3))
    assert plane_at(crosshair)[1] is None
    point, normal = plane_at(view)
    np.testing.assert_allclose(point, (7, 8, 9))
    np.testing.assert_allclose(np.abs(normal), (1, 0, 0))
    remove_views()
