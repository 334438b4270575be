"""Which files `evaluate` compares: names, trees, folders within each other."""

from pathlib import Path

import pytest

from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.pairing import find_pairs


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_pairs_by_name(tmp_path):
    truth = touch(tmp_path / "truth", "chest.nii.gz", "chest_labels.nii.gz", "neck_labels.nii.gz")
    mine = touch(tmp_path / "mine", "chest.seg.nrrd", "sub/neck_ct.nii.gz")
    pairs, notes, _ = find_pairs(mine, truth)
    assert [(pair.prediction.name, pair.reference.name) for pair in pairs] == [
        ("chest.seg.nrrd", "chest_labels.nii.gz"),
        ("neck_ct.nii.gz", "neck_labels.nii.gz"),
    ]
    assert notes == []


def test_a_folder_without_labels_matches_nothing(tmp_path):
    touch(tmp_path / "mine", "a.nii.gz")
    touch(tmp_path / "truth", "readme.txt")
    with pytest.raises(InputRefused, match="matches"):
        find_pairs(tmp_path / "mine", tmp_path / "truth")


def test_pairs_by_subject(tmp_path):
    truth = touch(
        tmp_path / "truth",
        "sub-verse401_split-verse253_seg-vert_msk.nii.gz",
        "sub-verse401_split-verse260_seg-vert_msk.nii.gz",
        "sub-verse40_dir-sag_seg-vert_msk.nii.gz",
    )
    mine = touch(
        tmp_path / "mine",
        "sub-verse40.nii.gz",
        "sub-verse401_split-verse253.nii.gz",
        "sub-verse401_split-verse260_ct.nrrd",
    )
    pairs, notes, _ = find_pairs(mine, truth)
    assert {pair.reference.name[:27]: pair.prediction.name for pair in pairs} == {
        "sub-verse401_split-verse253": "sub-verse401_split-verse253.nii.gz",
        "sub-verse401_split-verse260": "sub-verse401_split-verse260_ct.nrrd",
        "sub-verse40_dir-sag_seg-ver": "sub-verse40.nii.gz",
    }
    assert notes == []


def test_pairs_in_trees_whose_files_bear_the_same_name(tmp_path):
    """As `batch` writes them: a folder for each patient."""
    truth = touch(tmp_path / "truth", *(f"p{n}/ct_seg.nii.gz" for n in (1, 2, 3)), "other/neck_seg.nii.gz")
    mine = touch(tmp_path / "mine", *(f"p{n}/ct.seg.nrrd" for n in (1, 2, 4)), "neck.seg.nrrd")
    pairs, notes, _ = find_pairs(mine, truth)
    assert [(pair.name, pair.prediction.relative_to(mine).as_posix()) for pair in pairs] == [
        ("other/neck_seg", "neck.seg.nrrd"), ("p1/ct_seg", "p1/ct.seg.nrrd"), ("p2/ct_seg", "p2/ct.seg.nrrd"),
    ]  # fmt: skip
    assert [note.split("'")[1] for note in notes] == [str(Path("p3/ct_seg.nii.gz")), str(Path("p4/ct.seg.nrrd"))]


def test_what_is_unclear_in_a_tree_is_told_with_its_folder(tmp_path):
    truth = touch(tmp_path / "truth", "a/ct_seg.nii.gz", "b/ct_seg.nii.gz")
    with pytest.raises(InputRefused) as refused:
        find_pairs(touch(tmp_path / "mine", "ct.seg.nrrd"), truth)
    assert all(f"'{Path(folder) / 'ct_seg.nii.gz'}'" in str(refused.value) for folder in "ab")
    with pytest.raises(InputRefused, match="all match the reference 'a.ct_seg.nii.gz'"):
        find_pairs(touch(tmp_path / "twice", "a/ct.seg.nrrd", "a/ct.nii.gz"), truth)


def test_unclear_pairs_are_refused(tmp_path):
    truth = touch(tmp_path / "truth", "sub-1_run-1_msk.nii.gz", "sub-1_run-2_msk.nii.gz")
    with pytest.raises(InputRefused, match="matches the references"):
        find_pairs(touch(tmp_path / "one", "sub-1.nii.gz"), truth)
    with pytest.raises(InputRefused, match="all match the reference"):
        find_pairs(touch(tmp_path / "twice", "sub-1_run-1.nii.gz", "sub-1_run-1.nrrd"), truth)
    with pytest.raises(InputRefused, match="No file in"):
        find_pairs(touch(tmp_path / "other", "sub-2_run-1.nii.gz"), truth)
    with pytest.raises(InputRefused, match="a file and a folder"):
        find_pairs(tmp_path / "one" / "sub-1.nii.gz", truth)
    with pytest.raises(InputRefused, match="does not exist"):
        find_pairs(tmp_path / "nowhere", truth)


def named(pairs, root) -> list[tuple[str, str]]:
    return [tuple(p.relative_to(root).as_posix() for p in (pair.prediction, pair.reference)) for pair in pairs]


def test_what_is_unclear_does_not_cost_the_others(tmp_path):
    truth = touch(tmp_path / "truth", *(f"{name}.nii.gz" for name in ("a", "b", "sub-1_x", "sub-1_y")))
    mine = touch(tmp_path / "mine", "a.seg.nrrd", "b.seg.nrrd", "b.nrrd", "sub-1.nrrd")
    pairs, notes, unclear = find_pairs(mine, truth)
    assert named(pairs, tmp_path) == [("mine/a.seg.nrrd", "truth/a.nii.gz")] and notes == []
    assert [name for name, _ in unclear] == ["b", "sub-1_x", "sub-1_y"]
    assert unclear[0][1].startswith("'b.nrrd' and 'b.seg.nrrd' all match the reference 'b.nii.gz': keep one")
    assert unclear[1][1] == unclear[2][1] and "'sub-1_x.nii.gz' and 'sub-1_y.nii.gz': give it" in unclear[1][1]


@pytest.mark.parametrize(
    ("predictions", "references"), [("", "refs"), ("preds", ""), ("", "refs link"), ("preds", "refs")]
)
def test_files_of_a_folder_within_the_other_are_its_own(tmp_path, predictions, references):
    """As `batch data data/results` leaves them; no reference is compared with itself."""
    data = touch(tmp_path / "data", "preds/case.nii.gz", "preds/new.nii.gz", "refs/case.nii.gz", "refs/case_x.nrrd")
    (data / "refs link").symlink_to(data / "refs", target_is_directory=True)
    pairs, _, unclear = find_pairs(data / predictions, data / references)
    assert [pair.prediction.parent.name for pair in pairs] == ["preds"] and unclear == []
    assert pairs[0].reference.samefile(data / "refs" / "case.nii.gz")


def test_a_file_is_not_compared_with_itself(tmp_path):
    truth = touch(tmp_path / "truth", "a.nii.gz", "b.nii.gz")
    mine = touch(tmp_path / "mine", "b.nii.gz", "c.nii.gz")
    (mine / "a.nii.gz").hardlink_to(truth / "a.nii.gz")
    pairs, notes, _ = find_pairs(mine, truth)
    assert named(pairs, tmp_path) == [("mine/b.nii.gz", "truth/b.nii.gz")]
    assert "no prediction: 'a.nii.gz'" in notes[0]
    with pytest.raises(InputRefused, match="are one file"):
        find_pairs(mine / "a.nii.gz", truth / "a.nii.gz")
    (tmp_path / "link").symlink_to(truth, target_is_directory=True)
    with pytest.raises(InputRefused, match="hold the same files"):
        find_pairs(tmp_path / "link", truth)


def test_a_reference_named_as_labels_says_nothing_of_other_cases(tmp_path):
    truth = touch(tmp_path / "truth", "p1/ct.nii.gz", "p2/ct_seg.nii.gz", "p2/ct.nii.gz", "p3/abdomen.nii.gz")
    mine = touch(tmp_path / "mine", "p1/ct.seg.nrrd", "p2/ct.seg.nrrd", "p3/abdomen.seg.nrrd")
    pairs, notes, unclear = find_pairs(mine, truth)
    assert [pair.reference.relative_to(truth).as_posix() for pair in pairs] == [
        "p1/ct.nii.gz", "p2/ct_seg.nii.gz", "p3/abdomen.nii.gz"
    ]  # fmt: skip
    assert notes == [] and unclear == []


@pytest.mark.parametrize(
    ("scan", "labels", "prediction"),
    [
        ("images/a.nii.gz", "labels/a_seg.nii.gz", "a.nii.gz"),
        ("rawdata/verse4/verse4_ct.nii.gz", "derivatives/verse4/verse4_seg-vert_msk.nii.gz", "verse4.seg.nrrd"),
        # In BIDS the name is of one scan, whatever its folder.
        ("rawdata/sub-1/sub-1_ct.nii", "derivatives/sub-1/sub-1_seg-vert_msk.nii", "rawdata/sub-1/sub-1_ct.nrrd"),
    ],
)
def test_scans_that_lie_apart_from_their_labels_are_no_references(tmp_path, scan, labels, prediction):
    pairs, notes, unclear = find_pairs(
        touch(tmp_path / "mine", prediction), touch(tmp_path / "truth", scan, labels)
    )
    assert named(pairs, tmp_path) == [(f"mine/{prediction}", f"truth/{labels}")] and notes == unclear == []


def test_a_scan_in_two_formats_on_both_sides_is_unclear(tmp_path):
    names = ("p1.seg.nrrd", "p1.nii.gz", "p2.nii.gz")
    mine, truth = touch(tmp_path / "mine", *names), touch(tmp_path / "truth", *names)
    pairs, notes, unclear = find_pairs(mine, truth)
    assert [pair.name for pair in pairs] == ["p2"] and notes == []
    assert [name for name, _ in unclear] == ["p1", "p1"] and "keep one prediction for each scan" in unclear[0][1]
    (mine / "p1.nii.gz").unlink()
    _, _, unclear = find_pairs(mine, truth)
    assert "matches the references 'p1.nii.gz' and 'p1.seg.nrrd': keep one reference for each scan" in unclear[0][1]


def test_the_name_of_a_case_is_no_matter_of_what_else_is_there(tmp_path):
    truth, mine = touch(tmp_path / "truth", "p3/abdomen.nii.gz"), touch(tmp_path / "mine", "p3/abdomen.seg.nrrd")
    assert [pair.name for pair in find_pairs(mine, truth)[0]] == ["p3/abdomen"]
    touch(truth, "p4/abdomen.nii.gz"), touch(mine, "p4/abdomen.seg.nrrd")
    assert [pair.name for pair in find_pairs(mine, truth)[0]] == ["p3/abdomen", "p4/abdomen"]


def test_scans_that_nobody_labelled_are_no_references(tmp_path):
    """Where one has its labels beside it, all do that have any; a `.seg.nrrd` is one itself."""
    truth = touch(tmp_path / "truth", *(f"{name}.nii.gz" for name in ("p1", "p1_seg", "p2")), "p3.seg.nrrd")
    mine = touch(tmp_path / "mine", "p1.nii.gz", "p2.nii.gz", "p3.nii.gz")
    pairs, notes, unclear = find_pairs(mine, truth)
    assert [pair.reference.name for pair in pairs] == ["p1_seg.nii.gz", "p3.seg.nrrd"] and unclear == []
    assert notes == ["Not counted, since it has no reference: 'p2.nii.gz'."]
