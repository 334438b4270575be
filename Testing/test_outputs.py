"""Files that appear whole or not at all, and such as another program has open: on Windows they can't be replaced."""

import os
from pathlib import Path

import numpy as np
import pytest
from cli_use import contents, refused

from SpineContextSegLib.cli import main
from SpineContextSegLib.cohort.plan import Plan
from SpineContextSegLib.cohort.scans import Cohort
from SpineContextSegLib.cohort.summary import Summary, check_reports
from SpineContextSegLib.errors import InputRefused
from SpineContextSegLib.faults import describe
from SpineContextSegLib.interruption import Interruption
from SpineContextSegLib.outputs import Outputs, check_replaceable, check_target, write_complete
from SpineContextSegLib.scores import write_whole
from SpineContextSegLib.volume import Volume
from SpineContextSegLib.writing import write_volume


@pytest.fixture
def open_elsewhere(monkeypatch):
    """Takes names of files that another program has open from now on."""
    names, opened, replace = set(), open, os.replace

    def refuse(path):
        if os.path.basename(path) in names:
            raise PermissionError(13, "Permission denied", os.fspath(path))

    def open_file(path, mode="r", *arguments, **options):
        if isinstance(path, (str, os.PathLike)) and set(mode) & set("+aw"):
            refuse(path)
        return opened(path, mode, *arguments, **options)

    def replace_file(source, target):
        refuse(target)
        replace(source, target)

    monkeypatch.setattr("builtins.open", open_file)
    monkeypatch.setattr(os, "replace", replace_file)
    return names.add


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.nrrd"
    array = np.zeros((30, 8, 8), np.uint8)
    array[2:12, 2:6, 2:6], array[16:26, 2:6, 2:6] = 21, 20
    write_volume(Volume(array, np.diag([-2.0, -2.0, 2.0, 1.0])), path)
    return path


def test_a_table_that_is_open_elsewhere_is_told_before_any_work(labels, tmp_path, capsys, open_elsewhere, monkeypatch):
    table, other = tmp_path / "scores.csv", tmp_path / "other.nrrd"
    table.write_text("old")
    other.write_bytes(labels.read_bytes())
    open_elsewhere(table.name)
    monkeypatch.setattr("SpineContextSegLib.evaluate.evaluate", lambda *_, **__: pytest.fail("work was done"))
    line = refused(capsys, main(["evaluate", str(labels), str(other), "--csv", str(table)]))
    assert "scores.csv' can't be replaced (Permission denied): is it open in another program" in line
    assert table.read_text() == "old" and contents(tmp_path) == ["labels.nrrd", "other.nrrd", "scores.csv"]


@pytest.mark.parametrize("command", ["segment", "measure", "levels"])
def test_every_command_looks_at_the_files_that_it_would_replace(command, labels, tmp_path, capsys, open_elsewhere):
    target = tmp_path / ("old.csv" if command == "measure" else "old.nrrd")
    target.write_text("old")
    open_elsewhere(target.name)
    more = {"segment": ["-o", target], "measure": [labels, "--table", target], "levels": ["--shift", 1, "-o", target]}
    assert "can't be replaced" in refused(capsys, main([command, str(labels), *map(str, more[command])]))
    assert target.read_text() == "old"


def test_a_link_to_a_protected_file_is_replaced(tmp_path, open_elsewhere):
    (tmp_path / "stored").write_text("kept")
    (tmp_path / "spine.nrrd").symlink_to(tmp_path / "stored")
    open_elsewhere("spine.nrrd")
    check_replaceable(tmp_path / "spine.nrrd")
    check_replaceable(tmp_path / "new.nrrd")


def test_a_file_opened_meanwhile_is_told_by_its_own_name(tmp_path, open_elsewhere):
    open_elsewhere("spine.nrrd")
    with pytest.raises(PermissionError) as caught, Outputs(Interruption()) as outputs:
        outputs.stage(tmp_path / "spine.nrrd").write_text("new")
    said = describe(caught.value)
    assert said.startswith(f"'{tmp_path / 'spine.nrrd'}' can't be replaced (Permission denied): ") and said[-1] == "?"
    assert contents(tmp_path) == []


def test_a_name_of_all_the_length_that_disks_take_is_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".csv")
    write_whole(path, "scores")
    assert path.read_text() == "scores" and contents(tmp_path) == [path.name]


def test_of_two_processes_that_write_one_file_both_write_it_whole(tmp_path, monkeypatch):
    path, replace = tmp_path / "scores.csv", os.replace

    def replace_later(*names):
        monkeypatch.undo()
        write_whole(path, "of the second")
        assert path.read_text() == "of the second"
        replace(*names)

    monkeypatch.setattr(os, "replace", replace_later)
    write_whole(path, "of the first")
    assert path.read_text() == "of the first" and contents(tmp_path) == ["scores.csv"]


def test_a_file_that_cant_be_completed_leaves_the_earlier_one(tmp_path):
    path = tmp_path / "spine.NII.GZ"
    path.write_text("earlier")

    def fail(partial):
        assert partial.parent == tmp_path and partial.name.startswith(".") and partial.name.endswith(".nii.gz")
        partial.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_complete(path, fail)
    assert path.read_text() == "earlier" and contents(tmp_path) == [path.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
@pytest.mark.parametrize("mode", [0o664, 0o640])
def test_who_shares_a_file_goes_on_sharing_the_one_that_replaces_it(mode, tmp_path):
    staged, whole, new = (tmp_path / f"{name}.csv" for name in ("staged", "whole", "new"))
    for path in (staged, whole):
        path.write_text("earlier")
        path.chmod(mode)
    before = os.umask(0o022)
    try:
        with Outputs(Interruption()) as outputs:
            outputs.stage(staged).write_text("corrected")
            outputs.stage(new).write_text("new")
        write_whole(whole, "corrected")
    finally:
        os.umask(before)
    assert [path.read_text() for path in (staged, whole, new)] == ["corrected", "corrected", "new"]
    assert [path.stat().st_mode & 0o777 for path in (staged, whole, new)] == [mode, mode, 0o644]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_a_link_that_is_replaced_gives_no_rights(tmp_path):
    """As of a data set that is kept in protected files: its new file is to be corrected, too."""
    (tmp_path / "stored").write_text("kept")
    (tmp_path / "stored").chmod(0o444)
    (tmp_path / "spine.csv").symlink_to("stored")
    write_whole(tmp_path / "spine.csv", "corrected")
    assert (tmp_path / "spine.csv").stat().st_mode & 0o200 and (tmp_path / "stored").read_text() == "kept"


def test_where_a_disk_knows_no_rights_the_file_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "scores.csv").write_text("earlier")
    monkeypatch.setattr("shutil.copymode", refuse)
    write_whole(tmp_path / "scores.csv", "scores")
    assert (tmp_path / "scores.csv").read_text() == "scores" and contents(tmp_path) == ["scores.csv"]


@pytest.mark.parametrize(("taken", "other"), [("report.csv", "report.html"), ("report.html", "report.csv")])
def test_one_report_is_written_where_the_other_is_open_elsewhere(taken, other, tmp_path, open_elsewhere):
    summary = Summary(Cohort(), [], Plan(), {})
    summary.write(tmp_path, tmp_path)
    for name in (taken, other):
        os.utime(tmp_path / name, (1, 1))
    open_elsewhere(taken)
    with pytest.raises(InputRefused, match=f"{taken}' can't be replaced"):
        check_reports(tmp_path)
    with pytest.raises(PermissionError, match=f"{taken}' can't be replaced"):
        summary.write(tmp_path, tmp_path)
    assert (tmp_path / taken).stat().st_mtime == 1 < (tmp_path / other).stat().st_mtime
    assert contents(tmp_path) == ["report.csv", "report.html"]


def test_a_refusal_shows_what_was_typed():
    with pytest.raises(InputRefused, match="'.' must end with .png"):
        check_target(Path("."), (".png",))
