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
        free = min(free, max(limit - used, 0))
    return free
