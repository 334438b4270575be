"""The bench: what it measures, that the plain way is the same segmentation, what becomes of failures, how it is shown.

No test asserts a speed: that would say more about the computer.
"""

import json
import os
import signal
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from Benchmarks import bodies, plain_way
from Benchmarks.bench import Bench, spine_dice
from Benchmarks.journal import Journal, fingerprint
from Benchmarks.measured import OUT_OF_MEMORY, Measurement, measure
from Benchmarks.plot import plot
from Benchmarks.processor import machine
from Benchmarks.results import GrowthPoint, Results, Runs, ScanResult, targets
from Benchmarks.scans import Scan, real_scan
from Benchmarks.table import table
from Benchmarks.variants import DEFAULT, FULL, PLAIN, VARIANTS, Variant
from SpineContextSegLib import memory
from SpineContextSegLib.cohort import here
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.labels import SACRUM
from SpineContextSegLib.model import load_model
from SpineContextSegLib.pipeline import segment
from SpineContextSegLib.runtime import choose_runtime
from SpineContextSegLib.stopwatch import Stopwatch
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


# What is measured --------------------------------------------------------------------------------------------------


def test_time_and_memory_of_a_child():
    ended = measure(python("import time; held = b'x' * 300_000_000; time.sleep(0.3)"))
    assert ended.fault is None
    assert 300 < ended.peak_mb < 400
    assert 0.3 < ended.seconds < 20


def test_memory_of_the_bench_itself_is_not_the_childs():
    held = b"x" * 400_000_000
    assert measure(python("pass")).peak_mb < 100
    del held


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import sys; print('first', file=sys.stderr); sys.exit('second')", "second"),
        ("raise SystemExit(3)", "exit code 3"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", OUT_OF_MEMORY),
        ("import sys; sys.exit('spinecontextseg: There is not enough memory for this scan: ...')", OUT_OF_MEMORY),
    ],
)
def test_a_child_that_fails(code, fault):
    assert measure(python(code)).fault == fault


def test_a_program_that_is_not_there():
    assert "No such file" in measure(["/nowhere/program"]).fault


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is free")
def test_a_child_can_take_no_more_memory_than_is_free():
    code = "import resource, sys; sys.exit(resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY)"
    assert measure(python(code)).fault is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups")
def test_a_child_can_take_no_more_memory_than_its_container_leaves(monkeypatch):
    monkeypatch.setattr(memory, "memory_left_bytes", lambda: 700_000_000)
    code = "import resource, sys; sys.exit(resource.getrlimit(resource.RLIMIT_DATA)[0] > 700_000_000)"
    assert measure(python(code)).fault is None


def test_cores_are_those_of_the_container(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr(here, "core_limit", lambda: 3)
    assert machine()["cores"] == 3


def test_the_machine_in_words():
    facts = machine()
    assert facts["processor"] and facts["cores"] >= 1 and facts["memory_gb"] > 0
    assert {"torch", "monai", "openvino", "numpy"} <= set(facts["versions"])


# What is compared --------------------------------------------------------------------------------------------------


@pytest.fixture
def one_thread():
    """On a busy computer torch's threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_plain_way_is_the_same_segmentation_as_the_full_sweep(sample_scan, tiny_model, one_thread):
    model = load_model(tiny_model)
    plain = plain_way.segment(sample_scan.volume, model, plain_way.load_network(model), Stopwatch(), model.card.overlap)
    swept = segment(sample_scan.volume, model, choose_runtime(model, "openvino", threads=1)).labels
    assert plain.array.any()
    assert np.count_nonzero(plain.array != swept.array) <= 1e-3 * np.count_nonzero(swept.array)
    assert np.array_equal(plain.affine, swept.affine)


def test_the_plain_network_keeps_its_batch_norms(tiny_model):
    names = plain_way.load_network(load_model(tiny_model)).state_dict()
    assert any("running_mean" in name for name in names)


@pytest.fixture
def bench(tmp_path, tiny_model):
    def make(rounds: int) -> Bench:
        return Bench(str(tiny_model), rounds, tmp_path, Journal(tmp_path / "journal.jsonl", "program"))

    return make


@pytest.fixture
def truth(sample_scan, tmp_path):
    path = tmp_path / "truth.nrrd"
    write_volume(Volume(sample_scan.bone.astype(np.uint8), sample_scan.volume.affine), path)
    return path


def test_variants_take_turns_and_a_failure_is_a_row(bench, sample_scan, truth, capsys):
    code = "import shutil, sys; a = sys.argv; shutil.copy(%r, a[3]); open(a[5], 'w').write('{\"seconds\": {}}')"
    answers = Variant("writes the truth", (sys.executable, "-c", code % str(truth)))
    broken = Variant("broken", (sys.executable, "-c", "raise SystemExit('unrecognized arguments')"))
    scan = Scan("blocks", sample_scan.path, "blocks of bone", truth)
    result = bench(2).compare(scan, 1, {PLAIN: answers, FULL: broken, DEFAULT: answers})
    order = [line.split(",")[1].strip() for line in capsys.readouterr().out.splitlines()]
    assert order == [PLAIN, FULL, DEFAULT, PLAIN, DEFAULT]  # what failed isn't tried again
    assert result.runs[FULL].fault == "unrecognized arguments"
    assert result.dice_to_plain == {PLAIN: 1, DEFAULT: 1} == result.dice_to_truth
    assert "unrecognized arguments" in table(results([result]))


def test_the_commands_themselves(bench, sample_scan, truth):
    scan = Scan("blocks", sample_scan.path, "blocks of bone", truth)
    result = bench(1).compare(scan, 1)
    for key in (PLAIN, FULL, DEFAULT):
        assert result.runs[key].fault is None
        assert result.dice_to_plain[key] > 0.999
        assert result.dice_to_truth[key] > 0.8
        assert {"read", "network", "write"} <= result.runs[key].stages.keys()
        assert result.runs[key].stages["start and end"] > 0


def test_a_failed_plain_way_leaves_no_ratio(bench, sample_scan):
    broken = Variant("broken", (sys.executable, "-c", "raise SystemExit('There is not enough memory')"))
    scan = Scan("blocks", sample_scan.path, "blocks of bone")
    result = bench(1).compare(scan, 1, {PLAIN: broken, DEFAULT: VARIANTS[DEFAULT]})
    assert result.runs[PLAIN].fault == OUT_OF_MEMORY
    assert result.times_faster(DEFAULT) is None
    assert result.dice_to_plain == {} == result.dice_to_truth


def test_an_earlier_output_does_not_stand_for_a_failed_run(bench, sample_scan, tmp_path):
    broken = Variant("broken", (sys.executable, "-c", "raise SystemExit(1)"))
    left = tmp_path / f"{sample_scan.path.name}_{DEFAULT}.seg.nrrd"
    left.write_text("earlier")
    bench(1).compare(Scan("blocks", sample_scan.path, ""), 1, {DEFAULT: broken})
    assert not left.exists()


def test_dice_of_two_results():
    one = Volume(np.array([[[1, 1, SACRUM, 0, 61]]], np.uint8), np.eye(4))
    other = Volume(np.array([[[1, 0, 0, 0, 0]]], np.uint8), np.eye(4))
    assert spine_dice(one, other) == 2 * 1 / 4
    empty = Volume(np.zeros((1, 1, 5), np.uint8), np.eye(4))
    assert spine_dice(empty, empty) == 1
    with pytest.raises(InputRefused, match="different grids"):
        spine_dice(one, Volume(np.zeros((1, 2, 5), np.uint8), np.eye(4)))


def test_a_stopped_bench_goes_on_where_it_was(tmp_path):
    path, run = tmp_path / "journal.jsonl", Measurement(2.0, 3.0, None, {"read": 1.0})
    Journal(path, "program").once("scan, a", lambda: run)
    fails = lambda: pytest.fail("measured again")
    assert Journal(path, "program").once("scan, a", fails) == run
    changed = Measurement(1.0, 3.0)
    assert Journal(path, "changed program").once("scan, a", lambda: changed) == changed
    journal = Journal(path, "changed program")
    journal.close()
    assert not path.exists()


def test_a_changed_program_has_another_fingerprint(tmp_path):
    (tmp_path / "code.py").write_text("a = 1")
    before = fingerprint([tmp_path])
    (tmp_path / "notes.txt").write_text("no program")
    assert fingerprint([tmp_path]) == before
    (tmp_path / "code.py").write_text("a = 2")
    assert fingerprint([tmp_path]) != before


# Scans -------------------------------------------------------------------------------------------------------------


def test_a_scan_of_the_users(tmp_path):
    volume = Volume(np.zeros((4, 5, 6), np.int16), np.diag([1.0, 2.0, 3.0, 1.0]))
    for name in ("liver.nii.gz", "liver_labels.nii.gz", "knee.nrrd"):
        write_volume(volume, tmp_path / name)
    liver = real_scan(tmp_path / "liver.nii.gz", frozenset({"liver"}))
    assert (liver.name, liver.truth, liver.numbering) == ("liver", tmp_path / "liver_labels.nii.gz", "totalsegmentator")
    assert liver.shape_ijk == (6, 5, 4) and liver.spacing_mm == (1, 2, 3)
    assert liver.input_mb == pytest.approx(4 * 5 * 6 * 2 / 1e6)
    knee = real_scan(tmp_path / "knee.nrrd", frozenset({"liver"}))
    assert (knee.name, knee.truth, knee.numbering) == ("knee", None, "verse")


def test_a_scan_of_a_dataset_in_verses_layout(tmp_path):
    for path in ("rawdata/sub-1/sub-1_ct.nii.gz", "derivatives/sub-1/sub-1_seg-vert_msk.nii.gz"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    scan = real_scan(tmp_path / "rawdata/sub-1/sub-1_ct.nii.gz", frozenset())
    assert (scan.name, scan.truth) == ("sub-1_ct", tmp_path / "derivatives/sub-1/sub-1_seg-vert_msk.nii.gz")


@pytest.fixture
def small_body(monkeypatch):
    """In place of the generated one: 160 mm tall from -60 mm up, HU = height, 100 mm of spine from -20 to 80 mm."""
    mm = 4.0
    affine = np.diag([-mm, -mm, mm, 1.0])
    affine[:3, 3] = 80, 60, -60 + mm / 2
    height = (-60 + mm / 2 + mm * np.arange(40))[:, None, None] * np.ones((1, 30, 40))
    labels = np.where((height > -20) & (height < 80), 20, 0).astype(np.uint8)
    labels[(height > -20) & (height < 0)] = SACRUM
    made = Volume(height.astype(np.int16), affine), Volume(labels, affine)
    monkeypatch.setattr(bodies, "make_phantom", lambda *_: made)
    monkeypatch.setattr(bodies, "_FINE_PIXELS", 64)
    return mm


def test_the_growing_series_begins_at_the_top_of_the_spine(small_body, tmp_path):
    body = bodies.growing(tmp_path, small_body, 40)
    image = sitk.ReadImage(str(body.scan.path))
    assert image.GetSize() == (64, 64, 40) and image.GetSpacing() == pytest.approx(bodies._FINE_MM)
    assert body.spine_mm == pytest.approx(40)
    heights = sitk.GetArrayFromImage(image)[:, 32, 32]
    assert abs(int(heights[-1]) - 79) <= 1 and abs(int(heights[0]) - 40) <= 1


def test_where_the_body_ends_the_series_grows_upward(small_body, tmp_path):
    body = bodies.growing(tmp_path, small_body, 150)
    heights = sitk.GetArrayFromImage(sitk.ReadImage(str(body.scan.path)))[:, 32, 32]
    assert body.spine_mm == pytest.approx(100)
    assert heights[0] != -1000 and heights[-1] != -1000


def test_truth_is_cut_like_the_scan(small_body, tmp_path):
    scan = bodies.abdomen(tmp_path, small_body)
    assert np.multiply(scan.shape_ijk, scan.spacing_mm) == pytest.approx([366, 303, 336])
    truth, ct = (sitk.ReadImage(str(path)) for path in (scan.truth, scan.path))
    assert truth.GetOrigin() == ct.GetOrigin() and truth.GetSize() == ct.GetSize()
    heights = sitk.GetArrayFromImage(ct)[sitk.GetArrayFromImage(truth) == SACRUM]
    assert heights.min() >= -22 and heights.max() <= 2
    assert sitk.GetArrayFromImage(ct).min() == -1000  # air beyond the body
    before = scan.path.stat().st_mtime_ns
    bodies.abdomen(tmp_path, small_body)
    assert scan.path.stat().st_mtime_ns == before  # made once


def test_bodies_are_none_that_training_has_seen():
    assert min(bodies.BODY_SEED, *bodies._REGION_SEEDS.values()) >= 9_500_000


# How it is shown ---------------------------------------------------------------------------------------------------


def runs(*seconds: float, peak_mb: float = 900.0, **stages: float) -> Runs:
    return Runs([Measurement(one, peak_mb, None, stages) for one in seconds])


FAILED = Runs([Measurement(5.0, 9000.0, OUT_OF_MEMORY)])
ABDOMEN = ScanResult(
    "abdomen", "generated abdomen", (122, 101, 112), (3.0, 3.0, 3.0), 2.8,
    {PLAIN: runs(300, 330, 310), FULL: runs(20.0), DEFAULT: runs(6, 5, 7, read=2.0, network=2.5, write=0.5)},
    {PLAIN: 1.0, FULL: 0.99, DEFAULT: 0.98}, {PLAIN: 0.86, FULL: 0.86, DEFAULT: 0.85},
)  # fmt: skip
TRUNK = replace(
    ABDOMEN, name="trunk", input_mb=314.6,
    runs={PLAIN: FAILED, FULL: runs(90.0), DEFAULT: runs(25.0, peak_mb=1700, network=20.0)},
)  # fmt: skip
GROWTH = [
    GrowthPoint(slices, slices, threads, slices / 2, runs(slices / 50 / threads, peak_mb=500 + slices))
    for slices in (100, 1000)
    for threads in (1, 2)
]


def results(scans: list[ScanResult], growth: list[GrowthPoint] = GROWTH) -> Results:
    facts = {"processor": "Processor", "flags": ["avx512_vnni"], "cores": 2, "memory_gb": 8.0,
             "system": "Linux x86_64", "load": 0.1, "versions": {"torch": "2"}}  # fmt: skip
    return Results("2026-01-01 12:00", "python -m Benchmarks", "model 1", 2, 3, facts, scans, growth)


def test_the_table_says_what_was_measured():
    text = table(results([ABDOMEN, TRUNK]))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    plain, full, default = (next(line for line in rows if f"| ({key}) |" in line) for key in (PLAIN, FULL, DEFAULT))
    assert "| 310.0 | 300.0, 330.0, 310.0 |" in plain
    assert full.endswith("| 0.9900 | 0.8600 | 15.5 |")
    assert default.endswith("| 2.5 | 0.90 | 0.90 | 0.9800 | 0.8500 | 51.7 |")
    assert any("| (a) | memory |" in line for line in rows)
    assert "Processor (avx512_vnni), 2 cores" in text and "torch 2" in text
    widths = [line.count("|") for line in rows if "(" in line and "generated" in line]
    assert len(set(widths)) == 1


def test_the_table_names_stages_that_take_long():
    assert "over a quarter of the total: read on abdomen (33%)." in table(results([ABDOMEN]))
    assert "over a quarter of the total: none." in table(results([TRUNK]))


def test_targets_are_met_or_not():
    met = {target.what: target.met for target in targets(results([ABDOMEN, TRUNK]))}
    assert met == {
        "abdomen: time": True,
        "abdomen: times faster than plain": True,
        "trunk: time": False,
        "trunk: times faster than plain": False,  # nothing to compare with
        "trunk: peak memory over the input": True,
        "trunk: peak memory of the process": True,
    }
    assert table(results([ABDOMEN, TRUNK])).count("**not met**") == 2


@pytest.mark.parametrize(("flags", "times"), [(["avx2"], 10), (["avx2", "avx_vnni"], 40)])
def test_less_is_asked_of_processors_without_8_bit_dot_products(flags, times):
    measured = results([ABDOMEN])
    measured.machine["flags"] = flags
    assert [target.limit for target in targets(measured) if target.unit == "x"] == [times]


def test_the_time_that_a_command_cannot_see_is_a_stage():
    assert ABDOMEN.runs[DEFAULT].stages == {"start and end": 1.0, "read": 2.0, "network": 2.5, "write": 0.5}


@pytest.mark.parametrize("growth", [GROWTH, []])
def test_the_picture(tmp_path, growth):
    plot(results([ABDOMEN, TRUNK], growth), tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 10_000


def test_everything_fits_into_json():
    text = json.dumps(asdict(results([ABDOMEN, TRUNK])))
    assert json.loads(text)["scans"][0]["runs"][DEFAULT]["measurements"][0]["seconds"] == 6
