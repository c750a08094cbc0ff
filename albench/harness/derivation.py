"""Derivation: what follows from a record, by the formulas of `albench.analysis.derived`."""

from __future__ import annotations

import math
from collections.abc import Callable

from albench.analysis.derived import Derived, derive
from albench.harness.records import Record, is_measured


def derived_from(record: Record) -> Derived | None:
    """Return what follows from a record; None where it holds no time and no instances that can be some."""
    instances = record.instances or record.scenario.instances
    if not is_measured(record) or record.seconds is None or instances < 1:
        return None
    peak = record.matmul_peak_flops_per_second
    return derive(
        seconds=record.seconds,
        instances=instances,
        minibatches=record.scenario.minibatches,
        flops_per_minibatch=record.flops_per_minibatch,
        matmul_peak_flops_per_second=peak if peak is not None and 0 < peak < math.inf else None,
        energy_joules=record.telemetry.energy_joules if record.telemetry is not None else None,
    )


def deriving(name: str) -> Callable[[Record], float | None]:
    """Return what derives one number of `Derived` from a record."""
    return lambda record: None if (found := derived_from(record)) is None else getattr(found, name)
