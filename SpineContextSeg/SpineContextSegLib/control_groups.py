"""What Linux's control groups leave to this process: the limits of its container, of its batch job or of its service.

Version 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html), where a limit holds for all groups below it, so that
every group from this process up to the root may have the lowest one; of version 1, the memory of the container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

MOUNT, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def memory_left_bytes(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> int | None:
    """What the tightest limit leaves, perhaps less than nothing; None where nothing is limited.

    Args:
        mount: where the groups are folders.
        membership: the file that names those of this process.
    """
    left = [_left_in(folder, "memory.max", "memory.current", "inactive_file") for folder in _groups(mount, membership)]
    version_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    left.append(_left_in(mount / "memory", *version_1))
    return min((size for size in left if size is not None), default=None)


def core_limit(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> int | None:
    """Whole CPU cores whose time may be used, at least one; None where it isn't limited. Arguments as above."""
    shares = []
    for folder in _groups(mount, membership):
        quota = re.match(r"(\d+) (\d+)", _text(folder / "cpu.max"))  # "max 100000" where there is no limit
        if quota and int(quota[2]):
            shares.append(int(quota[1]) // int(quota[2]))
    return max(1, min(shares)) if shares else None


def _groups(mount: Path, membership: Path) -> Iterator[Path]:
    """The group of this process and all above it; those that can't be seen from inside a container hold no files."""
    own = re.search(r"^0::/(.*)$", _text(membership), re.MULTILINE)
    folder = Path(own[1] if own else "")
    for group in (folder, *folder.parents):
        yield mount / group


def _left_in(folder: Path, limit_file: str, used_file: str, cache_name: str) -> int | None:
    limit, used = _number(folder / limit_file), _number(folder / used_file)
    if limit is None or used is None:
        return None
    # Files that were read stay in memory as long as nobody needs it, and count as used.
    cache = re.search(rf"^{cache_name} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
    return limit - used + (int(cache[1]) if cache else 0)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
