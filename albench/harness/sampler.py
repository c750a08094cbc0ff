"""Sampler: one process a sweep that reads the machine while a case runs.

    runner   ──begin──────────────────────window?──►   sampler: · · · · · · · · · · · ·
    case              [ warm-up ][ window ][ … ]                  only from begin to window?

It is a process of its own so that no reading is taken in the case's, and one for the whole sweep because starting it
for every case would cost more than its readings. Between cases it sleeps. It ends with its parent, however that ends.
When it dies, hangs or is killed the case goes on untouched, its record says why there is no telemetry, and the next
case gets a new sampler.

How often it reads follows from what a reading costs: `BUSY_SHARE` of one core, and no faster than `FASTEST_SECONDS`.
Without a GPU, on two cores that are both busy, a reading takes 0.7 ms of CPU time (0.1 ms where the caches are warm),
which makes nine a second and 0.6 % of one core. A step that needs all cores is lengthened by no more than that share.
Every record carries what it really was (`Telemetry.sampler_cores`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from albench.analysis.sampling import sampling_interval
from albench.errors import one_line
from albench.harness.host import Host
from albench.harness.nvml import Gpu, open_gpus
from albench.harness.telemetry import Reading, Telemetry, clock_reason, summarised
from albench.process import (
    child_environment,
    describe_exit,
    end_process,
    forkserver,
    nameless_main,
    watch_parent,
)

BUSY_SHARE = 0.005
"""The share of one core that taking readings may keep busy. A timed step that uses every core waits for the slowest of
them, so it is lengthened by this share at most; 1 % would be seen in a comparison of two methods."""
FASTEST_SECONDS = 0.05
"""CPU time is counted in ticks of 10 ms, and the counters of a GPU stand still for 20 to 100 ms: faster is no finer."""
SLOWEST_SECONDS = 2.0
"""Slower is no telemetry; a reading that is dearer than this allows is a fault of the machine."""
KEPT_READINGS = 4096
"""When so many are held every second one is dropped and the rate halved: a case may take a day, memory stays flat."""
COST_READINGS = 8
"""Readings, at the start of a case, from which the rate is chosen anew each time."""
ANSWER_SECONDS = 10.0
"""How long the sampler may take to sum a window up; it takes some milliseconds."""
START_FAILURES = 3
"""After so many samplers that died or did not answer the rest of the sweep goes without: each costs the sweep time."""
PROCESS_NAME = "albench-sampler"
"""What tools such as ``top`` show; Linux keeps 15 characters."""


class Begin(msgspec.Struct, tag=True, frozen=True):
    """A case starts: forget what was read and read on from now."""

    gpus: bool
    """Whether the case runs on a GPU; reading one that idles would only cost time."""


class Window(msgspec.Struct, tag=True, frozen=True):
    """A case is done: sum up the time from `start` to `end`, and rest."""

    start: float
    end: float
    used_gpus: list[str]


class Unavailable(msgspec.Struct, tag=True, frozen=True):
    """There is no summary."""

    reason: str


class Answer(msgspec.Struct, tag=True, frozen=True):
    """The summary."""

    telemetry: Telemetry


class GpuSource(msgspec.Struct, kw_only=True, frozen=True):
    """Which GPUs there are, as the sweep's own process sees them: a forkserver may have another environment."""

    visible: str | None
    """CUDA_VISIBLE_DEVICES; None: not set."""
    cuda_order: str | None
    """CUDA_DEVICE_ORDER; None: not set."""
    module: str = "pynvml"
    """The module that speaks to NVML."""

    @classmethod
    def from_environment(cls, module: str = "pynvml") -> GpuSource:
        """Return what this process's environment says."""
        return cls(
            visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
            cuda_order=os.environ.get("CUDA_DEVICE_ORDER"),
            module=module,
        )


class Sampler:
    """The sweep's side: starts the process, asks it, and never lets it harm a case. Use as a context manager."""

    def __init__(
        self,
        *,
        preload: str = "albench.harness.sampler",
        gpu_source: GpuSource | None = None,
        busy_share: float = BUSY_SHARE,
    ) -> None:
        """Start nothing yet.

        `preload`: what the forkserver imports, if this is what starts it; `busy_share`: the share of one core that
        readings may keep busy.
        """
        self._preload = preload
        self._busy_share = busy_share
        self._gpu_source = gpu_source or GpuSource.from_environment()
        self._process: BaseProcess | None = None
        self._pipe: connection.Connection | None = None
        self._failures = 0
        self._reason = clock_reason()

    @property
    def process_id(self) -> int | None:
        """The sampler's process id; None while there is none."""
        return self._process.pid if self._process is not None else None

    def begin(self, *, gpus: bool) -> None:
        """Let readings be taken from now on, for the case that starts. Raises nothing that is the sampler's fault."""
        if self._process is not None and self._process.exitcode is not None:
            self._fail(f"the sampler {describe_exit(self._process.exitcode)} between two cases")
        if self._failures >= START_FAILURES or clock_reason():
            return
        self._reason = ""
        try:
            if self._process is None:
                self._start()
            assert self._pipe is not None
            self._pipe.send_bytes(msgspec.json.encode(Begin(gpus)))
        except (OSError, EOFError) as error:
            self._fail(f"the sampler could not be reached ({one_line(error)})")

    def window(self, start: float, end: float, *, used_gpus: list[str]) -> tuple[Telemetry | None, str]:
        """Return what was read from `start` to `end`, on the clock of `time.perf_counter`, or None and why.

        `used_gpus`: uuids of the GPUs that the case ran on.
        """
        if self._process is None or self._pipe is None or self._reason:
            return None, self._reason or "no sampler was started"
        try:
            self._pipe.send_bytes(msgspec.json.encode(Window(start, end, used_gpus)))
            if not self._pipe.poll(ANSWER_SECONDS):
                self._fail(f"the sampler did not answer within {ANSWER_SECONDS:g} s")
                return None, self._reason
            answer = msgspec.json.decode(self._pipe.recv_bytes(), type=Answer | Unavailable)
        except (OSError, EOFError):  # its end of the pipe is closed: it is dead or about to be
            self._process.join(1.0)
            self._fail(f"the sampler {describe_exit(self._process.exitcode)} during the case")
            return None, self._reason
        if isinstance(answer, Unavailable):
            return None, answer.reason
        return answer.telemetry, ""

    def _start(self) -> None:
        server = forkserver(self._preload)
        ours, theirs = server.Pipe()
        process = server.Process(
            target=_serve,
            args=(theirs, os.getpid(), msgspec.json.encode(self._gpu_source), self._busy_share),
            name=PROCESS_NAME,
            daemon=True,
        )
        try:
            with nameless_main(), child_environment():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._process, self._pipe = process, ours

    def _fail(self, reason: str) -> None:
        """Give up this sampler; the next case gets another one, unless that has failed too often."""
        self._end(0.0)
        self._failures += 1
        over = self._failures >= START_FAILURES
        self._reason = reason + (f"; {self._failures} of them failed, the sweep goes on without" if over else "")

    def _end(self, grace_seconds: float) -> None:
        if self._pipe is not None:
            self._pipe.close()  # which tells it to end
        if self._process is not None:
            end_process(self._process, grace_seconds)
            with contextlib.suppress(ValueError):  # killed and still there: the system will get to it
                self._process.close()
        self._process = self._pipe = None

    def close(self) -> None:
        """End the process."""
        self._end(1.0)

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Readings:
    """The readings of one case, in the sampler's process."""

    def __init__(self, root: int, gpu_source: GpuSource, busy_share: float = BUSY_SHARE) -> None:
        self._host = Host(root)
        self._busy_share = busy_share
        self._gpu_source = gpu_source
        self._opened: tuple[list[Gpu], str] | None = None
        self._gpus: list[Gpu] = []
        self._gpu_reason = ""
        self._kept: list[Reading] = []
        self._cost_seconds = 0.0
        self._costs = 0
        self._thinning = 1
        self.interval_seconds = FASTEST_SECONDS

    def begin(self, *, gpus: bool) -> None:
        """Forget all readings."""
        self._kept.clear()
        self._costs, self._cost_seconds, self._thinning = 0, 0.0, 1
        self.interval_seconds = FASTEST_SECONDS
        self._gpus, self._gpu_reason = [], "the case ran on the CPU"
        if gpus:
            if self._opened is None:
                source = self._gpu_source
                self._opened = open_gpus(visible=source.visible, cuda_order=source.cuda_order, module=source.module)
            self._gpus, self._gpu_reason = self._opened
            for gpu in self._gpus:
                gpu.begin()
        self._read()  # the first reading looks at all processes that are new: not what a reading costs

    def take(self) -> None:
        """Take one reading, and choose the rate while what a reading costs is not known yet."""
        before = time.thread_time()
        self._read()
        if self._costs < COST_READINGS:
            self._costs += 1
            self._cost_seconds += time.thread_time() - before
            self._choose_interval()
        if len(self._kept) >= KEPT_READINGS:
            del self._kept[1::2]
            self._thinning *= 2
            self._choose_interval()

    def _choose_interval(self) -> None:
        fastest = FASTEST_SECONDS * self._thinning
        self.interval_seconds = sampling_interval(
            self._cost_seconds / self._costs,
            share=self._busy_share,
            fastest_seconds=fastest,
            slowest_seconds=max(SLOWEST_SECONDS, fastest),
        )

    def _read(self) -> None:
        self._kept.append(Reading(host=self._host.read(), gpus=[gpu.read() for gpu in self._gpus]))

    def summary(self, window: Window) -> Telemetry:
        """Return what the readings say of a window that is over."""
        self._read()  # so that counters are known up to its end
        return summarised(
            self._kept,
            window.start,
            window.end,
            gpus=[gpu.info for gpu in self._gpus],
            gpu_reasons=[gpu.reasons() for gpu in self._gpus],
            gpu_reason=self._gpu_reason,
            used=window.used_gpus,
        )


def _serve(pipe: connection.Connection, root: int, gpu_source: bytes, busy_share: float) -> None:
    """Run in the sampler's process: take readings and answer, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, and it ends this process
    watch_parent()
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(PROCESS_NAME)
    readings = Readings(root, msgspec.json.decode(gpu_source, type=GpuSource), busy_share)
    with contextlib.suppress(EOFError, OSError):
        _answer(pipe, readings)


def _answer(pipe: connection.Connection, readings: Readings) -> None:
    due: float | None = None  # when the next reading is; None: at rest
    while True:
        if not pipe.poll(None if due is None else max(0.0, due - time.perf_counter())):
            readings.take()
            due = time.perf_counter() + readings.interval_seconds
            continue
        order = msgspec.json.decode(pipe.recv_bytes(), type=Begin | Window)
        if isinstance(order, Begin):
            readings.begin(gpus=order.gpus)
            due = time.perf_counter() + readings.interval_seconds
        else:
            due = None
            pipe.send_bytes(msgspec.json.encode(_summary(readings, order)))


def _summary(readings: Readings, window: Window) -> Answer | Unavailable:
    try:
        return Answer(readings.summary(window))
    except Exception as error:  # a fault of ours must cost the summary only, and be told
        return Unavailable(f"the readings could not be summed up ({one_line(error)})")
