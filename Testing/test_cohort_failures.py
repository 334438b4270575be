"""What real processes leave behind when scans crash, memory runs out, or somebody presses Ctrl-C."""

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cohorts import *  # noqa: F403
from cohorts import (
    COMMAND,
    DEADLINE_S,
    batch,
    children_of,
    files,
    fill,
    finish,
    is_running,
    kill,
    on_opening_a_deadly_scan,
    record,
    staged,
    stamps,
    start,
    states,
    table,
    wait_for,
    wait_for_the_second,
    wait_until_working,
)

from SpineContextSegLib.cli import main
from SpineContextSegLib.cohort import here
from SpineContextSegLib.cohort.records import PLACING
from SpineContextSegLib.memory import free_memory_bytes
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume

WHOLE = (".json", ".png", ".seg.nrrd")


@pytest.fixture
def cohort(tmp_path, sample_scan):
    """Input and output of four scans."""
    return fill(tmp_path / "in", sample_scan.path, *(f"{stem}.nii.gz" for stem in "abcd")), tmp_path / "out"


def results_of(*stems):
    return {stem + ending for stem in stems for ending in WHOLE} | {"report.csv", "report.html"}


def test_a_scan_that_kills_its_process_is_given_up_and_stops_no_other(tmp_path, sample_scan, tiny_model):
    source, output = fill(tmp_path / "in", sample_scan.path, "a.nii.gz", "deadly.nii.gz", "x.nii.gz"), tmp_path / "out"
    log = tmp_path / "deaths"
    statement = f"open({str(log)!r}, 'a').write('x'); os.kill(os.getpid(), signal.SIGKILL)"
    environment = on_opening_a_deadly_scan(tmp_path / "site", statement)
    code, out, errors = finish(start(source, output, tiny_model, "--jobs", "1", **environment))
    assert code == 1 and "1 failed" in errors and "Traceback" not in out + errors
    assert states(output) == {"a.nii.gz": "done", "deadly.nii.gz": "failed", "x.nii.gz": "done"}
    assert "3 times" in table(output)["deadly.nii.gz"]["message"]
    assert log.read_text() == "xxx"
    assert files(output) == results_of("a", "x") | {"deadly.json"}
    # Without the fault, the next run tries it again, and only it.
    before = stamps(output)
    assert batch(source, output, tiny_model) == 0
    assert {name for name, stamp in stamps(output).items() if before.get(name) != stamp} == {
        f"deadly{ending}" for ending in WHOLE
    }


def test_a_crash_of_a_library_leaves_its_place_in_the_record(tmp_path, sample_scan, tiny_model):
    source, output = fill(tmp_path / "in", sample_scan.path, "deadly.nii.gz"), tmp_path / "out"
    environment = on_opening_a_deadly_scan(tmp_path / "site", "os.kill(os.getpid(), signal.SIGSEGV)")
    code, _, _ = finish(start(source, output, tiny_model, **environment))
    assert code == 1
    log = "\n".join(record(output / "deadly.json")["log"])
    assert "Segmentation fault" in log and "segmenter.py" in log


def test_a_process_killed_in_the_middle_costs_only_time(cohort, unhurried_model):
    source, output = cohort
    process = start(source, output, unhurried_model, "--jobs", "2", "--no-preview")
    wait_until_working(output, 2)
    kill(children_of(process.pid)[0])
    code, _, errors = finish(process)
    assert code == 0, errors
    assert set(states(output).values()) == {"done"} and not (output / ".running").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_is_done_and_leaves_nothing_else(number, cohort, unhurried_model):
    source, output = cohort
    process = start(source, output, unhurried_model, "--jobs", "1")
    wait_for_the_second(output)
    children = children_of(process.pid)
    process.send_signal(number)
    code, _, errors = finish(process)
    assert code == 130 and len(errors.splitlines()) == 1 and "interrupted (3 not begun)" in errors
    assert children and not any(map(is_running, children))
    assert files(output) == results_of("a")
    assert list(states(output).values()) == ["done", "open", "open", "open"]
    assert "not yet begun" in (output / "report.html").read_text(encoding="utf-8")
    before = stamps(output)
    assert batch(source, output, unhurried_model, "--jobs", "2") == 0
    assert set(states(output).values()) == {"done"} and before.items() <= stamps(output).items()


def test_a_result_is_reported_although_an_interruption_came_before_word_of_it(cohort, tiny_model, monkeypatch, capsys):
    source, output = cohort

    def interrupted(ended):
        wait_for(lambda: not ended.empty(), "no scan ended")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(here, "_next", interrupted)
    assert batch(source, output, tiny_model, "--jobs", "1", "--no-preview") == 130
    done = [scan for scan, state in states(output).items() if state == "done"]
    assert "a.nii.gz" in done and f"interrupted ({4 - len(done)} not begun)" in capsys.readouterr().err
    assert len([name for name in files(output) if name.endswith(".seg.nrrd")]) == len(done)


def test_a_batch_that_is_killed_takes_its_processes_along(cohort, unhurried_model, tiny_model):
    source, output = cohort
    process = start(source, output, unhurried_model, "--jobs", "2")
    wait_until_working(output, 2)
    children = children_of(process.pid)
    kill(process.pid)
    finish(process)
    wait_for(lambda: not any(map(is_running, children)), "a process went on")
    assert len(children) == 2 and staged(output) == []
    assert batch(source, output, tiny_model) == 0
    assert files(output) == results_of(*"abcd") and not (output / ".running").exists()


def test_two_batches_dont_share_a_folder(cohort, unhurried_model, capsys):
    source, output = cohort
    process = start(source, output, unhurried_model, "--jobs", "1")
    wait_until_working(output)
    assert batch(source, output, unhurried_model) == 2
    assert "Another batch" in capsys.readouterr().err
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130


def test_an_end_between_two_files_is_made_good(cohort, tiny_model):
    source, output = cohort
    assert batch(source, output, tiny_model) == 0
    content = record(output / "a.json")
    (output / "a.json").write_text(json.dumps(content | {"state": PLACING}))
    (output / "a.png").unlink()
    before = stamps(output)
    assert batch(source, output, tiny_model) == 0
    assert record(output / "a.json")["state"] == "done" and (output / "a.png").is_file()
    assert {name for name, stamp in stamps(output).items() if before.get(name) != stamp} == {
        f"a{ending}" for ending in WHOLE
    }


def test_a_full_disk_fails_scans_and_leaves_no_half_file(tmp_path, sample_scan, tiny_model):
    source, output = fill(tmp_path / "in", sample_scan.path, "smooth.nii.gz"), tmp_path / "out"
    # Packs badly: its segmentation doesn't fit, where that of the other one does, and only the picture doesn't.
    spongy = np.random.default_rng(1).choice([-100, 50, 600, 600], (60, 60, 60)).astype(np.int16)
    write_volume(Volume(spongy, np.diag([2.0, 2.0, 2.0, 1.0])), source / "spongy.nii.gz")
    limit = 12_000
    process = subprocess.run(
        [*COMMAND, source, output, "--model", tiny_model, "--threads", "1", "--jobs", "1"],
        capture_output=True, text=True, timeout=DEADLINE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert process.returncode == 1 and "Traceback" not in process.stdout + process.stderr
    assert files(output) == {"smooth.json", "spongy.json", "report.csv", "report.html"}
    assert all("disk" in row["message"] and row["state"] == "failed" for row in table(output).values())
    assert "write_preview" in "".join(record(output / "smooth.json")["log"])
    assert "write_segmentation" in "".join(record(output / "spongy.json")["log"])


def test_a_result_that_finds_a_file_in_the_place_of_its_folder_fails_alone(tmp_path, sample_scan, tiny_model):
    source, output = fill(tmp_path / "in", sample_scan.path, "a.nii.gz", "sub/b.nii.gz"), tmp_path / "out"
    output.mkdir()
    (output / "sub").write_text("mine")
    assert batch(source, output, tiny_model) == 1
    assert states(output) == {"a.nii.gz": "done", "sub/b.nii.gz": "failed"}
    assert (output / "sub").read_text() == "mine"


def test_names_that_are_no_text_are_refused_and_stop_no_other(tmp_path, sample_scan, tiny_model, capsys):
    source, output = fill(tmp_path / "in", sample_scan.path, "a.nii.gz"), tmp_path / "out"
    latin = os.fsencode(source) + b"/gr\xf6\xdfe"  # as on old disks
    os.link(sample_scan.path, latin + b".nii.gz")
    (Path(os.fsdecode(latin)) / "sub").mkdir(parents=True)
    Path(os.fsdecode(latin + b".txt")).touch()
    assert batch(source, output, tiny_model, "--no-preview") == 1
    rows = table(output)
    assert [row["state"] for row in rows.values()] == ["refused", "refused", "done"]
    assert all("rename it" in row["message"] for row in list(rows.values())[:2])
    assert files(output) == {"a.json", "a.seg.nrrd", "report.csv", "report.html"}
    capsys.readouterr()
    assert main(["segment", os.fsdecode(latin + b".nii.gz"), "-o", str(tmp_path / "x.seg.nrrd")]) == 2
    assert batch(Path(os.fsdecode(latin)), output, tiny_model) == 2
    assert capsys.readouterr().err.count("rename it") == 2


@pytest.mark.parametrize(
    ("cores", "free", "threads", "scans", "expected"),
    [(8, 64, None, 100, 8), (8, 10, None, 100, 3), (8, 64, 4, 100, 2), (8, 64, None, 2, 2), (1, 1, 4, 9, 1),
     (8, None, None, 100, 8)],
)  # fmt: skip
def test_as_many_at_a_time_as_cores_and_memory_allow(cores, free, threads, scans, expected, monkeypatch):
    monkeypatch.setattr(here, "usable_cores", lambda: cores)
    monkeypatch.setattr(here, "free_memory_bytes", lambda: free and free * 10**9)
    assert here.choose_jobs(scans, threads) == expected


def test_free_memory_is_some_of_what_is_built_in():
    assert 1e8 < free_memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
