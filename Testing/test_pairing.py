"""Which files `evaluate` compares: names, trees, folders within each other, formats of one result."""

from pathlib import Path

import pytest

from SpineContextSegLib.checksums import file_digest
from SpineContextSegLib.cohort.records import make_record, write_record
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
        ("neck_seg", "neck.seg.nrrd"), ("p1/ct_seg", "p1/ct.seg.nrrd"), ("p2/ct_seg", "p2/ct.seg.nrrd"),
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


@pytest.fixture
def results(tmp_path) -> Path:
    """A scan, and results of it in two formats in the same folder, of which the record knows the newer one."""
    folder = touch(tmp_path / "data", "case.nii.gz", "case.nrrd", "case.seg.nrrd")
    for number, path in enumerate(sorted(folder.iterdir())):
        path.write_bytes(bytes([number]))
    scan, newer, earlier = (folder / f"case.{ending}" for ending in ("nii.gz", "nrrd", "seg.nrrd"))
    written = map(file_digest, (newer, earlier))
    record = make_record(scan.name, "", "done", written=written, source=str(scan), files=[str(newer)])
    write_record(record, folder / "case.json", folder)
    return folder


def test_of_several_formats_the_record_tells_the_result(results, tmp_path):
    truth = touch(tmp_path / "truth", "case_labels.mha")
    pairs, notes, unclear = find_pairs(results, truth)
    assert named(pairs, tmp_path) == [("data/case.nrrd", "truth/case_labels.mha")] and unclear == []
    assert notes == [
        f"Not counted, since by the batch's records it is the scan or an earlier result: '{name}'."
        for name in ("case.nii.gz", "case.seg.nrrd")
    ]


def test_a_corrected_result_of_an_earlier_run_is_one_of_several(results, tmp_path):
    (results / "case.seg.nrrd").write_bytes(b"corrected")
    with pytest.raises(InputRefused, match="'case.nrrd' and 'case.seg.nrrd' all match"):
        find_pairs(results, touch(tmp_path / "truth", "case_labels.mha"))
