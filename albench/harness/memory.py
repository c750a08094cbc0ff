"""Memory: how much training took at its peak, as it stands in a record, and the system's high-water marks behind it.

On Linux the high-water mark of a process's resident set (VmHWM) is set back to what is resident by writing 5 to
``/proc/self/clear_refs``. Where that is not allowed the mark is that of the process's whole life. Pages that processes
share are counted once for each of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from pathlib import Path

import msgspec

RESET_TOLERANCE_BYTES = 8 * 2**20
"""How far above what is resident the high-water mark may be right after it was set back, and pass as set back: some
sandboxes take the order and do nothing, and then it is higher by what loading torch took."""


class Memory(msgspec.Struct, kw_only=True, frozen=True):
    """Peak memory of training one scenario, without the timed window's."""

    minibatches: int
    """Mini-batches of the pass."""
    host_peak_bytes: int
    """Largest resident sets of all its processes, added up; where a step is compiled, compiling included."""
    host_baseline_bytes: int
    """Resident in the case's process before the trainer was made: Python, torch, data. Of a team's processes nothing is
    in here: all that they hold, libraries included, they hold for the sake of this method."""
    process_peak_bytes: list[int]
    """The same peaks one by one: the case's process first, then the processes that the method started."""
    host_method: str
    """How the peak of the case's process was taken."""
    device_peak_bytes: int | None = None
    """Most memory of the CUDA device that torch's allocator had given out to tensors."""
    device_baseline_bytes: int | None = None
    """What it had given out before the trainer was made: the data."""
    device_reserved_peak_bytes: int | None = None
    """Most memory that the allocator had taken from the device, given out or not."""
    device_reason: str = ""
    """Why there is no peak of a device."""


def give_back_free_memory() -> None:
    """Let the system have what this process has freed: else it would pass as resident, and hide what comes next."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def reset_high_water_mark(proc: Path = Path("/proc/self")) -> bool:
    """Set this process's high-water mark back to what is resident; return whether that was done."""
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:
        return False
    mark, resident = _status_bytes(proc, "VmHWM"), _status_bytes(proc, "VmRSS")
    return mark is not None and resident is not None and mark <= resident + RESET_TOLERANCE_BYTES


def high_water_mark_bytes(pid: int) -> int | None:
    """Return the largest resident set of a process so far; None where it is gone or the system does not say."""
    mark = _status_bytes(Path(f"/proc/{pid}"), "VmHWM")
    if mark is None and pid == os.getpid():
        return whole_life_peak_bytes()
    return mark


def whole_life_peak_bytes() -> int:
    """Return the largest resident set of this process in its whole life."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(proc: Path, name: str) -> int | None:
    """Return a line of ``/proc/PID/status``, which is in KiB."""
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
