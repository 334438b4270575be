"""Exported files on the disk: names, files that are there already, full and protected disks, nothing half."""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from SpineContextSegLib.errors import InputRefused
from Testing.geometry import GRIDS, HARDLY_SHEARED

slicer = pytest.importorskip("slicer")

from SpineContextSegLib.mrml.export import FORMATS, export_segmentation  # noqa: E402
from Testing.exported_files import OURS, SMALL, blobs, box, names_in, one_segment  # noqa: E402
from Testing.scene_nodes import add_segmentation, add_volume, draw  # noqa: E402


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
    events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.StartBatchProcessEvent)
    observers = [scene.AddObserver(event, lambda *_: seen.append(True)) for event in events]
    exported = export_segmentation(node, volume, tmp_path, formats=FORMATS)
    for observer in observers:
        scene.RemoveObserver(observer)
    assert len(exported.files) == 10
    assert state() == before
    assert seen == []


def test_names_that_no_disk_takes(scene, tmp_path):
    folder = tmp_path / "\u00dcbung \u810a\u67f1"
    folder.mkdir()
    volume = add_volume(SMALL)
    node = add_segmentation(volume, blobs(SMALL.shape), name=" ../a/b:c?. ")
    names = {OURS[1]: "L5/S1: <gro\u00df>", OURS[26]: "con", OURS[61]: "l5/s1: <GRO\u00df>"}
    for segment_id, name in names.items():
        node.GetSegmentation().GetSegment(segment_id).SetName(name)
    exported = export_segmentation(node, volume, folder, formats=FORMATS)
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
        exported = export_segmentation(node, volume, tmp_path, formats=FORMATS)
        assert all(path.stat().st_size for path in exported.files)


def test_existing_files_are_never_overwritten(scene, tmp_path):
    volume, node = one_segment()
    (tmp_path / "CT spine.labels.csv").write_text("somebody's")
    first = export_segmentation(node, volume, tmp_path, formats=FORMATS)
    assert {path.name.startswith(("CT spine_2", "CT_spine_2")) for path in first.files} == {True}
    contents = {path: path.read_bytes() for path in tmp_path.iterdir()}
    second = export_segmentation(node, volume, tmp_path, formats=FORMATS)
    assert not set(second.files) & set(contents)
    for path, content in contents.items():
        assert path.read_bytes() == content
    node.SetName("other")
    third = export_segmentation(node, volume, tmp_path, formats=["nii.gz"])
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
        export_segmentation(node, volume, tmp_path, formats=FORMATS)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(scene, tmp_path):
    volume, node = one_segment()
    empty = add_segmentation(volume, np.zeros(SMALL.shape, np.uint8), "empty")
    (tmp_path / "file").write_text("")
    sheared, hardly = (add_volume(grid) for grid in (GRIDS["sheared"], HARDLY_SHEARED))
    tilted = add_segmentation(sheared, blobs(GRIDS["sheared"].shape))
    leaning = add_segmentation(hardly, blobs(HARDLY_SHEARED.shape))
    for arguments, words in [
        ((empty, volume, tmp_path), "no voxels"),
        ((node, volume, tmp_path / "missing"), "does not exist"),
        ((node, volume, tmp_path / "file"), "does not exist"),
        ((tilted, sheared, tmp_path, ["nii.gz"]), "NIfTI"),
        ((leaning, hardly, tmp_path, ["nii.gz"]), "NIfTI"),
    ]:
        with pytest.raises(InputRefused, match=words):
            export_segmentation(*arguments[:3], formats=(arguments[3:] or (FORMATS,))[0])
    empty.GetSegmentation().AddEmptySegment("later", "To be drawn")
    with pytest.raises(InputRefused, match="no voxels"):
        export_segmentation(empty, volume, tmp_path, formats=FORMATS)
    with pytest.raises(ValueError, match="vtp"):
        export_segmentation(node, volume, tmp_path, formats=["vtp"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_tilted_scan_is_written_but_for_nifti(scene, tmp_path):
    volume = add_volume(GRIDS["sheared"])
    node = add_segmentation(volume, blobs(GRIDS["sheared"].shape, values=(1,)))
    exported = export_segmentation(node, volume, tmp_path, formats=FORMATS)
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
    assert "disk full" in str(raised.value)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["earlier"]
    vtk_errors.take()


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
        export_segmentation(node, volume, protected_folder, formats=FORMATS)
    assert list(protected_folder.iterdir()) == []


WITHOUT_WHAT_SLICER_LACKS = """
import sys
for name in ("slicerio", "tqdm", "matplotlib", "safetensors", "torch"):
    sys.modules[name] = None
import slicer
from SpineContextSegLib.mrml import export, sequences
"""


def test_imports_nothing_that_slicer_s_python_lacks():
    done = subprocess.run([sys.executable, "-c", WITHOUT_WHAT_SLICER_LACKS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
