"""Filing: from what a case answered to its record, for whoever runs cases: a sweep, or pytest."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from albench.harness.outcome import Failure, Outcome
from albench.harness.records import Record
from albench.harness.scenario import Scenario

Heading = dict[str, Any]
"""The fields of a record that are known before its case has run."""

NOT_MEASURED = "the case was not measured"
"""Why a record that says so itself lacks everything else."""


def heading(
    scenario: Scenario,
    number: int,
    *,
    suite: str,
    environment: dict[str, Any],
    attempt: int = 0,
    order_seed: int | None = None,
) -> Heading:
    """Return the heading of round `number` of a scenario, which starts now."""
    return {
        "key": scenario.key,
        "scenario": scenario,
        "round": number,
        "attempt": attempt,
        "order_seed": order_seed,
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": environment,
        "suite": suite,
        "instances": scenario.instances,
    }


def filed(
    heading: Heading,
    answer: Outcome | Failure,
    *,
    observed: Mapping[str, Any],
    notes: Sequence[str] = (),
    no_memory: str = "",
) -> Record:
    """Return the record of a case that has answered.

    `observed`: the fields that its instruments tell, of a case that was measured. `notes` are added to its own.
    `no_memory`: why peak memory was not asked for, where it was not.
    """
    if isinstance(answer, Failure):
        reasons: dict[str, Any] = {name: NOT_MEASURED for name in Record.__struct_fields__ if name.endswith("_reason")}
        return Record(**heading, **reasons, status=answer.status, reason=answer.reason, notes=list(notes))
    # Where on the clock its window lay has done its service.
    found = {name: getattr(answer, name) for name in answer.__struct_fields__ if name in Record.__struct_fields__}
    if answer.memory is None and not answer.memory_reason:
        found["memory_reason"] = no_memory
    return Record(**heading, status="measured", **{**found, **observed, "notes": [*answer.notes, *notes]})
