"""Exported voxels, read back by other programs and compared with what Slicer itself says is in the scene."""

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.labels import structure
from SpineContextSegLib.volume import Grid
from Testing.geometry import GRIDS, LPS, SHEARED, centered_grid

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.export import FORMATS, export_segmentation  # noqa: E402
from Testing.exported_files import (  # noqa: E402
    OURS,
    SMALL,
    VOXELS,
    blobs,
    box,
    check_box,
    matrix,
    names_in,
    read_image,
    read_seg_nrrd,
    read_surface,
    written,
)
from Testing.scene_nodes import (  # noqa: E402
    add_segmentation,
    add_transform,
    add_volume,
    draw,
    mask_of,
    paint,
)


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
    exported = export_segmentation(node, volume, tmp_path, formats=FORMATS)
    read = read_image(written(exported, ".nrrd"))
    np.testing.assert_array_equal(read.array == 300, box(SMALL.shape, (5, 5, 5), (10, 13, 11)))
    check_box(read_surface(written(exported, ".stl")), SMALL, (5, 5, 5), (10, 13, 11))
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")
