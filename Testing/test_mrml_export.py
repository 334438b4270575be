"""Exported files, read back by other programs and compared with what Slicer itself says is in the scene."""

import csv
import errno
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import structure
from SpineContextSegLib.volume import Grid, from_sitk
from Testing.geometry import GRIDS, LPS, SHEARED, centered_grid, rotation

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from SpineContextSegLib.mrml.export import FORMATS, export_segmentation  # noqa: E402
from SpineContextSegLib.mrml.segment_voxels import read_segments  # noqa: E402
from SpineContextSegLib.mrml.surfaces import Surfaces, copy_surfaces  # noqa: E402
from Testing.scene_nodes import (  # noqa: E402
    add_segmentation,
    add_transform,
    add_volume,
    draw,
    mask_of,
    paint,
)

VOXELS = ("seg.nrrd", "nii.gz", "nrrd")
SMALL = centered_grid((2.0, 2.0, 3.0), (40.0, 36.0, 45.0), LPS)
OURS = {1: "SpineContextSeg_1", 26: "SpineContextSeg_26", 61: "SpineContextSeg_61"}


def blobs(shape, values=(1, 26, 61), seed=0) -> np.ndarray:
    """Label map (k, j, i) of scattered blocks, each value somewhere."""
    random = np.random.default_rng(seed)
    coarse = random.choice([0, 0, *values], tuple(-(-n // 4) for n in shape))
    return np.kron(coarse, np.ones((4, 4, 4)))[tuple(slice(0, n) for n in shape)].astype(np.uint8)


def box(shape, start_kji, stop_kji) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(start_kji, stop_kji))] = True
    return mask


def written(exported, ending):
    found = [path for path in exported.files if path.name.endswith(ending) and (
        ending != ".nrrd" or not path.name.endswith(".seg.nrrd")
    )]  # fmt: skip
    assert len(found) == 1, exported.files
    return found[0]


def read_image(path):
    return from_sitk(sitk.ReadImage(str(path)))


def read_seg_nrrd(path) -> tuple[dict[str, np.ndarray], np.ndarray, dict]:
    """Masks (k, j, i) by segment id, affine to RAS and slicerio's description of a `.seg.nrrd`."""
    content = slicerio.read_segmentation(str(path))
    voxels = content["voxels"] if content["voxels"].ndim == 4 else content["voxels"][np.newaxis]
    masks = {s["id"]: (voxels[s["layer"]] == s["labelValue"]).transpose(2, 1, 0) for s in content["segments"]}
    return masks, np.diag([-1, -1, 1, 1]) @ content["ijkToLPS"], content


def names_in(exported) -> dict[int, dict]:
    with written(exported, ".labels.csv").open(encoding="utf-8", newline="") as file:
        return {int(row["LabelValue"]): row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", GRIDS)
def test_voxel_files_hold_the_scene_on_every_grid(scene, name, tmp_path):
    grid = GRIDS[name]
    volume = add_volume(grid)
    node = add_segmentation(volume, blobs(grid.shape))
    expected = {value: mask_of(node, segment_id, volume) for value, segment_id in OURS.items()}
    exported = export_segmentation(node, volume, tmp_path, formats=VOXELS)

    label_maps = [".nrrd"] if name in SHEARED else [".nrrd", ".nii.gz"]
    for ending in label_maps:
        read = read_image(written(exported, ending))
        assert read.array.dtype == np.uint8
        assert read.grid.same_as(grid, tolerance_mm=1e-4)
        for value, mask in expected.items():
            np.testing.assert_array_equal(read.array == value, mask)
        assert set(np.unique(read.array)) == {0, *OURS}
    masks, affine, content = read_seg_nrrd(written(exported, ".seg.nrrd"))
    np.testing.assert_allclose(affine, grid.affine, atol=1e-6)
    for value, segment_id in OURS.items():
        np.testing.assert_array_equal(masks[segment_id], expected[value])
    # One layer with VerSe's values, so that our own command line reads it as a label map.
    np.testing.assert_array_equal(read_image(written(exported, ".seg.nrrd")).array, read.array)
    if name in SHEARED:
        assert [path.name for path in exported.files] == ["CT spine.seg.nrrd", "CT spine.nrrd", "CT spine.labels.csv"]
        assert len(exported.remarks) == 1 and "NIfTI" in exported.remarks[0] and ".nrrd" in exported.remarks[0]
    else:
        assert exported.remarks == []


def test_seg_nrrd_keeps_names_colors_codes_and_tags(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape))
    node.GetSegmentation().GetSegment(OURS[26]).SetName("Kreuzbein, gepr\u00fcft")
    node.GetSegmentation().GetSegment(OURS[26]).SetColor(0.25, 0.5, 0.75)
    node.GetSegmentation().AddEmptySegment("later", "To be drawn")
    exported = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"])
    _, _, content = read_seg_nrrd(written(exported, ".seg.nrrd"))
    segments = {s["id"]: s for s in content["segments"]}
    assert list(segments) == [*OURS.values(), "later"]
    assert [s["labelValue"] for s in content["segments"]] == [*OURS, 300]
    # slicerio drops letters that are not ASCII when it reads; they are in the file.
    assert sitk.ReadImage(str(exported.files[0])).GetMetaData("Segment1_Name") == "Kreuzbein, gepr\u00fcft"
    np.testing.assert_allclose(segments[OURS[26]]["color"], (0.25, 0.5, 0.75), atol=1e-5)
    for value, segment_id in OURS.items():
        item = structure(value, levels_known=False)
        assert segments[segment_id]["terminology"]["type"][:2] == ["SCT", item.snomed_code]
        assert segments[segment_id]["tags"]["SpineContextSeg.Value"] == str(value)


def test_slicer_loads_the_seg_nrrd_as_it_was(scene, tmp_path):
    volume = add_volume(GRIDS["sheared"])
    node = add_segmentation(volume, blobs(GRIDS["sheared"].shape))
    overlap = box(GRIDS["sheared"].shape, (5, 10, 10), (15, 40, 40))
    draw(node, "lesion", overlap, volume)
    exported = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"])
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(written(exported, ".seg.nrrd")))
    loaded = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
    assert storage.ReadData(loaded)
    for segment_id in (*OURS.values(), "lesion"):
        np.testing.assert_array_equal(mask_of(loaded, segment_id, volume), mask_of(node, segment_id, volume))


def test_hand_edits_are_in_every_file(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape))
    others = mask_of(node, OURS[1], volume) | mask_of(node, OURS[61], volume)
    replaced = box(SMALL.shape, (1, 1, 1), (6, 8, 7)) & ~others
    brush = box(SMALL.shape, (7, 2, 3), (11, 12, 9))
    rubber = box(SMALL.shape, (0, 0, 0), (3, 20, 20))
    draw(node, OURS[26], replaced, volume)
    before = mask_of(node, OURS[1], volume)
    paint(node, OURS[1], brush, volume)
    paint(node, OURS[1], rubber, volume, erase=True)
    expected = {value: mask_of(node, segment_id, volume) for value, segment_id in OURS.items()}
    np.testing.assert_array_equal(expected[1], (before | brush) & ~rubber)
    np.testing.assert_array_equal(expected[26], replaced & ~brush)

    exported = export_segmentation(node, volume, tmp_path, formats=VOXELS)
    merged = read_image(written(exported, ".nrrd")).array
    masks, _, _ = read_seg_nrrd(written(exported, ".seg.nrrd"))
    for value, mask in expected.items():
        np.testing.assert_array_equal(masks[OURS[value]], mask)
        np.testing.assert_array_equal(merged == value, mask)
    np.testing.assert_array_equal(read_image(written(exported, ".nii.gz")).array, merged)
    assert exported.remarks == []


def test_overlapping_foreign_segments(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape))
    ours = {segment_id: mask_of(node, segment_id, volume) for segment_id in OURS.values()}
    first = box(SMALL.shape, (2, 2, 2), (9, 9, 9))
    second = box(SMALL.shape, (6, 6, 6), (12, 14, 14))
    draw(node, "lesion", first, volume)
    draw(node, "edema", second, volume)
    exported = export_segmentation(node, volume, tmp_path, formats=VOXELS)

    masks, _, content = read_seg_nrrd(written(exported, ".seg.nrrd"))
    for segment_id, mask in {**ours, "lesion": first, "edema": second}.items():
        np.testing.assert_array_equal(masks[segment_id], mask)
    layers = {s["id"]: s["layer"] for s in content["segments"]}
    assert [layers[segment_id] for segment_id in OURS.values()] == [0, 0, 0]
    assert len(set(layers.values())) == 3

    merged = read_image(written(exported, ".nrrd"))
    assert merged.array.dtype == np.uint16
    np.testing.assert_array_equal(merged.array == 301, second)
    np.testing.assert_array_equal(merged.array == 300, first & ~second)
    for value, segment_id in OURS.items():
        np.testing.assert_array_equal(merged.array == value, ours[segment_id] & ~first & ~second)
    assert {value: row["Name"] for value, row in names_in(exported).items() if value >= 300} == {
        300: "lesion", 301: "edema",
    }  # fmt: skip
    claims = sum(mask.astype(int) for mask in (*ours.values(), first, second))
    both = int((claims - 1).clip(0).sum())
    assert len(exported.remarks) == 1 and f" {both} voxels" in exported.remarks[0]


def test_foreign_segment_at_the_top_of_the_list_gives_way(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape))
    lesion = box(SMALL.shape, (2, 2, 2), (9, 9, 9))
    draw(node, "lesion", lesion, volume)
    node.GetSegmentation().SetSegmentIndex("lesion", 0)
    exported = export_segmentation(node, volume, tmp_path, formats=VOXELS)
    merged = read_image(written(exported, ".nrrd")).array
    masks, _, content = read_seg_nrrd(written(exported, ".seg.nrrd"))
    assert [s["id"] for s in content["segments"]] == ["lesion", *OURS.values()]
    for value, segment_id in OURS.items():
        np.testing.assert_array_equal(merged == value, mask_of(node, segment_id, volume))
        np.testing.assert_array_equal(masks[segment_id], mask_of(node, segment_id, volume))
    np.testing.assert_array_equal(merged == 300, lesion & ~np.isin(merged, list(OURS)))
    np.testing.assert_array_equal(masks["lesion"], lesion)


def test_the_label_map_is_the_one_that_slicer_exports(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape))
    draw(node, "lesion", box(SMALL.shape, (2, 2, 2), (9, 9, 9)), volume)
    exported = export_segmentation(node, volume, tmp_path, formats=["nrrd"])
    slicers = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.modules.segmentations.logic().ExportVisibleSegmentsToLabelmapNode(node, slicers, volume)
    ranks = slicer.util.arrayFromVolume(slicers)
    values = np.array([0, *OURS, 300])
    np.testing.assert_array_equal(read_image(written(exported, ".nrrd")).array, values[ranks])


def test_names_file_is_a_color_table_of_slicer(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape, values=(1, 26)))
    draw(node, "lesion", box(SMALL.shape, (2, 2, 2), (9, 9, 9)), volume)
    lesion = node.GetSegmentation().GetSegment("lesion")
    lesion.SetName("Herd A, gro\u00df")
    lesion.RemoveTag(slicer.vtkSegment.GetTerminologyEntryTagName())
    node.GetSegmentation().AddEmptySegment("later", "To be drawn")
    exported = export_segmentation(node, volume, tmp_path, formats=["nrrd"])
    rows = names_in(exported)
    assert list(rows) == [1, 26, 300]
    assert rows[26]["Type_CodeValue"] == structure(26).snomed_code and rows[26]["Type_CodingScheme"] == "SCT"
    assert rows[300]["Type_CodeValue"] == ""

    storage = scene.AddNewNodeByClass("vtkMRMLColorTableStorageNode")
    storage.SetFileName(str(written(exported, ".labels.csv")))
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode")
    assert storage.ReadData(table)
    for value, name in ((1, "Vertebrae"), (26, "Sacrum"), (300, "Herd A, gro\u00df")):
        assert table.GetColorName(value) == name
    color = [0.0] * 4
    table.GetColor(26, color)
    np.testing.assert_allclose(color[:3], structure(26).color, atol=1 / 255)
    assert table.GetTerminologyType(26).GetCodeValue() == structure(26).snomed_code


def read_surface(path):
    """Points (n, 3) of an STL or OBJ file as written."""
    reader = vtk.vtkSTLReader() if path.suffix == ".stl" else vtk.vtkOBJReader()
    reader.SetFileName(str(path))
    reader.Update()
    return vtk_to_numpy(reader.GetOutput().GetPoints().GetData()).astype(float)


def voxel_indices(points_lps, grid: Grid) -> np.ndarray:
    """Voxel indices (i, j, k), (n, 3), of points that a file states in LPS."""
    inverse = np.linalg.inv(grid.affine)
    return (points_lps * (-1, -1, 1)) @ inverse[:3, :3].T + inverse[:3, 3]


def check_box(points_lps, grid, start_kji, stop_kji) -> None:
    """The surface encloses the voxels of the box: every side within half a voxel, the middle much closer."""
    ijk = voxel_indices(points_lps, grid)
    low, high = np.array(start_kji[::-1]) - 0.5, np.array(stop_kji[::-1]) - 0.5
    np.testing.assert_allclose(ijk.min(axis=0), low, atol=0.5)
    np.testing.assert_allclose(ijk.max(axis=0), high, atol=0.5)
    np.testing.assert_allclose((ijk.min(axis=0) + ijk.max(axis=0)) / 2, (low + high) / 2, atol=0.1)


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
    node = add_segmentation(volume, blobs(SMALL.shape))
    exported = export_segmentation(node, volume, tmp_path, formats=["obj"], name="R\u00fccken \u810a\u67f1")
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


def matrix(linear, shift) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = linear, shift
    return result


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
    exported = export_segmentation(node, volume, tmp_path)
    for ending in (".seg.nrrd", ".nii.gz", ".nrrd"):
        read = read_image(written(exported, ending))
        assert read.grid.same_as(SMALL)
        np.testing.assert_array_equal(read.array, labels)
    in_world = Grid(SMALL.shape, moved @ SMALL.affine)
    check_box(read_surface(written(exported, ".stl")), in_world, (3, 3, 3), (10, 12, 14))
    check_box(read_surface(written(exported, ".obj")), in_world, (3, 3, 3), (10, 12, 14))
    assert len(exported.remarks) == 1 and "transform" in exported.remarks[0]
    assert export_segmentation(node, volume, tmp_path, formats=VOXELS).remarks == []


def test_segmentation_and_volume_under_different_transforms(scene, tmp_path):
    """The segment is taken where it is seen on the volume: here two voxels further along i."""
    volume = add_volume(SMALL)
    labels = np.where(box(SMALL.shape, (3, 3, 3), (10, 12, 14)), 26, 0).astype(np.uint8)
    node = add_segmentation(volume, labels)
    node.SetAndObserveTransformNodeID(add_transform(matrix(np.eye(3), 2 * SMALL.affine[:3, 0])).GetID())
    exported = export_segmentation(node, volume, tmp_path, formats=VOXELS)
    for ending in (".seg.nrrd", ".nii.gz", ".nrrd"):
        np.testing.assert_array_equal(read_image(written(exported, ending)).array, np.roll(labels, 2, axis=2))
    assert len(exported.remarks) == 1 and "another grid" in exported.remarks[0]


def test_segment_drawn_on_a_finer_grid_comes_back_on_the_volume_s(scene, tmp_path):
    volume = add_volume(SMALL)
    fine = Grid(tuple(3 * n for n in SMALL.shape), SMALL.affine @ np.diag([1 / 3, 1 / 3, 1 / 3, 1]))
    fine = Grid(fine.shape, matrix(fine.affine[:3, :3], SMALL.world([-1 / 3] * 3)))
    node = add_segmentation(add_volume(fine, "fine"), np.zeros(fine.shape, np.uint8))
    coarse = box(SMALL.shape, (3, 3, 3), (10, 12, 14))
    draw(node, "lesion", np.kron(coarse, np.ones((3, 3, 3))), slicer.util.getNode("fine"))
    exported = export_segmentation(node, volume, tmp_path, formats=VOXELS)
    read = read_image(written(exported, ".nrrd"))
    assert read.grid.same_as(SMALL)
    np.testing.assert_array_equal(read.array == 300, coarse)
    masks, affine, _ = read_seg_nrrd(written(exported, ".seg.nrrd"))
    np.testing.assert_allclose(affine, SMALL.affine, atol=1e-9)
    np.testing.assert_array_equal(masks["lesion"], coarse)
    assert len(exported.remarks) == 1 and "'lesion'" in exported.remarks[0]
    surface = vtk.vtkPolyData()
    slicer.modules.segmentations.logic().GetSegmentClosedSurfaceRepresentation(node, "lesion", surface)
    (path,) = export_segmentation(node, volume, tmp_path, formats=["stl"]).files
    assert path.stat().st_size == 84 + 50 * surface.GetNumberOfPolys()
    # On the volume's grid there would be a ninth of them.
    assert surface.GetNumberOfPolys() > 5000


@pytest.mark.parametrize("first, words", [(0, "reaches beyond"), (5, "another grid")])
def test_voxels_outside_the_volume_are_named(scene, first, words, tmp_path):
    """The volume is cut out of the one that was drawn on."""
    larger = centered_grid((2.0, 2.0, 3.0), (40.0, 36.0, 60.0), LPS)
    drawn = box(larger.shape, (0, 4, 4), (12, 9, 9))
    node = add_segmentation(add_volume(larger, "larger"), drawn.astype(np.uint8))
    volume = add_volume(larger.crop((slice(first, first + 8), slice(None), slice(None))))
    exported = export_segmentation(node, volume, tmp_path, formats=VOXELS)
    np.testing.assert_array_equal(read_image(written(exported, ".nrrd")).array, drawn[first : first + 8])
    assert len(exported.remarks) == 1 and words in exported.remarks[0]


def test_segment_that_came_as_a_surface(scene, tmp_path):
    """A model that somebody imported into a segmentation of its own has no voxels until somebody asks for them."""
    volume = add_volume(SMALL)
    cube = vtk.vtkCubeSource()
    start, stop = SMALL.world([4.5, 4.5, 4.5]), SMALL.world([10.5, 12.5, 9.5])
    cube.SetBounds(*np.sort(np.stack([start, stop]), axis=0).T.ravel())
    cube.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "model")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.AddSegmentFromClosedSurfaceRepresentation(cube.GetOutput(), "cube", [1, 0, 0], "cube")
    exported = export_segmentation(node, volume, tmp_path)
    read = read_image(written(exported, ".nrrd"))
    np.testing.assert_array_equal(read.array == 300, box(SMALL.shape, (5, 5, 5), (10, 13, 11)))
    check_box(read_surface(written(exported, ".stl")), SMALL, (5, 5, 5), (10, 13, 11))
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def scene_content(scene):
    ids = [scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return ids, hierarchy.GetNumberOfItems()


def test_scene_and_nodes_stay_as_they_are(scene, tmp_path):
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape))
    draw(node, "lesion", box(SMALL.shape, (2, 2, 2), (9, 9, 9)), volume)
    segmentation = node.GetSegmentation()

    def state():
        segments = [segmentation.GetSegment(s) for s in segmentation.GetSegmentIDs()]
        representations = [segment.GetRepresentation("Binary labelmap") for segment in segments]
        return (
            scene_content(scene), node.GetMTime(), segmentation.GetMTime(), segmentation.GetNumberOfLayers(),
            [(s.GetMTime(), s.GetLabelValue(), s.GetRepresentation("Closed surface")) for s in segments],
            [(r, r.GetMTime()) for r in representations], volume.GetMTime(),
        )  # fmt: skip

    state()  # makes the subject hierarchy
    before = state()
    seen = []
    for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.StartBatchProcessEvent):
        scene.AddObserver(event, lambda *_: seen.append(event))
    exported = export_segmentation(node, volume, tmp_path)
    assert len(exported.files) == 10
    assert state() == before
    assert seen == []


def one_segment(name="CT spine"):
    volume = add_volume(SMALL)
    return volume, add_segmentation(volume, box(SMALL.shape, (3, 3, 3), (10, 12, 14)).astype(np.uint8), name)


def test_names_that_no_disk_takes(scene, tmp_path):
    folder = tmp_path / "\u00dcbung \u810a\u67f1"
    folder.mkdir()
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape), name=" ../a/b:c?. ")
    names = {OURS[1]: "L5/S1: <gro\u00df>", OURS[26]: "con", OURS[61]: "l5/s1: <GRO\u00df>"}
    for segment_id, name in names.items():
        node.GetSegmentation().GetSegment(segment_id).SetName(name)
    exported = export_segmentation(node, volume, folder)
    assert [path.name for path in exported.files] == [
        "_a_b_c_.seg.nrrd", "_a_b_c_.nii.gz", "_a_b_c_.nrrd", "_a_b_c_.labels.csv",
        "_a_b_c__L5_S1_ _gro\u00df_.stl", "_a_b_c___con.stl", "_a_b_c__l5_s1_ _GRO\u00df__2.stl",
        "_a_b_c_.obj", "_a_b_c_.mtl",
    ]  # fmt: skip
    assert sorted(folder.iterdir()) == sorted(exported.files)
    assert sorted(tmp_path.iterdir()) == [folder]
    assert [row["Name"] for row in names_in(exported).values()] == list(names.values())


@pytest.mark.parametrize("name", ["", "...", "/", "\n"])
def test_name_of_which_nothing_is_left(scene, name, tmp_path):
    volume, node = one_segment(name)
    (path,) = export_segmentation(node, volume, tmp_path, formats=["seg.nrrd"]).files
    assert path.name == "Segmentation.seg.nrrd"


def test_long_names_fit_the_file_system(scene, tmp_path):
    volume, node = one_segment("\u810a" * 200)
    node.GetSegmentation().GetSegment(OURS[1]).SetName("\u67f1" * 200)
    for _ in range(2):
        exported = export_segmentation(node, volume, tmp_path)
        assert all(path.stat().st_size for path in exported.files)


def test_existing_files_are_never_overwritten(scene, tmp_path):
    volume, node = one_segment()
    (tmp_path / "CT spine.labels.csv").write_text("somebody's")
    first = export_segmentation(node, volume, tmp_path)
    assert {path.name.startswith(("CT spine_2", "CT_spine_2")) for path in first.files} == {True}
    contents = {path: path.read_bytes() for path in tmp_path.iterdir()}
    second = export_segmentation(node, volume, tmp_path)
    assert not set(second.files) & set(contents)
    for path, content in contents.items():
        assert path.read_bytes() == content
    third = export_segmentation(node, volume, tmp_path, formats=["nii.gz"], name="other")
    assert [path.name for path in third.files] == ["other.nii.gz", "other.labels.csv"]


def test_a_file_that_appears_meanwhile_is_kept(scene, tmp_path, monkeypatch):
    """Another program takes the name between the look and the move."""
    volume, node = one_segment()
    export = sys.modules["SpineContextSegLib.mrml.export"]
    name_groups = export.name_groups

    def with_intruder(*arguments):
        (tmp_path / "CT_spine.mtl").write_text("somebody's") if not list(tmp_path.glob("*.mtl")) else None
        name_groups(*arguments)

    monkeypatch.setattr(export, "name_groups", with_intruder)
    exported = export_segmentation(node, volume, tmp_path, formats=["obj"])
    assert [path.name for path in exported.files] == ["CT spine_2.obj", "CT_spine_2.mtl"]
    assert (tmp_path / "CT_spine.mtl").read_text() == "somebody's"
    assert len(list(tmp_path.iterdir())) == 3
    assert "mtllib CT_spine_2.mtl" in exported.files[0].read_text()


@pytest.mark.parametrize("failing", [OSError, KeyboardInterrupt])
def test_interrupted_move_takes_everything_back(scene, failing, tmp_path, monkeypatch):
    volume, node = one_segment()
    replace, moves = os.replace, []

    def third_fails(source, target):
        moves.append(target)
        if len([m for m in moves if m.parent == tmp_path]) == 3:
            raise failing
        replace(source, target)

    monkeypatch.setattr("os.replace", third_fails)
    with pytest.raises(failing):
        export_segmentation(node, volume, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(scene, tmp_path):
    volume, node = one_segment()
    empty = add_segmentation(volume, np.zeros(SMALL.shape, np.uint8), "empty")
    (tmp_path / "file").write_text("")
    sheared = add_volume(GRIDS["sheared"])
    tilted = add_segmentation(sheared, blobs(GRIDS["sheared"].shape))
    for arguments, words in [
        ((empty, volume, tmp_path), "no voxels"),
        ((node, volume, tmp_path / "missing"), "does not exist"),
        ((node, volume, tmp_path / "file"), "does not exist"),
        ((tilted, sheared, tmp_path, ["nii.gz"]), "NIfTI"),
    ]:
        with pytest.raises(InputRefused, match=words):
            export_segmentation(*arguments[:3], formats=(arguments[3:] or (FORMATS,))[0])
    empty.GetSegmentation().AddEmptySegment("later", "To be drawn")
    with pytest.raises(InputRefused, match="no voxels"):
        export_segmentation(empty, volume, tmp_path)
    with pytest.raises(ValueError, match="vtp"):
        export_segmentation(node, volume, tmp_path, formats=["vtp"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_tilted_scan_is_written_but_for_nifti(scene, tmp_path):
    volume = add_volume(GRIDS["sheared"])
    node = add_segmentation(volume, blobs(GRIDS["sheared"].shape, values=(1,)))
    exported = export_segmentation(node, volume, tmp_path)
    assert [path.name for path in exported.files] == [
        "CT spine.seg.nrrd", "CT spine.nrrd", "CT spine.labels.csv", "CT spine_Vertebrae.stl", "CT spine.obj",
        "CT_spine.mtl",
    ]  # fmt: skip
    assert ["NIfTI" in remark for remark in exported.remarks] == [True]


@contextmanager
def files_no_larger_than(limit):
    """What a full disk does to a writer; only the soft limit is lowered, so that it can be lifted again."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("lost", [1, 30, 0.5, 0.99])
@pytest.mark.parametrize("file_format", FORMATS)
def test_full_disk_leaves_nothing_behind(scene, vtk_errors, file_format, lost, tmp_path):
    """The last bytes count too: several writers notice nothing where only those are missing."""
    volume = add_volume(SMALL)
    node = add_segmentation(volume, np.random.default_rng(0).choice([0, 1, 26, 61], SMALL.shape).astype(np.uint8))
    (tmp_path / "whole").mkdir()
    whole = export_segmentation(node, volume, tmp_path / "whole", formats=[file_format])
    largest = max(whole.files, key=lambda path: path.stat().st_size)
    assert largest.name.endswith(file_format)
    size = largest.stat().st_size
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "earlier").write_text("")
    with files_no_larger_than(size - lost if lost >= 1 else int(size * (1 - lost))), pytest.raises(OSError) as raised:
        export_segmentation(node, volume, tmp_path / "full", formats=[file_format])
    assert "disk full" in str(raised.value) or raised.value.errno == errno.EFBIG
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["earlier"]
    vtk_errors.take()


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


@pytest.fixture
def protected_folder():
    """A folder where even the superuser, who gives his rights up for the while, may not write."""
    if not hasattr(os, "geteuid"):
        pytest.skip("rights are lists of users on Windows")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


def test_folder_that_may_not_be_written_to(scene, protected_folder):
    volume, node = one_segment()
    with pytest.raises(InputRefused, match="Nothing can be written to the folder"):
        export_segmentation(node, volume, protected_folder)
    assert list(protected_folder.iterdir()) == []
