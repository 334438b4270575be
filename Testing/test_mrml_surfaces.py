"""Exported surfaces: they lie where the voxels are, in LPS, and are those that Slicer shows."""

import os

import numpy as np
import pytest

from SpineContextSegLib.labels import structure
from SpineContextSegLib.volume import Grid
from Testing.geometry import GRIDS, centered_grid, rotation

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from SpineContextSegLib.mrml.export import FORMATS, export_segmentation  # noqa: E402
from SpineContextSegLib.mrml.segment_voxels import read_segments  # noqa: E402
from SpineContextSegLib.mrml.surfaces import Surfaces, copy_surfaces  # noqa: E402
from Testing.exported_files import (  # noqa: E402
    OURS,
    SMALL,
    VOXELS,
    blobs,
    box,
    check_box,
    matrix,
    read_image,
    read_surface,
    voxel_indices,
    written,
)
from Testing.scene_nodes import add_segmentation, add_transform, add_volume, draw, paint  # noqa: E402

BOX = (5, 6, 7), (12, 20, 15)
OTHER_BOX = (3, 25, 20), (10, 33, 32)


@pytest.mark.parametrize("name", ["upright", "left_handed", "sagittal", "thick", "oblique_thick", "sheared_oblique"])
def test_surfaces_lie_where_the_voxels_are(scene, name, tmp_path):
    grid = centered_grid(GRIDS[name].spacing_mm, (40, 42, 36) * GRIDS[name].spacing_mm, GRIDS[name].directions)
    volume = add_volume(grid)
    labels = np.where(box(grid.shape, *BOX), 1, 0) + np.where(box(grid.shape, *OTHER_BOX), 26, 0)
    node = add_segmentation(volume, labels.astype(np.uint8))
    node.GetSegmentation().AddEmptySegment("later", "To be drawn")
    exported = export_segmentation(node, volume, tmp_path, formats=["stl", "obj"])
    assert [path.name for path in exported.files] == [
        "CT spine_Vertebrae.stl", "CT spine_Sacrum.stl", "CT spine.obj", "CT_spine.mtl",
    ]  # fmt: skip
    vertebrae, sacrum = (read_surface(path) for path in exported.files[:2])
    check_box(vertebrae, grid, *BOX)
    check_box(sacrum, grid, *OTHER_BOX)
    for path in exported.files[:2]:
        assert b"SPACE=LPS" in path.read_bytes()[:80]
    both = read_surface(exported.files[2])
    of_sacrum = voxel_indices(both, grid)[:, 1] > (BOX[1][1] + OTHER_BOX[0][1]) / 2
    check_box(both[~of_sacrum], grid, *BOX)
    check_box(both[of_sacrum], grid, *OTHER_BOX)
    assert exported.remarks == []


def test_obj_names_its_groups_and_its_colors(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape), name="R\u00fccken \u810a\u67f1")
    exported = export_segmentation(node, volume, tmp_path, formats=["obj"])
    obj, mtl = exported.files
    lines = obj.read_text(encoding="utf-8").splitlines()
    assert "SPACE=LPS" in lines[0]
    assert f"mtllib {mtl.name}" in lines and mtl.name == "R\u00fccken_\u810a\u67f1.mtl"
    assert [line for line in lines if line.startswith("g ")] == ["g Vertebrae", "g Sacrum", "g Spinal_canal"]
    used = [line.split()[1] for line in lines if line.startswith("usemtl")]
    colors = dict(zip(*(
        [line.split(maxsplit=1)[1] for line in mtl.read_text().splitlines() if line.startswith(key)]
        for key in ("newmtl", "Kd")
    )))  # fmt: skip
    for value, material in zip(OURS, used, strict=True):
        # Slicer writes a third of the color.
        expected = np.array(structure(value, levels_known=False).color) / 3
        np.testing.assert_allclose([float(part) for part in colors[material].split()], expected, atol=1e-6)


@pytest.mark.parametrize("parameters", [{}, {"Smoothing factor": "0"}], ids=str)
def test_surfaces_are_those_of_slicer(scene, parameters, tmp_path):
    volume = add_volume(GRIDS["oblique_thick"])
    node = add_segmentation(volume, blobs(volume.GetImageData().GetDimensions()[::-1]))
    paint(node, OURS[26], box(GRIDS["oblique_thick"].shape, (2, 2, 2), (9, 30, 30)), volume)
    node.SetAndObserveTransformNodeID(add_transform(matrix(rotation(30, 2), (50, -20, 10))).GetID())
    volume.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    for name, value in parameters.items():
        node.GetSegmentation().SetConversionParameter(name, value)
    exported = export_segmentation(node, volume, tmp_path, formats=["stl"])
    for segment_id, path in zip(OURS.values(), exported.files, strict=True):
        slicers = vtk.vtkPolyData()
        slicer.modules.segmentations.logic().GetSegmentClosedSurfaceRepresentation(node, segment_id, slicers)
        assert slicers.GetNumberOfPolys() * 50 + 84 == path.stat().st_size
        expected = vtk_to_numpy(slicers.GetPoints().GetData()) * (-1, -1, 1)
        np.testing.assert_allclose(read_surface(path).mean(axis=0), expected.mean(axis=0), atol=0.05)
        for side in (np.min, np.max):
            np.testing.assert_allclose(side(read_surface(path), axis=0), side(expected, axis=0), atol=1e-3)


def test_joint_smoothing_yields_surfaces(scene, tmp_path):
    volume = add_volume(SMALL)
    left, right = ((2, 2, 2), (13, 16, 10)), ((2, 2, 10), (13, 16, 18))
    labels = box(SMALL.shape, *left) + 26 * box(SMALL.shape, *right)
    node = add_segmentation(volume, labels.astype(np.uint8))
    node.GetSegmentation().SetConversionParameter("Joint smoothing", "1")
    for _ in ("made for the export", "made before"):
        exported = export_segmentation(node, volume, tmp_path, formats=["stl"])
        check_box(read_surface(exported.files[0]), SMALL, *left)
        check_box(read_surface(exported.files[1]), SMALL, *right)
        node.CreateClosedSurfaceRepresentation()


@pytest.mark.parametrize(
    "parameters", [{}, {"Decimation factor": "1.0"}, {"Smoothing factor": "1.0"}, {"Conversion method": "1"}], ids=str
)
def test_single_voxel_has_a_surface(scene, parameters, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, box(SMALL.shape, (4, 5, 6), (5, 6, 7)).astype(np.uint8))
    for name, value in parameters.items():
        node.GetSegmentation().SetConversionParameter(name, value)
    exported = export_segmentation(node, volume, tmp_path, formats=["stl", "obj"])
    for path in exported.files[:2]:
        np.testing.assert_allclose(voxel_indices(read_surface(path), SMALL).mean(axis=0), (6, 5, 4), atol=0.1)


def test_surface_that_slicer_already_shows_is_the_one_written(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, box(SMALL.shape, (2, 2, 2), (9, 12, 12)).astype(np.uint8))
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetConversionParameter("Smoothing factor", "0")
    exported = export_segmentation(node, volume, tmp_path, formats=["stl"])
    surface = node.GetSegmentation().GetSegment(OURS[1]).GetRepresentation("Closed surface")
    shown = vtk_to_numpy(surface.GetPoints().GetData())
    np.testing.assert_allclose(
        np.unique(np.round(read_surface(exported.files[0]), 3), axis=0),
        np.unique(np.round(shown * (-1, -1, 1), 3) + 0.0, axis=0), atol=2e-3,
    )  # fmt: skip
    draw(node, OURS[1], box(SMALL.shape, (2, 2, 2), (9, 12, 15)), volume)
    exported = export_segmentation(node, volume, tmp_path, formats=["stl"])
    check_box(read_surface(exported.files[0]), SMALL, (2, 2, 2), (9, 12, 15))


TURNED, MIRRORED = matrix(rotation(30, 2), (50, -20, 10)), matrix(np.diag([-1, 1, 1]), (5, 0, 0))


@pytest.mark.parametrize("moved", [TURNED, MIRRORED], ids=["turned", "mirrored"])
def test_parent_transform_moves_surfaces_only(scene, moved, tmp_path):
    """As Slicer's own export: voxels stay in the volume's own coordinates, surfaces are where the scene shows them."""
    volume = add_volume(SMALL)
    labels = np.where(box(SMALL.shape, (3, 3, 3), (10, 12, 14)), 1, 0).astype(np.uint8)
    node = add_segmentation(volume, labels)
    transform = add_transform(moved)
    for item in (volume, node):
        item.SetAndObserveTransformNodeID(transform.GetID())
    exported = export_segmentation(node, volume, tmp_path, formats=FORMATS)
    for ending in (".seg.nrrd", ".nii.gz", ".nrrd"):
        read = read_image(written(exported, ending))
        assert read.grid.same_as(SMALL)
        np.testing.assert_array_equal(read.array, labels)
    in_world = Grid(SMALL.shape, moved @ SMALL.affine)
    check_box(read_surface(written(exported, ".stl")), in_world, (3, 3, 3), (10, 12, 14))
    check_box(read_surface(written(exported, ".obj")), in_world, (3, 3, 3), (10, 12, 14))
    assert len(exported.remarks) == 1 and "transform" in exported.remarks[0]
    assert export_segmentation(node, volume, tmp_path, formats=VOXELS).remarks == []


@pytest.mark.parametrize("cut", ["surfaces_1.stl", "surfaces.obj", "surfaces.mtl"])
def test_surface_file_that_lost_its_end(scene, cut, tmp_path):
    """A disk that is full only for the last of the files."""

    class CutOff(Surfaces):
        def _export(self, folder, file_format):
            super()._export(folder, file_format)
            if (folder / cut).exists():
                os.truncate(folder / cut, (folder / cut).stat().st_size - 1)

    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape))
    segments, _ = read_segments(node, volume, SMALL)
    whole = copy_surfaces(node, segments, SMALL)
    assert len(whole.write_stl(tmp_path)) == 3 and len(whole.write_obj(tmp_path)) == 2
    broken = CutOff(whole.scene, whole.node, whole.polygons)
    with pytest.raises(OSError, match="disk full"):
        broken.write_stl(tmp_path)
        broken.write_obj(tmp_path)
