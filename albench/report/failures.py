"""Failures: what could not be measured, and why; equal ones together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from albench.harness.records import Record, is_measured


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A scenario that could not be measured, and why."""

    scenario: str
    purpose: str
    status: str
    reason: str
    rounds: int


def failures_of(records: Iterable[Record]) -> list[Failure]:
    """Return every scenario that is not measured, equal ones together."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for record in records:
        if is_measured(record):
            continue
        scenario = record.scenario
        status, reason = record.status, record.reason or "no reason recorded"
        if status == "measured":
            status, reason = "failed", f"recorded as measured, but its time is {record.seconds}"
        counts[scenario.describe(), scenario.purpose, status, reason] += 1
    return [
        Failure(scenario=scenario, purpose=purpose, status=status, reason=reason, rounds=rounds)
        for (scenario, purpose, status, reason), rounds in counts.items()
    ]
