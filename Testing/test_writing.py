import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import slicerio

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import STRUCTURES, structure
from SpineContextSegLib.reading import read_labels, read_volume
from SpineContextSegLib.volume import Volume, from_sitk
from SpineContextSegLib.writing import WRITABLE_ENDINGS, check_output, write_segmentation, write_volume
from Testing.geometry import GRIDS, LPS, SHEARED, centered_grid

VALUES = np.array([0, 1, 19, 20, 24, 25, 26, 28, 61, 119, 200])


def labels_on(name="lps") -> Volume:
    grid = GRIDS[name]
    array = np.random.default_rng(0).choice(VALUES, grid.shape).astype(np.uint8)
    return Volume(array, grid.affine)


def same(read: Volume, written: Volume) -> bool:
    return np.array_equal(read.array, written.array) and read.grid.same_as(written.grid, tolerance_mm=1e-4)


@pytest.mark.parametrize(
    "name, ending",
    [(n, e) for n in GRIDS for e in WRITABLE_ENDINGS if n not in SHEARED or not e.startswith(".nii")],
)
def test_labels_come_back_exactly(name, ending, tmp_path):
    labels = labels_on(name)
    path = tmp_path / f"Wirbelsäule 脊柱{ending}"
    write_segmentation(labels, path)
    assert same(read_labels(path), labels)
    assert same(from_sitk(sitk.ReadImage(str(path))), labels)
    assert list(tmp_path.iterdir()) == [path]
    if ending.startswith(".nii"):
        oracle = nibabel.load(path)
        np.testing.assert_allclose(oracle.affine, labels.affine, atol=1e-4)
        np.testing.assert_array_equal(np.asarray(oracle.dataobj).transpose(2, 1, 0), labels.array)


@pytest.mark.parametrize("name", ["lps", "sagittal_thick", "sheared_oblique"])
def test_seg_nrrd_is_what_slicer_expects(name, tmp_path):
    labels = labels_on(name)
    write_segmentation(labels, tmp_path / "spine.seg.nrrd")
    segmentation = slicerio.read_segmentation(str(tmp_path / "spine.seg.nrrd"))
    np.testing.assert_array_equal(segmentation["voxels"].transpose(2, 1, 0), labels.array)
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ segmentation["ijkToLPS"], labels.affine, atol=1e-9)
    assert segmentation["masterRepresentation"] == "Binary labelmap"
    segments = segmentation["segments"]
    assert [s["labelValue"] for s in segments] == [v for v in STRUCTURES if v in VALUES]
    assert {s["layer"] for s in segments} == {0}
    assert len({s["id"] for s in segments}) == len(segments)
    i, j, k = labels.array.shape[::-1]
    for segment in segments:
        item = structure(segment["labelValue"])
        assert segment["name"] == item.name
        np.testing.assert_allclose(segment["color"], item.color, atol=1e-5)
        assert segment["extent"] == [0, i - 1, 0, j - 1, 0, k - 1]
        assert segment["terminology"]["type"] == ["SCT", item.snomed_code, item.snomed_meaning]
        assert segment["terminology"]["category"][:2] == ["SCT", "123037004"]


def test_unknown_level_is_named_vertebrae(tmp_path):
    array = np.zeros((5, 6, 7), np.uint8)
    array[2, 2, 2], array[3, 3, 3] = 1, 26
    write_segmentation(Volume(array, np.eye(4)), tmp_path / "spine.seg.nrrd")
    segments = slicerio.read_segmentation(str(tmp_path / "spine.seg.nrrd"))["segments"]
    assert [s["name"] for s in segments] == ["Vertebrae", "Sacrum"]


def test_empty_segmentation_is_written(tmp_path):
    labels = Volume(np.zeros((5, 6, 7), np.uint8), np.eye(4))
    for ending in WRITABLE_ENDINGS:
        write_segmentation(labels, tmp_path / f"nothing{ending}")
        assert same(read_labels(tmp_path / f"nothing{ending}"), labels)


def test_value_without_a_structure_is_an_error_and_leaves_no_file(tmp_path):
    labels = Volume(np.full((4, 4, 4), 77, np.uint8), np.eye(4))
    with pytest.raises(KeyError):
        write_segmentation(labels, tmp_path / "spine.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [-1, 65536, 2_000_000_000])
@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz"])
def test_value_that_files_of_labels_can_not_hold_is_an_error_and_leaves_no_file(value, ending, tmp_path):
    labels = Volume(np.full((4, 4, 4), value, np.int32), np.eye(4))
    with pytest.raises(ValueError, match=str(value)):
        write_segmentation(labels, tmp_path / f"spine{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8, bool])
def test_volume_keeps_its_numbers(dtype, tmp_path):
    array = np.random.default_rng(0).integers(0, 2, (5, 6, 7)).astype(dtype)
    write_volume(Volume(array, np.eye(4)), tmp_path / "scan.nrrd")
    read, _ = read_volume(tmp_path / "scan.nrrd")
    np.testing.assert_array_equal(read.array, array)
    assert read.array.dtype == (np.uint8 if dtype is bool else dtype)


@pytest.mark.parametrize("name", SHEARED)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
def test_sheared_grid_is_refused_for_nifti(name, ending, tmp_path):
    path = tmp_path / f"result{ending}"
    for act in (
        lambda: check_output(path, GRIDS[name]),
        lambda: write_segmentation(labels_on(name), path),
        lambda: write_volume(labels_on(name), path),
    ):
        with pytest.raises(InputRefused, match=r"'result\.seg\.nrrd'"):
            act()
    assert list(tmp_path.iterdir()) == []


def test_output_that_can_not_be_written_is_refused_before_work(tmp_path):
    grid = GRIDS["lps"]
    (tmp_path / "folder.nrrd").mkdir()
    for path, words in [
        (tmp_path / "result.png", "ending"),
        (tmp_path / "result", "ending"),
        (tmp_path / "missing" / "result.nrrd", "does not exist"),
        (tmp_path / "folder.nrrd", "is a folder"),
    ]:
        with pytest.raises(InputRefused, match=words):
            check_output(path, grid)


FULL_DISK = """
import resource, sys
import numpy as np
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation
labels = np.random.default_rng(0).choice([0, 1, 26], (40, 50, 60)).astype(np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_segmentation(Volume(labels, np.diag([-1.0, -1.0, 1.0, 1.0])), sys.argv[1])
except OSError:
    sys.exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("ending", WRITABLE_ENDINGS)
@pytest.mark.parametrize("earlier", [True, False], ids=["earlier file", "no earlier file"])
def test_full_disk_leaves_nothing_behind(ending, earlier, tmp_path):
    path = tmp_path / f"result{ending}"
    if earlier:
        path.write_bytes(b"the earlier result")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert list(tmp_path.iterdir()) == ([path] if earlier else [])
    if earlier:
        assert path.read_bytes() == b"the earlier result"


def test_interruption_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_segmentation(labels_on(), tmp_path / "result.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_earlier_file_is_replaced(tmp_path):
    path = tmp_path / "result.seg.nrrd"
    path.write_bytes(b"the earlier result")
    write_segmentation(labels_on(), path)
    assert same(read_labels(path), labels_on())


def test_temporary_name_does_not_outgrow_the_file_system(tmp_path):
    path = tmp_path / ("x" * 240 + ".seg.nrrd")
    write_segmentation(labels_on(), path)
    assert path.exists()


def test_large_segmentation_is_written_within_seconds(tmp_path):
    grid = centered_grid((0.75, 0.75, 1.0), (384, 384, 600), LPS)
    array = np.zeros(grid.shape, np.uint8)
    array[20:580, 200:350, 180:330] = 1
    start = time.process_time()
    write_segmentation(Volume(array, grid.affine), tmp_path / "large.seg.nrrd")
    assert time.process_time() - start < 20
    assert Path(tmp_path / "large.seg.nrrd").stat().st_size < 5e6
