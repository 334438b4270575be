"""References that people drew in Slicer, which numbers segments from 1 on: they are read by their names."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.labels import SACRUM, structure, value_called
from SpineContextSegLib.reading import read_labels, read_segments
from SpineContextSegLib.volume import Volume, to_sitk
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.level_values import L2, L3, L4, L5
from Testing.levels_use import GRID, levels_in, refused, run, stack

TISSUE = "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~^^|"
SPELLINGS = (
    ("L2", "L3", "L4"), ("vertebrae_L2", "vertebrae_L3", "vertebrae_L4"), ("L2 Vertebra", "vertebra l3", "L-4"),
    ("L2 vertebra", "L3 vertebra", "L4 vertebra"),
)  # fmt: skip
UNNAMED = "doesn't say what its segments are: their values were taken for VerSe's"


def drawn(path, *names, values=None):
    """Slabs from top to bottom as Slicer saves them, by default with the values 1, 2, 3..."""
    values = values or range(1, len(names) + 1)
    image = to_sitk(stack(*values))
    for n, (name, value) in enumerate(zip(names, values, strict=True)):
        fields = {"ID": f"Segment_{n + 1}", "Name": name, "LabelValue": str(value), "Tags": TISSUE}
        for field, text in fields.items():
            image.SetMetaData(f"Segment{n}_{field}", text)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [("L4", 23), ("l4", 23), ("vertebrae_L4", 23), ("Vertebra L4", 23), ("L4-vertebra", 23), (" T01 ", 8), ("Th12", 19),
     ("T13", 28), ("sacrum", 26), ("Canal", 61), ("l4 disc", 123), ("DISC BELOW L4", 123), ("S1", None), ("L7", None),
     ("vertebrae_S1", None), ("L4 fracture", None), ("C", None), ("T123", None), ("4", None), ("", None)],
)  # fmt: skip
def test_what_people_call_structures(name, value):
    assert value_called(name) == value


@pytest.mark.parametrize("names", SPELLINGS)
def test_a_reference_is_read_by_its_names(names, tmp_path, capsys):
    path = drawn(tmp_path / "drawn.seg.nrrd", *names)
    np.testing.assert_array_equal(read_labels(path).array, stack(L2, L3, L4).array)
    assert [(segment.value, segment.name) for segment in read_segments(path)] == list(zip((L2, L3, L4), names))
    shown, said = run(capsys, path)
    assert levels_in(shown) == ["L2", "L3", "L4"] and not said
    write_segmentation(stack(L2, L3, L4), tmp_path / "ours.seg.nrrd")
    found = evaluate(tmp_path / "ours.seg.nrrd", path)
    assert found.values("L3", "dice") == [1.0] and not found.notes


def test_names_may_be_those_of_values_in_another_order(tmp_path):
    path = drawn(tmp_path / "drawn.seg.nrrd", "C3", "C1", "C2", "sacrum")
    np.testing.assert_array_equal(read_labels(path).array, stack(3, 1, 2, SACRUM).array)


def test_names_of_levels_follow_a_repair(tmp_path, capsys):
    path = drawn(tmp_path / "drawn.seg.nrrd", "L2", "l3", "vertebrae_L4")
    shown, _ = run(capsys, path, "--shift", 1, "-o", tmp_path / "right.seg.nrrd")
    assert not any("given by hand" in line for line in shown)
    names = {segment.value: segment.name for segment in read_segments(tmp_path / "right.seg.nrrd")}
    assert names == {value: structure(value).name for value in (L3, L4, L5)}


@pytest.mark.parametrize("other", ["S1", "Segment_3", "tumor", "l2"])
def test_where_only_some_say_what_they_are_nothing_is_guessed(other, tmp_path, capsys):
    path = drawn(tmp_path / "drawn.seg.nrrd", "L2", "L3", other)
    line = refused(capsys, path)
    assert "has the value " in line and "in VerSe's numbering: call each segment after its structure" in line
    assert f"{other!r}" in line
    # With VerSe's values there is no contradiction.
    path = drawn(tmp_path / "drawn.seg.nrrd", "L2", "L3", other, values=(L2, L3, L4))
    if other != "l2":
        np.testing.assert_array_equal(read_labels(path).array, stack(L2, L3, L4).array)


def test_what_a_person_calls_like_ours_beside_ours_is_a_persons(tmp_path):
    """A second drawing of L3."""
    path = tmp_path / "ours.seg.nrrd"
    write_segmentation(stack(L2, L3), path)
    image, both = sitk.ReadImage(str(path)), to_sitk(stack(L2, L3, 1))
    for key in image.GetMetaDataKeys():
        both.SetMetaData(key, image.GetMetaData(key))
    for field, text in {"ID": "Segment_1", "Name": "L3", "LabelValue": "1", "Tags": TISSUE}.items():
        both.SetMetaData(f"Segment2_{field}", text)
    sitk.WriteImage(both, str(path))
    np.testing.assert_array_equal(read_labels(path).array, stack(L2, L3, 300).array)


def test_that_values_were_taken_for_verses_is_said_once(tmp_path, capsys):
    path = drawn(tmp_path / "drawn.seg.nrrd", "Segment_1", "Segment_2", "Segment_3")
    _, said = run(capsys, path)
    assert [line for line in said if UNNAMED in line] == [
        f"Warning: 'drawn.seg.nrrd' {UNNAMED} (1 is C1, 20 is L1)."
    ]
    write_segmentation(stack(1, 2, 3), tmp_path / "ours.seg.nrrd")
    found = evaluate(tmp_path / "ours.seg.nrrd", path)
    assert [UNNAMED in note for note in found.notes] == [True]
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID.affine), tmp_path / "ct.nii.gz")
    for name, warned in (("drawn", True), ("ours", False)):
        assert main(["measure", str(tmp_path / "ct.nii.gz"), str(tmp_path / f"{name}.seg.nrrd")]) == 0
        assert (UNNAMED in capsys.readouterr().err) == warned


def test_a_table_has_the_levels_of_the_names(tmp_path):
    path = drawn(tmp_path / "drawn.seg.nrrd", "L2", "L3", "L4")
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID.affine), tmp_path / "ct.nii.gz")
    assert main(["measure", str(tmp_path / "ct.nii.gz"), str(path), "--table", str(tmp_path / "t.csv")]) == 0
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        assert [row["level"] for row in csv.DictReader(file)] == ["L2", "L3", "L4"]


def test_totalsegmentators_values_are_left_alone(tmp_path):
    """As its segments are called in Slicer: their values are its own, and those who say so know it."""
    path = drawn(tmp_path / "total.seg.nrrd", "vertebrae_L2", "vertebrae_L3", "vertebrae_L4", values=(30, 29, 28))
    write_segmentation(stack(L2, L3, L4), tmp_path / "ours.seg.nrrd")
    found = evaluate(tmp_path / "ours.seg.nrrd", path, reference_numbering="totalsegmentator")
    assert found.values("L3", "dice") == [1.0] and not found.notes
    with pytest.raises(InputRefused, match="holds no vertebra in TotalSegmentator's numbering"):
        evaluate(tmp_path / "ours.seg.nrrd", drawn(path, "L2", "L3"), reference_numbering="totalsegmentator")
