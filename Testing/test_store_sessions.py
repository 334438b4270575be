"""Several sessions on one scan: none is offered, or hides, what another one is still working on."""

import json
import os
import subprocess

import pytest

from SpineContextSegLib.errors import InputRefused
from Testing.store_use import *  # noqa: F403
from Testing.store_use import finished, needs_posix, same_voxels, some_labels, start
from Testing.versions_use import *  # noqa: F403
from Testing.versions_use import hidden, save
from Testing.worklist_use import *  # noqa: F403
from Workbench.store import versions as versions_module
from Workbench.store import whole_folders
from Workbench.store.entries import State
from Workbench.store.versions import Versions

AT_WORK = """
import sys
from Testing.store_use import NAMES, some_labels
from Workbench.store.versions import Versions
versions = Versions(sys.argv[1], sys.argv[2])
for seed in (1, 2, 3, 4, 5):
    versions.save(some_labels(seed), NAMES, kind="autosave", by="anna")
print("saved", flush=True)
sys.stdin.read()
versions.save(some_labels(6), NAMES, kind="correction", by="anna")
"""


@pytest.fixture
def anna(scan, data):
    """A process with work that was only saved in passing."""
    process = start(AT_WORK, scan, data, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "saved\n", process.communicate()
    yield process
    process.kill()
    process.communicate()


def offered(scan, data):
    """Number of the version that is offered to whoever opens the scan, or None."""
    version = Versions(scan, data).unsaved_autosave()
    return version and version.number


@needs_posix
def test_work_is_offered_when_its_session_was_killed_and_not_before(anna, scan, data):
    assert offered(scan, data) is None
    # Of somebody who never saw it.
    save(bob := Versions(scan, data), 9)
    bob.end()
    assert offered(scan, data) is None
    anna.kill()
    anna.wait()
    versions = Versions(scan, data)
    assert versions.unsaved_autosave().number == 5 and versions.latest().number == 6
    assert same_voxels(versions.load(versions.unsaved_autosave()), some_labels(5))


@needs_posix
def test_work_that_was_saved_is_not_offered(anna, scan, data):
    anna.stdin.close()
    anna.stdin = None
    finished(anna)
    save(bob := Versions(scan, data), 9, "autosave")
    bob.end()
    assert [(v.number, v.kind) for v in Versions(scan, data).list()] == [(6, "correction"), (7, "autosave")]
    assert offered(scan, data) == 7


@needs_posix
def test_a_session_that_goes_on_while_another_looks_is_not_offered(scan, data, monkeypatch):
    """Neither its autosaves that go for newer ones, nor those that go with a correction, nor what it sets aside."""
    at_work, looking = Versions(scan, data), Versions(scan, data)
    real = Versions.list

    def listed(self):
        found = real(self)
        monkeypatch.setattr(Versions, "list", real)
        go_on()
        return found

    def set_aside_and_end():
        at_work.set_aside(at_work.unsaved_autosave())
        at_work.end()

    save(at_work, 1, "autosave")
    for go_on in (lambda: [save(at_work, seed, "autosave") for seed in range(4)], lambda: save(at_work, 5),
                  lambda: save(at_work, 6, "autosave"), set_aside_and_end):  # fmt: skip
        monkeypatch.setattr(Versions, "list", listed)
        assert looking.unsaved_autosave() is None


@needs_posix
def test_an_autosave_is_not_offered_while_it_is_removed(scan, data, monkeypatch):
    at_work, looking = Versions(scan, data), Versions(scan, data)
    save(at_work, 1, "autosave")
    offers, real = [], versions_module.remove_folder

    def remove(folder):
        offers.append(looking.unsaved_autosave())
        real(folder)

    monkeypatch.setattr(versions_module, "remove_folder", remove)
    for seed in range(4):
        save(at_work, seed, "autosave")
    assert offers == [None, None]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux tells which files are open")
def test_no_file_in_a_folder_is_open_when_it_gets_its_name(scan, data, monkeypatch):
    """Network shares and Windows refuse that."""
    real, renamed = os.rename, []

    def rename(folder, target):
        opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        assert not [path for path in opened if path.startswith(f"{folder}/")]
        renamed.append(target)
        real(folder, target)

    monkeypatch.setattr(whole_folders.os, "rename", rename)
    versions = Versions(scan, data)
    for seed in range(4):
        save(versions, seed, "autosave")
    assert len(renamed) == 5


@needs_posix
def test_what_holds_a_session_goes_with_it(anna, scan, data):
    [held] = hidden(scan.parent)
    os.utime(held, (0, 0))
    save(bob := Versions(scan, data), 1, "autosave")
    bob.end()
    assert hidden(scan.parent) == [held] and offered(scan, data) == 6
    # And what a killed one left goes with the next one.
    anna.kill()
    anna.wait()
    save(bob, 1, "autosave")
    bob.end()
    assert hidden(scan.parent) == []


def test_each_ended_session_is_offered_until_it_is_settled(scan, data):
    for seed in (1, 2):
        for _ in range(2):
            save(session := Versions(scan, data), seed, "autosave")
        session.end()
    later = Versions(scan, data)
    later.set_aside(later.unsaved_autosave())
    assert offered(scan, data) == 3
    save(later, 3)
    assert offered(scan, data) == 3


def test_what_was_brought_back_is_offered_until_it_is_saved_again(scan, data):
    save(earlier := Versions(scan, data), 1, "autosave")
    earlier.end()
    later = Versions(scan, data)
    later.go_on_from(later.unsaved_autosave())
    save(later, 2, "model")
    assert offered(scan, data) == 1
    save(later, 3, "autosave")
    later.end()
    assert offered(scan, data) == 3
    save(last := Versions(scan, data), 4)
    last.go_on_from(last.unsaved_autosave())
    save(last, 5)
    assert offered(scan, data) is None


def save_as_earlier_workbenches(scan, data, seed):
    version = save(session := Versions(scan, data), seed, "autosave")
    session.end()
    path = version.folder / "version.json"
    content = json.loads(path.read_text())
    del content["session"]
    path.write_text(json.dumps(content))
    (version.folder / "held").touch()


def test_folders_of_earlier_workbenches_mean_what_they_meant(scan, data):
    for seed in (1, 2):
        save_as_earlier_workbenches(scan, data, seed)
    versions = Versions(scan, data)
    assert offered(scan, data) == 2
    versions.set_aside(versions.unsaved_autosave())
    assert offered(scan, data) is None
    save_as_earlier_workbenches(scan, data, 3)
    assert offered(scan, data) == 3
    save(versions, 4)
    assert offered(scan, data) is None


def test_only_what_was_seen_is_done(worklist):
    versions = worklist.versions(1)
    with pytest.raises(InputRefused, match="Nothing was saved"):
        worklist.set_state(1, State.DONE, seen=0)
    save(versions, 1, "model")
    save(worklist.versions(1), 2)
    for seen in (0, 1):
        with pytest.raises(InputRefused, match="Version 2 .* saved by anna, is not the one that is shown"):
            worklist.set_state(1, State.DONE, seen=seen)
    assert worklist.entry(1).state is State.NEW
    worklist.set_state(1, State.DONE, seen=2)
    assert worklist.accepted(1).number == 2
