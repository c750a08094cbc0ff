"""Telemetry: what the machine did during one timed window, as it stands in a record.

Readings are taken by a process of its own (`albench.harness.sampler`) on the clock of `time.perf_counter`. On Linux
that is CLOCK_MONOTONIC, one clock for all processes, which no change of the wall clock moves; so the case says when its
window began and ended, and the readings of that time are picked out afterwards.

Means are only given where enough readings speak of the window (`albench.analysis.sampling.MINIMUM_READINGS`). Every
number that there is not has its reason in words.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from albench.analysis.sampling import (
    MINIMUM_READINGS,
    NotKnownError,
    counter_growth,
    inside,
    mean,
    readings_in,
    thinned,
)
from albench.harness.host import HostReading
from albench.harness.nvml import LOOK_BACK_SECONDS, GpuInfo, clock_event_names

T = TypeVar("T")

SHARED_CLOCKS = ("clock_gettime(CLOCK_MONOTONIC)", "mach_absolute_time()")
"""Clocks behind `time.perf_counter` that all processes of a machine share."""


class Series(msgspec.Struct, kw_only=True, frozen=True):
    """Readings over the window for a figure, thinned out."""

    seconds: list[float]
    """When, from the start of the window."""
    columns: dict[str, list[float | None]]
    """Name with unit, such as "busy cores" or "GPU 0 power_watts": one value a moment, None where a reading failed.
    Counters stand as rates since the moment before."""


class GpuTelemetry(msgspec.Struct, kw_only=True, frozen=True):
    """One GPU over the window; None: `reasons` says why."""

    index: int
    """Its place among the GPUs that CUDA_VISIBLE_DEVICES leaves, from 0."""
    name: str
    uuid: str
    used: bool | None = None
    """Whether the case ran on it; None: the case did not say."""
    mean_utilisation: float | None = None
    """NVML's utilisation in [0, 1]: the share of NVML's own last window (1/6 s to 1 s) in which any kernel ran. It says
    nothing of how many multiprocessors were at work."""
    peak_utilisation: float | None = None
    mean_memory_bytes: float | None = None
    """Memory in use on the card, by whomever."""
    peak_memory_bytes: float | None = None
    mean_sm_clock_hertz: float | None = None
    lowest_sm_clock_hertz: float | None = None
    mean_power_watts: float | None = None
    peak_power_watts: float | None = None
    peak_temperature_celsius: float | None = None
    energy_joules: float | None = None
    """Energy that the card drew in the window."""
    energy_source: str = ""
    """"energy counter": the difference of the card's own counter; "mean power": mean power times the window."""
    throttle_reasons: dict[str, float] | None = None
    """Why the clock was held back: name and the share of readings in (0, 1] that said so. Empty: it was not."""
    reasons: dict[str, str] = {}
    """By reading, such as "power_watts": why there was none, or not always one."""


class Telemetry(msgspec.Struct, kw_only=True, frozen=True):
    """The machine over the timed window; None: `reasons` says why."""

    window_seconds: float
    samples: int
    """Readings inside the window."""
    interval_seconds: float
    """Mean time between readings; the rate follows from what a reading costs."""
    too_short: str = ""
    """Not empty: the window held too few readings to be summed up, and there are no means."""
    core_use: list[float] | None = None
    """By core: the share of the window in which it worked, for whomever, in [0, 1]."""
    own_cores: float | None = None
    """Cores that the sweep's own processes kept busy, on average; 1.5 is one and a half."""
    other_cores: float | None = None
    """Cores that all other processes of the machine kept busy, on average."""
    stolen_cores: float | None = None
    """Cores that the hypervisor took away, on average; 0 on bare metal."""
    sampler_cores: float | None = None
    """What taking these readings cost, in cores; part of `own_cores`."""
    peak_memory_bytes: int | None = None
    """Most memory in use on the whole machine."""
    cpu_frequency_hertz: float | None = None
    """Mean frequency of the cores."""
    gpus: list[GpuTelemetry] = []
    gpu_reason: str = ""
    """Why there is no GPU, or why their order is not certain."""
    reasons: dict[str, str] = {}
    """By field: why there is no value."""
    series: Series | None = None

    @property
    def energy_joules(self) -> float | None:
        """Energy of the GPUs that the case ran on (of all, where it did not say); None where one is not known."""
        used = [gpu for gpu in self.gpus if gpu.used is not False]
        known = [gpu.energy_joules for gpu in used if gpu.energy_joules is not None]
        return sum(known) if used and len(known) == len(used) else None


class Reading(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that was read at one moment."""

    host: HostReading
    gpus: list[dict[str, float]] = []
    """By GPU: what could be read, by the names of `albench.harness.nvml.FIELDS`."""


def clock_reason() -> str:
    """Return why the readings of another process cannot be placed on this process's clock; empty if they can."""
    clock = time.get_clock_info("perf_counter").implementation
    return "" if clock in SHARED_CLOCKS else f"processes do not share a clock here ({clock})"


class _Summary:
    """Collects values, and reasons where there are none."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def of(self, name: str, value: Callable[[], T]) -> T | None:
        """Return the value, or None with the reason under `name`."""
        try:
            return value()
        except NotKnownError as error:
            self.reasons.setdefault(name, str(error))
            return None


def summarised(
    readings: Sequence[Reading],
    start: float,
    end: float,
    *,
    gpus: Sequence[GpuInfo] = (),
    gpu_reasons: Sequence[dict[str, str]] = (),
    gpu_reason: str = "",
    used: Sequence[str] = (),
) -> Telemetry:
    """Return what the readings, in the order of their times, say of the window from `start` to `end` seconds.

    `gpu_reasons`: by GPU, why a field was not read. `used`: the uuids of the GPUs that the case ran on; empty: unknown.
    """
    times = [reading.host.at for reading in readings]
    places = inside(times, start, end)
    found = {
        "window_seconds": end - start,
        "samples": len(places),
        "interval_seconds": (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0,
        "gpu_reason": gpu_reason,
    }
    if len(places) < MINIMUM_READINGS:
        few = f"{len(places)} readings in a window of {end - start:.3g} s: at least {MINIMUM_READINGS} are needed"
        known = [_gpu_identity(info, used) for info in gpus]
        return Telemetry(**found, too_short=few, gpus=known)  # type: ignore[arg-type]
    host = [reading.host for reading in readings]
    summary = _Summary()

    def rate(name: str, values: Sequence[float]) -> float | None:
        return summary.of(name, lambda: counter_growth(times, values, start, end) / (end - start))

    cores = [rate("core_use", [one.core_seconds[i] for one in host]) for i in range(len(host[0].core_seconds))]
    core_use = [min(max(use, 0.0), 1.0) for use in cores if use is not None]
    own = rate("own_cores", [one.own_seconds for one in host])
    complete = bool(cores) and len(core_use) == len(cores)
    frequencies = [one.frequency_hertz for one in host]
    return Telemetry(
        **found,  # type: ignore[arg-type]
        core_use=core_use if complete else None,
        own_cores=own,
        # Two counters of ticks that do not tick together: their difference may fall a little under zero.
        other_cores=max(sum(core_use) - own, 0.0) if complete and own is not None else None,
        stolen_cores=rate("stolen_cores", [one.stolen_seconds for one in host]),
        sampler_cores=rate("sampler_cores", [one.sampler_seconds for one in host]),
        peak_memory_bytes=max(host[i].memory_bytes for i in places),
        cpu_frequency_hertz=summary.of(
            "cpu_frequency_hertz", lambda: mean(_said(times, frequencies, start, end, "CPU frequency"))
        ),
        gpus=[
            _gpu(info, times, [reading.gpus[i] for reading in readings], start, end, dict(gpu_reasons[i]), used)
            for i, info in enumerate(gpus)
        ],
        reasons=summary.reasons,
        series=_series(readings, times, places, start, [info for info in gpus if _used(info, used) is not False]),
    )


def _said(
    times: Sequence[float], values: Sequence[float | None], start: float, end: float, what: str
) -> Sequence[float]:
    if not any(value is not None for value in values):
        raise NotKnownError(f"the system tells no {what}")
    return readings_in(times, values, start, end)


def _used(info: GpuInfo, used: Sequence[str]) -> bool | None:
    """Whether a GPU is among those used; torch says a uuid without NVML's "GPU-"."""
    return any(info.uuid and info.uuid.endswith(uuid) for uuid in used) if used else None


def _gpu_identity(info: GpuInfo, used: Sequence[str]) -> GpuTelemetry:
    return GpuTelemetry(index=info.index, name=info.name, uuid=info.uuid, used=_used(info, used))


def _gpu(
    info: GpuInfo,
    times: Sequence[float],
    readings: Sequence[dict[str, float]],
    start: float,
    end: float,
    reasons: dict[str, str],
    used: Sequence[str],
) -> GpuTelemetry:
    """Return one GPU's summary; `reasons`: why its fields were not read."""
    summary = _Summary()
    summary.reasons = reasons

    def column(name: str) -> list[float | None]:
        return [reading.get(name) for reading in readings]

    def gauge(name: str, of: Callable[[Sequence[float]], float], settle_seconds: float = 0.0) -> float | None:
        return summary.of(name, lambda: of(readings_in(times, column(name), start, end, settle_seconds=settle_seconds)))

    power = gauge("power_watts", mean, LOOK_BACK_SECONDS)
    energy = summary.of("energy_joules", lambda: counter_growth(times, column("energy_joules"), start, end))
    source = "energy counter" if energy is not None else ""
    if energy is None and power is not None:
        energy, source = power * (end - start), "mean power"
    return msgspec.structs.replace(
        _gpu_identity(info, used),
        mean_utilisation=gauge("utilisation", mean, LOOK_BACK_SECONDS),
        peak_utilisation=gauge("utilisation", max, LOOK_BACK_SECONDS),
        mean_memory_bytes=gauge("memory_bytes", mean),
        peak_memory_bytes=gauge("memory_bytes", max),
        mean_sm_clock_hertz=gauge("sm_clock_hertz", mean),
        lowest_sm_clock_hertz=gauge("sm_clock_hertz", min),
        mean_power_watts=power,
        peak_power_watts=gauge("power_watts", max, LOOK_BACK_SECONDS),
        peak_temperature_celsius=gauge("temperature_celsius", max),
        energy_joules=energy,
        energy_source=source,
        throttle_reasons=summary.of(
            "clock_events", lambda: _shares(readings_in(times, column("clock_events"), start, end))
        ),
        reasons=summary.reasons,
    )


def _shares(events: Sequence[float]) -> dict[str, float]:
    """Return the share of readings in which each reason held the clock back."""
    names = [name for bits in events for name in clock_event_names(int(bits))]
    return {name: names.count(name) / len(events) for name in dict.fromkeys(names)}


RATES = {"energy_joules": "power_from_energy_watts"}
"""Counters of a GPU: in a series they stand as rates, under this name."""
NOT_IN_SERIES = ("clock_events",)


def _series(
    readings: Sequence[Reading], times: Sequence[float], places: range, start: float, gpus: Sequence[GpuInfo]
) -> Series:
    """Return the readings of the window, thinned out; the one before it only serves the first rates."""
    chosen = thinned(range(max(places.start - 1, 0), places.stop))
    pairs = list(itertools.pairwise(chosen))
    host = [reading.host for reading in readings]

    def rates(values: Sequence[float | None]) -> list[float | None]:
        return [_rate(values[a], values[b], times[b] - times[a]) for a, b in pairs]

    columns = {
        "busy cores": rates([sum(one.core_seconds) for one in host]),
        "own cores": rates([one.own_seconds for one in host]),
        "memory_bytes": [_short(host[b].memory_bytes) for _, b in pairs],
    }
    for info in gpus:
        rows = [reading.gpus[info.index] for reading in readings]
        for name in dict.fromkeys(name for row in rows for name in row):
            values = [row.get(name) for row in rows]
            if name in RATES:
                columns[f"GPU {info.index} {RATES[name]}"] = rates(values)
            elif name not in NOT_IN_SERIES:
                columns[f"GPU {info.index} {name}"] = [_short(values[b]) for _, b in pairs]
    return Series(seconds=[round(times[b] - start, 4) for _, b in pairs], columns=columns)


def _rate(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None or after < before or seconds <= 0:
        return None
    return _short((after - before) / seconds)


def _short(value: float | None) -> float | None:
    """Return a value with the four digits that a figure can show: a record holds hundreds of them."""
    return None if value is None else float(f"{value:.4g}")
