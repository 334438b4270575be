"""Labels in TotalSegmentator's numbering: recognized, named, and made into VerSe's."""

import csv

import numpy as np
import pytest

from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.numbering import CONVERT, check_in_verse, voxels_in_verse
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume, count_labels
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.level_values import L1, L2, L3, T12
from Testing.levels_use import GRID, levels_in, refused, run, stack

AORTA, TS_SACRUM, TS_S1, TS_L3, TS_L2, TS_L1, TS_T12 = 52, 25, 26, 29, 30, 31, 32
OPTION = "--numbering", "totalsegmentator"


@pytest.fixture
def total(tmp_path):
    path = tmp_path / "total.nii.gz"
    write_volume(stack(TS_T12, TS_L1, TS_L2, TS_L3, TS_SACRUM, AORTA), path)
    return path


def test_what_could_be_totalsegmentators_is_called_so():
    for values, whose in (({20, 31}, "but TotalSegmentator's: "), ({20, 31, 255}, "VerSe's numbering does not have: ")):
        with pytest.raises(InputRefused) as refusal:
            check_in_verse(values, "it")
        assert str(refusal.value).startswith("it holds ") and whose in str(refusal.value)
    check_in_verse({1, 24, 26, 28, 61, 100 + 24, 200}, "it")
    # What is not scored says nothing of the numbering.
    with pytest.raises(InputRefused, match="but TotalSegmentator's"):
        voxels_in_verse(np.array([[[31, 255]]]), "verse", "it")


@pytest.mark.parametrize("call", [("levels",), ("measure", "scan.nii.gz"), ("evaluate", "mine.nii.gz")])
def test_the_message_says_what_to_do(total, tmp_path, monkeypatch, capsys, call):
    monkeypatch.chdir(tmp_path)
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID.affine), tmp_path / "scan.nii.gz")
    write_segmentation(stack(T12, L1), tmp_path / "mine.nii.gz")
    assert main([*call, total.name]) == 2
    assert capsys.readouterr().err == (
        "spinecontextseg: 'total.nii.gz' holds 29, 30, 31, 32, 52, which VerSe's numbering does not have, but "
        f"TotalSegmentator's: {CONVERT}\n"
    )


def test_levels_makes_it_verses(total, tmp_path, capsys):
    shown, _ = run(capsys, total, *OPTION)
    assert levels_in(shown) == ["T12", "L1", "L2", "L3", "Sacrum"]
    verse = stack(T12, L1, L2, L3, 26, 0)
    for name in ("spine.nii.gz", "spine.seg.nrrd", total.name):
        shown, _ = run(capsys, total, *OPTION, "-o", tmp_path / name)
        assert shown[-1] == f"Written to {tmp_path / name}"
        written = read_labels(tmp_path / name)
        assert np.array_equal(written.array, verse.array) and written.grid.same_as(verse.grid)
    # Read as the other one again, it holds S1 alone.
    assert "holds no vertebra" in refused(capsys, total, *OPTION)


def test_levels_are_put_right_on_the_way(total, tmp_path, capsys):
    run(capsys, total, *OPTION, "--this", "L1=L2", "-o", tmp_path / "spine.nii.gz")
    assert set(count_labels(read_labels(tmp_path / "spine.nii.gz").array)) - {0} == {L1, L2, L3, 23, 26}


def test_s1_alone_is_no_sacrum_to_score_or_learn(tmp_path, capsys):
    path, output = tmp_path / "total.nii.gz", tmp_path / "spine.nii.gz"
    write_volume(stack(TS_L2, TS_L3, TS_S1), path)
    _, warned = run(capsys, path, *OPTION, "-o", output)
    assert any("the sacrum is not scored (255)" in line for line in warned)
    assert set(count_labels(read_labels(output).array)) - {0} == {L2, L3, 255}


@pytest.mark.parametrize("many", [False, True])
def test_measure_reads_it(total, tmp_path, capsys, many):
    scans, results, table = tmp_path / "scans", tmp_path / "results", tmp_path / "t.csv"
    scans.mkdir(), results.mkdir()
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID.affine), scans / "total.nii.gz")
    total.rename(results / "total.nii.gz")
    pair = (scans, results) if many else (scans / "total.nii.gz", results / "total.nii.gz")
    assert main(["measure", *map(str, pair), *OPTION, "--table", str(table)]) == 0
    with open(table, encoding="utf-8-sig", newline="") as file:
        assert [row["level"] for row in csv.DictReader(file)] == ["T12", "L1", "L2", "L3"]
