"""What the list on the page says of a scan: only what still holds, and at once."""

from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from Testing.one_scan import *  # noqa: F403
from Testing.store_use import *  # noqa: F403
from Testing.store_use import write_scan
from Testing.workbench_use import play
from Testing.worklist_use import *  # noqa: F403
from Testing.worklist_use import save
from Workbench.store.entries import Change, State
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")

from Workbench.history import lines  # noqa: E402
from Workbench.worklist_actions import WorklistActions  # noqa: E402


def test_a_run_that_found_nothing_is_no_reason_after_a_correction(worklist):
    page = SimpleNamespace()
    actions = WorklistActions(worklist, None, page, None)

    def reasons():
        actions.show()
        return [entry["reason"] for entry in page.entries]

    for number in (1, 2):
        worklist.set_problem(number, "No spine was found.")
    worklist.set_state(3, State.REJECTED, "moved")
    assert reasons() == ["No spine was found.", "No spine was found.", "moved"]
    save(worklist, 1)
    actions.note_correction(1)
    worklist.set_state(1, State.DONE)
    # As earlier workbenches left it.
    worklist.set_state(2, State.IN_CORRECTION)
    assert reasons() == ["", "", "moved"] and worklist.entry(1).problem is None


async def look_at_the_history(bench):
    actions, bob = bench.worklist_actions, Worklist.open(bench.worklist.folder, "bob")
    bench.worklist.add([write_scan(bench.worklist.folder / "other.nii.gz", 9)])
    await bench.open_entry(1)
    actions.show_history()
    assert bench.state.history == [] and bench.state.history_shown
    bob.set_notes(1, "metal\nat L4 " + "and so on " * 100)
    actions.note_result(1)
    save(bob, 1)
    bench.worklist.set_state(1, State.DONE)
    bob.set_state(1, State.REJECTED, "moved")
    bob.set_problem(1, "No spine was found.")
    bob.set_problem(1, None)
    bench.worklist.reopen(1)
    actions.show_history()
    said = [(line["title"], line["subtitle"].split(" by ")[1]) for line in bench.state.history]
    notes, by = said.pop()
    assert notes.startswith("Notes: metal at L4 and") and len(notes) <= 300 and by == "bob"
    assert said == [
        ("From rejected to in correction", "tester"),
        ("A run came to nothing: No spine was found.", "bob"),
        ("Rejected because: moved", "bob"),
        ("From done to rejected", "bob"),
        ("Version 1 is the one that is done", "tester"),
        ("From segmented to done", "tester"),
        ("From new to segmented", "tester"),
    ]
    scan = bench.worklist.entry(1).scan
    bench.worklist.add([scan.rename(scan.with_name("renamed.nii.gz"))])
    actions.show_history()
    assert bench.state.history[0]["title"] == "Lies now at renamed.nii.gz"
    await bench.open_entry(2)
    assert not bench.state.history_shown


def test_who_changed_what_is_told(scan, data):
    play(look_at_the_history, data)


@pytest.mark.parametrize(
    ("what", "text", "title"),
    [
        ("notes", "骨" * 400, "Notes: " + "骨" * 289 + " ..."),
        ("notes", "骨" * 293, "Notes: " + "骨" * 293),
        ("scan", f"/data/{'x' * 400}/ct.nii.gz", f"Lies now at /data/{'x' * 278} ..."),
    ],
)
def test_what_has_no_spaces_is_cut_and_not_left_out(what, text, title):
    [line] = lines([Change(what, "", text, datetime.now(timezone.utc), "anna")])
    assert line["title"] == title and len(title) == 300


async def receive_during_a_run(bench):
    await bench.open_entry(1)
    [upload] = bench.worklist.add([write_scan(bench.worklist.folder / "uploads" / "scan-1" / "new.nii.gz", 9)])
    bench.state.running = True
    await bench.clicks.guarded(bench._open_upload(upload.number, None))
    assert bench.state.notice == "Listed as number 2: open it when the work on this scan has ended."
    assert [entry["name"] for entry in bench.state.entries] == ["scan.nii.gz", "new.nii.gz"]
    assert bench.state.entry == 1
    bench.state.running = False
    await bench._open_upload(upload.number, None)
    assert bench.state.entry == 2


def test_a_scan_that_comes_in_during_a_run_is_listed(scan, data):
    play(receive_during_a_run, data)
