"""Labels from files: whole numbers, each the value of the structure that its segment is called after."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import structure
from SpineContextSegLib.reading import read_labels, read_labels_with_notes, read_segments
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume


def test_labels_of_any_number_type_become_integers(tmp_path):
    labels = np.random.default_rng(0).integers(0, 29, (10, 12, 14))
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        write_volume(Volume(labels.astype(dtype), np.eye(4)), tmp_path / "labels.nii.gz")
        read = read_labels(tmp_path / "labels.nii.gz")
        assert np.issubdtype(read.array.dtype, np.integer)
        np.testing.assert_array_equal(read.array, labels)


def test_probabilities_are_no_labels(tmp_path):
    write_volume(Volume(np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 10, 10), np.eye(4)), tmp_path / "p.nrrd")
    with pytest.raises(InputRefused, match="fractions"):
        read_labels(tmp_path / "p.nrrd")


def write_segments(path, *segments: dict[str, str]) -> None:
    """A `.seg.nrrd` of slabs of the values of some segments, and of each the given fields of the header."""
    array = np.zeros((3 * len(segments), 8, 8), np.uint16)
    for n, fields in enumerate(segments):
        array[3 * n : 3 * n + 2] = int(fields["LabelValue"])
    image = sitk.GetImageFromArray(array)
    for n, fields in enumerate(segments):
        for name, text in fields.items():
            image.SetMetaData(f"Segment{n}_{name}", text)
    sitk.WriteImage(image, str(path))


L4, SACRUM = (structure(value).terminology_entry for value in (23, 26))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"Name": "L4 vertebra"}, "'L4 vertebra'"),
        ({"Name": "Fracture", "ID": "SpineContextSeg_23"}, "'Fracture' (L4 vertebra)"),
        ({"Name": "Fracture", "ID": "other", "Tags": "a:b|SpineContextSeg.Value:23|"}, "'Fracture' (L4 vertebra)"),
        ({"Name": "Fracture", "ID": "SpineContextSeg_1", "Tags": "SpineContextSeg.Value:23|"}, "'Fracture'"),
        ({"Name": "Fracture", "ID": "other", "Tags": f"TerminologyEntry:{L4}|"}, "'Fracture' (L4 vertebra)"),
    ],
    ids=["name", "ID", "tag", "tag, not ID", "code"],
)
def test_a_segment_with_the_value_of_another_structure_is_refused(fields, named, tmp_path):
    """As in a file from Slicer's save dialog, which numbers segments from 1 on where it collapses layers."""
    path = tmp_path / "spine.seg.nrrd"
    write_segments(path, fields | {"LabelValue": "1"}, {"Name": "own", "LabelValue": "2"})
    is_ours = fields.get("ID", "").startswith("SpineContextSeg_") or "SpineContextSeg.Value" in fields.get("Tags", "")
    advice = "export it with the Slicer module" if is_ours else "call each segment after its structure"
    with pytest.raises(InputRefused, match=f"in VerSe's numbering: {advice}") as refused:
        read_labels(path)
    assert f"has the value 1 for {named}" in str(refused.value)
    write_segments(path, fields | {"LabelValue": "23"}, {"Name": "own", "LabelValue": "2"})
    assert set(np.unique(read_labels(path).array)) == {0, 23, 300 if is_ours else 2}


@pytest.mark.parametrize(
    "marks", [{"ID": "SpineContextSeg_23"}, {"ID": "SpineContextSeg_1", "Tags": "SpineContextSeg.Value:23|"}]
)
def test_a_segment_that_was_only_given_another_levels_name_needs_no_export(marks, tmp_path):
    """As after a choice in Slicer's terminology selector: an export writes the same value and the same name."""
    path = tmp_path / "spine.seg.nrrd"
    write_segments(path, marks | {"Name": "L5 vertebra", "LabelValue": "23"})
    with pytest.raises(InputRefused) as refused:
        read_labels(path)
    assert str(refused.value) == (
        "'spine.seg.nrrd' has the value 23 for 'L5 vertebra', which is 24 in VerSe's numbering: put the level right "
        "under Levels in the Slicer module, or name the segment 'L4 vertebra' again."
    )
    write_segments(path, marks | {"Name": "L4 vertebra", "LabelValue": "23"})
    assert set(np.unique(read_labels(path).array)) == {0, 23}


def test_values_of_a_persons_own_segments(tmp_path):
    """Free ones from 300 on, in the order of the list, and no segment without voxels takes those of another."""
    ours, own = {"Name": "any", "ID": "SpineContextSeg_1"}, {"Name": "own", "ID": "Segment_1"}
    path = tmp_path / "spine.seg.nrrd"
    write_segments(path, *({"LabelValue": str(value)} for value in (1, 2, 300, 3)))
    image = sitk.ReadImage(path)
    written = ours | {"LabelValue": "1"}, *(own | {"LabelValue": str(value)} for value in (2, 300, 1, 3))
    for n, fields in enumerate(written):
        for name, text in fields.items():
            image.SetMetaData(f"Segment{n}_{name}", text)
    sitk.WriteImage(image, path)
    assert [segment.value for segment in read_segments(path)] == [1, 301, 300, 302, 303]
    np.testing.assert_array_equal(np.unique(read_labels(path).array), [0, 1, 300, 301, 303])


def test_segments_that_are_right_are_read(tmp_path):
    segments = (
        # Renamed by the module, which leaves the ID, and a code that a person chose for what it was before.
        {"Name": "my L5", "ID": "SpineContextSeg_23", "LabelValue": "24",
         "Tags": f"SpineContextSeg.Value:24|TerminologyEntry:{L4}|"},
        {"Name": "new", "ID": "SpineContextSeg_20_1", "LabelValue": "22", "Tags": "SpineContextSeg.Value:22|"},
        # Codes of discs, T13 and L6 are those of several structures.
        {"Name": "L6 as one found", "LabelValue": "25",
         "Tags": f"TerminologyEntry:{structure(28).terminology_entry}|"},
        {"Name": "disc", "LabelValue": "123", "Tags": f"TerminologyEntry:{structure(101).terminology_entry}|"},
        # A person's own copy of one of ours, as the module exports it.
        {"Name": "Sacrum", "ID": "copy", "LabelValue": "300",
         "Tags": f"SpineContextSeg.Value:26|TerminologyEntry:{SACRUM}|"},
        {"Name": "Metastasis", "ID": "Segment_1", "LabelValue": "301", "Tags": "no text|:|"},
    )  # fmt: skip
    write_segments(tmp_path / "spine.seg.nrrd", *segments)
    found = set(np.unique(read_labels(tmp_path / "spine.seg.nrrd").array))
    assert found == {0, 22, 24, 25, 123, 300, 301}


def test_notes_on_the_place_of_labels_are_handed_on(tmp_path):
    labels = nibabel.Nifti1Image(np.ones((8, 9, 10), np.uint8), None)
    labels.header["pixdim"][1:4] = 2.0
    nibabel.save(labels, tmp_path / "labels.nii")
    read, notes = read_labels_with_notes(tmp_path / "labels.nii")
    assert "does not state how the patient lies" in " ".join(notes)
    np.testing.assert_array_equal(read.array, read_labels(tmp_path / "labels.nii").array)
