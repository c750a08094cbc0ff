"""Memory limit: how much memory a case may take before it is ended, and whose memory counts.

Two limits, for two purposes. The first spares the machine: when most of the memory that was free at the case's start is
gone, whoever took it, the system would soon begin to kill what it chooses, and that may be the sweep. The second, given
by the user, bounds a case: there only what its own processes hold counts, so that a case is not blamed for a neighbour.
"""

from __future__ import annotations

import contextlib

import psutil

from albench.harness.free_memory import free_memory_bytes

FREE_SHARE = 0.9
"""A case may take this share of the memory that is free when it starts."""


class MemoryLimit:
    """What a case that starts now may take. `limit_bytes`: what all its processes together may hold; None: no limit but
    the machine's. Processes that this one starts from now on are the case's, children of children included."""

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit_bytes = limit_bytes
        self._free_bytes = free_memory_bytes()
        self._others = set() if limit_bytes is None else {process.pid for process in _family()}

    def excess(self) -> str | None:
        """Return why the case has to be ended, or None where it keeps to its limits."""
        free_bytes = free_memory_bytes()
        if free_bytes < (1 - FREE_SHARE) * self._free_bytes:
            return f"ended when {_gib(free_bytes)} of memory were left, to spare the rest of the sweep"
        # To ask for what a process holds stops it for a moment, so it is not asked while nothing much is taken.
        if self._limit_bytes is None or self._free_bytes - free_bytes < self._limit_bytes / 2:
            return None
        held_bytes = sum(_held_bytes(process) for process in _family() if process.pid not in self._others)
        if held_bytes <= self._limit_bytes:
            return None
        return f"ended when it held {_gib(held_bytes)} of memory, beyond its limit of {_gib(self._limit_bytes)}"


def _family() -> list[psutil.Process]:
    """Return the processes that this one started, and those started by them."""
    return psutil.Process().children(recursive=True)


def _held_bytes(process: psutil.Process) -> int:
    """Return the bytes that a process holds, its share of what it has in common with others included."""
    with contextlib.suppress(psutil.Error):
        held = process.memory_full_info()
        return int(getattr(held, "pss", held.uss))  # only Linux knows what a process's share is
    return 0  # it has ended, or may not be asked


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
