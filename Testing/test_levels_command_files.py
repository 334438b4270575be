"""Files that `spinecontextseg levels` writes: what a person gave them stays, and none is ever half."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import slicerio

from SpineContextSegLib.cli import main
from SpineContextSegLib.labels import SACRUM, Segment, structure
from SpineContextSegLib.reading import read_labels, read_segments
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_segmentation, write_volume
from Testing.level_values import L1, L2, L3, L4, L5
from Testing.levels_use import *  # noqa: F403
from Testing.levels_use import GRID, levels_in, refused, run, stack

# ------------------------------------------------------------------------------------------ what stays


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


def test_an_empty_segment_of_ones_own_is_left_out_and_said(tmp_path, capsys):
    path, output = tmp_path / "spine.seg.nrrd", tmp_path / "corrected.seg.nrrd"
    mine = {value: Segment(value, f"S{value}", f"Find {value}", (0.5, 0.5, 0.5), {}) for value in (300, 301)}
    write_segmentation(stack(L1, L2, 300, 301), path, mine)
    # As if its voxels had been erased.
    path.write_bytes(path.read_bytes().replace(b"LabelValue:=301", b"LabelValue:=302"))
    shown, _ = run(capsys, path, "--shift", 1, "-o", output)
    assert shown[-2] == "Left out, as they hold no voxel: 'Find 301'."
    assert segments_in(output).keys() == {L2, L3, 300, 301}
    assert "Left out" not in "".join(run(capsys, path, "--shift", 1, "-o", tmp_path / "corrected.nrrd")[0])


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
