"""Volume nodes and regions of interest in Slicer's scene, as the engine sees them."""

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.roi import inside
from SpineContextSegLib.volume import Volume
from Testing.geometry import GRIDS, rotation, world_positions

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from SpineContextSegLib.mrml.regions import box_in_volume  # noqa: E402
from SpineContextSegLib.mrml.segmentations import write_result  # noqa: E402
from SpineContextSegLib.mrml.volumes import refusal, volume_from_node  # noqa: E402
from Testing.scene_nodes import add_transform, add_volume  # noqa: E402
from Testing.scene_results import MIRRORED, ROTATED, SMALL, place_under, scene_state, to_world  # noqa: E402


@pytest.mark.parametrize("name", GRIDS)
def test_volume_node_is_read_to_the_voxel(scene, name):
    grid = GRIDS[name]
    array = np.random.default_rng(0).integers(-1024, 3000, grid.shape).astype(np.int16)
    node = add_volume(grid, array=array)
    volume = volume_from_node(node)
    assert refusal(node) is None
    assert volume.array.dtype == np.int16 and np.shares_memory(volume.array, slicer.util.arrayFromVolume(node))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, grid.affine, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxels_keep_their_type(scene, kind):
    array = np.random.default_rng(0).integers(0, 200, SMALL.shape).astype(kind)
    volume = volume_from_node(add_volume(SMALL, array=array))
    assert volume.array.dtype == kind
    np.testing.assert_array_equal(volume.array, array)


def test_image_whose_extent_does_not_begin_at_0(scene):
    """As a script leaves it that cuts a piece out of an image: the first voxel has the index of its extent."""
    node = add_volume(SMALL, array=np.arange(np.prod(SMALL.shape), dtype=np.int16).reshape(SMALL.shape))
    cut = vtk.vtkExtractVOI()
    cut.SetInputData(node.GetImageData())
    cut.SetVOI(2, 7, 1, 5, 3, 7)
    cut.Update()
    part = vtk.vtkImageData()
    part.DeepCopy(cut.GetOutput())
    assert part.GetExtent() == (2, 7, 1, 5, 3, 7)
    node.SetAndObserveImageData(part)
    volume = volume_from_node(node)
    slices = (slice(3, 8), slice(1, 6), slice(2, 8))
    assert volume.array[0, 0, 0] == np.ravel_multi_index((3, 1, 2), SMALL.shape)
    np.testing.assert_allclose(world_positions(volume.grid), world_positions(SMALL)[slices], atol=1e-9)


@pytest.mark.parametrize("chain", [[ROTATED], [MIRRORED], [ROTATED, MIRRORED]], ids=["rotated", "mirrored", "two"])
def test_engine_sees_the_volume_without_its_linear_transforms(scene, chain):
    node = add_volume(SMALL)
    place_under(node, [add_transform(matrix) for matrix in chain])
    assert not np.allclose(to_world(node), np.eye(4))
    assert refusal(node) is None
    np.testing.assert_allclose(volume_from_node(node).affine, SMALL.affine, rtol=0, atol=1e-12)


def labelmap(scene):
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Lungs")
    slicer.util.updateVolumeFromArray(node, np.ones((8, 8, 8), np.uint8))
    return node


def color_picture(scene):
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    slicer.util.updateVolumeFromArray(node, np.ones((8, 8, 8, 3), np.uint8))
    return node


def two_values_per_voxel(scene):
    node = add_volume(SMALL, "Field")
    image = vtk.vtkImageData()
    image.SetDimensions(8, 8, 8)
    image.AllocateScalars(vtk.VTK_SHORT, 2)
    node.SetAndObserveImageData(image)
    return node


def without_voxels(scene):
    return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")


def of_no_size(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    image = vtk.vtkImageData()
    image.SetDimensions(0, 0, 0)
    node.SetAndObserveImageData(image)
    return node


def without_scalars(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    image = vtk.vtkImageData()
    image.SetDimensions(8, 8, 8)
    node.SetAndObserveImageData(image)
    return node


def single_slice(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Radiograph")
    slicer.util.updateVolumeFromArray(node, np.ones((1, 64, 64), np.int16))
    return node


def absurd_spacing(scene):
    node = add_volume(SMALL)
    node.SetSpacing(1000.0, 1.0, 1.0)
    return node


def a_model(scene):
    return scene.AddNewNodeByClass("vtkMRMLModelNode", "Bone")


def bending(scene, class_name):
    """A transform node that really bends space."""
    node = scene.AddNewNodeByClass(class_name, "Warp")
    if class_name == "vtkMRMLBSplineTransformNode":
        transform = vtk.vtkBSplineTransform()
        coefficients = vtk.vtkImageData()
        coefficients.SetDimensions(6, 6, 6)
        coefficients.AllocateScalars(vtk.VTK_DOUBLE, 3)
        coefficients.GetPointData().GetScalars().Fill(2.0)
        transform.SetCoefficientData(coefficients)
    elif class_name == "vtkMRMLGridTransformNode":
        transform = slicer.vtkOrientedGridTransform()
        displacements = vtk.vtkImageData()
        displacements.SetDimensions(6, 6, 6)
        displacements.AllocateScalars(vtk.VTK_DOUBLE, 3)
        displacements.GetPointData().GetScalars().Fill(2.0)
        transform.SetDisplacementGridData(displacements)
    else:
        transform = vtk.vtkThinPlateSplineTransform()
        source, target = vtk.vtkPoints(), vtk.vtkPoints()
        for corner in np.ndindex(2, 2, 2):
            source.InsertNextPoint(*np.multiply(corner, 50.0))
            target.InsertNextPoint(*np.multiply(corner, 50.0) + (3.0 * (corner[0] ^ corner[1]), 0.0, 0.0))
        transform.SetSourceLandmarks(source)
        transform.SetTargetLandmarks(target)
        transform.SetBasisToR()
    node.SetAndObserveTransformToParent(transform)
    return node


def under_grid(scene):
    node = add_volume(SMALL)
    place_under(node, [bending(scene, "vtkMRMLGridTransformNode")])
    return node


def under_bspline(scene):
    node = add_volume(SMALL)
    place_under(node, [bending(scene, "vtkMRMLBSplineTransformNode")])
    return node


def under_thin_plates(scene):
    node = add_volume(SMALL)
    place_under(node, [bending(scene, "vtkMRMLTransformNode")])
    return node


def under_grid_far_up(scene):
    node = add_volume(SMALL)
    chain = [add_transform(ROTATED), bending(scene, "vtkMRMLGridTransformNode"), add_transform(MIRRORED)]
    place_under(node, chain)
    return node


REFUSED = {
    labelmap: "'Lungs' is a label map",
    color_picture: "'Photo' holds 3 values per voxel",
    two_values_per_voxel: "'Field' holds 2 values per voxel",
    without_voxels: "'Empty' holds no voxels",
    of_no_size: "'Empty' holds no voxels",
    without_scalars: "'Empty' holds no voxels",
    single_slice: "64 x 64 x 1 voxels large, too few slices",
    absurd_spacing: "voxel size of 1e+03 x",
    a_model: "'Bone' is not a volume",
    under_grid: "'CT' is under the non-linear transform 'Warp': harden",
    under_bspline: "'CT' is under the non-linear transform 'Warp': harden",
    under_thin_plates: "'CT' is under the non-linear transform 'Warp': harden",
    under_grid_far_up: "'CT' is under the non-linear transform 'Warp': harden",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_can_not_be_segmented_is_refused_and_nothing_changes(scene, make):
    node = make(scene)
    before = scene_state(scene)
    sentence = refusal(node)
    assert REFUSED[make] in sentence
    assert sentence.endswith(".") and sentence.count(". ") == 0, "one sentence"
    assert " CT" not in sentence, "it may be an MR"
    with pytest.raises(InputRefused) as refused:
        write_result(node, Volume(np.ones(SMALL.shape, np.uint8), SMALL.affine), {"levels_known": False, "model": "m"})
    assert str(refused.value) == sentence
    assert scene_state(scene) == before


def test_no_volume_is_refused(scene):
    assert refusal(None) == "No volume is selected: choose the scan to segment."


@pytest.mark.parametrize(
    "volume_chain", [[], [ROTATED], [MIRRORED], [ROTATED, MIRRORED]], ids=["free", "rotated", "mirrored", "two"]
)
@pytest.mark.parametrize("region_chain", [[], [ROTATED], [MIRRORED, ROTATED]], ids=["free", "rotated", "two"])
def test_region_lies_on_the_voxels_that_the_user_sees_in_it(scene, volume_chain, region_chain):
    node = add_volume(GRIDS["oblique_thick"])
    place_under(node, [add_transform(matrix) for matrix in volume_chain])
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    place_under(region, [add_transform(matrix) for matrix in region_chain])
    # In the world, where the volume is seen: a turned box about its middle.
    middle = to_world(node) @ [*volume_from_node(node).grid.corners().mean(axis=0), 1]
    seen = np.vstack([np.c_[rotation(20, 1), middle[:3]], [0, 0, 0, 1]])
    region.SetSize(24.0, 18.0, 30.0)
    into_region = np.linalg.inv(to_world(region)) @ seen
    region.GetObjectToNodeMatrix().DeepCopy(slicer.util.vtkMatrixFromArray(into_region))
    shown = slicer.util.arrayFromVTKMatrix(region.GetObjectToWorldMatrix())
    np.testing.assert_allclose(shown, seen, atol=1e-9)

    mask = inside(volume_from_node(node).grid, box_in_volume(region, node))
    in_world = np.c_[world_positions(volume_from_node(node).grid).reshape(-1, 3), np.ones(mask.size)] @ to_world(node).T
    in_box = np.abs(in_world @ np.linalg.inv(seen).T)[:, :3] <= np.array([12.0, 9.0, 15.0])
    np.testing.assert_array_equal(mask.ravel(), in_box.all(axis=1))
    assert 0 < mask.sum() < mask.size


def test_region_without_a_place_is_flat(scene):
    assert box_in_volume(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode"), add_volume(SMALL)).is_flat


def test_region_under_a_non_linear_transform_is_refused(scene):
    region = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    place_under(region, [add_transform(ROTATED), bending(scene, "vtkMRMLGridTransformNode")])
    with pytest.raises(InputRefused, match="'R' is under the non-linear transform 'Warp'"):
        box_in_volume(region, add_volume(SMALL))
