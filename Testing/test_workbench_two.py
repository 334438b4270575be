"""Two people with a workbench each on one data folder: none undoes what the other does."""

import pytest

from SpineContextSegLib.errors import InputRefused
from Testing.one_scan import *  # noqa: F403
from Testing.store_use import *  # noqa: F403
from Testing.store_use import NAMES, some_labels
from Testing.workbench_use import paint, play
from Workbench.store import held_file
from Workbench.store.entries import State
from Workbench.store.versions import Versions
from Workbench.store.worklist import Worklist

pytest.importorskip("trame_slicer")


def save_as_bob(bench, kind="correction"):
    """A version of the scan that is open, on its grid."""
    grid = bench.scene.volume().grid
    [entry] = bench.worklist.entries()
    session = Versions(entry.scan, bench.worklist.folder)
    session.save(some_labels(5, grid), NAMES, kind=kind, by="bob")
    session.end()


async def finish_without_a_look(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.save()
    save_as_bob(bench)
    with pytest.raises(InputRefused, match="Version 2 of this scan, saved by bob, is not the one that is shown"):
        await bench.worklist_actions.finish()
    assert bench.worklist.entry(1).state is State.IN_CORRECTION
    # As the click does.
    await bench.worklist_actions.open_other(1)
    await bench.worklist_actions.finish()
    assert bench.worklist.accepted(1).by == "bob"

    # Who goes on from what is shown is done with that.
    await bench.open_entry(1)
    paint(bench, 9)
    save_as_bob(bench)
    await bench.worklist_actions.finish()
    assert bench.worklist.accepted(1).by == "tester"


def test_only_the_version_that_is_shown_is_accepted(scan, data):
    play(finish_without_a_look, data)


async def undo_and_finish(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.save()
    paint(bench, 9)
    await bench.saving.autosave()
    bench.scene.undo_stack.undo()
    await bench.worklist_actions.finish()
    assert bench.worklist.accepted(1).number == 1


def test_what_was_undone_again_is_no_correction(scan, data):
    play(undo_and_finish, data)


async def undo_and_finish_without_locks(bench):
    held_file.fcntl = None
    await undo_and_finish(bench)


def test_nor_is_it_somebody_elses_where_nothing_can_be_held(scan, data):
    """As on Windows, and on some network shares."""
    play(undo_and_finish_without_locks, data)


async def bring_back_and_save(bench):
    await bench.open_entry(1)
    save_as_bob(bench, "autosave")
    await bench.open_entry(1)
    assert bench.state.recovery
    await bench.recover()
    await bench.save()
    await bench.open_entry(1)
    assert bench.state.recovery is None
    await bench.worklist_actions.finish()
    assert bench.worklist.entry(1).state is State.DONE


def test_what_was_brought_back_and_saved_is_not_offered_again(scan, data):
    play(bring_back_and_save, data)


async def finish_beside_lost_work(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    save_as_bob(bench, "autosave")
    # Unsaved work stays where it is.
    await bench.worklist_actions.open_other(1)
    assert bench.state.can_undo and bench.state.recovery is None
    with pytest.raises(InputRefused, match="open the scan again"):
        await bench.worklist_actions.finish()
    await bench.worklist_actions.open_other(1)
    assert bench.state.recovery
    bench.forget()
    await bench.worklist_actions.finish()
    assert bench.worklist.accepted(1).by == "tester"


def test_lost_work_is_offered_before_a_scan_is_done(scan, data):
    play(finish_beside_lost_work, data)


async def leave(bench):
    await bench.open_entry(1)
    paint(bench, 3)
    await bench.saving.autosave()
    [entry] = bench.worklist.entries()
    assert Versions(entry.scan, bench.worklist.folder).unsaved_autosave() is None
    await bench.open_entry(1)
    assert bench.state.recovery
    assert Versions(entry.scan, bench.worklist.folder).unsaved_autosave().by == "tester"


def test_a_scan_that_was_left_is_offered_to_both(scan, data):
    play(leave, data)


async def write_notes(bench):
    bob, actions = Worklist.open(bench.worklist.folder, "bob"), bench.worklist_actions
    await bench.open_entry(1)
    bench.state.notes = "check L5"
    actions.keep_notes(1, bench.state.notes)
    bob.set_notes(1, "check L5: is fine")
    # As the field does that was looked at, and as another scan does that is opened.
    actions.keep_notes(1, bench.state.notes)
    await bench.open_entry(1)
    assert bench.state.notes == bob.entry(1).notes == "check L5: is fine"

    bob.set_notes(1, "metal")
    bench.state.notes = "scoliosis"
    actions.keep_notes(1, bench.state.notes)
    assert bench.state.notes == bob.entry(1).notes == "metal\nscoliosis"
    actions.keep_notes(1, f"{bench.state.notes} too")
    assert bob.entry(1).notes == "metal\nscoliosis too"


def test_notes_of_both_stay(scan, data):
    play(write_notes, data)


async def write_long_notes(bench):
    bob, actions = Worklist.open(bench.worklist.folder, "bob"), bench.worklist_actions
    await bench.open_entry(1)
    bob.set_notes(1, "b" * 60_000)
    actions.keep_notes(1, "a" * 60_000)
    merged = "b" * 60_000 + "\n" + "a" * 60_000
    assert bench.state.notes == bob.entry(1).notes == merged
    # Left as they are, they are in nobody's way.
    await bench.open_entry(1)
    with pytest.raises(InputRefused, match="can have 100,000 characters, not 120,002: shorten them"):
        actions.keep_notes(1, f"{merged}!")
    assert bob.entry(1).notes == merged
    actions.keep_notes(1, merged[50_000:])
    assert bob.entry(1).notes == merged[50_000:]


def test_nothing_of_long_notes_is_cut(scan, data):
    play(write_long_notes, data)
