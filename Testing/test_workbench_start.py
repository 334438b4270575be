"""How the workbench is started: which scans it lists, and where it keeps the list."""

import asyncio
import gc
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.dicom_series import SeriesWriter
from Testing.store_use import write_scan

pytest.importorskip("trame_slicer")

from Workbench.__main__ import ignore_closed_pages, parser  # noqa: E402
from Workbench.data_folder import FOLDER, default_folder  # noqa: E402
from Workbench.store.worklist import Worklist  # noqa: E402

ROOT = Path(__file__).parents[1]


def started(*arguments: object, home: Path) -> list[str]:
    """What a workbench says until it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "Workbench", *map(str, arguments), "--port", "0"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"HOME": str(home), "PATH": ""},
    )  # fmt: skip
    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    return lines


def test_several_scans_are_listed_at_home(tmp_path):
    scans = [write_scan(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("ab")]
    lines = started(*scans, home=tmp_path)
    assert re.search(r"http://127.0.0.1:\d+/\?token=\S{43}$", lines[0]) and str(tmp_path / FOLDER) in lines[1]
    assert [entry.name for entry in Worklist.open(tmp_path / FOLDER, "tester").entries()] == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize("name", ["", " "])
def test_changes_of_nobody_are_those_of_the_login(name, tmp_path):
    """As by --by "$NAME" where that isn't set."""
    started(write_scan(tmp_path / "a.nii.gz", 0), "--by", name, home=tmp_path)
    [entry] = Worklist.open(tmp_path / FOLDER, "tester").entries()
    assert entry.by.strip()


def test_each_folder_of_scans_has_a_list_of_its_own(tmp_path):
    for seed, cohort in enumerate(("one", "two")):
        write_scan(tmp_path / cohort / "a.nii.gz", seed)
        lines = started(tmp_path / cohort, home=tmp_path)
        assert str(tmp_path / cohort / FOLDER) in lines[1]
        [entry] = Worklist.open(tmp_path / cohort / FOLDER, "tester").entries()
        assert entry.scan == tmp_path / cohort / "a.nii.gz"
    assert not (tmp_path / FOLDER).exists()


def test_where_the_list_is_kept(tmp_path, monkeypatch, sample_scan):
    monkeypatch.setenv("HOME", str(tmp_path))
    scan = write_scan(tmp_path / "scans" / "a.nii.gz", 0)
    home = tmp_path / FOLDER
    assert default_folder() == default_folder([scan]) == default_folder([scan.parent, scan]) == home
    assert default_folder([scan.parent]) == scan.parent / FOLDER
    # A list that lies there already goes on.
    Worklist.open(scan.parent, "tester")
    assert default_folder([scan.parent]) == scan.parent
    # A DICOM series is all that lies in its folder.
    SeriesWriter(tmp_path / "series").write(sample_scan.volume)
    assert default_folder([tmp_path / "series"]) == home
    monkeypatch.setattr("os.access", lambda *_: False)
    (tmp_path / "protected").mkdir()
    assert default_folder([tmp_path / "protected"]) == home


def test_an_address_that_cant_be_had_is_told_in_a_sentence(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = (f"Port {port} is taken: use the address that the workbench there printed, or choose another port "
                 "(--port 0 for a free one).")  # fmt: skip
        # Kept for documents, so that no computer has it.
        foreign = "The workbench can't be served at '203.0.113.5', port 0: choose another --host or --port."
        for arguments, said in ((["--port", str(port)], taken), (["--host", "203.0.113.5", "--port", "0"], foreign)):
            ended = subprocess.run(
                [sys.executable, "-m", "Workbench", "--data", str(tmp_path), *arguments], cwd=ROOT, text=True,
                capture_output=True, timeout=120,
            )  # fmt: skip
            assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{said}\n")


def test_an_installation_without_the_workbench_says_how_to_get_it(tmp_path):
    """As after `pip install .`, or where there is no Slicer core for the processor."""
    lacking = "import sys; sys.modules['trame_slicer'] = None; from Workbench.__main__ import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", lacking, "--data", str(tmp_path)], cwd=ROOT, text=True, capture_output=True, timeout=120
    )
    assert ended.returncode == 2 and "pip install '.[workbench]'" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("option, given", [("--port", "65536"), ("--port", "-1"), ("--port", "web"),
                                           ("--upload-limit", "nan"), ("--upload-limit", "0"),
                                           ("--upload-limit", "much"), ("--threads", "0")])  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(option, given, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([f"{option}={given}"])
    assert ended.value.code == 2
    assert f"argument {option}: must be a " in (said := capsys.readouterr().err) and said.endswith(f"not '{given}'\n")


def test_pages_that_are_left_are_no_faults_to_be_told(caplog):
    async def lost(fault: Exception) -> None:
        async def send() -> None:
            raise fault

        ignore_closed_pages()
        asyncio.get_running_loop().create_task(send())
        await asyncio.sleep(0.01)
        gc.collect()

    asyncio.run(lost(ConnectionResetError("Cannot write to closing transport")))
    assert caplog.records == []
    asyncio.run(lost(ValueError("something else")))
    assert "never retrieved" in caplog.text
