"""`spinecontextseg levels` as a user types it: what it lists, writes and refuses, and that a file is never half."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio

from SpineContextSegLib.cli import main
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.evaluate import evaluate
from SpineContextSegLib.labels import STRUCTURES, Segment, structure
from SpineContextSegLib.reading import read_labels, read_segments
from SpineContextSegLib.volume import Volume, to_sitk
from SpineContextSegLib.writing import WRITABLE_ENDINGS, write_segmentation, write_volume
from Testing.geometry import GRIDS, SHEARED, centered_grid
from Testing.scans import ct, needs_scans

T11, T12, L1, L2, L3, L4, L5, L6, SACRUM, T13, CANAL = 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 61
GRID = GRIDS["lps"]


def stack(*values, grid=GRID) -> Volume:
    """Slabs of these values from top to bottom, with a voxel of background between them, on a grid whose k goes up."""
    array = np.zeros(grid.shape, np.uint16)
    thickness = grid.shape[0] // len(values)
    for n, value in enumerate(values):
        top = grid.shape[0] - n * thickness
        array[top - thickness + 1 : top, 20:40, 20:40] = value
    return Volume(array, grid.affine)


def run(capsys, *arguments) -> tuple[list[str], list[str]]:
    """Lines on stdout and on stderr of a call that succeeds."""
    assert main(["levels", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def refused(capsys, *arguments) -> str:
    """The one line of a call that is refused."""
    try:
        code = main(["levels", *map(str, arguments)])
    except SystemExit as leaving:
        code = leaving.code
    captured = capsys.readouterr()
    assert code == 2 and captured.out == "", captured
    (line,) = captured.err.splitlines()
    assert line.startswith("spinecontextseg: ")
    return line.removeprefix("spinecontextseg: ")


def levels_in(lines: list[str]) -> list[str]:
    """The first words of a table, without its head."""
    assert lines[0].split() == ["Level", "Value", "Volume", "ml"]
    return [line.split()[0] for line in lines[1:] if line.split()[0] not in ("Written", "Nothing")]


@pytest.fixture
def spine(tmp_path):
    """T12 to L4 with discs (the upper one of a vertebra that isn't seen), sacrum and canal, as .nii.gz."""
    path = tmp_path / "spine.nii.gz"
    write_segmentation(stack(118, T12, 119, L1, 120, L2, 121, L3, L4, SACRUM, CANAL), path)
    return path


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


def test_split_and_merge_undo_each_other(tmp_path, capsys):
    path, parts = tmp_path / "spine.nrrd", tmp_path / "parts.nrrd"
    labels = stack(L1, L2, L2, L3, SACRUM)
    write_segmentation(labels, path)
    k, j, i = np.argwhere(labels.array == L2).mean(0)
    point = [f"{x:.2f}" for x in labels.grid.world([i, j, k])]
    assert any(x.startswith("-") for x in point)
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


def test_other_values_are_left_alone(tmp_path, capsys):
    """Voxels that nobody could assign, the coccyx, discs of unknown level, and segments of one's own."""
    path = tmp_path / "spine.nii.gz"
    write_segmentation(stack(L1, L2, 27, 255, 200, 300, 1000), path)
    run(capsys, path, "--shift", 1, "-o", path)
    np.testing.assert_array_equal(read_labels(path).array, stack(L2, L3, 27, 255, 200, 300, 1000).array)
    line = refused(capsys, path, "--shift", 1, "-o", tmp_path / "spine.seg.nrrd")
    assert "none for 27, 255:" in line and ".nii.gz" in line


def segments_in(path) -> dict[int, dict]:
    return {item["labelValue"]: item for item in slicerio.read_segmentation(str(path))["segments"]}


def test_what_a_person_gave_a_segment_stays(tmp_path, capsys):
    """Of a file as the panel exports it: names, colors, codes and tags of one's own, and segments of one's own."""
    path, ours = tmp_path / "spine.seg.nrrd", {value: Segment.of(structure(value)) for value in (L1, L2, L3, L4)}
    code = "other~SCT^1^a~SCT^2^b~^^~~^^~^^"
    described = ours | {
        L2: replace(ours[L2], name="Fraktur, geprüft", color=(0.25, 0.5, 0.75)),
        L3: Segment(L3, "SpineContextSeg_24", "L3 vertebra", ours[L3].color,
                    {"TerminologyEntry": code, "Segmentation.Status": "completed", "SpineContextSeg.Value": "22",
                     "SpineContextSeg.Voxels": "those of before"}),
        300: Segment(300, "Segment_1", "Metastasis", (0.125, 0.25, 1.0), {"TerminologyEntry": code, "note": "a b"}),
    }  # fmt: skip
    write_segmentation(stack(L1, L2, L3, L4, 300), path, described)
    shown, _ = run(capsys, path, "--shift", 1, "-o", path)
    assert shown[-2] == "Names that were given by hand stay: 'Fraktur, geprüft'."
    found = {segment.value: segment for segment in read_segments(path)}
    assert {value: segment.name for value, segment in found.items()} == {
        L2: "L2 vertebra", L3: "Fraktur, geprüft", L4: "L4 vertebra", L5: "L5 vertebra", 300: "Metastasis",
    }  # fmt: skip
    assert [found[value].segment_id for value in found] == [*(f"SpineContextSeg_{v}" for v in (21, 22, 23, 24)),
                                                            "Segment_1"]  # fmt: skip
    np.testing.assert_allclose(found[L3].color, (0.25, 0.5, 0.75))
    np.testing.assert_allclose(found[L4].color, structure(L4).color, atol=1e-5)
    assert found[L3].tags == Segment.of(structure(L3)).tags
    assert found[L4].tags == {"TerminologyEntry": code, "Segmentation.Status": "completed"}
    assert found[300] == described[300]
    np.testing.assert_array_equal(read_labels(path).array, stack(L2, L3, L4, L5, 300).array)


def test_who_keeps_the_name_where_vertebrae_are_merged_and_split(tmp_path, capsys):
    path, parts = tmp_path / "spine.seg.nrrd", tmp_path / "parts.seg.nrrd"
    mine = {value: replace(Segment.of(structure(value)), name=f"my {value}") for value in (L1, L2, L3)}
    labels = stack(L1, L2, L2, L3)
    write_segmentation(labels, path, mine)
    point = labels.grid.world(np.argwhere(labels.array == L2).mean(0)[::-1])
    run(capsys, path, "--split", "L2", *point, "-o", parts)
    names = {value: item["name"] for value, item in segments_in(parts).items()}
    assert names == {L1: f"my {L1}", L2: f"my {L2}", L3: "L3 vertebra", L4: f"my {L3}"}
    run(capsys, path, "--merge", "L2", "L1", "-o", parts)
    assert {value: item["name"] for value, item in segments_in(parts).items()} == {L2: f"my {L2}", L3: f"my {L3}"}


def test_segments_of_ones_own_get_a_name_in_a_seg_nrrd(tmp_path, capsys):
    path, output = tmp_path / "spine.nii.gz", tmp_path / "spine.seg.nrrd"
    write_segmentation(stack(L1, L2, 300, 1000), path)
    run(capsys, path, "--shift", 1, "-o", output)
    names = {value: item["name"] for value, item in segments_in(output).items()}
    assert names == {L2: "L2 vertebra", L3: "L3 vertebra", 300: "Segment 300", 1000: "Segment 1000"}
    assert levels_in(run(capsys, output)[0]) == ["L2", "L3"]


def test_ids_stay_apart(tmp_path, capsys):
    """After a repair in Slicer the ID of one segment may be that of another's new value."""
    path = tmp_path / "spine.seg.nrrd"
    described = {L4: replace(Segment.of(structure(L4)), segment_id=f"SpineContextSeg_{L3}",
                             tags={"SpineContextSeg.Value": str(L4)})}  # fmt: skip
    write_segmentation(stack(L1, L2, L4), path, described)
    run(capsys, path, "--this", "L2=L3", "-o", path)
    assert {value: item["id"] for value, item in segments_in(path).items()} == {
        value: f"SpineContextSeg_{value}" for value in (L2, L3, L4)
    }


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32, np.float64])
def test_files_of_other_programs(kind, tmp_path, capsys):
    path = tmp_path / "verse_seg.nii.gz"
    write_volume(Volume(stack(L1, L2).array.astype(kind), GRID.affine), path)
    run(capsys, path, "--this", "L2=L5", "-o", path)
    np.testing.assert_array_equal(read_labels(path).array, stack(L4, L5).array)


# ------------------------------------------------------------------------------------------ whole or not at all


@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd"])
def test_the_output_may_be_the_input(ending, tmp_path, capsys):
    path = tmp_path / f"spine{ending}"
    write_segmentation(stack(L1, L2, L3), path)
    run(capsys, path, "--shift", 1, "-o", path)
    run(capsys, path, "--shift", 1, "-o", path)
    np.testing.assert_array_equal(read_labels(path).array, stack(L3, L4, L5).array)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("error, code", [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 1)])
def test_the_input_outlives_a_failure(error, code, spine, capsys, monkeypatch):
    before = spine.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr("os.replace", fail)
    assert main(["levels", str(spine), "--shift", "1", "-o", str(spine)]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert spine.read_bytes() == before and os.listdir(spine.parent) == [spine.name]


FULL_DISK = """
import resource, sys
from SpineContextSegLib.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.exit(main(["levels", sys.argv[1], "--shift", "1", "-o", sys.argv[1]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".seg.nrrd"])
def test_a_full_disk_spares_the_input(ending, tmp_path):
    path = tmp_path / "in" / f"spine{ending}"
    path.parent.mkdir()
    noise = np.random.default_rng(0).choice([0, L1, L2, SACRUM], GRID.shape).astype(np.uint8)
    write_segmentation(Volume(noise, GRID.affine), path)
    before = path.read_bytes()
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 1, done.stderr
    assert "disk" in done.stderr and "Written" not in done.stdout
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


# ------------------------------------------------------------------------------------------------- refusals


def test_wrong_calls_are_answered_with_one_line(spine, tmp_path, capsys):
    before = spine.read_bytes()
    output = tmp_path / "out.nii.gz"
    for arguments, word in {
        ("--this", "L9=L1"): "'L9' is no vertebra",
        ("--this", "L4=Sacrum"): "'Sacrum' is no vertebra",
        ("--this", "27=L1"): "'27' is no vertebra",
        ("--this", "=L1"): "'' is no vertebra",
        ("--this", "L4"): "L4=L5",
        ("--this", "L5=L1"): "L5 is not there: choose one that is (T12, L1, L2, L3, L4)",
        ("--this", "L3=L5"): "some vertebrae below it",
        ("--this", "L4=C1"): "some vertebrae above it",
        ("--this", "L1=T13", "--thoracic", 12): "T13 is no level of a column of 12 thoracic",
        ("--shift", 2): "left for L4",
        ("--shift", -50): "left for T12",
        ("--shift", "one"): "invalid int",
        ("--swap", "L1", "L1"): "two different",
        ("--swap", "L1", "L5"): "L5 is not there",
        ("--swap", "L1", "Sacrum"): "'Sacrum' is no vertebra",
        ("--swap", "L1"): "expected 2",
        ("--merge", "L1", "L1"): "two different",
        ("--merge", "T12", "L4"): "T12 and L4 can't be merged, as L1 to L3 lie between them: choose two neighbors",
        ("--merge", "L3", "L1"): "L3 and L1 can't be merged, as L2 lies between them",
        ("--merge", "Sacrum", "L3"): "as L4 lies between them",
        ("--merge", "L1", "T11"): "T11 is not there",
        ("--merge", "L1", "Sacrum"): "Sacrum can't become part of L1",
        ("--split", "L1", 1, 2): "expected 4",
        ("--split", "L1", 1, 2, "x"): "must be numbers",
        ("--split", "X1", 1, 2, 3): "'X1' is no vertebra",
        ("--split", "L5", 1, 2, 3): "L5 is not there",
        ("--split", "L1", 1, 2, 9999): "doesn't cut L1",
        ("--split", "L1", 1, 2, "nan"): "numbers",
        ("--shift", 1, "--thoracic", 10): "11, 12 or 13 thoracic",
        ("--shift", 1, "--lumbar", 7): "4, 5 or 6 lumbar",
        ("--swap", "L1", "L2", "--lumbar", 6): "--lumbar only go with",
        ("--thoracic", 13): "--lumbar only go with",
        ("--shift", 1, "--swap", "L1", "L2"): "not allowed with",
    }.items():
        assert word in refused(capsys, spine, *arguments), arguments
        assert word in refused(capsys, spine, "-o", output, *arguments) or arguments[0] == "--thoracic"
    assert "say what to put right" in refused(capsys, spine, "-o", output)
    for name, word in {"out.png": ".seg.nrrd", "none/out.nrrd": "create it", ".nii.gz": "without a name"}.items():
        assert word in refused(capsys, spine, "--shift", 1, "-o", tmp_path / name)
    assert os.listdir(tmp_path) == [spine.name] and spine.read_bytes() == before


def test_files_without_levels_are_refused(tmp_path, capsys):
    cases = {
        "unknown": ((1, 1, SACRUM, 200, CANAL), "doesn't tell its vertebrae apart"),
        "one class": ((1,), "doesn't tell its vertebrae apart"),
        "sacrum": ((SACRUM, CANAL), "holds no vertebra"),
        "empty": ((0,), "holds no vertebra"),
        "total": ((27, 29, 30, 31, 32, 33), "holds 29, 30, 31, 32, 33, which VerSe's numbering does not have"),
        "many": (tuple(range(29, 45)), "29, 30, 31, 32, 33, 34, 35, 36, ...,"),
    }
    for name, (values, word) in cases.items():
        path = tmp_path / f"{name}.nii.gz"
        write_volume(stack(*values), path)
        for call in ([], ["--shift", 1, "-o", path]):
            assert word in refused(capsys, path, *call), name
    scan = tmp_path / "scan.nii.gz"
    write_volume(Volume(np.full(GRID.shape, -1000, np.int16), GRID.affine), scan)
    assert "holds -1000" in refused(capsys, scan)
    write_volume(Volume(np.full(GRID.shape, 70000, np.int32), GRID.affine), scan)
    assert "holds 70000" in refused(capsys, scan)
    write_volume(Volume(np.full(GRID.shape, 0.5, np.float32), GRID.affine), scan)
    assert "fractions" in refused(capsys, scan)
    scan.write_bytes(scan.read_bytes()[:500])
    assert scan.name in refused(capsys, scan)
    assert "no file" in refused(capsys, tmp_path)
    assert "does not exist" in refused(capsys, tmp_path / "none.nii.gz")


def test_segments_that_slicer_numbered_anew_are_refused(tmp_path, capsys):
    """Slicer's save dialog after its layers were collapsed: the names are right, the values run from 1 on."""
    path, theirs = tmp_path / "ours.seg.nrrd", tmp_path / "theirs.seg.nrrd"
    write_segmentation(stack(L1, L2, SACRUM), path)
    content = slicerio.read_segmentation(str(path))
    renumbered = np.zeros_like(content["voxels"])
    for number, item in enumerate(content["segments"], start=1):
        renumbered[content["voxels"] == item["labelValue"]] = number
        item["labelValue"] = number
    slicerio.write_segmentation(str(theirs), content | {"voxels": renumbered})
    assert "in VerSe's numbering: export it" in refused(capsys, theirs)
    with pytest.raises(InputRefused, match="in VerSe's numbering: export it"):
        evaluate(theirs, path)


def test_overlapping_segments_are_refused(tmp_path, capsys):
    image = to_sitk(stack(L1, L2))
    sitk.WriteImage(sitk.Compose(image, image), str(tmp_path / "layers.seg.nrrd"))
    assert "overlapping" in refused(capsys, tmp_path / "layers.seg.nrrd")


@pytest.mark.parametrize("name", SHEARED)
def test_a_tilted_gantry_needs_nrrd(name, tmp_path, capsys):
    grid = centered_grid((1, 1, 1), (60, 54, 66), GRIDS[name].directions)
    path = tmp_path / "spine.seg.nrrd"
    write_segmentation(stack(L1, L2, grid=grid), path)
    assert "tilted" in refused(capsys, path, "--shift", 1, "-o", tmp_path / "spine.nii.gz")
    run(capsys, path, "--shift", 1, "-o", path)
    assert read_labels(path).grid.same_as(grid)


def test_help_fits_a_page(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["levels", "--help"])
    shown = capsys.readouterr().out.splitlines()
    assert leaving.value.code == 0 and len(shown) < 60 and max(map(len, shown)) <= 120


@needs_scans
@pytest.mark.parametrize("name", ["chest_scoliosis", "head_neck", "lumbar_crop"])
def test_real_columns_are_in_order_and_come_back(name, tmp_path, capsys):
    source, moved = ct(f"{name}_labels"), tmp_path / "moved.nii.gz"
    levels, said = run(capsys, source)
    assert levels_in(levels) == sorted(levels_in(levels), key=lambda n: ("CTL".index(n[0]), int(n[1:]))) and said == []
    run(capsys, source, "--shift", 1, "-o", moved)
    run(capsys, moved, "--shift", -1, "-o", moved)
    np.testing.assert_array_equal(read_labels(moved).array, read_labels(source).array)
