"""The machine: what this process may use of it."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return the CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
