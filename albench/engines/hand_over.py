"""Hand-over: what it takes to give a message to a lane that is another process of this machine.

Two rings (`albench.engines.ring`) lead to another process and back, as those between two ranks do. A message goes there
and comes back, and half of that is one hand-over: copied into memory that both see, a byte that wakes the other side,
copied out again. A small message and a large one tell latency and bandwidth apart. Nothing else runs meanwhile, so this
is the best that the link does, not what it does while all lanes compute.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from statistics import median

import torch

from albench.engines import ring
from albench.engines.crew import PRELOAD
from albench.engines.engine import intra_op_threads
from albench.engines.errors import PeerGoneError
from albench.engines.message import Message
from albench.engines.ring import PAGE_BYTES, RingListener, RingReader, RingWriter
from albench.errors import UsageError
from albench.process import child_environment, end_process, forkserver, nameless_main, watch_parent

SMALL_BYTES, LARGE_BYTES = 2**12, 2**22
"""A message that is nearly all latency, and one that is nearly all copying."""
REPEATS = 101
WARM_UPS = 10
LIMIT_SECONDS = 60.0
"""Libraries may have to be imported first."""
CPU = torch.device("cpu")
SOURCE = f"measured now between two processes of this machine, {SMALL_BYTES >> 10} KiB and {LARGE_BYTES >> 20} MiB"


def hand_over_times() -> list[tuple[int, float]]:
    """Return (bytes, seconds) of a small and of a large message between two processes of this machine.

    Takes a second, and some more where torch has to be imported for the other process. Raises `UsageError` where there
    is no shared memory to measure, or where the other process fails.
    """
    if not ring.AVAILABLE:
        raise UsageError("link is 'measured': the links of this system cannot be, give --link-latency and bandwidth")
    name = f"albench-hand-over-{uuid.uuid4().hex}"
    there, back = f"{name}-there", RingListener(f"{name}-back")
    child = forkserver(*PRELOAD).Process(
        target=_echo, args=(there, back.address), name="albench-hand-over", daemon=True
    )
    end = time.monotonic() + LIMIT_SECONDS

    def check() -> None:
        if child.exitcode is not None or time.monotonic() > end:
            raise PeerGoneError("the other process has gone, or says nothing")

    try:
        with nameless_main(), child_environment():
            child.start()
        reader = back.accept(device=CPU, check=check)
        writer = RingWriter.connect(there, slot_bytes=_slot_bytes(), check=check)
        try:
            with intra_op_threads(1):
                found = [(size, _hand_over_seconds(writer, reader, size)) for size in (SMALL_BYTES, LARGE_BYTES)]
            writer.finish(0)
        finally:
            writer.close()
            reader.close()
    except PeerGoneError as error:
        raise UsageError(f"link cannot be measured ({error}): give --link-latency and --link-bandwidth") from None
    finally:
        back.close()
        if child.pid is not None:
            end_process(child, 1.0)
    return found


def _slot_bytes() -> int:
    """Return slots that hold a message each, as those between ranks do."""
    return LARGE_BYTES + PAGE_BYTES


def _hand_over_seconds(writer: RingWriter, reader: RingReader, size: int) -> float:
    """Return half of what a message of `size` bytes takes there and back, the median of many."""
    answers = iter(reader)
    features = torch.zeros(size, dtype=torch.uint8)
    seconds = []
    for k in range(WARM_UPS + REPEATS):
        start = time.perf_counter()
        writer.put(Message(k, 1.0, features, None))
        next(answers)
        seconds.append((time.perf_counter() - start) / 2)
    return median(seconds[WARM_UPS:])


def _echo(there: str, back: str) -> None:
    """Give back every message, until there are no more: the other process."""
    watch_parent()
    torch.set_num_threads(1)
    parent = os.getppid()

    def check() -> None:
        if os.getppid() != parent:
            raise PeerGoneError("the parent has gone")

    with contextlib.suppress(PeerGoneError):  # the other end has measured what it wanted, and is first to go
        listener = RingListener(there)
        writer = RingWriter.connect(back, slot_bytes=_slot_bytes(), check=check)
        reader = listener.accept(device=CPU, check=check)
        for message in reader:
            writer.put(message)
