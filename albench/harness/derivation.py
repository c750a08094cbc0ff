"""Derivation: what follows from a record, by the formulas of `albench.analysis.derived`."""

from __future__ import annotations

from albench.analysis.derived import Derived, derive
from albench.harness.records import Record, is_measured


def derived_from(record: Record) -> Derived | None:
    """Return what follows from a record; None where it holds no time that can be one."""
    if not is_measured(record) or record.seconds is None:
        return None
    return derive(
        seconds=record.seconds,
        instances=record.instances or record.scenario.instances,
        minibatches=record.scenario.minibatches,
        flops_per_minibatch=record.flops_per_minibatch,
        matmul_peak_flops_per_second=record.matmul_peak_flops_per_second,
        energy_joules=record.telemetry.energy_joules if record.telemetry is not None else None,
    )
