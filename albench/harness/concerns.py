"""Concerns: what the records of a sweep leave to be desired, as `albench.analysis.quality` has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from albench.analysis.quality import Kind, QualityWarning, case_warnings, machine_warnings
from albench.harness.control import latest
from albench.harness.records import Record, is_measured
from albench.harness.scenario import TIMED

IDLE = "idle"
OF_WORK: tuple[Kind, ...] = ("too-short", "too-few-samples")
"""What cases that do nothing are not warned of: no number of mini-batches makes their window longer, and they are
repeated as cases, of a seed each, and not in rounds."""


def quality_warnings(records: Iterable[Record]) -> list[QualityWarning]:
    """Return the warnings about all cases that were timed, and about the machine that they were timed on.

    A network that was trained to the end is timed once, on the way to its accuracy: its time is warned of by nobody.
    """
    cases: dict[str, list[Record]] = {}
    for record in latest(records):
        if is_measured(record) and record.scenario.purpose in TIMED:
            cases.setdefault(record.key, []).append(record)
    found = [warning for case in cases.values() for warning in _of_case(case)]
    return found + _of_machine([record for case in cases.values() for record in case])


def _of_case(case: Sequence[Record]) -> list[QualityWarning]:
    observed = [record.telemetry for record in case if record.telemetry is not None]
    others = [one.other_cores / len(one.core_use) for one in observed if one.other_cores is not None and one.core_use]
    gpus = [gpu for one in observed for gpu in one.gpus if gpu.used is not False]
    found = case_warnings(
        case[0].scenario.describe(),
        [record.seconds for record in case if record.seconds is not None],
        other_cpu_share=others or None,
        clock_events={event for gpu in gpus for event in gpu.throttle_reasons or ()},
    )
    if case[0].scenario.method == IDLE:
        return [warning for warning in found if warning.kind not in OF_WORK]
    return found


def _of_machine(records: Sequence[Record]) -> list[QualityWarning]:
    """Return what is wrong with the machine; of several sweeps the busiest start counts."""
    environments = [record.environment for record in records]
    busiest = max(environments, key=lambda facts: _number(facts, "load_average_1_min") or 0.0, default={})
    cores = _number(busiest, "usable_cores")
    return machine_warnings(
        load_average=_number(busiest, "load_average_1_min"),
        usable_cores=None if cores is None else int(cores),
        governors={governor for facts in environments for governor in _names(facts, "cpu_governors")},
    )


def _number(facts: Mapping[str, Any], name: str) -> float | None:
    """Return a number of an environment; None where there is none, or something else."""
    value = facts.get(name)
    return value if isinstance(value, int | float) else None


def _names(facts: Mapping[str, Any], name: str) -> list[str]:
    """Return the names of a list in an environment; none where there are none, or something else."""
    values = facts.get(name)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
