"""A result becomes a segmentation node: to the voxel, in its place, described, and still ours after a reload."""

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import STRUCTURES, structure
from SpineContextSegLib.volume import Volume
from Testing.geometry import GRIDS, SHEARED, rotation

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.edits import is_edited  # noqa: E402
from SpineContextSegLib.mrml.labelmaps import voxels_of  # noqa: E402
from SpineContextSegLib.mrml.ours import our_values  # noqa: E402
from SpineContextSegLib.mrml.segmentations import output_refusal, write_result  # noqa: E402
from Testing.scene_nodes import add_transform, add_volume  # noqa: E402
from Testing.scene_results import (  # noqa: E402
    LEVELS,
    MIRRORED,
    NO_LEVELS,
    ROTATED,
    SMALL,
    add_result,
    blocks,
    hierarchy,
    labels_in,
    place_under,
    scattered,
    scene_state,
    segments,
    tag,
    to_world,
)


@pytest.mark.parametrize("name", GRIDS)
def test_labels_come_back_to_the_voxel(scene, name):
    grid = GRIDS[name]
    volume, labels = add_volume(grid), scattered(grid)
    node = write_result(volume, labels, NO_LEVELS)
    np.testing.assert_array_equal(labels_in(node, volume), labels.array)
    # Not through any resampling of Slicer's: the shared labelmap itself.
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    image = segments(node)["SpineContextSeg_1"].GetRepresentation("Binary labelmap")
    np.testing.assert_array_equal(voxels_of(image).array, labels.array)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrix), grid.affine, rtol=0, atol=1e-12)
    assert image.GetExtent() == volume.GetImageData().GetExtent()


@pytest.mark.parametrize("name", GRIDS)
def test_labelmap_is_cut_to_the_segments_as_slicer_does(scene, name):
    grid = GRIDS[name]
    labels = np.zeros(grid.shape, np.uint8)
    labels[3:-4, 5:-2, 1:-7] = scattered(grid).array[3:-4, 5:-2, 1:-7]
    volume = add_volume(grid)
    ours = write_result(volume, Volume(labels, grid.affine), NO_LEVELS)
    labelmap = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.util.updateVolumeFromArray(labelmap, labels)
    labelmap.CopyOrientation(volume)
    theirs = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelmap, theirs)
    image, expected = (
        node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap") for node in (ours, theirs)
    )
    assert image.GetExtent() == expected.GetExtent()
    assert slicer.vtkOrientedImageDataResample.DoGeometriesMatch(image, expected)
    np.testing.assert_array_equal(voxels_of(image).array, voxels_of(expected).array)
    np.testing.assert_array_equal(labels_in(ours, volume), labels)


def test_every_structure_in_order_with_name_color_and_code(scene):
    values = list(STRUCTURES)
    labels = np.zeros(SMALL.shape, np.uint8)
    labels.ravel()[: len(values)] = sorted(values, key=lambda value: (value * 37) % 101)
    volume = add_volume(SMALL, "CT chest")
    node = add_result(volume, labels)
    assert node.GetName() == "CT chest spine"
    assert list(segments(node)) == [f"SpineContextSeg_{value}" for value in values]
    assert our_values(node) == {value: f"SpineContextSeg_{value}" for value in values}
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    for item, segment in zip(STRUCTURES.values(), segments(node).values()):
        assert segment.GetName() == item.name
        np.testing.assert_allclose(segment.GetColor(), item.color, atol=1e-12)
        assert segment.GetTerminology() == item.terminology_entry
        assert segment.GetLabelValue() == item.value
        assert tag(segment, "SpineContextSeg.Value") == str(item.value)
        assert tag(segment, "DICOM.SegmentAlgorithmType") == "AUTOMATIC"
        assert tag(segment, "DICOM.SegmentAlgorithmName") == "SpineContextSeg, spine 1"
    np.testing.assert_array_equal(labels_in(node, volume), labels)


def test_vertebrae_of_unknown_level_are_not_called_c1(scene):
    node = add_result(add_volume(SMALL), blocks(1, 26), NO_LEVELS)
    assert [s.GetName() for s in segments(node).values()] == ["Vertebrae", "Sacrum"]
    assert segments(node)["SpineContextSeg_1"].GetTerminology() == structure(1, levels_known=False).terminology_entry


def test_node_knows_its_volume(scene):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(1))
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    geometry = node.GetSegmentation().GetConversionParameter("Reference image geometry")
    reference = slicer.vtkOrientedImageData()
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, reference, False)
    assert reference.GetExtent() == volume.GetImageData().GetExtent()
    assert node.GetDisplayNode() is not None
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    assert node.GetModifiedSinceRead(), "Slicer asks to save it"


def test_two_results_have_different_names(scene):
    volume = add_volume(SMALL, "Müller, Zoë")
    names = [add_result(volume, blocks(1)).GetName() for _ in range(2)]
    assert names == ["Müller, Zoë spine", "Müller, Zoë spine_1"]


@pytest.mark.parametrize("chain", [[ROTATED], [MIRRORED], [ROTATED, MIRRORED]], ids=["rotated", "mirrored", "two"])
@pytest.mark.parametrize("again", [False, True], ids=["new", "into a free one"])
def test_result_stands_under_the_volume_s_transforms(scene, chain, again):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(1)) if again else None
    place_under(volume, [add_transform(matrix) for matrix in chain])
    labels = scattered(SMALL).array
    node = add_result(volume, labels, NO_LEVELS, segmentation_node=node)
    assert node.GetParentTransformNode() is volume.GetParentTransformNode() is not None
    np.testing.assert_array_equal(labels_in(node, volume), labels)
    # Where a segment is seen in the world is where the volume's voxels of it are seen.
    image = segments(node)["SpineContextSeg_26"].GetRepresentation("Binary labelmap")
    part = voxels_of(image)
    seen = to_world(node) @ np.append(part.grid.world(np.argwhere(part.array == 26)[:, ::-1]).mean(axis=0), 1)
    expected = to_world(volume) @ np.append(SMALL.world(np.argwhere(labels == 26)[:, ::-1]).mean(axis=0), 1)
    np.testing.assert_allclose(seen, expected, atol=1e-9)


def test_transform_is_left_with_the_volume(scene):
    volume = add_volume(SMALL)
    place_under(volume, [add_transform(ROTATED)])
    node = add_result(volume, blocks(1))
    volume.SetAndObserveTransformNodeID(None)
    add_result(volume, blocks(1), segmentation_node=node)
    assert node.GetParentTransformNode() is None


def test_views_are_told_once_they_listen_again(scene):
    """While the scene is in a batch, views of slices pass over what they are told."""
    volume = add_volume(SMALL)
    node, told = add_result(volume, blocks(20)), []
    node.AddObserver("ModifiedEvent", lambda *_: told.append(bool(scene.IsBatchProcessing())))
    add_result(volume, blocks(21), segmentation_node=node)
    assert told and not told[-1]


@pytest.mark.parametrize("place", ["study", "folder", "root"])
def test_result_lies_beside_its_volume(scene, place):
    volume = add_volume(SMALL)
    tree = hierarchy()
    subject = tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient")
    parent = {
        "study": tree.CreateStudyItem(subject, "CT"),
        "folder": tree.CreateFolderItem(tree.GetSceneItemID(), "Folder"),
        "root": tree.GetSceneItemID(),
    }[place]
    tree.CreateItem(parent, volume)
    node = add_result(volume, blocks(1))
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == parent
    add_result(volume, blocks(1), segmentation_node=node)
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == parent
    moved = tree.CreateStudyItem(subject, "Follow-up")
    tree.SetItemParent(tree.GetItemByDataNode(volume), moved)
    add_result(volume, blocks(1), segmentation_node=node)
    # A person has put it into a folder.
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == (parent if place == "folder" else moved)


@pytest.mark.parametrize("ending", ["mrb", "mrml"])
@pytest.mark.parametrize("name", ["lps", "oblique_thick", *SHEARED])
def test_reloaded_result_is_still_ours(scene, ending, name, tmp_path):
    grid = GRIDS[name]
    volume, labels = add_volume(grid, "CT"), scattered(grid)
    place_under(volume, [add_transform(ROTATED)])
    node = write_result(volume, labels, NO_LEVELS)
    segments(node)["SpineContextSeg_26"].SetName("Kreuzbein")
    before = [(s.GetName(), s.GetTerminology(), tag(s, "SpineContextSeg.Voxels")) for s in segments(node).values()]
    file = str(tmp_path / f"Szene ü.{ending}")
    if ending == "mrb":
        assert scene.WriteToMRB(file, None)
    else:
        for data in (volume, node):
            data.AddDefaultStorageNode()
            data.GetStorageNode().SetFileName(str(tmp_path / f"{data.GetName()}{'.seg' * (data is node)}.nrrd"))
            assert data.GetStorageNode().WriteData(data)
        scene.SetRootDirectory(str(tmp_path))
        scene.SetURL(file)
        assert scene.Commit(file)
    del node, volume
    scene.Clear(False)
    if ending == "mrb":
        assert scene.ReadFromMRB(file, True)
    else:
        scene.SetURL(file)
        assert scene.Connect()
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert our_values(node) == {value: f"SpineContextSeg_{value}" for value in (1, 26, 200, 61)}
    after = [(s.GetName(), s.GetTerminology(), tag(s, "SpineContextSeg.Voxels")) for s in segments(node).values()]
    assert after == before
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    np.testing.assert_array_equal(labels_in(node, volume), labels.array)
    assert not is_edited(node)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    assert node.GetParentTransformNode() is not None



def made_of_surfaces(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Models")
    node.SetSourceRepresentationToClosedSurface()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    assert node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "Ball")
    return node


def test_segmentation_of_surfaces_is_refused(scene):
    node, volume = made_of_surfaces(scene), add_volume(SMALL)
    before = scene_state(scene)
    assert "'Models' are not made of voxels" in output_refusal(node)
    with pytest.raises(InputRefused, match="not made of voxels"):
        add_result(volume, blocks(20), segmentation_node=node)
    assert scene_state(scene) == before
    assert output_refusal(None) is None and output_refusal(scene.AddNewNodeByClass("vtkMRMLSegmentationNode")) is None


def test_empty_segmentation_that_was_meant_for_surfaces_takes_voxels(scene):
    node, volume = scene.AddNewNodeByClass("vtkMRMLSegmentationNode"), add_volume(SMALL)
    node.SetSourceRepresentationToClosedSurface()
    add_result(volume, blocks(20), segmentation_node=node)
    np.testing.assert_array_equal(labels_in(node, volume), blocks(20))


@pytest.mark.parametrize("there", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize(
    "labels, options, error",
    [
        (blocks(0), {}, ValueError),
        (blocks(20), {"only": {21}}, ValueError),
        (blocks(20), {"only": set()}, ValueError),
        (blocks(20, 99), {}, KeyError),
        (blocks(20)[1:], {}, ValueError),
    ],
    ids=["nothing found", "none of the chosen found", "none chosen", "unknown value", "other grid"],
)
def test_nothing_changes_where_nothing_can_be_written(scene, there, labels, options, error):
    volume = add_volume(SMALL)
    node = add_result(volume, blocks(20, 26)) if there else None
    before = scene_state(scene)
    with pytest.raises(error):
        add_result(volume, labels, segmentation_node=node, **options)
    assert scene_state(scene) == before
    if there:
        np.testing.assert_array_equal(labels_in(node, volume), blocks(20, 26))


def test_labels_of_another_place_are_an_error(scene):
    volume = add_volume(SMALL)
    moved = SMALL.affine.copy()
    moved[:3, :3] = rotation(1, 2) @ moved[:3, :3]
    with pytest.raises(InputRefused, match="moved"):
        write_result(volume, Volume(blocks(20), moved), LEVELS)
