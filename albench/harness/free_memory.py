"""Free memory: what new processes may still take, of the machine or of the container that this process is in.

And whether the system has killed any for want of it: a process that was killed does not know by whom.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Where a container reads what it may use, and uses."""
VMSTAT = Path("/proc/vmstat")
"""Where the system counts what it has done for want of memory."""


def oom_kills() -> int | None:
    """Return how many processes the system has killed for want of memory so far; None where it does not say."""
    counts = [count for path in (CGROUP / "memory.events", VMSTAT) if (count := _counter(path, "oom_kill")) is not None]
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
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(limit - used + _given_back_bytes(), 0))
    return free


def _given_back_bytes() -> int:
    """Return what a container counts as used and gives back where it is needed: files that were read or written."""
    return _counter(CGROUP / "memory.stat", "inactive_file") or 0
