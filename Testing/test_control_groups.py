"""How much memory and how many cores a container, a batch job or a service leaves to its processes."""

import os

import pytest

from SpineContextSegLib import memory
from SpineContextSegLib.cohort import here
from SpineContextSegLib.control_groups import core_limit, memory_left_bytes

GB = 10**9


@pytest.fixture
def groups(tmp_path):
    """Makes groups with files of such contents; the process is in the last one."""

    def make(**files: str):
        mount, own = tmp_path / "mount", ""
        for path, text in files.items():
            group, _, name = path.rpartition("/")
            (mount / group).mkdir(parents=True, exist_ok=True)
            (mount / path).write_text(f"{text}\n")
            own = group
        (tmp_path / "membership").write_text(f"4:memory:/elsewhere\n0::/{own}\n")
        return mount, tmp_path / "membership"

    return make


def limited(group: str, limit: object, used: int) -> dict[str, str]:
    return {f"{group}memory.max": str(limit), f"{group}memory.current": str(used)}


def test_nothing_is_limited(groups, tmp_path):
    assert memory_left_bytes(*groups(**limited("job/", "max", GB), **{"job/cpu.max": "max 100000"})) is None
    assert core_limit(*groups(**{"job/cpu.max": "max 100000"})) is None
    assert memory_left_bytes(tmp_path / "none", tmp_path / "none") is None
    assert core_limit(tmp_path / "none", tmp_path / "none") is None


def test_the_limit_of_a_container_at_the_root(groups):
    assert memory_left_bytes(*groups(**limited("", 8 * GB, 3 * GB))) == 5 * GB


@pytest.mark.parametrize("tight", ["slurm/", "slurm/job_1/", "slurm/job_1/step_0/"])
def test_the_tightest_limit_on_the_way_up_counts(tight, groups):
    levels = {name: limited(name, 64 * GB, GB) for name in ("slurm/", "slurm/job_1/", "slurm/job_1/step_0/")}
    levels[tight] = limited(tight, 4 * GB, GB)
    assert memory_left_bytes(*groups(**{k: v for files in levels.values() for k, v in files.items()})) == 3 * GB


def test_files_that_are_only_kept_in_memory_are_free(groups):
    stat = {"job/memory.stat": f"anon {GB}\ninactive_file {6 * GB}\nactive_file {GB}"}
    assert memory_left_bytes(*groups(**limited("job/", 8 * GB, 8 * GB), **stat)) == 6 * GB


def test_a_group_that_cannot_be_seen_from_inside(groups, tmp_path):
    mount, membership = groups(**limited("", 8 * GB, 3 * GB))
    membership.write_text("0::/system.slice/docker-1.scope\n")
    assert memory_left_bytes(mount, membership) == 5 * GB


def test_version_1_tells_the_memory_of_the_container(groups):
    files = {"memory/memory.limit_in_bytes": str(4 * GB), "memory/memory.usage_in_bytes": str(GB)}
    assert memory_left_bytes(*groups(**files)) == 3 * GB
    # Of this group alone, and with those below it, whose memory is used as well.
    files["memory/memory.stat"] = f"inactive_file 0\ntotal_active_file {GB}\ntotal_inactive_file {GB // 2}"
    assert memory_left_bytes(*groups(**files)) == 3 * GB + GB // 2


@pytest.mark.parametrize(
    ("outer", "inner", "cores"),
    [("max 100000", "200000 100000", 2), ("200000 100000", "800000 100000", 2), ("50000 100000", "max 100000", 1),
     ("max 100000", "150000 100000", 1)],
)  # fmt: skip
def test_cores_are_counted_by_the_time_that_may_be_used(outer, inner, cores, groups):
    assert core_limit(*groups(**{"a/cpu.max": outer, "a/b/cpu.max": inner})) == cores


def test_the_limits_are_kept(monkeypatch):
    monkeypatch.setattr(memory, "memory_left_bytes", lambda: 1000)
    assert memory.free_memory_bytes() == 1000
    monkeypatch.setattr(memory, "memory_left_bytes", lambda: -1000)
    assert memory.free_memory_bytes() == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr(here, "core_limit", lambda: 2)
    assert here.usable_cores() == 2
    monkeypatch.setattr(here, "core_limit", lambda: None)
    assert here.usable_cores() == 64
