"""Doubt about levels goes with a `.seg.nrrd`, from who wrote it to who reads it alone, until levels are put right."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import SpineContextSegLib
from SpineContextSegLib.cli import main
from SpineContextSegLib.labels import CANAL, DOUBT_TAG, FINGERPRINT_TAG, SACRUM, VALUE_TAG, Segment, structure
from SpineContextSegLib.reading import read_segments, read_volume
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.level_values import L1, L2, L3
from Testing.levels_use import GRID, run, stack

SAMPLE = Path(SpineContextSegLib.__file__).parent / "sample"
DOUBT = "levels uncertain (70%)"


def doubtful(path):
    write_segmentation(stack(L1, L2, L3, SACRUM, CANAL), path, doubt=DOUBT)
    return path


def doubts(path) -> dict[int, str | None]:
    return {segment.value: segment.tags.get(DOUBT_TAG) for segment in read_segments(path)}


def remarks(labels, folder) -> set[str]:
    """What the table of a scan says of its levels."""
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID.affine), folder / "ct.nii.gz")
    assert main(["measure", str(folder / "ct.nii.gz"), str(labels), "--table", str(folder / "t.csv")]) == 0
    with open(folder / "t.csv", encoding="utf-8", newline="") as file:
        return {row["remark"].partition("; ")[0] for row in csv.DictReader(file)}


def test_vertebrae_say_it_and_nothing_else(tmp_path):
    found = doubts(doubtful(tmp_path / "spine.seg.nrrd"))
    assert found == {L1: DOUBT, L2: DOUBT, L3: DOUBT, SACRUM: None, CANAL: None}
    write_segmentation(stack(L1, L2), tmp_path / "sure.seg.nrrd")
    assert set(doubts(tmp_path / "sure.seg.nrrd").values()) == {None}


def test_levels_and_measure_tell_it(tmp_path, capsys):
    path = doubtful(tmp_path / "spine.seg.nrrd")
    sentence = "Warning: Levels uncertain (70%)."
    assert run(capsys, path)[1].count(sentence) == 1
    assert remarks(path, tmp_path) == {DOUBT}
    assert capsys.readouterr().err.splitlines().count(sentence) == 1


@pytest.mark.parametrize(
    "repair", [("--shift", 1), ("--this", "L3=L4"), ("--merge", "L1", "L2"), ("--swap", "L1", "L2")]
)
def test_who_puts_levels_right_ends_it(repair, tmp_path, capsys):
    path = doubtful(tmp_path / "spine.seg.nrrd")
    assert not any("uncertain" in line for line in run(capsys, path, *repair, "-o", path)[1])
    assert set(doubts(path).values()) == {None}
    assert not any("uncertain" in line for line in run(capsys, path)[1])
    assert DOUBT not in remarks(path, tmp_path)


@pytest.mark.parametrize("put_right", [False, True])
def test_what_the_module_put_right_is_certain(put_right, tmp_path, capsys):
    """It tells by the fingerprint, which goes from what is renamed, while the tag of the doubt stays for undo."""
    path, kept = tmp_path / "spine.seg.nrrd", {} if put_right else {FINGERPRINT_TAG: "of its voxels"}
    described = {
        value: replace(Segment.of(structure(value)), tags={VALUE_TAG: str(value), DOUBT_TAG: DOUBT, **kept})
        for value in (L1, L2, L3)
    }
    write_segmentation(stack(L1, L2, L3), path, described)
    assert any("uncertain" in line for line in run(capsys, path)[1]) != put_right
    assert (DOUBT in remarks(path, tmp_path)) != put_right


def test_from_a_run_to_the_table_until_levels_are_put_right(tmp_path):
    """On a piece of the sample in which there is nothing to count from."""
    volume, _ = read_volume(SAMPLE / "phantom_ct.nii.gz")
    box = np.s_[123:168, :, :]
    scan, alone, table = tmp_path / "in" / "thorax.nii.gz", tmp_path / "thorax.seg.nrrd", tmp_path / "t.csv"
    scan.parent.mkdir()
    write_volume(Volume(volume.array[box], volume.grid.crop(box).affine), scan)
    assert main(["segment", str(scan), "-o", str(alone)]) == 0
    assert main(["batch", str(scan.parent), str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "thorax.seg.nrrd"
    for written in (alone, path):
        found = doubts(written)
        assert len(found) > 3 and all(doubt.startswith("levels uncertain") for doubt in found.values())

    def times_said() -> set[int]:
        assert main(["measure", str(scan.parent), str(path.parent), "--table", str(table)]) == 0
        with open(table, encoding="utf-8-sig", newline="") as file:
            return {row["remark"].count("uncertain") for row in csv.DictReader(file)}

    assert times_said() == {1}
    # Saved by another program, so that the record no longer speaks of this file.
    sitk.WriteImage(sitk.ReadImage(str(path)), str(path))
    assert times_said() == {1}
    assert main(["levels", str(path), "--shift", "1", "-o", str(path)]) == 0
    assert times_said() == {0}
