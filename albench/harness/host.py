"""Host: readings of the machine's cores and memory, told apart by who uses them.

A timed case shares its cores with whatever else runs. Three users of a core are told apart: the sweep's own process and
all its descendants (cases, their members, forkserver and sampler), other processes of this machine, and, in a virtual
machine, its neighbours, which steal time. All are counters of CPU seconds, so nothing between two readings is missed.

The system counts in ticks, of 10 ms as a rule.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil

FREQUENCY_SECONDS = 0.5
"""How long a CPU frequency holds before it is read again: on many machines reading it interrupts every core."""

LOAD_AVERAGE = Path("/proc/loadavg")


class HostReading(msgspec.Struct, kw_only=True, frozen=True):
    """The machine at one moment. Counters count from an arbitrary zero and never fall."""

    at: float
    """Seconds on the clock of `time.perf_counter`."""
    core_seconds: list[float]
    """Counter: CPU seconds that each core has worked, for whomever on this machine."""
    stolen_seconds: float
    """Counter: CPU seconds, of all cores, that the hypervisor gave to other machines."""
    own_seconds: float
    """Counter: CPU seconds of the sweep's process and all its descendants."""
    sampler_seconds: float
    """Counter: CPU seconds of the process that takes these readings; part of the above."""
    memory_bytes: int
    """Memory in use on the machine: what is there less what is available without swapping."""
    frequency_hertz: float | None
    """Mean frequency of the cores; None where the system does not say, or at most half a second old."""


class Host:
    """Reads the machine again and again for the process tree under `root`, a process id."""

    def __init__(self, root: int) -> None:
        self._own: dict[int, psutil.Process] = {}
        self._foreign: set[int] = set()
        self._newest: str | None = None
        self._own_seconds = 0.0
        self._root = root
        self._frequency: float | None = None
        self._frequency_due = float("-inf")

    def read(self) -> HostReading:
        """Return the machine as it is now."""
        cores = psutil.cpu_times(percpu=True)
        memory = psutil.virtual_memory()
        return HostReading(
            own_seconds=self._count_own(),
            at=time.perf_counter(),
            core_seconds=[_busy(core) for core in cores],
            stolen_seconds=sum(getattr(core, "steal", 0.0) for core in cores),
            sampler_seconds=time.process_time(),
            memory_bytes=memory.total - memory.available,
            frequency_hertz=self._read_frequency(),
        )

    def _count_own(self) -> float:
        """Return the CPU seconds of the tree so far.

        A process that ended has passed its seconds on to the one that waited for it, which is of the tree as well. In
        the instant between the two it may be missing; the counter then waits rather than fall.
        """
        newest = _newest_process()
        if newest is None or newest != self._newest:
            self._sort_processes()
            self._newest = newest
        seconds = 0.0
        for pid, process in list(self._own.items()):
            try:
                times = process.cpu_times()
            except psutil.Error:
                del self._own[pid]
                continue
            seconds += times.user + times.system
            seconds += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        self._own_seconds = max(self._own_seconds, seconds)
        return self._own_seconds

    def _sort_processes(self) -> None:
        """Tell for every new process whether it is of the tree: only once, for on a big machine they are many."""
        alive = set(psutil.pids())
        self._foreign &= alive
        self._own = {pid: process for pid, process in self._own.items() if pid in alive}
        parents: dict[int, int] = {}
        found: dict[int, psutil.Process] = {}
        for pid in alive - self._foreign - self._own.keys():
            with contextlib.suppress(psutil.Error):
                found[pid] = psutil.Process(pid)
                parents[pid] = found[pid].ppid()
        while new := {pid for pid in found if pid == self._root or parents.get(pid) in self._own}:
            for pid in new:  # one generation after the other
                self._own[pid] = found.pop(pid)
        self._foreign |= found.keys()

    def _read_frequency(self) -> float | None:
        now = time.perf_counter()
        if now >= self._frequency_due:
            self._frequency_due = now + FREQUENCY_SECONDS
            self._frequency = None
            with contextlib.suppress(Exception):  # psutil raises what it finds in files that vary with the machine
                frequency = psutil.cpu_freq()
                self._frequency = frequency.current * 1e6 if frequency and frequency.current else None
        return self._frequency


def _newest_process() -> str | None:
    """Return the number of the process or thread that was started last: while it is the same there is no new one.

    Looking costs a tenth of what listing all processes does. None where the system does not say.
    """
    with contextlib.suppress(OSError, IndexError):
        return LOAD_AVERAGE.read_text().split()[-1]
    return None


def _busy(core: Any) -> float:
    """Return the seconds that a core has worked; a guest's are counted among the user's already."""
    return float(sum(getattr(core, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")))
