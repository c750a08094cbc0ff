"""Peak: how many floating-point operations a second this machine really does in matrix products.

A data sheet's peak is one that nobody reaches: clocks, memory and the library decide. So it is measured, once a sweep,
as one big square product

    C [n, n] = A [n, n] · B [n, n]         2·n³ operations

in the precision of the cases, on as many threads as they may use or on the device, again and again for some tenths of a
second; the fastest counts. It runs in a process of its own, as every case does.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable
from multiprocessing import connection

import msgspec

from albench.errors import one_line
from albench.harness.scenario import Scenario
from albench.machine import usable_cores
from albench.process import child_environment, describe_exit, end_process, forkserver, nameless_main, watch_parent

CPU_SIZE, MANY_CORES_SIZE = 1024, 4096
"""n on the CPU: 12 MiB in float32, beyond the caches that are a core's own, and some 20 to 50 ms on one core. More than
four threads get the larger one, or each would have too little of it to do."""
CUDA_SIZE = 8192
"""n on a CUDA device: enough blocks to fill every multiprocessor of the largest cards many times over."""
LEAST_REPEATS = 5
REPEAT_SECONDS = 0.4
"""How long products are repeated, for each place."""
LIMIT_SECONDS = 120.0
"""After this there is no peak: float64 on a card that hardly has it takes some seconds."""


class Place(msgspec.Struct, frozen=True):
    """Where products are run, and on what numbers."""

    device: str
    precision: str
    threads: int
    """Intra-op threads; 1 on a CUDA device."""


class MatmulPeak(msgspec.Struct, frozen=True):
    """The most operations a second that were seen at a place."""

    place: Place
    flops_per_second: float


class Fault(msgspec.Struct, tag=True, frozen=True):
    """Why there are none."""

    reason: str


class Found(msgspec.Struct, tag=True, frozen=True):
    """What was found."""

    peaks: list[MatmulPeak]
    reason: str = ""
    """Why some place has none; empty where all have one."""


def place_of(scenario: Scenario) -> Place | None:
    """Return what a scenario may use at most: its lanes and replicas as threads, or one CUDA device.

    None where its processes or threads have a CUDA device each: what those share is not known here.
    """
    workers = scenario.lanes * scenario.replicas
    if scenario.device == "cuda":
        several = scenario.engine in ("ranks", "threads") and workers > 1
        return None if several else Place("cuda", scenario.precision, 1)
    return Place("cpu", scenario.precision, min(workers, usable_cores()))


def matmul_peaks(
    places: Iterable[Place], *, preload: str = "albench.harness.peak", limit_seconds: float = LIMIT_SECONDS
) -> tuple[dict[Place, float], str]:
    """Measure the peak at each place in a fresh process; return floating-point operations a second, or why none.

    Never raises for what happens in the process, and never hangs.
    """
    wanted = sorted(set(places), key=lambda place: (place.device, place.precision, place.threads))
    if not wanted:
        return {}, "no scenario of the sweep has a place to measure it at"
    server = forkserver(preload)
    receiver, sender = server.Pipe(duplex=False)
    process = server.Process(target=_serve, args=(sender, msgspec.json.encode(wanted)), daemon=True)
    try:
        with nameless_main(), child_environment():
            process.start()
        sender.close()
        if not receiver.poll(limit_seconds):
            return {}, f"measuring the peak was not done after {limit_seconds:g} s"
        found = msgspec.json.decode(receiver.recv_bytes(), type=Found | Fault)
    except EOFError as error:
        if process.pid is None:
            return {}, f"measuring the peak failed: {one_line(error)}"
        process.join(1.0)
        return {}, f"measuring the peak {describe_exit(process.exitcode)}"
    except OSError as error:
        return {}, f"measuring the peak failed: {one_line(error)}"
    finally:
        receiver.close()
        sender.close()
        if process.pid is not None:
            end_process(process, 1.0)
    if isinstance(found, Fault):
        return {}, found.reason
    return {peak.place: peak.flops_per_second for peak in found.peaks}, found.reason


def _serve(sender: connection.Connection, places: bytes) -> None:
    """Run in the process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, and it ends this process
    watch_parent()
    try:
        wanted = msgspec.json.decode(places, type=list[Place])
        answer: Found | Fault = _measure_all(wanted)
    except Exception as error:  # out of memory, no device: a sweep without a peak is a sweep
        answer = Fault(f"measuring the peak failed: {one_line(error)}")
    with contextlib.suppress(BrokenPipeError):
        sender.send_bytes(msgspec.json.encode(answer))
    sender.close()


def _measure_all(places: Iterable[Place]) -> Found:
    """Measure every place; one that fails takes no other with it."""
    peaks, reason = [], ""
    for place in places:
        try:
            peaks.append(MatmulPeak(place, _measure(place)))
        except Exception as error:
            reason = reason or f"measuring the peak failed: {one_line(error)}"
    return Found(peaks, reason)


def _measure(place: Place) -> float:
    import torch

    from albench.engines.precision import exact_arithmetic

    size = CUDA_SIZE if place.device == "cuda" else CPU_SIZE if place.threads <= 4 else MANY_CORES_SIZE
    torch.set_num_threads(place.threads)
    device, dtype = torch.device(place.device), getattr(torch, place.precision)
    left, right = (torch.rand(size, size, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(left)

    def product() -> None:
        torch.mm(left, right, out=out)
        if place.device == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode(), exact_arithmetic(device):  # float32 means float32, as in the cases
        seconds = fastest_seconds(product)
    return 2 * size**3 / seconds


def fastest_seconds(
    call: Callable[[], None],
    *,
    clock: Callable[[], float] = time.perf_counter,
    repeat_seconds: float = REPEAT_SECONDS,
    least: int = LEAST_REPEATS,
) -> float:
    """Return the shortest time of `call`, after one that does not count, over `repeat_seconds` and `least` calls."""
    call()
    times: list[float] = []
    begin = clock()
    while len(times) < least or clock() - begin < repeat_seconds:
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)
