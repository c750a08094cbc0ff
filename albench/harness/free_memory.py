"""Free memory: what new processes may still take, of the machine or of the container that this process is in."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
"""Where a container reads what it may use, and uses."""


def free_memory_bytes() -> int:
    """Return the bytes of main memory that are free."""
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(limit - used + _given_back_bytes(), 0))
    return free


def _given_back_bytes() -> int:
    """Return what a container counts as used and gives back where it is needed: files that were read or written."""
    for line in (CGROUP / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0
