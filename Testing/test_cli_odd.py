"""Odd calls that a script or a shell makes by accident."""

import os
import subprocess
import sys

import numpy as np
import pytest

from SpineContextSegLib.cli import main
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume


def answer(capsys, *arguments) -> tuple[int, list[str]]:
    """Exit code and the lines on stderr."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        code = leaving.code
    return code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("lost, word", [(0.3, "hold no number"), (0.001, None)])
def test_numbers_missing_in_a_nifti_are_noticed(sample_scan, tiny_model, tmp_path, capsys, lost, word):
    """ITK alone would read them as 0 HU, water."""
    hu = sample_scan.volume.array.astype(np.float32)
    hu[np.random.default_rng(0).random(hu.shape) < lost] = np.nan
    write_volume(Volume(hu, sample_scan.volume.affine), tmp_path / "scan.nii.gz")
    code, lines = answer(
        capsys, "segment", tmp_path / "scan.nii.gz", "-o", tmp_path / "out.nrrd", "--model", tiny_model, "--threads", 1
    )
    if word:
        assert code == 2 and len(lines) == 1 and word in lines[0]
    else:
        assert code == 0 and any("hold no number" in line and "air" in line for line in lines)


@pytest.mark.parametrize("case", ["empty input", "pipe", "ending only", "long name", "too many threads"])
def test_slips_are_refused_with_one_line(case, sample_scan, tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan, output, threads = sample_scan.path, tmp_path / "out.nrrd", 1
    if case == "empty input":
        scan = ""
    elif case == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no named pipes")
        scan = tmp_path / "pipe.nii.gz"
        os.mkfifo(scan)
    elif case == "ending only":
        output = tmp_path / ".nrrd"
    elif case == "long name":
        output = tmp_path / ("a" * 300 + ".nrrd")
    else:
        threads = 10**20
    code, lines = answer(capsys, "segment", scan, "-o", output, "--model", tiny_model, "--threads", threads)
    assert code == 2 and len(lines) == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"pipe.nii.gz"}


@pytest.mark.parametrize(
    "arguments",
    [("measure", "", "x.nii.gz"), ("phantom", "-o", ""), ("evaluate", "", ""), ("levels", ""), ("batch", "x", ""),
     ("models", "register", "", "x"), ("finetune", "", "--from", "x", "--name", "y")],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_an_empty_name_is_not_the_current_folder(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, lines = answer(capsys, *arguments)
    assert code == 2 and len(lines) == 1 and "must not be empty" in lines[0]
    assert list(tmp_path.iterdir()) == []


LONG = "a" * 300 + ".nrrd"


@pytest.mark.parametrize("arguments", [("measure", "x.nrrd", LONG), ("measure", LONG, "x.nrrd"), ("levels", LONG),
                                       ("evaluate", LONG, "x.nrrd"), ("segment", LONG, "-o", "y.nrrd")])  # fmt: skip
def test_a_name_that_no_file_can_have_is_refused(arguments, capsys):
    code, lines = answer(capsys, *arguments)
    assert code == 2 and len(lines) == 1 and "too long" in lines[0]


@pytest.mark.parametrize("command", ["evaluate", "measure", "levels"])
def test_labels_that_cant_be_read_are_refused(command, sample_scan, tmp_path, capsys, monkeypatch):
    labels = tmp_path / "labels.nrrd"
    write_volume(Volume(sample_scan.bone.astype(np.uint8) * 20, sample_scan.volume.affine), labels)
    opened = open

    def closed(path, *arguments, **options):
        if os.fspath(path) == os.fspath(labels):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", closed)
    code, lines = answer(capsys, *{"levels": ["levels"]}.get(command, [command, sample_scan.path]), labels)
    assert code == 2 and len(lines) == 1 and "labels.nrrd' can't be read (Permission denied)" in lines[0]


def run(command: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120, **options)


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_closed_streams_do_no_harm():
    program = f"'{sys.executable}' -m SpineContextSegLib.cli"
    closed = run(f"{program} models >&-")
    assert closed.returncode == 0 and closed.stderr == ""
    assert run(f"{program} models 2>&-").returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_finished_work_counts_though_nobody_listens(sample_scan, tiny_model, tmp_path):
    program = f"'{sys.executable}' -m SpineContextSegLib.cli"
    output = tmp_path / "out.nrrd"
    call = f"{program} segment '{sample_scan.path}' -o '{output}' --model '{tiny_model}' --threads 1"
    done = run(f"({call}; echo $? >'{tmp_path}/code') | true")
    assert (tmp_path / "code").read_text().strip() == "0"
    assert output.exists() and "Traceback" not in done.stderr and "rror" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a stderr that takes nothing")
def test_a_full_or_broken_stderr_changes_no_exit_code(sample_scan, tiny_model, tmp_path):
    """Each of these has something to say there: a warning, or why it is refused."""
    labels, output = tmp_path / "labels.nrrd", tmp_path / "out.nrrd"
    array = np.zeros(sample_scan.volume.array.shape, np.uint8)
    array[2:14, 25:40, 25:40], array[30:42, 25:40, 25:40] = 22, 20
    write_volume(Volume(array, sample_scan.volume.affine), labels)
    program = f"'{sys.executable}' -m SpineContextSegLib.cli"
    segment = f"{program} segment '{sample_scan.path}' -o '{output}' --model '{tiny_model}' --threads 1"
    calls = {f"{program} levels '{labels}' --this T1=L1 -o '{output}'": 2,
             f"{program} levels '{labels}' --shift 1 -o '{output}'": 0,
             f"{program} measure '{sample_scan.path}' '{labels}' --table '{tmp_path}/table.csv'": 0,
             segment: 0}  # fmt: skip
    for call, code in calls.items():
        assert run(call).stderr, call
        assert run(f"{call} 2>/dev/full").returncode == code, call
        run(f"({call} 2>&1 >/dev/null; echo $? >'{tmp_path}/code') | true")
        assert (tmp_path / "code").read_text().strip() == str(code), call


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a stdout that takes nothing")
def test_a_full_or_broken_stdout_costs_only_the_words(sample_scan, tmp_path):
    program, pair = f"'{sys.executable}' -m SpineContextSegLib.cli", (tmp_path / "a.nrrd", tmp_path / "b.nrrd")
    for path in pair:
        write_volume(Volume(sample_scan.bone.astype(np.uint8), sample_scan.volume.affine), path)
    evaluate = f"{program} evaluate '{pair[0]}' '{pair[1]}' --csv '{tmp_path}/scores.csv'"
    for call in (evaluate, f"{program} models", f"{program} phantom -o '{tmp_path}/sample'"):
        full = run(f"{call} >/dev/full")
        assert full.returncode == 0 and full.stderr == "", call
        broken = run(f"({call}; echo $? >'{tmp_path}/code') | true")
        assert (tmp_path / "code").read_text().strip() == "0" and broken.stderr == "", call
    assert (tmp_path / "scores.csv").is_file() and len(list((tmp_path / "sample").iterdir())) == 2
