"""Exported files as other programs read them, and small segmentations to export."""

import csv

import numpy as np
import SimpleITK as sitk
import slicerio
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SpineContextSegLib.volume import Grid, from_sitk
from Testing.geometry import LPS, centered_grid
from Testing.scene_nodes import add_segmentation, add_volume

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


def matrix(linear, shift) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = linear, shift
    return result


def one_segment(name="CT spine"):
    """A volume node and a segmentation node with one block of voxels."""
    volume = add_volume(SMALL)
    return volume, add_segmentation(volume, box(SMALL.shape, (3, 3, 3), (10, 12, 14)).astype(np.uint8), name)
