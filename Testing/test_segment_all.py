"""All new scans in one go, without a page: trouble with one, or with the list for a moment, doesn't end the rest."""

import asyncio
import sqlite3
from types import SimpleNamespace

import pytest

from SpineContextSegLib.volume import Volume
from SpineContextSegLib.worker import Request
from SpineContextSegLib.writing import write_volume
from Testing.workbench_use import play
from Workbench.segment_all import SegmentAll
from Workbench.store import database
from Workbench.store.database import DATABASE
from Workbench.store.worklist import Worklist


@pytest.fixture
def worklist(tmp_path, sample_scan):
    """Three scans, all new."""
    folder = tmp_path / "data"
    for slices in (40, 50, 60):
        folder.mkdir(exist_ok=True)
        write_volume(Volume(sample_scan.volume.array[:slices], sample_scan.volume.affine), folder / f"{slices}.nii.gz")
    worklist = Worklist.open(folder, "tester")
    worklist.add([folder])
    return worklist


class Page(SimpleNamespace):
    """A page's state; `on_flush` is called whenever it is sent."""

    def update(self, values):
        vars(self).update(values)

    def flush(self):
        self.on_flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def request(model):
    return Request(str(model), "auto", "cpu", 1, "spine", False)


def segment_all(worklist, model, on_flush, on_scan=lambda number: None):
    """The page's state at the end."""
    page = Page(on_flush=on_flush, status="")

    async def scan_is_done(number):
        on_scan(number)

    asyncio.run(SegmentAll(worklist, "tester", page, scan_is_done).start(request(model)))
    return page


def states(worklist):
    return [entry.state.value for entry in worklist.entries()]


def test_a_list_that_is_locked_for_a_moment_doesnt_end_the_rest(worklist, tiny_model, monkeypatch):
    monkeypatch.setattr(database, "_WAIT_SECONDS", 0.2)
    other = sqlite3.connect(worklist.folder / DATABASE, isolation_level=None)
    sent = []

    def lock_during_the_second():
        sent.append(None)
        if len(sent) == 2:
            other.execute("BEGIN IMMEDIATE")
        elif len(sent) == 3:
            other.execute("ROLLBACK")

    page = segment_all(worklist, tiny_model, lock_during_the_second)
    other.close()
    assert states(worklist) == ["segmented", "new", "segmented"]
    assert page.status == "2 of 3 new scans were segmented, 1 could not be: the list says why."
    [remark] = page.remarks
    assert remark.startswith("The list can't say what came of number 2: ") and "locked" in remark
    assert not page.all_running


def test_a_page_that_cant_show_one_doesnt_end_the_rest(worklist, tiny_model):
    def fail(number):
        raise OSError("The disk is gone.")

    segment_all(worklist, tiny_model, lambda: None, fail)
    assert states(worklist) == ["segmented"] * 3


def test_a_result_that_was_saved_when_it_was_cancelled_counts(worklist, tiny_model, monkeypatch):
    page, shown, set_state = Page(on_flush=lambda: None, status=""), [], worklist.set_state

    async def scan_is_done(number):
        shown.append(number)

    async def work():
        everything, loop = SegmentAll(worklist, "tester", page, scan_is_done), asyncio.get_running_loop()

        def cancel_then(*arguments):
            loop.call_soon_threadsafe(everything.cancel)
            return set_state(*arguments)

        monkeypatch.setattr(worklist, "set_state", cancel_then)
        await everything.start(request(tiny_model))

    asyncio.run(work())
    assert states(worklist) == ["segmented", "new", "new"] and shown == [1]
    assert page.status == "1 of 3 new scans were segmented."


async def the_list_is_shown_anew(bench):
    async def fail(number):
        raise OSError("The disk is gone.")

    bench._show_result_of = fail
    await bench.segment_all()
    print(*[entry["state"] for entry in bench.state.entries], "|", bench.state.notice)


def test_the_list_is_shown_anew_at_the_end(worklist, tiny_model):
    pytest.importorskip("trame_slicer")
    assert play(the_list_is_shown_anew, worklist.folder, tiny_model) == (
        "segmented segmented segmented | The disk is gone.\n"
    )
