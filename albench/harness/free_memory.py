"""Free memory: what new processes may still take, of the machine or of the control groups that this process is in.

A container, a systemd unit and a batch system's job are control groups with limits of their own; each group around it
has one too, and the narrowest holds. And whether the system has killed any process for want of memory: one that was
killed does not know by whom.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Where control groups are read."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""Where the system says which groups this process is in, a line a hierarchy: "0::/user.slice" is that of version 2,
"4:memory:/job" that of version 1 which governs memory."""
VMSTAT = Path("/proc/vmstat")
"""Where the system counts what it has done for want of memory."""


class _Names(NamedTuple):
    """What a version of control groups calls its files, and the lines in them."""

    limit: str
    used: str
    inactive_file: str
    kills: str


VERSION_2 = _Names("memory.max", "memory.current", "inactive_file", "memory.events")
VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control")


def _groups() -> Iterator[tuple[Path, _Names]]:
    """Yield the groups of this process that may limit its memory, each with those around it."""
    try:
        lines = MEMBERSHIP.read_text(errors="surrogateescape").splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            top, names = CGROUP, VERSION_2
        elif "memory" in controllers.split(","):
            top, names = CGROUP / "memory", VERSION_1
        else:
            continue
        group = top / path.lstrip("/")
        for around in (group, *group.parents):
            yield around, names
            if around == top:
                break


def oom_kills() -> int | None:
    """Return a count that grows when the system kills for want of memory; None where it does not say."""
    files = [group / names.kills for group, names in _groups()]
    counts = [count for path in (*files, VMSTAT) if (count := _counter(path, "oom_kill")) is not None]
    return sum(counts) if counts else None


def _counter(path: Path, wanted: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == wanted:
                return int(value)
    return None


def free_memory_bytes() -> int:
    """Return the bytes of main memory that are free."""
    free = int(psutil.virtual_memory().available)
    for group, names in _groups():
        with contextlib.suppress(OSError, ValueError):  # no such group here, or one without a limit ("max")
            limit, used = (int((group / name).read_text()) for name in (names.limit, names.used))
            # Files that were read or written count as used, and are given back where memory is needed.
            given_back = _counter(group / "memory.stat", names.inactive_file) or 0
            free = min(free, max(limit - used + given_back, 0))
    return free
