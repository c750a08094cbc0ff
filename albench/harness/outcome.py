"""Outcome: what a case sends back to the runner, as JSON through a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from albench.analysis.time_to_accuracy import CurvePoint
from albench.harness.memory import Memory
from albench.harness.records import Status


class Outcome(msgspec.Struct, kw_only=True, tag=True):
    """What a case found; the runner makes a record of it."""

    seconds: float
    lanes: int
    lane_kind: str
    components: int | None
    effective_parameters: int
    affiliated_parameters: int
    accuracy: float | None
    accuracy_reason: str
    learning_curve: list[CurvePoint] | None = None
    losses: Sequence[Mapping[str, float | None]]
    """JSON has no number for a loss that is not finite: it arrives as None."""
    flops_per_minibatch: int | None
    task_seconds: list[float] | None
    peak_memory_bytes: int
    notes: list[str]
    memory: Memory | None = None
    memory_reason: str = ""
    window_start_seconds: float = 0.0
    """When the timed window began, on the clock of `time.perf_counter`; 0 as its end is: not told."""
    window_end_seconds: float = 0.0
    gpu_uuids: list[str] = []
    """The CUDA devices that the case ran on."""


class Supplement(msgspec.Struct, kw_only=True, tag=True):
    """What a case sends after its outcome, where it is asked for more than the time."""

    memory: Memory


class Failure(msgspec.Struct, kw_only=True, tag=True):
    """Why a case has no outcome."""

    status: Status
    reason: str
    usage: bool = False
    """Whether the input is to blame, such as a missing data directory, so that no case would fare better."""
