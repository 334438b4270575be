"""`spinecontextseg levels` as a user types it: what it lists, and how it puts levels right."""

import os

import numpy as np
import pytest
import slicerio

from SpineContextSegLib.labels import SACRUM, STRUCTURES, structure
from SpineContextSegLib.reading import read_labels
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import WRITABLE_ENDINGS, write_segmentation
from Testing.geometry import GRIDS
from Testing.level_values import L1, L2, L3, L4, L5, L6, T11, T12, T13
from Testing.levels_use import *  # noqa: F403
from Testing.levels_use import levels_in, refused, run, stack
from Testing.scans import ct, needs_scans

# ---------------------------------------------------------------------------------------------------- listing


def test_levels_are_listed_from_top_to_bottom(spine, capsys):
    shown, said = run(capsys, spine)
    assert levels_in(shown) == ["T12", "L1", "L2", "L3", "L4", "Sacrum"]
    counts = np.bincount(read_labels(spine).array.ravel())
    assert shown[1].split() == ["T12", "vertebra", "19", f"{counts[T12] / 1000:.1f}"]
    assert said == ["Warning: L5 is missing between L4 and Sacrum."]


@pytest.mark.parametrize("name", ["upside_down", "sagittal_thick", "oblique", "sheared"])
def test_the_order_is_that_of_the_body_not_of_the_file(name, tmp_path, capsys):
    grid = GRIDS[name]
    height = grid.world(np.moveaxis(np.indices(grid.shape[::-1]), 0, -1))[..., 2].T
    array = np.select([height > 215, height > 195, height > 180], [T12, T13, L1], SACRUM).astype(np.uint8)
    write_segmentation(Volume(array, grid.affine), tmp_path / "spine.seg.nrrd")
    shown, said = run(capsys, tmp_path / "spine.seg.nrrd")
    assert levels_in(shown) == ["T12", "T13", "L1", "Sacrum"]
    assert said == ["Warning: L2 to L5 are missing between L1 and Sacrum."]


@pytest.mark.parametrize(
    "values, sentences",
    [
        ((L1, L2, L3), []),
        ((L3,), []),
        ((T12, T13, L1), []),
        ((T12, L1), []),
        ((L5, SACRUM), []),
        ((L5, L6, SACRUM), []),
        ((L4, L5, L6, SACRUM), []),
        ((7, L1), ["T1 to T12 are missing between C7 and L1."]),
        ((L2, L1, L3), ["L2 lies above L1: the levels are out of order."]),
        ((T11, L1, 101, 255), ["T12 is missing between T11 and L1."]),
    ],
)
def test_what_is_odd_is_said(values, sentences, tmp_path, capsys):
    write_segmentation(stack(*values), tmp_path / "spine.nii.gz")
    _, said = run(capsys, tmp_path / "spine.nii.gz")
    assert said == [f"Warning: {sentence}" for sentence in sentences]


# ----------------------------------------------------------------------------------------------------- repair


@pytest.mark.parametrize(
    "values, call, sentence",
    [
        ((T11, L1, L2), ["--this", "L2=L2"], "T12 was missing between T11 and L1"),
        ((9, T11, T12), ["--this", "T12=T12"], "T3 to T10 were missing between T2 and T11"),
        ((T11, L1, L2), ["--this", "L2=L2", "--thoracic", 11], None),
        ((T11, L1, L2), ["--this", "L1=L2", "--thoracic", 11], None),
        ((T11, L1, L2), ["--shift", 1], None),
        ((T12, L1, L2), ["--this", "L1=T13"], None),
    ],
)
def test_a_gap_that_is_closed_is_told(values, call, sentence, tmp_path, capsys):
    write_segmentation(stack(*values), tmp_path / "spine.nii.gz")
    _, said = run(capsys, tmp_path / "spine.nii.gz", *call)
    closed = [line for line in said if "closed" in line]
    assert len(closed) == bool(sentence) and all(line.startswith(f"Warning: {sentence}") for line in closed)


@pytest.mark.parametrize(
    "call, expected",
    [
        (["--this", "L4=L5"], {118: 119, T12: L1, L1: L2, L2: L3, L3: L4, L4: L5, 119: 120, 120: 121, 121: 122}),
        (["--this", "23=24"], {118: 119, T12: L1, L1: L2, L2: L3, L3: L4, L4: L5, 119: 120, 120: 121, 121: 122}),
        (["--this", "l4 VERTEBRA= L5 vertebra"],
         {118: 119, T12: L1, L1: L2, L2: L3, L3: L4, L4: L5, 119: 120, 120: 121, 121: 122}),
        (["--shift", 1], {118: 119, T12: L1, L1: L2, L2: L3, L3: L4, L4: L5, 119: 120, 120: 121, 121: 122}),
        (["--shift", -1], {118: 117, T12: T11, L1: T12, L2: L1, L3: L2, L4: L3, 119: 118, 120: 119, 121: 120}),
        (["--shift", 0], {}),
        (["--this", "L1=T13"], {L1: T13, 120: 128, L2: L1, 121: 120, L3: L2, L4: L3}),
        (["--this", "L4=L6"], {118: 120, T12: L2, 119: 121, L1: L3, 120: 122, L2: L4, 121: 123, L3: L5, L4: L6}),
        (["--this", "L1=L1", "--thoracic", 11], {118: 117, T12: T11, 119: 118}),
        (["--this", "T12=T12", "--lumbar", 4], {}),
        (["--swap", "T12", "L4"], {T12: L4, L4: T12, 119: 123}),
        (["--merge", "L1", "L2"], {L2: L1, 121: 120}),
        (["--merge", "L2", "L1"], {L1: L2, 120: 121}),
        (["--merge", "Sacrum", "L4"], {L4: SACRUM}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd"])
def test_files_are_put_right(call, expected, ending, spine, tmp_path, capsys):
    source, output = tmp_path / f"source{ending}", tmp_path / f"output{ending}"
    write_segmentation(read_labels(spine), source)
    before = source.read_bytes()
    shown, _ = run(capsys, source, *call, "--output", output)
    assert shown[-1] == f"Written to {output}"
    old, new = read_labels(source), read_labels(output)
    assert new.grid.same_as(old.grid) and new.array.dtype == old.array.dtype
    truth = old.array.copy()
    for value, other in expected.items():
        truth[old.array == value] = other
    np.testing.assert_array_equal(new.array, truth)
    assert source.read_bytes() == before
    if ending == ".seg.nrrd":
        described(output)


def described(path):
    """Names, colors and codes are those of the values, and no segment is without voxels."""
    content = slicerio.read_segmentation(str(path))
    present = set(np.unique(content["voxels"]).tolist()) - {0}
    assert [item["labelValue"] for item in content["segments"]] == [v for v in STRUCTURES if v in present]
    for item in content["segments"]:
        expected = structure(item["labelValue"])
        assert item["name"] == expected.name
        assert item["terminology"]["type"] == ["SCT", expected.snomed_code, expected.snomed_meaning]
        np.testing.assert_allclose(item["color"], expected.color, atol=1e-5)


@pytest.mark.parametrize("ending", WRITABLE_ENDINGS)
def test_one_format_becomes_another(ending, spine, tmp_path, capsys):
    output = tmp_path / f"Größe 脊椎{ending}"
    run(capsys, spine, "--shift", 1, "-o", output)
    assert levels_in(run(capsys, output)[0]) == ["L1", "L2", "L3", "L4", "L5", "Sacrum"]


@pytest.mark.parametrize(
    ("column", "operation"),
    [
        ((L4, L5, L6, SACRUM), ("--merge", "L5", "L6")),
        ((L4, L5, L6, SACRUM), ("--merge", "Sacrum", "L6")),
        ((L4, L5, L6, SACRUM), ("--shift", "-1")),
        ((T12, T13, L1), ("--merge", "T12", "T13")),
        ((T12, T13, L1), ("--merge", "L1", "T13")),
    ],
)
def test_a_level_that_was_merged_away_is_not_missed(column, operation, tmp_path, capsys):
    path = tmp_path / "spine.nrrd"
    write_segmentation(stack(*column), path)
    _, said = run(capsys, path, *operation, "-o", tmp_path / "after.nrrd")
    assert not said


def test_split_and_merge_undo_each_other(tmp_path, capsys):
    path, parts = tmp_path / "spine.nrrd", tmp_path / "parts.nrrd"
    labels = stack(L1, L2, L2, L3, SACRUM)
    write_segmentation(labels, path)
    k, j, i = np.argwhere(labels.array == L2).mean(0)
    point = [f"{x:.2f}" for x in labels.grid.world([i, j, k])]
    assert any(x.startswith("-") for x in point)
    point[0] = f"{float(point[0]):.8e}"  # as programs write numbers
    shown, _ = run(capsys, path, "--split", "L2", *point, "-o", parts)
    assert [line.split(maxsplit=4)[4:] for line in shown[1:-1]] == [[], [], ["was L2"], ["was L3"], []]
    np.testing.assert_array_equal(read_labels(parts).array, stack(L1, L2, L3, L4, SACRUM).array)
    shown, said = run(capsys, parts, "--merge", "L2", "L3", "-o", parts)
    assert [line.split(maxsplit=4)[4:] for line in shown[1:-1]] == [[], ["now with L3"], [], []]
    assert said[0] == "Warning: L3 is missing between L2 and L4."
    run(capsys, parts, "--this", "L4=L3", "-o", parts)
    np.testing.assert_array_equal(read_labels(parts).array, labels.array)


def test_a_column_named_from_the_sacrum_is_split_upward(tmp_path, capsys):
    path = tmp_path / "spine.seg.nrrd"
    write_segmentation(stack(T12, L1, L2, L3, L4, L5, SACRUM), path)
    labels = read_labels(path)
    run(capsys, path, "--merge", "L2", "L3", "-o", path)
    run(capsys, path, "--this", "L4=L4", "-o", path)
    # One plane above the lower of the two slabs.
    k, j, i = np.argwhere(labels.array == L3).mean(0)
    k = np.argwhere(labels.array == L3)[:, 0].max() + 1
    point = [f"{x:.2f}" for x in labels.grid.world([i, j, k])]
    shown, said = run(capsys, path, "--split", "L3", *point, "-o", path)
    assert levels_in(shown) == ["T12", "L1", "L2", "L3", "L4", "L5", "Sacrum"] and not said
    np.testing.assert_array_equal(read_labels(path).array, labels.array)


def test_whoever_denies_a_t13_gets_a_column_without(tmp_path, capsys):
    path = tmp_path / "spine.nii.gz"
    write_segmentation(stack(T12, T13, L1, L2), path)
    assert levels_in(run(capsys, path, "--this", "T13=L1")[0]) == ["T12", "L1", "L2", "L3"]
    assert levels_in(run(capsys, path, "--this", "T13=T12")[0]) == ["T11", "T12", "L1", "L2"]
    assert levels_in(run(capsys, path, "--this", "L1=L2")[0]) == ["T13", "L1", "L2", "L3"]
    assert levels_in(run(capsys, path, "--shift", -1)[0]) == ["T11", "T12", "T13", "L1"]
    assert "T13 is no level" in refused(capsys, path, "--shift", -1, "--thoracic", 12)


def test_without_output_nothing_is_written(spine, capsys):
    before = spine.read_bytes()
    shown, said = run(capsys, spine, "--shift", 1)
    assert shown[1].endswith("was T12") and "--output" in shown[-1]
    assert said == []
    assert spine.read_bytes() == before and os.listdir(spine.parent) == [spine.name]


@needs_scans
@pytest.mark.parametrize("name", ["chest_scoliosis", "head_neck", "lumbar_crop"])
def test_real_columns_are_in_order_and_come_back(name, tmp_path, capsys):
    source, moved = ct(f"{name}_labels"), tmp_path / "moved.nii.gz"
    levels, said = run(capsys, source)
    assert levels_in(levels) == sorted(levels_in(levels), key=lambda n: ("CTL".index(n[0]), int(n[1:]))) and said == []
    run(capsys, source, "--shift", 1, "-o", moved)
    run(capsys, moved, "--shift", -1, "-o", moved)
    np.testing.assert_array_equal(read_labels(moved).array, read_labels(source).array)
