"""Resources: what a time was made of. Arithmetic against the machine's peak, cores, GPU, energy and memory.

A time alone does not say why it is long. Beside it each record holds what the machine did meanwhile; here the rounds of
one case are drawn together, by their median. What no record of a kind of work holds has no column; where some hold it
and others do not, there is a gap, and the records say why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from albench.harness.derivation import deriving
from albench.harness.records import Record
from albench.harness.telemetry import GpuTelemetry
from albench.report.grouping import by_series
from albench.report.regimes import Work
from albench.report.tables import Cell, Row, Table, number_cell
from albench.report.words import MEBIBYTE, number, percent


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one case used, the median of its rounds."""

    series: str
    hidden_layers: int
    minibatches: int
    used: dict[str, float]
    """By name of `COLUMNS`; what no round holds is not in it."""


@dataclass(frozen=True, kw_only=True)
class WorkResources:
    """What the cases of one kind of work used."""

    work: Work
    cases: tuple[Resources, ...]


def resources_of(timed: Sequence[Record]) -> list[WorkResources]:
    """Return what the cases of time sweeps used, small work first; where nothing is known of a case it is left out."""
    groups: dict[Work, list[Record]] = defaultdict(list)
    for record in timed:
        groups[Work.of(record.scenario)].append(record)
    found = []
    for work in sorted(groups, key=lambda work: work.order):
        cases = [case for name, own in by_series(groups[work]).items() for case in _cases(name, own)]
        if cases:
            found.append(WorkResources(work=work, cases=tuple(cases)))
    return found


def _cases(series: str, records: Sequence[Record]) -> list[Resources]:
    rounds: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record in records:
        rounds[record.scenario.hidden_layers, record.scenario.minibatches].append(record)
    cases = []
    for (hidden_layers, minibatches), own in sorted(rounds.items()):
        values = {name: [value for one in own if (value := read(one)) is not None] for name, (read, _) in READ.items()}
        used = {name: median(found) for name, found in values.items() if found}
        if used:
            cases.append(Resources(series=series, hidden_layers=hidden_layers, minibatches=minibatches, used=used))
    return cases


def _host(name: str) -> Callable[[Record], float | None]:
    return lambda record: None if record.telemetry is None else getattr(record.telemetry, name)


def _gpus(name: str, together: Callable[[list[float]], float]) -> Callable[[Record], float | None]:
    """Return what reads a number of the GPUs that a case ran on; None where one of them does not have it."""

    def read(record: Record) -> float | None:
        own: list[GpuTelemetry] = [] if record.telemetry is None else record.telemetry.gpus
        values = [getattr(gpu, name) for gpu in own if gpu.used is not False]
        return together(values) if values and None not in values else None

    return read


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _host_memory(record: Record) -> float | None:
    if record.memory is None:
        return None
    # Two counters of the system's, read one after the other: where next to nothing was taken, they may cross.
    return max(record.memory.host_peak_bytes - record.memory.host_baseline_bytes, 0)


def _device_memory(record: Record) -> float | None:
    if record.memory is None or record.memory.device_peak_bytes is None:
        return None
    return max(record.memory.device_peak_bytes - (record.memory.device_baseline_bytes or 0), 0)


READ: dict[str, tuple[Callable[[Record], float | None], Callable[[float], str]]] = {
    "GFLOP/s": (deriving("flops_per_second"), lambda value: number(value / 1e9)),
    "of the measured peak": (deriving("share_of_peak"), percent),
    "own cores busy": (_host("own_cores"), number),
    "other cores busy": (_host("other_cores"), number),
    "GPU utilisation": (_gpus("mean_utilisation", _mean), percent),
    "SM clock, MHz": (_gpus("mean_sm_clock_hertz", _mean), lambda value: number(value / 1e6)),
    "power, W": (_gpus("mean_power_watts", sum), number),
    "mJ a sample": (deriving("joules_per_sample"), lambda value: number(1e3 * value)),
    "host memory, MiB": (_host_memory, lambda value: number(value / MEBIBYTE)),
    "device memory, MiB": (_device_memory, lambda value: number(value / MEBIBYTE)),
}
"""By column: what reads it from a record, and how it is printed."""


def resource_table(resources: WorkResources, *, title: str) -> Table:
    """Return a row a case; columns that no case fills are left out."""
    columns = [name for name in READ if any(name in case.used for case in resources.cases)]
    gpu = ""
    if "GPU utilisation" in columns:
        gpu = (
            " GPU utilisation is NVML's: the share of its own last window in which any kernel ran, not of the "
            "multiprocessors that were at work."
        )
    return Table(
        caption=f"What the times were made of, {title}",
        columns=("series", "ℓ", "N", *columns),
        rows=tuple(
            Row(
                cells=(
                    Cell(case.series),
                    number_cell(case.hidden_layers, str),
                    number_cell(case.minibatches, str),
                    *[number_cell(case.used.get(name), READ[name][1]) for name in columns],
                )
            )
            for case in resources.cases
        ),
        note="Median of the rounds. FLOP/s count matrix products; the peak is that of a large matrix product on as "
        "many threads, or on the same device, measured in the same sweep. Cores are averages over the timed window. "
        "Memory is what training took at its peak beyond libraries and data, in a pass of its own; a method that runs "
        f"in processes of its own pays for their libraries too.{gpu}",
    )
