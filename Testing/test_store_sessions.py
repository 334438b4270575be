"""Several sessions on one scan: none is offered, or hides, what another one is still working on."""

import json
import subprocess

import pytest

from SpineContextSegLib.errors import InputRefused
from Testing.store_use import *  # noqa: F403
from Testing.store_use import finished, needs_posix, same_voxels, some_labels, start
from Testing.versions_use import *  # noqa: F403
from Testing.versions_use import save
from Testing.worklist_use import *  # noqa: F403
from Workbench.store.versions import Versions
from Workbench.store.worklist import State

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
    save(Versions(scan, data), 1, "autosave")
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


def as_of_earlier_workbenches(version):
    path = version.folder / "version.json"
    content = json.loads(path.read_text())
    del content["session"]
    path.write_text(json.dumps(content))
    (version.folder / "held").unlink(missing_ok=True)


def test_folders_of_earlier_workbenches_mean_what_they_meant(scan, data):
    for seed in (1, 2):
        as_of_earlier_workbenches(save(Versions(scan, data), seed, "autosave"))
    versions = Versions(scan, data)
    assert offered(scan, data) == 2
    versions.set_aside(versions.unsaved_autosave())
    assert offered(scan, data) is None
    as_of_earlier_workbenches(save(Versions(scan, data), 3, "autosave"))
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
