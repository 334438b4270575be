"""A DICOM SEG where labels are asked for: by what its segments are called, wherever its planes lie in the scan."""

import csv
import sys

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from SpineContextSegLib.cli import main
from SpineContextSegLib.dicom_seg import Segment, find_images, network_segments, write_dicom_seg
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.labels import SACRUM, structures_of
from SpineContextSegLib.on_grid import labels_on_grid_of
from SpineContextSegLib.reading import read_labels, read_segments, read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation
from Testing.dicom_series import SeriesWriter
from Testing.level_values import L3, L4, L5
from Testing.levels_use import GRID, levels_in, refused, run, stack

pytest.importorskip("highdicom")


@pytest.fixture
def seg(tmp_path):
    """Writes labels as a DICOM SEG, with the segments of our table or others; returns its path."""
    SeriesWriter(tmp_path / "series").write(Volume(np.zeros(GRID.shape, np.int16), GRID.affine))
    scan, _ = read_volume(tmp_path / "series")
    images, path = find_images(tmp_path / "series", scan.grid), tmp_path / "spine.dcm"

    def write(labels, segments=None):
        array = labels_on_grid_of(labels, scan.grid, ("labels", "scan"))
        write_dicom_seg(Volume(array, scan.affine), images, segments or network_segments(array), None, path)
        return path

    return write


def called(*names):
    """Segments of a program that knows no codes for vertebrae, in the order of the values 1, 2, 3..."""
    return [Segment(value, name, (1.0, 0.0, 0.0), "", "MANUAL") for value, name in enumerate(names, 1)]


def same(path, labels) -> bool:
    found = labels_on_grid_of(read_labels(path), labels.grid, ("it", "labels"))
    return np.array_equal(found, labels.array)


def test_commands_take_it(seg, tmp_path, capsys):
    labels = stack(L3, L4, L5, SACRUM)
    path = seg(labels)
    assert levels_in(run(capsys, path)[0]) == ["L3", "L4", "L5", "Sacrum"]
    run(capsys, path, "--shift", -1, "-o", tmp_path / "right.nii.gz")
    assert set(np.unique(read_labels(tmp_path / "right.nii.gz").array)) == {0, 21, L3, L4, SACRUM}
    assert main(["measure", str(tmp_path / "series"), str(path), "--table", str(tmp_path / "t.csv")]) == 0
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        assert [row["level"] for row in csv.DictReader(file)] == ["L3", "L4", "L5"]
    write_segmentation(labels, tmp_path / "spine.seg.nrrd")
    assert evaluate(path, tmp_path / "spine.seg.nrrd").values("L4", "dice") == [1.0]


def test_names_of_other_programs_are_known_and_what_isnt_is_a_persons(seg):
    assert same(seg(stack(1, 2, 3), called("L3", "tumor", "vertebrae_L4")), stack(L3, 300, L4))


def test_a_label_map_has_a_background(seg, tmp_path):
    """Which its list of segments names, too, as number 0."""
    highdicom = pytest.importorskip("highdicom")
    labels = stack(L3, L4, L5)
    seg(labels)
    planes = [pydicom.dcmread(path) for path in (tmp_path / "series").iterdir()]
    planes.sort(key=lambda plane: float(plane.ImagePositionPatient[2]))
    for plane in planes:
        for name in (
            "AccessionNumber", "Manufacturer", "PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyDate",
            "StudyID", "StudyTime",
        ):  # fmt: skip
            setattr(plane, name, plane.get(name, ""))
    manual = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    segments = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Bone, manual)
        for number, name in ((1, "L3"), (2, "L4"), (3, "L5"))
    ]
    scan, _ = read_volume(tmp_path / "series")
    array = labels_on_grid_of(labels, scan.grid, ("labels", "scan"))
    numbers = np.where(array, array.astype(int) - L3 + 1, 0).astype(np.uint8)
    uid = highdicom.UID
    highdicom.seg.Segmentation(
        planes, numbers, "LABELMAP", segments, uid(), 1, uid(), 1, "maker", "model", "1", "1", omit_empty_frames=False
    ).save_as(tmp_path / "map.dcm")
    assert same(tmp_path / "map.dcm", labels)


def test_of_several_series_the_one_that_it_covers_in_part_is_measured(seg, tmp_path, capsys):
    path = seg(stack(L3, L4, L5))
    moved = GRID.affine.copy()
    moved[0, 3] += 7
    larger = (GRID.shape[0] + 4, *GRID.shape[1:])
    SeriesWriter(tmp_path / "two" / "a", description="A").write(Volume(np.zeros(GRID.shape, np.int16), GRID.affine))
    SeriesWriter(tmp_path / "two" / "b", description="B").write(Volume(np.zeros(larger, np.int16), moved))
    assert read_labels(path).array.shape != GRID.shape
    assert main(["measure", str(tmp_path / "two"), str(path), "--table", str(tmp_path / "t.csv")]) == 0


def test_a_repair_keeps_what_a_person_called_theirs(seg, tmp_path, capsys):
    path = seg(stack(1, 2, 3), called("L3", "tumor", "L4"))
    run(capsys, path, "--shift", -1, "-o", tmp_path / "right.seg.nrrd")
    names = {segment.name for segment in read_segments(tmp_path / "right.seg.nrrd")}
    assert "tumor" in names and len(names) == 3


def test_codes_are_known(seg):
    segments = [
        Segment(number, f"{number}", (1.0, 0.0, 0.0), item.terminology_entry, "MANUAL")
        for number, item in enumerate(structures_of((L3, L4)), 1)
    ]
    assert same(seg(stack(1, 2), segments), stack(L3, L4))


def test_vertebrae_that_arent_told_apart(seg, capsys):
    assert same(seg(stack(1, SACRUM)), stack(1, SACRUM))
    assert "doesn't tell its vertebrae apart" in refused(capsys, seg(stack(1, SACRUM)))


@pytest.mark.parametrize(
    ("names", "word"),
    [(("a", "b"), "doesn't say what its segments are"), (("L3", "l3"), "two segments of one structure")],
)
def test_what_says_nothing_is_refused(names, word, seg, capsys):
    assert word in refused(capsys, seg(stack(1, 2), called(*names)))


def test_overlaps_are_refused(seg, capsys):
    path = seg(stack(L3, L4))
    file = pydicom.dcmread(path)
    for group in file.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 0]
        group.FrameContentSequence[0].DimensionIndexValues[1] = 1
    file.save_as(path)
    assert "can't be read as a DICOM SEG with one label for each voxel" in refused(capsys, path)


def test_it_has_no_other_numbering(seg, tmp_path):
    write_segmentation(stack(L3, L4), tmp_path / "spine.seg.nrrd")
    with pytest.raises(InputRefused, match="leave the numbering out"):
        evaluate(tmp_path / "spine.seg.nrrd", seg(stack(L3, L4)), reference_numbering="totalsegmentator")


def test_without_highdicom_it_is_said_what_to_install(seg, capsys, monkeypatch):
    path = seg(stack(L3, L4))
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert "pip install highdicom" in refused(capsys, path)


def test_a_damaged_one_is_refused(seg, capsys):
    path = seg(stack(L3, L4))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "can't be read as a DICOM SEG" in refused(capsys, path)
